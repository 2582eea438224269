"""Nested values and bytes as JSON text."""

from __future__ import annotations

import json

import polars as pl


def json_text(series: pl.Series) -> pl.Series:
    """Return nested cells as JSON, with bytes as hexadecimal digits; null stays null."""
    texts = [
        None if value is None else json.dumps(value, ensure_ascii=False, default=_plain)
        for value in series.to_list()
    ]
    return pl.Series(series.name, texts, dtype=pl.String)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return value.to_list() if isinstance(value, pl.Series) else str(value)
