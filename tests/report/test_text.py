import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.inputs import InputSpec
from trainer.report.text import (
    Table,
    age,
    cell,
    duration,
    format_bytes,
    format_count,
    inputs_text,
    number,
    plain_lines,
    sparkline,
    truncate,
    width,
)


def test_plain_lines() -> None:
    table = Table("rows", ("split", "rows"), (("train", "1,000"), ("test", "5")), frozenset({1}))
    assert plain_lines(table) == ["rows", "split   rows", "train  1,000", "test       5"]


def test_inputs_are_counted_and_images_have_a_shape() -> None:
    features, image = (
        InputSpec("features", (1_200,), "float32"),
        InputSpec("image", (48, 56, 3), "uint8"),
    )
    assert inputs_text([features]) == "1,200 inputs"
    assert inputs_text([image]) == "image 48 × 56 × 3"
    assert inputs_text([features, image]) == "9,264 inputs (features: 1,200, image: 48 × 56 × 3)"


def test_table_without_header_or_rows() -> None:
    assert plain_lines(Table("", ("", ""), (("a", "b"),))) == ["a  b"]
    assert plain_lines(Table("", ("one", "two"), ())) == ["one  two"]
    assert plain_lines(Table("title", ("",), ())) == ["title"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.965, "0.9650"),
        (1.0, "1.0000"),
        (1, "1"),
        (0, "0"),
        (253.0, "253"),
        (0.99999, "1.0000"),
        (-0.5, "-0.5000"),
        (12.3456, "12.35"),
        (1234.56, "1,235"),
        (1234567.8, "1.235e+06"),
        (2_000_000.0, "2,000,000"),
        (0.00012345, "0.0001234"),
        (1e-5, "1.000e-05"),
        (0.0, "0.0000"),
        (-0.0, "0.0000"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0.0, "0"), (1.0, "1"), (1234.0, "1,234"), (12.345, "12.35")]
)
def test_format_count(count: float, text: str) -> None:
    assert format_count(count) == text


@given(st.floats(-1e300, 1e300))
def test_number_has_four_digits(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=6e-4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (4.23, "4.2 s"),
        (60, "1 min"),
        (200.4, "3 min 20 s"),
        (3600, "1 h"),
        (3601, "1 h"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_age() -> None:
    assert [age(s) for s in (-5, 0, 59, 60, 3599, 3600, 90_000)] == [
        "just now",
        "just now",
        "just now",
        "1 min",
        "59 min",
        "1 h",
        "1 d",
    ]


def test_format_bytes() -> None:
    assert [format_bytes(n) for n in (0, 999, 12_345, 5 * 10**9, 3 * 10**15)] == [
        "0 B",
        "999 B",
        "12.3 kB",
        "5.0 GB",
        "3000.0 TB",
    ]


def test_sparkline() -> None:
    assert sparkline([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]) == "█▇▆▅▄▃▂▁"
    assert sparkline([1.0, None, 0.0]) == "█ ▁"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([]) == sparkline([None]) == ""


@given(st.lists(st.none() | st.floats(), max_size=200), st.integers(2, 50))
def test_sparkline_width(values: list[float | None], width: int) -> None:
    assert len(sparkline(values, width)) <= width


@given(st.text())
def test_cell_is_printable(text: str) -> None:
    assert cell(text).isprintable()


def test_cell_escapes_control_characters() -> None:
    assert cell("a\x1b[2Jb\n\u202e") == "a\\x1b[2Jb\\n\\u202e"
    assert cell("größe [cm]") == "größe [cm]"


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("abc", 3), ("日本語", 6), ("🐟", 2), ("e\u0301", 1), ("a\u200bb", 2), ("Ｗ", 2)],
)
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


def test_wide_characters_are_aligned() -> None:
    table = Table("", ("", "n"), (("🐟 fish", "1"), ("日本語", "22")), frozenset({1}))
    assert [width(line) for line in plain_lines(table)] == [11, 11, 11]


@pytest.mark.parametrize(
    ("text", "longest", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("ab cd", 4, "ab…"),
    ],
)
def test_truncate(text: str, longest: int, shown: str) -> None:
    assert truncate(text, longest) == shown
