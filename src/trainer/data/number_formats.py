"""Formatted numbers: 1,234 · $1,234.50 · 12% · (1,234) · 1.234,5 € · 12 kg.

The training rows decide how the numbers of a column are written (`NumberFormatDetector`); every row is
then parsed in that format (`parse_numbers`). Plain numbers, which `float` parses, are not handled here.

    -$1,234.50    one sign, one unit before or after the number, one thousands separator
    (1,234)       a negative number in accounting format
    12%           12: the unit is dropped, not applied

A currency may be missing in some rows; any other unit must be the same in every row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from trainer.data.fitted_base import FittedBase
from trainer.data.values import column_blocks

DecimalMark = Literal["point", "comma"]
MARKS: tuple[DecimalMark, ...] = ("point", "comma")

MAX_SHOWN = 3
MANY_NUMBERS = 20
"""Text with more distinct numbers than this is a numeric column rather than a categorical one."""

MANY_FORMATTED_NUMBERS = 5
"""The same for numbers with a unit or separators; 1Fam and 2Fam are levels."""

_CODES = (
    "USD|EUR|GBP|JPY|CNY|INR|CHF|AUD|CAD|NZD|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|RUB|UAH|TRY|BRL|MXN|"
    "ARS|CLP|COP|PEN|ZAR|NGN|KES|EGP|ILS|AED|SAR|KRW|SGD|HKD|TWD|THB|IDR|MYR|PHP|VND|PKR"
)
_CURRENCY = rf"(?:[A-Z]{{0,3}}\p{{Sc}}|{_CODES}|Rs\.?|[Kk]r\.?|zł|Kč|Ft|Fr\.)"
_UNIT = _CURRENCY + r"|[%‰]|°[CFK]?|[^\W\d_]{1,10}(?: [^\W\d_]{1,10})?(?:/[^\W\d_]{1,10})?[²³]?"
_BODY = (
    rf"^(?P<sign>[+-])? ?(?P<before>{_CURRENCY})? ?(?P<inner>[+-])? ?"
    rf"(?P<digits>[0-9](?:[0-9.,' ]*[0-9])?[.,]?|[.,][0-9]+) ?(?P<after>{_UNIT})?$"
)
_BRACKETS = r"^\( ?([^()+-]+?) ?\)$"
_CURRENCY_AND_BRACKETS = rf"^({_CURRENCY}) ?\( ?([0-9.,' ]+?) ?\)( ?%)?$"


def _digits(decimal: str, thousands: str) -> str:
    """Return a pattern of digits with one thousands (or lakhs) separator and a fraction."""
    grouped = "|".join(rf"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+" for mark in (thousands, " ", "'"))
    lakhs = rf"[1-9][0-9]?(?:{thousands}[0-9]{{2}})+{thousands}[0-9]{{3}}"
    return rf"^(?:[0-9]+|{grouped}|{lakhs})(?:{decimal}[0-9]*)?$|^{decimal}[0-9]+$"


_DIGITS: Mapping[DecimalMark, str] = {
    "point": _digits(r"\.", ","),
    "comma": _digits(",", r"\."),
}


class NumberFormat(FittedBase):
    """The number format of a column.

    Attributes:
        decimal: "point" for 1,234.5, "comma" for 1.234,5. Spaces and apostrophes are thousands
            separators in both.
        unit: The unit before or after each number ("$", "%", "kg"), or empty.
    """

    decimal: DecimalMark
    unit: str

    @property
    def unit_is_optional(self) -> bool:
        """Whether numbers without the unit have the same meaning, as with currencies."""
        return self.unit == "" or is_currency(self.unit)


def is_currency(unit: str) -> bool:
    """Return whether a unit is a currency."""
    return bool(_currencies([unit]))


def _currencies(units: Iterable[str]) -> set[str]:
    """Return the currencies among the units, in one pass, as text can have a unit in every row."""
    series = pl.Series(list(units), dtype=pl.String)
    return set(series.filter(series.str.contains(rf"^{_CURRENCY}$")))


def _parts(cells: pl.Expr) -> pl.Expr:
    """Return a struct of `negative`, `unit`, `digits`; digits are null if a cell is not a number."""
    spelled = (
        cells.str.replace_all("[\u00a0\u2007\u2009\u202f]", " ")
        .str.replace_all("[\u2212\u2013]", "-")
        .str.replace_all("[\u2019\u02bc]", "'")
        .str.replace(_CURRENCY_AND_BRACKETS, "-${1}${2}${3}")
        .str.replace(_BRACKETS, "-${1}")
    )
    groups = spelled.str.extract_groups(_BODY)
    outer, inner = (groups.struct.field(name) for name in ("sign", "inner"))
    before, after = (groups.struct.field(name) for name in ("before", "after"))
    has_two_signs = outer.is_not_null() & inner.is_not_null()
    return pl.struct(
        negative=((outer == "-") | (inner == "-")).fill_null(value=False),
        unit=pl.concat_str([before, after], separator=" ", ignore_nulls=True),
        digits=pl.when(~has_two_signs).then(groups.struct.field("digits")),
    )


def _value(parts: pl.Expr, decimal: DecimalMark) -> pl.Expr:
    """Return the number from the parts of a cell; null if they are not a number."""
    digits = parts.struct.field("digits")
    thousands, mark = (",", ".") if decimal == "point" else (".", ",")
    bare = (
        digits.str.replace_all("[ ']", "")
        .str.replace_all(thousands, "", literal=True)
        .str.replace(mark, ".", literal=True)
    )
    number = pl.when(digits.str.contains(_DIGITS[decimal])).then(
        bare.cast(pl.Float64, strict=False)
    )
    return pl.when(parts.struct.field("negative")).then(-number).otherwise(number)


def parse_numbers(series: pl.Series, number_format: NumberFormat) -> pl.Series:
    """Parse the numbers of a column as Float64; null if a cell is missing or in another format.

    A column that is not text is returned unchanged.
    """
    if series.dtype != pl.String:
        return series
    parts = pl.col("parts")
    unit = parts.struct.field("unit")
    has_unit = unit == number_format.unit
    if number_format.unit_is_optional:
        has_unit |= unit == ""
    value: pl.Expr = pl.when(has_unit).then(_value(parts, number_format.decimal))
    if number_format.decimal == "point" and number_format.unit_is_optional:
        # 1e5 is a number too.
        value = pl.coalesce(value, pl.col("cell").cast(pl.Float64, strict=False).fill_nan(None))
    frame = pl.DataFrame({"cell": series}).with_columns(parts=_parts(pl.col("cell")))
    return frame.select(value.alias(series.name)).to_series()


def parse_number_columns(frame: pl.DataFrame, formats: Mapping[str, NumberFormat]) -> pl.DataFrame:
    """Return the frame with these columns parsed as numbers.

    Columns with the same format are parsed together, as each call compiles the patterns again.
    """
    schema = frame.schema
    by_format: dict[NumberFormat, list[str]] = {}
    for name, number_format in formats.items():
        if name in schema and schema[name] == pl.String:
            by_format.setdefault(number_format, []).append(name)
    parsed: list[pl.Series] = []
    for number_format, columns in by_format.items():
        for names in column_blocks(columns, frame.height):
            cells = pl.concat([frame[name].rename("cell") for name in names])
            numbers = parse_numbers(cells, number_format)
            parsed += [
                numbers.slice(index * frame.height, frame.height).alias(name)
                for index, name in enumerate(names)
            ]
    return frame.with_columns(parsed)


@dataclass(frozen=True, slots=True)
class DetectedNumbers:
    """The numbers detected in a text column.

    Attributes:
        format: The number format, if it fits every value.
        best_format: The format that fits most values.
        ambiguous: Whether comma and point could be thousands or decimal separators in every value.
        example: A value that is not a plain number, as in the file, or empty.
        value: The number that the example is parsed as.
        matched: Number of values that `best_format` fits.
        known: Number of values.
        unmatched: The first few values that `best_format` does not fit.
        units: The units, if all values are numbers but units differ or are missing in some.
        distinct: Number of distinct numbers, counted up to about `MANY_NUMBERS`.
    """

    format: NumberFormat | None
    best_format: NumberFormat
    ambiguous: bool
    example: str
    value: float
    matched: int
    known: int
    unmatched: tuple[str, ...]
    units: tuple[str, ...]
    distinct: int

    @property
    def is_close(self) -> bool:
        """Whether most values are numbers, so that the others may be errors."""
        minimum = MANY_FORMATTED_NUMBERS if self.example else MANY_NUMBERS
        return 2 * self.matched >= self.known and self.distinct > minimum


@dataclass(slots=True)
class NumberFormatDetector:
    """Detects the number format of a text column, batch by batch.

    Attributes:
        known: Number of values.
        counts: Number of values that are numbers, by decimal mark and unit.
        marked: Number of values with a point or a comma.
        bracketed: Number of values in brackets.
        distinct: The first few distinct numbers.
        examples: The first few values that are not plain numbers, with their units and parsed numbers.
        unmatched: The first few distinct values that are not numbers, by decimal mark and unit.
    """

    known: int = 0
    counts: dict[DecimalMark, Counter[str]] = field(
        default_factory=lambda: {mark: Counter() for mark in MARKS}
    )
    marked: int = 0
    bracketed: int = 0
    distinct: set[str] = field(default_factory=set)
    examples: list[tuple[str, str, dict[DecimalMark, float | None]]] = field(default_factory=list)
    unmatched: dict[tuple[DecimalMark, str], list[str]] = field(default_factory=dict)

    def add(self, series: pl.Series) -> None:
        """Add text cells; missing ones are ignored."""
        cells = series.drop_nulls().alias("cell").to_frame()
        if not cells.height:
            return
        table = (
            cells.group_by("cell", maintain_order=True)
            .len("rows")
            .with_columns(parts=_parts(pl.col("cell")))
            .with_columns(
                unit=pl.col("parts").struct.field("unit"),
                plain=pl.col("cell").cast(pl.Float64, strict=False).is_not_null(),
                **{f"as_{mark}": _value(pl.col("parts"), mark) for mark in MARKS},
            )
            .with_columns(pl.col(f"as_{mark}").is_not_null().alias(mark) for mark in MARKS)
            # 1e5 and inf do not match the patterns, but are numbers too.
            .with_columns(
                point=pl.col("point") | pl.col("plain"),
                unit=pl.when(pl.col("plain")).then(pl.lit("")).otherwise(pl.col("unit")),
            )
        )
        self.known += cells.height
        numbers = table.filter(pl.any_horizontal(*MARKS))
        for mark in MARKS:
            rows = numbers.filter(mark).group_by("unit").agg(pl.col("rows").sum())
            self.counts[mark].update(dict(rows.iter_rows()))
        cell, rows_of = pl.col("cell"), pl.col("rows")
        marked, bracketed = numbers.select(
            marked=rows_of.filter(cell.str.contains("[.,]")).sum(),
            bracketed=rows_of.filter(cell.str.contains(r"\(", literal=False)).sum(),
        ).row(0)
        self.marked += marked
        self.bracketed += bracketed
        if len(self.distinct) <= MANY_NUMBERS:
            self.distinct.update(numbers["cell"].head(2 * MANY_NUMBERS).to_list())
        if len(self.examples) < MAX_SHOWN:
            formatted = numbers.filter(~pl.col("plain")).sort(
                cell.str.contains("[.,' \u00a0\u202f]"), descending=True, maintain_order=True
            )
            shown = formatted.head(MAX_SHOWN).select(
                "cell", "unit", *(f"as_{mark}" for mark in MARKS)
            )
            self.examples += [
                (text, unit, dict(zip(MARKS, read, strict=True)))
                for text, unit, *read in shown.iter_rows()
            ]
        for mark in MARKS:
            self._add_others(table, mark)

    def _add_others(self, table: pl.DataFrame, mark: DecimalMark) -> None:
        """Store the first values that are not numbers in the most frequent units so far."""
        for unit, _ in self.counts[mark].most_common(2):
            unmatched = self.unmatched.setdefault((mark, unit), [])
            if len(unmatched) < MAX_SHOWN:
                has_unit = pl.col("unit") == unit
                if unit == "" or is_currency(unit):
                    has_unit |= pl.col("unit") == ""
                more = table.filter(~(pl.col(mark) & has_unit) & ~pl.col("cell").is_in(unmatched))
                unmatched += more["cell"].head(MAX_SHOWN - len(unmatched)).to_list()

    def detect(self, decimal: DecimalMark | None) -> DetectedNumbers:
        """Return the detected numbers.

        Args:
            decimal: The decimal mark, if the config sets it.
        """
        marks = MARKS if decimal is None else (decimal,)
        formats = {mark: self._format(mark) for mark in marks}
        complete = [mark for mark, (_, count) in formats.items() if count == self.known]
        best = complete[0] if complete else max(marks, key=lambda mark: formats[mark][1])
        number_format, count = formats[best]
        is_number = bool(complete) and self.bracketed < self.known and self.known > 0
        example, value = next(
            ((cell, values[best]) for cell, unit, values in self.examples
             if unit in ("", number_format.unit)),
            ("", None),
        )  # fmt: skip
        known_units = [unit for unit in self.counts[best] if unit]
        rows = sum(self.counts[best].values())
        differs = len(known_units) > 1 or (len(known_units) == 1 and rows > count)
        return DetectedNumbers(
            format=number_format if is_number else None,
            best_format=number_format,
            ambiguous=len(complete) > 1 and self.marked > 0,
            example=example,
            value=0.0 if value is None else value,
            matched=count,
            known=self.known,
            unmatched=tuple(self.unmatched.get((best, number_format.unit), ())[:MAX_SHOWN]),
            units=tuple(sorted(known_units)) if differs and rows == self.known else (),
            distinct=len(self.distinct),
        )

    def _format(self, mark: DecimalMark) -> tuple[NumberFormat, int]:
        """Return the format with the unit that fits most values, and their number."""
        counts = self.counts[mark]
        unitless, currencies = counts[""], _currencies(counts)
        candidates = [
            (count + (unitless if unit in currencies else 0), unit)
            for unit, count in counts.items()
            if unit
        ] or [(unitless, "")]
        if unitless > max(count for count, _ in candidates):
            candidates = [(unitless, "")]
        count, unit = max(candidates)
        return NumberFormat(decimal=mark, unit=unit), count
