"""The times of the rows, for a split by time: numbers, ISO 8601 dates, or dates in one other format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.nodes import column_key
from trainer.config.yaml_writer import flow_text
from trainer.data.arrays import Float64Array, RowIndex
from trainer.data.column_settings import explicit_kind
from trainer.data.date_formats import DetectedDates
from trainer.data.text_formats import (
    ParseSpec,
    TextFormatDetector,
    detected_spec,
    explicit_date_format,
    format_setting,
)
from trainer.data.values import is_date_type, number_matrix, parse_number, text, to_microseconds
from trainer.errors import DataError, Problem

_KEY = "data.split.column"


def row_timestamps(
    series: pl.Series, data: Data, where: Callable[[int], str]
) -> RowIndex | Float64Array:
    """The time of each row, in microseconds since 1970 or as the number in the cell.

    Args:
        series: The column, without missing values.
        data: The `data` section, which may state how dates are written.
        where: The place of a row of the series, for messages.

    Raises:
        DataError: A value is no time, or dates have several meanings.
    """
    own = data.columns[series.name].format if series.name in data.columns else None
    if is_date_type(series.dtype):
        return to_microseconds(series, None).to_numpy()
    if own is None:
        numbers: Float64Array = number_matrix(series.to_frame(), [series.name])[:, 0]
        if not np.isnan(numbers).any():
            return numbers
    stamps = to_microseconds(series, own)
    if stamps.null_count() and own is None:
        reading, dates = _found(text(series), data)
        if len(dates.formats) > 1:
            found = f"'{dates.example}', and no value that shows which part is the day"
            fix = f"set {format_setting(series.name, dates.formats)}"
            expected = f"dates with one meaning in '{series.name}'"
            raise DataError(Problem("", expected, found, fix, _KEY))
        if reading.date is not None or (dates.nearest and dates.dates > stamps.count()):
            own = reading.date or dates.nearest
            stamps = to_microseconds(series, own)
    if stamps.null_count() == 0:
        return stamps.to_numpy()
    raise DataError(_wrong_time(text(series), stamps, own, where))


def time_notes(frame: pl.DataFrame, data: Data, features: Sequence[str]) -> list[str]:
    """What a user should know of the column that orders the rows, if it is not a feature.

    Args:
        frame: The rows, with the column.
        data: The `data` section.
        features: The feature columns; what is assumed about them is noted when they are fitted.
    """
    name = data.split.column
    if data.split.by != "time" or name is None or name in features:
        return []
    series = frame[name].drop_nulls()
    reading = _assumed(series, data)
    notes = []
    if reading is not None and reading.note is not None and reading.date is not None:
        setting = format_setting(name, [reading.date])
        notes.append(f"{reading.note.what}; set {setting} to confirm it")
    is_dates = is_date_type(series.dtype) or reading is not None
    is_dates = (
        is_dates or to_microseconds(series, explicit_date_format(data, name)).null_count() == 0
    )
    if data.features.include is None and not _excluded(name, data):
        include = "data.features.include: ['*']"
        what = "has higher values in test rows than in any training row"
        fix = f"set {include} to use it nevertheless"
        if is_dates:
            what = "is later in test rows than in any training row"
            fix = (
                f"set {include} and {column_key(name)}.parts: [year, week, day] to use its place in "
                "the year, the week and the day"
            )
        notes.append(
            f"'{name}', which splits the rows, is not a feature: it {what}; {fix}, or "
            f"data.features.exclude: {flow_text([name])} to confirm that it is left out"
        )
    return notes


def _excluded(name: str, data: Data) -> bool:
    return any(name == each or fnmatchcase(name, each) for each in data.features.exclude)


def _assumed(series: pl.Series, data: Data) -> ParseSpec | None:
    """How dates are read that the config says nothing of, and that are not ISO 8601."""
    name = series.name
    if series.dtype != pl.String or not len(series) or explicit_kind(data, name) == "datetime":
        return None
    numbers = number_matrix(series.to_frame(), [name])[:, 0]
    if not np.isnan(numbers).any() or to_microseconds(series, None).null_count() == 0:
        return None
    reading, _ = _found(series, data)
    return None if reading.date is None else reading


def _found(series: pl.Series, data: Data) -> tuple[ParseSpec, DetectedDates]:
    detector = TextFormatDetector(data)
    detector.add(series)
    return detected_spec(data, series.name, "categorical", detector), detector.dates.reading()


def _wrong_time(
    words: pl.Series, stamps: pl.Series, own: str | None, where: Callable[[int], str]
) -> Problem:
    wrong = np.flatnonzero(stamps.is_null().to_numpy())
    if own is None:
        # A number among dates is likely to be no slip.
        worded = [place for place in wrong if parse_number(words[int(place)]) is None]
        wrong = np.array(worded) if worded else wrong
        expected = f"numbers or ISO 8601 dates in '{words.name}'"
        fix = (
            "write its times like 2024-03-31 or 2024-03-31T18:30:00, or set "
            f"{column_key(words.name)}.format"
        )
    else:
        expected = f"dates written as '{own}' in '{words.name}'"
        fix = f"correct it, or change {column_key(words.name)}.format"
    more = f" and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
    place = int(wrong[0])
    return Problem(where(place), expected, f"'{words[place]}'{more}", fix, _KEY)
