"""The rows on which an export is compared with `predict`: validation rows, and rows of unusual values.

Rows of unusual values mix, for each column, the ends of its range and numbers far beyond them, missing,
invalid and unseen values, and all levels. They are drawn from a fixed seed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.dataset import Dataset
from trainer.data.in_memory import table_in_memory
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.errors import InputError
from trainer.export.bundle import Bundle
from trainer.export.raw_schema import raw_schema
from trainer.export.schema import InputField, Plain, Schema
from trainer.prediction.trained_runs import load_run_table

VALIDATION_ROWS, UNUSUAL_ROWS = 1_000, 200
CALIBRATION_ROWS = 300
_IMAGE_BYTES = 200_000_000
"""Fewer rows are compared if their images would take more memory."""
_LEVELS, _WORDS = 60, 2_000
_FAR = 10.0
_UNSEEN_LEVEL = "no such level"


@dataclass(frozen=True)
class CheckRows:
    """Raw rows to compare.

    Attributes:
        frame: The columns of the table that the model uses, with normalized types.
        images: Column → decoded images.
        usual: Number of rows, the first ones, that are rows of the data.
        source: Which rows these are, in words.
        warning: Why they are not validation rows; "" if they are.
    """

    frame: pl.DataFrame
    images: Mapping[str, NDArray[np.uint8]]
    usual: int
    source: str
    warning: str = ""

    def __len__(self) -> int:
        return self.frame.height


def check_rows(bundle: Bundle) -> CheckRows:
    """Return the rows for a run; without its table, rows drawn within the ranges of training."""
    schema = raw_schema(bundle)
    rng = np.random.default_rng(0)
    limit = _row_limit(schema)
    try:
        frame, images, source = _data_rows(bundle, limit, ("validation", "test", "train"))
        warning = ""
    except InputError as error:
        # The table was deleted, moved or changed.
        frame = _drawn_rows(schema, _usual_values, limit, rng)
        images = _noise(schema, limit, rng)
        source = f"{limit:,} rows drawn within the ranges of the training rows"
        warning = (
            "the export is compared with predict on drawn rows, not on validation rows: "
            f"{error.problems[0]}"
        )
    count = min(UNUSUAL_ROWS, limit)
    unusual = _drawn_rows(schema, _unusual_values, count, rng)
    parts = [table_in_memory(part).frame for part in (frame, unusual)]
    noise = _noise(schema, count, rng)
    return CheckRows(
        pl.concat([_as_text(parts, index) for index in range(2)]),
        {name: np.concatenate([images[name], noise[name]]) for name in images},
        frame.height,
        source,
        warning,
    )


def calibration_rows(bundle: Bundle) -> tuple[pl.DataFrame, dict[str, NDArray[np.uint8]]]:
    """Return training rows, on which the ranges of activations are measured, and their images.

    Raises:
        DataError: The files are missing or have changed.
        RunError: The record of the splits is damaged.
    """
    frame, images, _ = _data_rows(bundle, CALIBRATION_ROWS, ("train",))
    return table_in_memory(frame).frame, images


def _as_text(parts: Sequence[pl.DataFrame], index: int) -> pl.DataFrame:
    """Return one of two frames; columns whose types differ are text, as in a CSV file."""
    frame, other = parts[index], parts[1 - index]
    return frame.select(
        pl.col(name) if dtype == other.schema[name] else _texts(frame[name])
        for name, dtype in frame.schema.items()
    )


def _texts(cells: pl.Series) -> pl.Series:
    if cells.dtype.is_temporal():
        return cells.cast(pl.Datetime("us")).dt.to_string("iso:strict").alias(cells.name)
    return cells.cast(pl.String)


def _row_limit(schema: Schema) -> int:
    sizes = [int(np.prod(item.shape)) for item in schema.inputs if item.kind == "image"]
    return min(VALIDATION_ROWS, _IMAGE_BYTES // max(1, *sizes, 1)) if sizes else VALIDATION_ROWS


def _data_rows(
    bundle: Bundle, limit: int, order: Sequence[SplitName]
) -> tuple[pl.DataFrame, dict[str, NDArray[np.uint8]], str]:
    """Return rows of the first split that has any.

    Raises:
        DataError: The files are missing or have changed.
        RunError: The record of the splits is damaged.
    """
    dataset = load_run_table(bundle.members[0].trained)
    split = next(name for name in order if dataset.rows(name))
    rows = np.flatnonzero(dataset.assignment == SPLIT_NAMES.index(split))
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(int))]
    frame = rows_of(dataset, list(bundle.columns), chosen)
    images: dict[str, NDArray[np.uint8]] = {}
    image = bundle.encoders[0].image
    if image is not None:
        images[image.name] = np.ascontiguousarray(image.load(frame[image.name])[:])
    return frame, images, f"{len(chosen):,} {'training' if split == 'train' else split} rows"


def rows_of(dataset: Dataset, names: Sequence[str], rows: NDArray[np.int64]) -> pl.DataFrame:
    """Return columns of some rows of a table, in their order in it."""
    parts = []
    for start, frame in dataset.source.batches(names):
        inside = rows[(rows >= start) & (rows < start + frame.height)]
        if len(inside):
            parts.append(frame.select(names)[inside - start])
    return pl.concat(parts)


def _noise(schema: Schema, rows: int, rng: np.random.Generator) -> dict[str, NDArray[np.uint8]]:
    """Return random images, of which the first is black and the second white."""
    images = {}
    for item in schema.inputs:
        if item.kind == "image":
            pixels = rng.integers(0, 256, (rows, *item.shape), np.uint8)
            pixels[:1], pixels[1:2] = 0, 255
            images[item.column] = pixels
    return images


def _drawn_rows(schema: Schema, values: Any, rows: int, rng: np.random.Generator) -> pl.DataFrame:
    """Return rows whose cells are drawn from the values of each column; the last row lacks all."""
    columns = {}
    for item in schema.inputs:
        if item.column in columns:
            continue
        choices = list(values(item, rng))
        drawn = [choices[index] for index in rng.integers(0, len(choices), rows)]
        # Each value occurs, as far as there are rows.
        drawn[: len(choices)] = choices[:rows]
        rng.shuffle(drawn)
        if values is _unusual_values:
            drawn[-1] = None
        columns[item.column] = _series(item, drawn)
    return pl.DataFrame(columns)


def _series(item: InputField, values: Sequence[Plain | datetime]) -> pl.Series:
    match item.kind:
        case "number":
            return pl.Series(item.column, values, dtype=pl.Float64, strict=False)
        case "datetime" if item.date_format is not None:
            texts = [
                cell.strftime(item.date_format) if isinstance(cell, datetime) else None
                for cell in values
            ]
            return pl.Series(item.column, texts, dtype=pl.String)
        case "datetime":
            return pl.Series(item.column, values, dtype=pl.Datetime("us"), strict=False)
        case _:
            return pl.Series(item.column, values, dtype=pl.String, strict=False)


def _usual_values(item: InputField, rng: np.random.Generator) -> list[Plain | datetime]:
    """Return values within the range of the training rows."""
    match item.kind:
        case "number":
            low, high = _range(item)
            return [float(value) for value in rng.uniform(low, high, VALIDATION_ROWS)]
        case "datetime":
            first, last = _dates(item)
            days = (last - first) / timedelta(days=1)
            return [first + timedelta(days=float(part)) for part in rng.uniform(0, days, 500)]
        case "boolean":
            return ["true", "false"]
        case "category":
            return [*item.categories, *item.other_categories]
        case "text" | "tokens":
            return _sentences(item, rng)
        case "image" | "encoded":
            return [None]


def _unusual_values(item: InputField, rng: np.random.Generator) -> list[Plain | datetime]:
    """Return the ends of the range and values beyond, missing, invalid and unseen values."""
    match item.kind:
        case "number":
            low, high = _range(item)
            reach = _FAR * (high - low)
            ends = [low, high, low - reach, high + reach, 0.0, (low + high) / 2]
            return [*ends, None, float("inf"), float("-inf")]
        case "datetime":
            first, last = _dates(item)
            others = [datetime(1899, 12, 31, 23, 59, 59), datetime(2100, 2, 28, 12)]
            return [first, last, datetime(2024, 2, 29, 6, 30), *others, None]
        case "boolean":
            return ["yes", "no", "1", "0.0", None, "perhaps"]
        case "category":
            levels = [*item.categories[:_LEVELS], *item.other_categories[:_LEVELS]]
            return [*levels, None, _UNSEEN_LEVEL]
        case "text" | "tokens":
            return [*_sentences(item, rng)[:50], None, "", "zzzqqqxxj"]
        case "image" | "encoded":
            return [None]


def _range(item: InputField) -> tuple[float, float]:
    low, high = item.minimum, item.maximum
    assert isinstance(low, int | float), item.name
    assert isinstance(high, int | float), item.name
    return float(low), float(high)


def _dates(item: InputField) -> tuple[datetime, datetime]:
    first = datetime.fromisoformat(str(item.minimum))
    if item.maximum is None:
        return first, first + timedelta(days=1_000)
    return first, datetime.fromisoformat(str(item.maximum))


def _sentences(item: InputField, rng: np.random.Generator) -> list[Plain | datetime]:
    """Return texts of known words and characters, joined with unknown ones."""
    fitted = item.fitted or {}
    parts = [fitted["tokens"]] if fitted.get("tokens") else []
    parts += [table["terms"] for table in fitted.get("tables") or ()]
    if fitted.get("pieces"):
        parts.append(re.findall(r"\w+", json.dumps(fitted["pieces"]["definition"]["model"])))
    words = [str(term) for terms in parts for term in terms[:_WORDS]]
    lengths = rng.integers(1, 40, VALIDATION_ROWS // 2)
    return [
        " ".join([*(words[index] for index in rng.integers(0, len(words), length)), "xqzj"])
        for length in lengths
    ]
