from __future__ import annotations

import pytest

from trainer.config.read_options import data_section, non_default_read_options, parse_read_options
from trainer.errors import ConfigError


def test_settings_of_reading():
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
    ("text", "said"),
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
def test_other_settings_are_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        data_section("x.csv", "y", [text])


def test_all_mistakes_are_named():
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
def test_characters_as_they_are_typed(text, name, value):
    assert getattr(data_section("x.csv", "y", [text]).csv, name) == value


@pytest.mark.parametrize("text", ["separator=tabs", "separator=", "separator=;;", "escape=ab"])
def test_what_is_no_character(text):
    with pytest.raises(ConfigError, match="one character"):
        data_section("x.csv", "y", [f"data.csv.{text}"])
