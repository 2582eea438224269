"""Detect the format of text columns: formatted numbers, dates, or plain text.

Text that is neither plain numbers nor ISO 8601 dates is examined (`TextFormatDetector`): numbers in a
single format are numbers, dates in a single format are dates, and ambiguous columns stay text. Each
decision comes with a note that names the setting to change it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from trainer.config.data import ColumnKind, Data
from trainer.config.nodes import column_key
from trainer.data.column_settings import explicit_kind
from trainer.data.date_formats import DateFormatDetector, DetectedDates, field_order
from trainer.data.message_lists import quoted
from trainer.data.number_formats import (
    DecimalMark,
    DetectedNumbers,
    NumberFormat,
    NumberFormatDetector,
)
from trainer.data.values import to_microseconds

_COMPACT_DATE = re.compile(r"(?:18|19|20|21)\d{6}")
_HALF = 0.5
"""Minimum fraction of numbers or dates for a note about the other values."""

MAX_UNITS = 5
"""Numbers with more units than this are codes, such as 12A and 7C."""


@dataclass(frozen=True, slots=True)
class ParseNote:
    """An assumption about the text of a column.

    Attributes:
        about: What the text looks like.
        what: The assumption, with an example.
        fix: The settings that confirm or change it.
    """

    about: Literal["numbers", "dates"]
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


@dataclass(frozen=True, slots=True)
class ParseSpec:
    """How a column is parsed.

    Attributes:
        kind: Its kind; None for text that is almost all plain numbers.
        number_format: The number format; None for plain numbers.
        date_format: The date format; None for ISO 8601.
        note: The assumption made, for the user, or None.
        hint: How to fix values that are invalid for the configured kind; empty for the default fixes.
        formats: The date formats that fit all values, if there are several.
    """

    kind: ColumnKind | None
    number_format: NumberFormat | None = None
    date_format: str | None = None
    note: ParseNote | None = None
    hint: str = ""
    formats: tuple[str, ...] = ()


class TextFormatDetector:
    """Detects numbers and dates in a text column, batch by batch."""

    def __init__(self, data: Data) -> None:
        self.numbers = NumberFormatDetector()
        self.dates = DateFormatDetector(configured=data.datetime.format)

    def add(self, series: pl.Series) -> None:
        """Add cells."""
        self.numbers.add(series)
        self.dates.add(series)


def explicit_date_format(data: Data, name: str) -> str | None:
    """Return the date format that the config sets for a column, or None."""
    column_format = data.columns[name].format if name in data.columns else None
    return data.datetime.format if column_format is None else column_format


def explicit_decimal(data: Data, name: str) -> DecimalMark | None:
    """Return the decimal mark that the config sets for a column, or None."""
    return data.columns[name].decimal if name in data.columns else None


def needs_detection(
    data: Data,
    name: str,
    basic_kind: ColumnKind | None,
    *,
    known: int,
    invalid: int,
    digits: int,
    first: str | None,
) -> bool:
    """Return whether the formats of a text column have to be detected before its kind is known.

    Args:
        data: The `data` section.
        name: The column.
        basic_kind: The kind by plain numbers and ISO dates only; None if almost all values are numbers.
        known: Number of values.
        invalid: Number of values that are invalid for the configured kind.
        digits: Number of values with a digit.
        first: The first value.
    """
    configured = explicit_kind(data, name)
    if configured == "numeric":
        return invalid > 0
    if configured == "datetime":
        return invalid > 0 and explicit_date_format(data, name) is None
    if configured is not None:
        return False
    if basic_kind == "numeric":
        return first is not None and _COMPACT_DATE.fullmatch(first) is not None
    return basic_kind in (None, "categorical") and digits >= _HALF * known


def detected_spec(
    data: Data, name: str, basic_kind: ColumnKind | None, detector: TextFormatDetector
) -> ParseSpec:
    """Return how a column is parsed, given the detected formats.

    Args:
        data: The `data` section.
        name: The column.
        basic_kind: See `needs_detection`.
        detector: The formats detected in all training rows.
    """
    configured = explicit_kind(data, name)
    keep = f"{column_key(name)}.kind: categorical"
    numbers = detector.numbers.detect(explicit_decimal(data, name))
    dates = detector.dates.detect()
    if configured == "numeric":
        return _explicit_numbers(data, name, numbers)
    if configured == "datetime":
        return _explicit_dates(data, name, dates)
    if dates.formats:
        return _detected_dates(data, name, dates)
    if basic_kind == "numeric":
        return ParseSpec("numeric")
    if numbers.format is not None:
        return ParseSpec(
            "numeric", number_format=numbers.format, note=numbers_note(name, numbers, keep=keep)
        )
    if basic_kind is None and not numbers.example:
        return ParseSpec(None)
    return ParseSpec("categorical", note=_text_note(name, numbers, dates))


def _explicit_numbers(data: Data, name: str, numbers: DetectedNumbers) -> ParseSpec:
    if numbers.format is None:
        hint = f"write all of them in one unit, not {quoted(numbers.units, MAX_UNITS)}"
        return ParseSpec(
            "numeric",
            number_format=numbers.best_format if numbers.example else None,
            hint=hint if numbers.units else "",
        )
    is_certain = explicit_decimal(data, name) is not None or not numbers.ambiguous
    keep = f"{column_key(name)}.kind: categorical"
    note = None if is_certain else numbers_note(name, numbers, keep=keep)
    return ParseSpec("numeric", number_format=numbers.format, note=note)


def _explicit_dates(data: Data, name: str, dates: DetectedDates) -> ParseSpec:
    if len(dates.formats) == 1:
        return _detected_dates(data, name, dates)
    formats = dates.formats or ((dates.best_format,) if dates.best_format else ())
    if not formats:
        return ParseSpec("datetime")
    return ParseSpec("datetime", hint=f"set {format_setting(name, formats)}")


def _detected_dates(data: Data, name: str, dates: DetectedDates) -> ParseSpec:
    key = column_key(name)
    if data.datetime.format in dates.formats:
        return ParseSpec("datetime", date_format=data.datetime.format)
    keep = f"{key}.kind: categorical to keep the text"
    if len(dates.formats) > 1:
        what = (
            f"'{name}' looks like dates but is read as text: '{dates.example}' and all other values "
            "are ambiguous"
        )
        fix = f"set {format_setting(name, dates.formats)}, or {keep}"
        return ParseSpec("categorical", note=ParseNote("dates", what, fix), formats=dates.formats)
    date_format = dates.formats[0]
    order = field_order(date_format)
    moment = to_microseconds(pl.Series([dates.example]), date_format).cast(pl.Datetime("us")).item()
    day = moment.isoformat(sep=" ").removesuffix(" 00:00:00")
    what = f"'{name}' is read as dates{f', {order}' if order else ''}: '{dates.example}' is {day}"
    fix = f"set {key}.format: '{date_format}' to confirm it, or {keep}"
    return ParseSpec("datetime", date_format=date_format, note=ParseNote("dates", what, fix))


def numbers_note(name: str, numbers: DetectedNumbers, *, keep: str) -> ParseNote:
    """Return the assumption about formatted numbers.

    Args:
        name: The column.
        numbers: The detected numbers.
        keep: The setting that keeps the text; empty if there is none.
    """
    key = column_key(name)
    mark: DecimalMark = numbers.best_format.decimal
    confirm = f"{key}.decimal: {mark} to confirm it"
    what = f"'{name}' is read as numbers: '{numbers.example}' is {numbers.value:.15g}"
    if numbers.ambiguous:
        separator, other = (",", "comma") if mark == "point" else (".", "point")
        if separator in numbers.example:
            what += f", with '{separator}' as the thousands separator"
        else:
            what += f", with the {mark} as the decimal mark"
        confirm = f"{key}.decimal: {other} if that is wrong, {confirm}"
    return ParseNote(
        "numbers", what, f"set {confirm}" + (f", or {keep} to keep the text" * bool(keep))
    )


def _text_note(name: str, numbers: DetectedNumbers, dates: DetectedDates) -> ParseNote | None:
    """Return why a column that resembles numbers or dates is read as text, or None."""
    confirm = f"set {column_key(name)}.kind: categorical to confirm that it is text"
    are_units = all(len(unit) > 1 or not unit.isalpha() for unit in numbers.units)
    if 1 <= len(numbers.units) <= MAX_UNITS and are_units:
        units = f"the units {quoted(numbers.units)}"
        if len(numbers.units) == 1:
            units = f"the unit {quoted(numbers.units)} in some rows and no unit in others"
        what = f"'{name}' is read as text: its numbers have {units}"
        return ParseNote("numbers", what, f"write them in one format, or {confirm}")
    about: Literal["numbers", "dates"] = "numbers"
    count, expected, unmatched = numbers.known - numbers.matched, "numbers", numbers.unmatched
    is_close = numbers.is_close
    if dates.best_format and dates.matched >= _HALF * dates.known:
        about, unmatched, is_close = "dates", dates.unmatched, True
        count, expected = dates.known - dates.matched, f"dates in the format '{dates.best_format}'"
    if not is_close or not count:
        return None
    what = (
        f"'{name}' is read as text: {count:,} of {numbers.known:,} values are not {expected} "
        f"({quoted(unmatched)}{', …' if count > len(unmatched) else ''})"
    )
    return ParseNote(about, what, f"correct them, add them to data.csv.null_values, or {confirm}")


def format_setting(name: str, formats: Sequence[str]) -> str:
    """Return the setting for a column's date format, with the formats to choose from."""
    orders = [field_order(date_format) for date_format in formats]
    choice = " or ".join(
        f"'{date_format}'" + (f" ({order})" if order and len(formats) > 1 else "")
        for date_format, order in zip(formats, orders, strict=True)
    )
    return f"{column_key(name)}.format: {choice}"
