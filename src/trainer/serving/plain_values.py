"""Conversion of the common values of a request without polars: yes and no, dates, categories."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.spellings import (
    FALSE_TOKENS,
    TRUE_TOKENS,
    canonical_level,
    casefold_level,
    looks_like_date,
)
from trainer.export.schema import NOT_A_LEVEL, InputField

_NONE = type(None)
_YES_NO = frozenset({bool, str, _NONE})
_ISO_DATES = frozenset({str, _NONE})
_LEVELS = frozenset({str, int, bool, _NONE})
_WORDS = {**dict.fromkeys(TRUE_TOKENS, True), **dict.fromkeys(FALSE_TOKENS, False)}
_OTHER = object()
"""Stands for a text that is neither yes nor no."""
_START, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def plain_converter(field: InputField) -> Callable[[list[Any]], NDArray[Any] | None] | None:
    """Return a function that converts values of the common types, and returns None for others.

    It has the results of `trainer.export.rows`, which takes a hundred times as long for a row.
    """
    match field.kind:
        case "boolean":
            return _booleans
        case "datetime" if field.date_format is None:
            return _dates
        case "category":
            missing = "" if field.missing is None else field.missing
            return _level_converter(missing, ignore_case=field.ignore_case)
    return None


def _booleans(values: list[Any]) -> NDArray[Any] | None:
    if not _YES_NO.issuperset(map(type, values)):
        return None
    known = [_WORDS.get(value.lower(), _OTHER) if type(value) is str else value for value in values]
    return None if _OTHER in known else _column(known, np.float64)


def _dates(values: list[Any]) -> NDArray[Any] | None:
    if not _ISO_DATES.issuperset(map(type, values)):
        return None
    try:
        return _column([None if value is None else _seconds(value) for value in values], np.float64)
    except ValueError:
        return None


def _seconds(text: str) -> float:
    """Return the seconds since 1970 of a date in ISO 8601.

    Raises:
        ValueError: It is not one.
    """
    if not looks_like_date(text):
        raise ValueError(text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _START) // _MICROSECOND / 1e6


def _level_converter(
    missing: str, *, ignore_case: bool
) -> Callable[[list[Any]], NDArray[Any] | None]:
    def levels(values: list[Any]) -> NDArray[Any] | None:
        if not _LEVELS.issuperset(map(type, values)):
            return None
        texts = []
        for value in values:
            # Blank cells are missing, as in a table.
            if value is None or (type(value) is str and not value.strip()):
                texts.append(missing)
                continue
            text = casefold_level(level_text(value)) if ignore_case else level_text(value)
            # A text of characters without width is not missing.
            texts.append(text or ("" if missing else NOT_A_LEVEL))
        return _column(texts, np.object_)

    return levels


def level_text(value: object) -> str:
    """Return a value as a category."""
    match value:
        case str():
            return canonical_level(value)
        case bool():
            return "true" if value else "false"
    return str(value)


def _column(values: list[Any], dtype: type[Any]) -> NDArray[Any]:
    return np.array(values, dtype).reshape(-1, 1)
