"""Dates that are not written as ISO 8601: 13/06/2018 · 06.13.2018 18:30 · 13-Jun-2018 · 20180613.

The first date of a column suggests formats, and all values decide between them
(`DateFormatDetector`): a day above 12 somewhere decides between 13/06 and 06/13. Where none
does, both remain, and nothing is assumed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import polars as pl

MAX_SHOWN = 3
EARLIEST, LATEST = 1800, 2200
"""The years in which a number is taken for one."""

_LOOKED_AT = 100
"""Values of a batch among which the first date is looked for."""

_LEAST_COMPACT = 10
"""Different values that all have to be dates before 20180613 is not taken for a number."""

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
"""A format that starts so and is not the first suggestion is taken only where the first does not fit."""


def suggested_formats(word: str) -> tuple[str, ...]:
    """The formats in which a value may be a date, the most usual first; none for ISO 8601."""
    for shape, formats in _SHAPES:
        date = shape.match(word)
        if date is None:
            continue
        rest = word[date.end() :]
        time = _TIME.fullmatch(rest)
        if rest and time is None:
            continue
        clock = "" if time is None else _clock(time)
        signs = date["sign"]
        return tuple(f"{each.replace('{}', signs)}{clock}" for each in formats)
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
    """Whether a format has a time of day."""
    signs = ("%H", "%I", "%T", "%R", "%s", "%c", "%X")
    return any(sign in date_format for sign in signs)


def parsed_dates(cells: pl.Expr, date_format: str) -> pl.Expr:
    """Dates or times of text; null where it is not written so.

    A year of less than three digits is none of `%Y`: 13/06/18 is not in the year 18.
    """
    target = pl.Datetime("us") if has_time(date_format) else pl.Date()
    dates = cells.str.strptime(target, date_format, strict=False, exact=True)
    return pl.when(dates.dt.year() >= 100).then(dates) if "%Y" in date_format else dates


def field_order(date_format: str) -> str:
    """What comes first in a format of digits: "day first" or "month first"; empty for others."""
    if date_format.startswith("%d") and "%m" in date_format:
        return "day first"
    return "month first" if date_format.startswith("%m") else ""


@dataclass(frozen=True, slots=True)
class DetectedDates:
    """What a column's text says about its dates.

    Attributes:
        formats: The formats that fit every value: one where the values decide, several where they do
            not, none where they are no dates.
        nearest: The format that fits most values; empty if the values do not look like dates.
        example: The first value that looks like a date, else the first.
        dates: Values that `nearest` fits.
        known: Values.
        others: The first few values that `nearest` does not fit.
    """

    formats: tuple[str, ...]
    nearest: str
    example: str
    dates: int
    known: int
    others: tuple[str, ...]


@dataclass(slots=True)
class DateFormatDetector:
    """Counts of the dates in a column of text, batch after batch.

    Attributes:
        stated: A format that the config states, which is tried first.
        known: Values.
        example: The first value that looks like a date, else the first.
        suggested: The formats that the example suggests.
        counts: Values that are dates, by format.
        others: The first few values that are not, by format.
        distinct: The first few different values, for digits alone.
        months: The first few months, for digits alone.
    """

    stated: str | None = None
    known: int = 0
    example: str = ""
    suggested: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    others: dict[str, list[str]] = field(default_factory=dict)
    distinct: set[str] = field(default_factory=set)
    months: set[str] = field(default_factory=set)

    def add(self, series: pl.Series) -> None:
        """Take in cells of text; missing ones do not count."""
        known = series.drop_nulls()
        if not len(known):
            return
        if not self.known:
            self.example = str(known[0])
            if self.stated is not None:
                self.counts[self.stated] = 0
        self._suggest(known)
        self.known += len(known)
        cells = known.alias("cell").to_frame().group_by("cell", maintain_order=True).len("rows")
        for each in self.counts:
            year = parsed_dates(pl.col("cell"), each).dt.year()
            right = cells.select(year.is_between(EARLIEST, LATEST)).to_series()
            right = right.fill_null(value=False)
            self.counts[each] += int(cells["rows"].filter(right).sum())
            found = self.others.setdefault(each, [])
            if len(found) < MAX_SHOWN:
                wrong = cells["cell"].filter(~right & ~cells["cell"].is_in(found))
                found += wrong.head(MAX_SHOWN - len(found)).to_list()
        if self._is_compact and len(self.distinct) < _LEAST_COMPACT:
            self.distinct.update(cells["cell"].head(_LEAST_COMPACT).to_list())
        if self._is_compact and len(self.months) < 2:
            self.months.update(cells["cell"].str.slice(0, 6).unique().head(2).to_list())

    def _suggest(self, known: pl.Series) -> None:
        """Find formats to count, unless there are some: values without one fit none of them."""
        if self.suggested:
            return
        for word in known.head(_LOOKED_AT).to_list():
            formats = suggested_formats(word)
            if formats:
                self.suggested, self.example = formats, word
                self.counts |= {each: 0 for each in formats if each not in self.counts}
                return

    @property
    def _is_compact(self) -> bool:
        return self.suggested == ("%Y%m%d",)

    def reading(self) -> DetectedDates:
        """What the values are."""
        fitting = tuple(each for each, count in self.counts.items() if count == self.known)
        usual = tuple(each for each in fitting if not self._is_last_resort(each))
        if self.stated is not None and self.stated in fitting:
            usual = (self.stated,)
        elif self._is_compact and not (
            len(self.distinct) >= _LEAST_COMPACT and len(self.months) > 1
        ):
            # A number of eight digits may be a date by chance.
            usual, fitting = (), ()
        nearest = max(self.counts, key=lambda each: self.counts[each], default="")
        return DetectedDates(
            formats=usual or fitting,
            nearest=nearest,
            example=self.example,
            dates=self.counts.get(nearest, 0),
            known=self.known,
            others=tuple(self.others.get(nearest, ())),
        )

    def _is_last_resort(self, date_format: str) -> bool:
        return date_format != self.suggested[0] and date_format.startswith(_LAST_RESORT)
