from __future__ import annotations

import pytest

from trainer.config.read_options import data_section, non_default_read_options, parse_read_options
from trainer.errors import ConfigError


def test_data_section():
    data = data_section(
        "x.csv", "y", ["data.csv.header=false", "data.csv.names=[a, y]", "data.csv.separator=;"]
    )
    assert not data.csv.header
    assert data.csv.names == ["a", "y"]
    assert non_default_read_options(data) == {
        "csv": {"header": False, "names": ["a", "y"], "separator": ";"}
    }
    assert non_default_read_options(data_section("x.txt", ["y", "z"], ["data.format=ndjson"])) == {
        "format": "ndjson"
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer.learning_rate=1", r"data\.csv\.… or data\.format.*found 'optimizer'"),
        ("data.target=x", "trainer init only accepts settings for reading the file"),
        ("~data.split", "trainer init only accepts settings for reading the file"),
        ("data.csv.heder=false", "did you mean 'header'"),
        ("data.csv.header=maybe", "expected true or false"),
        ("data.csv.separator", "no '='"),
        ("data.csv.quote=,", "for both"),
    ],
)
def test_invalid_options_are_rejected(text, message):
    with pytest.raises(ConfigError, match=message):
        data_section("x.csv", "y", [text])


def test_all_errors_are_reported():
    with pytest.raises(ConfigError) as caught:
        parse_read_options(["fit.epochs=1", "model", "data.csv.skip=1"], "trainer predict")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("data.csv.separator=tab", "separator", "\t"),
        (r"data.csv.separator=\t", "separator", "\t"),
        (r'data.csv.separator="\t"', "separator", "\t"),
        ("data.csv.separator= ", "separator", " "),
        ("data.csv.separator=' '", "separator", " "),
        ("data.csv.separator=|", "separator", "|"),
        ("data.csv.escape=\\", "escape", "\\"),
        (r"data.csv.escape='\\'", "escape", "\\"),
        (r"data.csv.escape='\'", "escape", "\\"),
        ("data.csv.quote='", "quote", "'"),
        ("data.csv.comment=#", "comment", "#"),
        ("data.csv.comment='#'", "comment", "#"),
        ("data.csv.comment=//", "comment", "//"),
    ],
)
def test_escaped_characters(text, name, value):
    assert getattr(data_section("x.csv", "y", [text]).csv, name) == value


@pytest.mark.parametrize("text", ["separator=tabs", "separator=", "separator=;;", "escape=ab"])
def test_invalid_character(text):
    with pytest.raises(ConfigError, match="one character"):
        data_section("x.csv", "y", [f"data.csv.{text}"])
