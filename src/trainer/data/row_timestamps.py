"""Times of the rows for a time split: numbers, ISO 8601 dates, or dates in another format."""

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
from trainer.data.spellings import parse_number
from trainer.data.text_formats import (
    ParseSpec,
    TextFormatDetector,
    detected_spec,
    explicit_date_format,
    format_setting,
)
from trainer.data.values import is_date_type, number_matrix, to_microseconds, to_text
from trainer.errors import DataError, Problem

_KEY = "data.split.column"


def row_timestamps(
    series: pl.Series, data: Data, where: Callable[[int], str]
) -> RowIndex | Float64Array:
    """Return the time of each row, in microseconds since 1970 or as the number in the cell.

    Args:
        series: The column, without missing values.
        data: The `data` section, which may set the date format.
        where: Returns the location of a row of the series, for messages.

    Raises:
        DataError: If a value is not a time, or dates are ambiguous.
    """
    date_format = data.columns[series.name].format if series.name in data.columns else None
    if is_date_type(series.dtype):
        return to_microseconds(series, None).to_numpy()
    if date_format is None:
        numbers: Float64Array = number_matrix(series.to_frame(), [series.name])[:, 0]
        if not np.isnan(numbers).any():
            return numbers
    stamps = to_microseconds(series, date_format)
    if stamps.null_count() and date_format is None:
        spec, dates = _detect(to_text(series), data)
        if len(dates.formats) > 1:
            found = f"'{dates.example}', and no value that shows which part is the day"
            fix = f"set {format_setting(series.name, dates.formats)}"
            expected = f"unambiguous dates in '{series.name}'"
            raise DataError(Problem("", expected, found, fix, _KEY))
        if spec.date_format is not None or (dates.best_format and dates.matched > stamps.count()):
            date_format = spec.date_format or dates.best_format
            stamps = to_microseconds(series, date_format)
    if stamps.null_count() == 0:
        return stamps.to_numpy()
    raise DataError(_invalid_time_problem(to_text(series), stamps, date_format, where))


def time_notes(frame: pl.DataFrame, data: Data, features: Sequence[str]) -> list[str]:
    """Return notes about the time column of the split, if it is not a feature.

    Args:
        frame: The rows, with the column.
        data: The `data` section.
        features: The feature columns; fitting notes the assumptions about these.
    """
    name = data.split.column
    if data.split.by != "time" or name is None or name in features:
        return []
    series = frame[name].drop_nulls()
    spec = _assumed_format(series, data)
    notes = []
    if spec is not None and spec.note is not None and spec.date_format is not None:
        setting = format_setting(name, [spec.date_format])
        notes.append(f"{spec.note.what}; set {setting} to confirm it")
    is_dates = is_date_type(series.dtype) or spec is not None
    is_dates = (
        is_dates or to_microseconds(series, explicit_date_format(data, name)).null_count() == 0
    )
    if data.features.include is None and not _excluded(name, data):
        include = "data.features.include: ['*']"
        reason = "its values are higher in test rows than in any training row"
        fix = f"set {include} to use it anyway"
        if is_dates:
            reason = "it is later in test rows than in any training row"
            fix = (
                f"set {include} and {column_key(name)}.parts: [year, week, day] to use its position "
                "in the year, the week and the day"
            )
        notes.append(
            f"the split column '{name}' is not a feature, as {reason}; {fix}, or "
            f"data.features.exclude: {flow_text([name])} to confirm that it is excluded"
        )
    return notes


def _excluded(name: str, data: Data) -> bool:
    return any(name == item or fnmatchcase(name, item) for item in data.features.exclude)


def _assumed_format(series: pl.Series, data: Data) -> ParseSpec | None:
    """Return the assumed date format, if the config does not set one and dates are not ISO 8601."""
    name = series.name
    if series.dtype != pl.String or not len(series) or explicit_kind(data, name) == "datetime":
        return None
    numbers = number_matrix(series.to_frame(), [name])[:, 0]
    if not np.isnan(numbers).any() or to_microseconds(series, None).null_count() == 0:
        return None
    spec, _ = _detect(series, data)
    return None if spec.date_format is None else spec


def _detect(series: pl.Series, data: Data) -> tuple[ParseSpec, DetectedDates]:
    detector = TextFormatDetector(data)
    detector.add(series)
    return detected_spec(data, series.name, "categorical", detector), detector.dates.detect()


def _invalid_time_problem(
    cells: pl.Series, stamps: pl.Series, date_format: str | None, where: Callable[[int], str]
) -> Problem:
    unparsed = np.flatnonzero(stamps.is_null().to_numpy())
    if date_format is None:
        # A number among dates is rarely the error.
        not_numbers = [row for row in unparsed if parse_number(cells[int(row)]) is None]
        unparsed = np.array(not_numbers) if not_numbers else unparsed
        expected = f"numbers or ISO 8601 dates in '{cells.name}'"
        fix = (
            "write times like 2024-03-31 or 2024-03-31T18:30:00, or set "
            f"{column_key(cells.name)}.format"
        )
    else:
        expected = f"dates in the format '{date_format}' in '{cells.name}'"
        fix = f"correct it, or change {column_key(cells.name)}.format"
    more = f" and {len(unparsed) - 1:,} more" if len(unparsed) > 1 else ""
    first = int(unparsed[0])
    return Problem(where(first), expected, f"'{cells[first]}'{more}", fix, _KEY)
