from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config.data import Data
from trainer.data import values
from trainer.data.number_formats import (
    NumberFormat,
    NumberFormatDetector,
    is_currency,
    parse_number_columns,
    parse_numbers,
)
from trainer.data.text_formats import TextFormatDetector, detected_spec

UNITS = ("", "$", "€ ", "R$", "USD ")
ENDINGS = ("", "%", " kg", "km/h", " €", " USD", "m²")


def detector(values):
    result = NumberFormatDetector()
    for value in values:
        result.add(pl.Series("a", [value]))
    return result


def detect(*values, decimal=None):
    return detector(values).detect(decimal)


def read(*values, decimal=None):
    result = detect(*values, decimal=decimal)
    assert result.format is not None, result
    return parse_numbers(pl.Series("a", values), result.format).to_list()


def format_number(value, *, thousands, mark, before, after, negative, digits):
    """Format a number."""
    body = f"{abs(value):,.{digits}f}"
    body = body.translate(str.maketrans({",": thousands, ".": mark}))
    if value >= 0:
        return f"{before}{body}{after}"
    return {
        "-": f"-{before}{body}{after}",
        "inner": f"{before}-{body}{after}",
        "()": f"({before}{body}{after})",
    }[negative]


@st.composite
def styles(draw):
    mark, thousands = draw(
        st.sampled_from(
            [(".", ","), (",", "."), (".", " "), (",", "\u202f"), (".", "'"), (".", "")]
        )
    )
    before = draw(st.sampled_from(UNITS))
    return {
        "mark": mark,
        "thousands": thousands,
        "before": before,
        "after": "" if before else draw(st.sampled_from(ENDINGS)),
        "negative": draw(st.sampled_from(["-", "inner", "()"])),
        "digits": draw(st.sampled_from([0, 1, 2])),
    }


@settings(max_examples=15)
@given(styles(), st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=12))
def test_formatted_numbers_round_trip(style, cents):
    values = [round(cent / 100, style["digits"]) + 0.0 for cent in cents]
    # Two unambiguous values, one of them without brackets.
    values += [1234567.0, 4321.5 if style["digits"] else 4321.0]
    texts = [format_number(value, **style) for value in values]
    result = detect(*texts)
    if result.format is None:
        assert all(_is_float(text) for text in texts)
        return
    assert not result.ambiguous or style["digits"] == 0
    got = parse_numbers(pl.Series("a", texts), result.format).to_list()
    assert got == pytest.approx(values)


def _is_float(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


@settings(max_examples=15)
@given(st.lists(st.text("0123456789.,$%() -ekg'", max_size=8), max_size=8), st.randoms())
def test_detection_ignores_batches_and_order(values, random):
    single, batched = NumberFormatDetector(), detector(values)
    single.add(pl.Series("a", values, dtype=pl.String))
    assert single.detect(None).format == batched.detect(None).format
    assert single.detect(None).matched == batched.detect(None).matched
    random.shuffle(values)
    assert detector(values).detect(None).format == batched.detect(None).format


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["1,234", "537"], [1234, 537]),
        (["1 234", "12 345 678"], [1234, 12345678]),
        (["1'234.5", "1’000"], [1234.5, 1000]),
        (["12,34,567", "1,234"], [1234567, 1234]),
        (["$1,234.50", "-$2", "$-3", "$(4)", "5"], [1234.5, -2, -3, -4, 5]),
        (["US$ 1,200", "US$ 7"], [1200, 7]),
        (["USD 5", "7 USD"], [5, 7]),
        (["1.234,5 €", "5 €"], [1234.5, 5]),
        (["12%", "3.5 %", "-1%"], [12, 3.5, -1]),
        (["(1,234)", "5"], [-1234, 5]),
        (["3,14", "5"], [3.14, 5]),
        (["0,123", "1"], [0.123, 1]),
        (["12.345.678", "1.234"], [12345678, 1234]),
        (["12 kg", "3 kg"], [12, 3]),
        (["\u22125\u00a0000", "1"], [-5000, 1]),
        (["£1e5", "£1"], None),
        (["$1", "1e5"], [1, 100000]),
        (["12%", "0.3"], None),
        (["12 kg", "3 lb"], None),
        (["$5", "€5"], None),
        (["(1)", "(2)"], None),
        (["12A", "7B"], None),
        (["1,234", "x"], None),
        (["12,34", "1.5"], None),
        (["030 123 456", "1"], None),
        (["1-2", "3-4"], None),
        (["--5%", "1%"], None),
        (["(-5)", "1"], None),
        (["192.168.0.1", "10.0.0.1"], None),
    ],
)
def test_formats(values, numbers):
    result = detect(*values)
    if numbers is None:
        assert result.format is None
    else:
        assert read(*values) == numbers


