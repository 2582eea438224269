"""Dates that are not ISO 8601: 13/06/2018 · 06.13.2018 18:30 · 13-Jun-2018 · 20180613.

The first date of a column suggests formats, and all values decide between them (`DateFormatDetector`):
a day above 12 decides between 13/06 and 06/13. If no value decides, the format stays ambiguous.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import polars as pl

MAX_SHOWN = 3
EARLIEST, LATEST = 1800, 2200
"""The range of years in which a number can be a year."""

_EXAMINED = 100
"""Number of values of a batch that are searched for the first date."""

_MIN_COMPACT = 10
"""Minimum number of distinct values, all dates, before 20180613 counts as a date."""

_TIME = re.compile(
    r"(?P<between>T| |, )(?P<hour>\d{1,2}):\d{2}(?P<second>:\d{2}(?P<fraction>\.\d{1,9})?)?"
    r"(?P<half> ?[AaPp][Mm])?"
)
_SIGN = r"(?P<sign>[./-])"
_SHAPES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(rf"\d{{1,2}}{_SIGN}\d{{1,2}}(?P=sign)\d{{4}}"), ("%d{}%m{}%Y", "%m{}%d{}%Y")),
    (
        re.compile(rf"\d{{1,2}}{_SIGN}\d{{1,2}}(?P=sign)\d{{2}}"),
        ("%d{}%m{}%y", "%m{}%d{}%y", "%y{}%m{}%d"),
    ),
    (re.compile(rf"\d{{4}}{_SIGN}\d{{1,2}}(?P=sign)\d{{1,2}}"), ("%Y{}%m{}%d", "%Y{}%d{}%m")),
    (
        re.compile(r"\d{1,2}(?P<sign>[ /.-]?)[A-Za-z]{3,9}(?P=sign)\d{4}"),
        ("%d{}%B{}%Y",),
    ),
    (re.compile(r"\d{1,2}(?P<sign>[ /.-]?)[A-Za-z]{3,9}(?P=sign)\d{2}"), ("%d{}%B{}%y",)),
    (re.compile(r"\d{1,2}(?P<sign>\. )[A-Za-z]{3,9} \d{4}"), ("%d. %B %Y",)),
    (re.compile(r"[A-Za-z]{3,9}(?P<sign> )\d{1,2}, ?\d{4}"), ("%B %d, %Y",)),
    (re.compile(r"[A-Za-z]{3,9}(?P<sign>[ -])\d{1,2}(?P=sign)\d{4}"), ("%B{}%d{}%Y",)),
    (re.compile(r"\d{8}(?P<sign>)"), ("%Y%m%d",)),
)
_LAST_RESORT = ("%y/", "%y.", "%Y")
"""Formats with these prefixes, unless suggested first, are only used if no other format fits."""


def suggested_formats(word: str) -> tuple[str, ...]:
    """Return the formats in which a value may be a date, the most common first; none for ISO 8601."""
    for shape, formats in _SHAPES:
        date = shape.match(word)
        if date is None:
            continue
        rest = word[date.end() :]
        time = _TIME.fullmatch(rest)
        if rest and time is None:
            continue
        clock = "" if time is None else _clock(time)
        separator = date["sign"]
        return tuple(f"{template.replace('{}', separator)}{clock}" for template in formats)
    return ()


def _clock(time: re.Match[str]) -> str:
    half = time["half"]
    clock = f"{time['between']}{'%H' if half is None else '%I'}:%M"
    if time["second"]:
        clock += ":%S%.f" if time["fraction"] else ":%S"
    if half is not None:
        clock += " %p" if half.startswith(" ") else "%p"
    return clock


def has_time(date_format: str) -> bool:
    """Return whether a format has a time of day."""
    directives = ("%H", "%I", "%T", "%R", "%s", "%c", "%X")
    return any(directive in date_format for directive in directives)


def parsed_dates(cells: pl.Expr, date_format: str) -> pl.Expr:
    """Parse text as dates or times; null for text in another format.

    `%Y` does not match years of fewer than three digits: 13/06/18 is not in the year 18.
    """
    target = pl.Datetime("us") if has_time(date_format) else pl.Date()
    dates = cells.str.strptime(target, date_format, strict=False, exact=True)
    return pl.when(dates.dt.year() >= 100).then(dates) if "%Y" in date_format else dates


def field_order(date_format: str) -> str:
    """Return "day first" or "month first" for a numeric format; empty for others."""
    if date_format.startswith("%d") and "%m" in date_format:
        return "day first"
    return "month first" if date_format.startswith("%m") else ""


@dataclass(frozen=True, slots=True)
class DetectedDates:
    """The date formats detected in a text column.

    Attributes:
        formats: The formats that fit every value: several if they are ambiguous, none if the values
            are not dates.
        best_format: The format that fits most values; empty if the values do not look like dates.
        example: The first value that looks like a date, otherwise the first value.
        matched: Number of values that `best_format` fits.
        known: Number of values.
        unmatched: The first few values that `best_format` does not fit.
    """

    formats: tuple[str, ...]
    best_format: str
    example: str
    matched: int
    known: int
    unmatched: tuple[str, ...]


@dataclass(slots=True)
class DateFormatDetector:
    """Detects the date formats of a text column, batch by batch.

    Attributes:
        configured: A format that the config sets, which is tried first.
        known: Number of values.
        example: The first value that looks like a date, otherwise the first value.
        suggested: The formats that the example suggests.
        counts: Number of values that are dates, by format.
        unmatched: The first few values that are not, by format.
        distinct: The first few distinct values, for formats without separators.
        months: The first few months, for formats without separators.
    """

    configured: str | None = None
    known: int = 0
    example: str = ""
    suggested: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    unmatched: dict[str, list[str]] = field(default_factory=dict)
    distinct: set[str] = field(default_factory=set)
    months: set[str] = field(default_factory=set)

    def add(self, series: pl.Series) -> None:
        """Add text cells; missing ones are ignored."""
        known = series.drop_nulls()
        if not len(known):
            return
        if not self.known:
            self.example = str(known[0])
            if self.configured is not None:
                self.counts[self.configured] = 0
        self._suggest(known)
        self.known += len(known)
        cells = known.alias("cell").to_frame().group_by("cell", maintain_order=True).len("rows")
        for date_format in self.counts:
            year = parsed_dates(pl.col("cell"), date_format).dt.year()
            is_date = cells.select(year.is_between(EARLIEST, LATEST)).to_series()
            is_date = is_date.fill_null(value=False)
            self.counts[date_format] += int(cells["rows"].filter(is_date).sum())
            unmatched = self.unmatched.setdefault(date_format, [])
            if len(unmatched) < MAX_SHOWN:
                more = cells["cell"].filter(~is_date & ~cells["cell"].is_in(unmatched))
                unmatched += more.head(MAX_SHOWN - len(unmatched)).to_list()
        if self._is_compact and len(self.distinct) < _MIN_COMPACT:
            self.distinct.update(cells["cell"].head(_MIN_COMPACT).to_list())
        if self._is_compact and len(self.months) < 2:
            self.months.update(cells["cell"].str.slice(0, 6).unique().head(2).to_list())

    def _suggest(self, known: pl.Series) -> None:
        """Set the formats to count, unless they are set: the values before fit none of them."""
        if self.suggested:
            return
        for value in known.head(_EXAMINED).to_list():
            formats = suggested_formats(value)
            if formats:
                self.suggested, self.example = formats, value
                new = [date_format for date_format in formats if date_format not in self.counts]
                self.counts |= dict.fromkeys(new, 0)
                return

    @property
    def _is_compact(self) -> bool:
        return self.suggested == ("%Y%m%d",)

    def detect(self) -> DetectedDates:
        """Return the detected formats."""
        fitting = tuple(
            date_format for date_format, count in self.counts.items() if count == self.known
        )
        usual = tuple(
            date_format for date_format in fitting if not self._is_last_resort(date_format)
        )
        if self.configured is not None and self.configured in fitting:
            usual = (self.configured,)
        elif self._is_compact and not (len(self.distinct) >= _MIN_COMPACT and len(self.months) > 1):
            # A number of eight digits may be a date by chance.
            usual, fitting = (), ()
        best_format = max(self.counts, key=lambda date_format: self.counts[date_format], default="")
        return DetectedDates(
            formats=usual or fitting,
            best_format=best_format,
            example=self.example,
            matched=self.counts.get(best_format, 0),
            known=self.known,
            unmatched=tuple(self.unmatched.get(best_format, ())),
        )

    def _is_last_resort(self, date_format: str) -> bool:
        return date_format != self.suggested[0] and date_format.startswith(_LAST_RESORT)