def test_ambiguous_numbers():
    assert detect("1,234", "5").ambiguous
    assert detect("$1.234", "$5").ambiguous
    assert not detect("1,234", "1,234.5").ambiguous
    assert not detect("1,234,567").ambiguous
    assert not detect("$5", "$6").ambiguous
    assert not detect("1,234", "5", decimal="comma").ambiguous
    assert read("1,234", "5", decimal="comma") == [1.234, 5]
    assert read("1,234", "5", decimal="point") == [1234, 5]


def test_unmatched_values_and_units_are_listed():
    result = detect(*["1,234"] * 3, "n.v.", "on request")
    assert (result.matched, result.known, result.unmatched) == (3, 5, ("n.v.", "on request"))
    assert detect("$5", "€5").units == ("$", "€")
    assert detect("12%", "0.3").units == ("%",)


def test_one_format_applies_to_every_row():
    percent = NumberFormat(decimal="point", unit="%")
    series = pl.Series("a", ["5%", "5", "$5", None, "x"])
    assert parse_numbers(series, percent).to_list() == [5, None, None, None, None]
    comma = NumberFormat(decimal="comma", unit="€")
    series = pl.Series("a", ["1.234", "1.5", "5 €", "5 $"])
    assert parse_numbers(series, comma).to_list() == [1234, None, 5, None]
    numbers = pl.Series("a", [1.5, 2.0])
    assert parse_numbers(numbers, comma) is numbers


def test_currencies():
    assert [is_currency(unit) for unit in ("$", "US$", "EUR", "kg", "%", "")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_messages_list_few_units(tmp_path):
    """Addresses look like numbers with a different unit in every row."""
    data = Data(source="x.csv", target="y", columns={"a": {"kind": "numeric"}})
    result = TextFormatDetector(data)
    result.add(pl.Series("a", [f"{row} Abcd{chr(97 + row)} Street" for row in range(26)]))
    assert "and 21 more" in detected_spec(data, "a", "numeric", result).hint


def test_columns_with_the_same_format_are_parsed_together(monkeypatch):
    monkeypatch.setattr(values, "BLOCK_CELLS", 7)
    formats = {
        "a": NumberFormat(decimal="point", unit="$"),
        "b": NumberFormat(decimal="comma", unit="kg"),
        "c": NumberFormat(decimal="point", unit="$"),
        "d": NumberFormat(decimal="point", unit="$"),
        "none": NumberFormat(decimal="point", unit="$"),
    }
    frame = pl.DataFrame({
        "a": ["$1,000", None, "x"], "b": ["1,5 kg", "2 kg", "$3"], "c": ["-$2", "$3", ""],
        "d": [1.0, 2.0, 3.0], "e": ["$1", "$2", "$3"],
    })  # fmt: skip
    read = parse_number_columns(frame, formats)
    assert read.columns == frame.columns
    assert read.to_dict(as_series=False) == {
        "a": [1000.0, None, None], "b": [1.5, 2.0, None], "c": [-2.0, 3.0, None],
        "d": [1.0, 2.0, 3.0], "e": ["$1", "$2", "$3"],
    }  # fmt: skip
