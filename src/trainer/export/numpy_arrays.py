"""The arrays that the NumPy code of `trainer.export.numpy_columns` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.categorical import BooleanColumn, CategoricalColumn, ordinal_values
from trainer.data.datetimes import DatetimeColumn, origin_stamp
from trainer.data.numeric import NumericColumn
from trainer.data.preprocessing import Preprocessing
from trainer.data.text_columns import TextColumn
from trainer.export.levels import level_keys, number_codes, number_target_means
from trainer.inputs import FEATURES

Array = NDArray[Any]
Tree = dict[str, Any]
"""Name → an array, or a tree below it."""


def encoder_arrays(
    preprocessing: Preprocessing, inputs: Mapping[str, str], missing: Mapping[str, str]
) -> Tree:
    """Return the arrays of a fitted preprocessing.

    Args:
        preprocessing: The fitted columns.
        inputs: Column → the name of its input.
        missing: Column → the text of a missing value, for categories.
    """
    starts = {name: place.columns.start for name, place in preprocessing.input_columns.items()}
    specs = {spec.name: spec for spec in preprocessing.inputs}
    tree: Tree = {"width": np.array(specs[FEATURES].shape[0] if FEATURES in specs else 0)}
    columns = preprocessing.columns
    numeric = [column for column in columns if isinstance(column, NumericColumn)]
    if numeric:
        names = [inputs[column.name] for column in numeric]
        tree["numbers"] = _numbers(numeric, [starts[column.name] for column in numeric])
        tree["numbers"]["inputs"] = np.array(names)
    booleans = [column for column in columns if isinstance(column, BooleanColumn)]
    if booleans:
        tree["booleans"] = _booleans(booleans, inputs, starts)
    dates = [column for column in columns if isinstance(column, DatetimeColumn)]
    for index, date in enumerate(dates):
        arrays = _date(date, starts[date.name])
        tree.setdefault("dates", {})[str(index)] = {"input": np.array(inputs[date.name]), **arrays}
    categories = [column for column in columns if isinstance(column, CategoricalColumn)]
    tree["ids"] = np.array(len(preprocessing.embeddings))
    for index, category in enumerate(categories):
        name = inputs[category.name]
        arrays = _category(category, starts[category.name], missing[category.name])
        tree.setdefault("categories", {})[str(index)] = {"input": np.array(name), **arrays}
    if preprocessing.texts:
        tree["texts"] = _texts(preprocessing.texts, inputs)
    if preprocessing.tokens is not None:
        tree["tokens"] = {"input": np.array(inputs[preprocessing.tokens.name])}
    if preprocessing.image is not None:
        tree["image"] = {"input": np.array(inputs[preprocessing.image.name])}
    return tree


def _numbers(columns: Sequence[NumericColumn], starts: Sequence[int]) -> Tree:
    clips = [
        column.outliers
        if column.outliers is not None and column.outliers.action == "clip"
        else None
        for column in columns
    ]
    marked = [index for index, column in enumerate(columns) if column.indicator]
    tree: Tree = {
        "at": np.array(starts),
        "lower": np.array([-np.inf if clip is None else clip.lower for clip in clips]),
        "upper": np.array([np.inf if clip is None else clip.upper for clip in clips]),
        "fill": np.array([column.fill for column in columns]),
        "center": np.array([column.center for column in columns]),
        "divisor": np.array([column.divisor for column in columns]),
    }
    if any(column.smooth_clip is not None for column in columns):
        bounds = [np.inf if c.smooth_clip is None else c.smooth_clip for c in columns]
        tree["bound"] = np.array(bounds)
    if marked:
        tree["marked"] = np.array(marked)
        tree["marks_at"] = np.array([starts[index] + 1 for index in marked])
    for index, column in enumerate(columns):
        if column.quantiles is not None:
            grid = np.array([column.quantiles.values, column.quantiles.scores])
            tree.setdefault("grids", {})[str(index)] = grid
        if column.piecewise is not None:
            tree.setdefault("bins", {})[str(index)] = {
                "at": np.array(starts[index] + 1 + column.indicator),
                "edges": np.array(column.piecewise.edges),
                "means": np.array(column.piecewise.means),
            }
    return tree


def _booleans(
    columns: Sequence[BooleanColumn], inputs: Mapping[str, str], starts: Mapping[str, int]
) -> Tree:
    marked = [index for index, column in enumerate(columns) if column.has_missing_level]
    fill = [0.0 if column.has_missing_level else float(column.fill) for column in columns]
    return {
        "inputs": np.array([inputs[column.name] for column in columns]),
        "at": np.array([starts[column.name] for column in columns]),
        "fill": np.array(fill),
        "marked": np.array(marked, np.int64),
        "marks_at": np.array([starts[columns[index].name] + 1 for index in marked], np.int64),
    }


def _date(column: DatetimeColumn, start: int) -> Tree:
    tree: Tree = {}
    if column.numbers:
        starts = []
        for part in column.numbers:
            starts.append(start)
            start += len(part.features)
        names = ["elapsed" if part is column.elapsed else "yearday" for part in column.numbers]
        tree["numbers"] = {**_numbers(column.numbers, starts), "parts": np.array(names)}
        tree["origin"] = np.array(origin_stamp(column))
    for cycle in column.cycles:
        tree[cycle] = np.array(start)
        start += 2
    for calendar in column.calendar:
        tree[calendar.part] = {"at": np.array(start), "values": np.array(calendar.values)}
        start += len(calendar.values)
    if column.dates is not None:
        days = column.dates.days
        table = column.dates.means.encode(np.array([*range(len(days)), -1]))
        tree["days"] = {"at": np.array(start), "known": np.array(days), "table": table}
    return tree


def _category(column: CategoricalColumn, start: int, missing: str) -> Tree:
    """Return the arrays of a column: `numbers` has the number of each text in `keys`."""
    keys, codes = level_keys(column, missing), number_codes(column)
    tree: Tree = {
        "keys": np.array(list(keys)),
        "numbers": np.array(list(keys.values())),
        "levels": np.array(column.distinct_levels),
        "missing": np.array(missing),
    }
    if column.ignore_case:
        tree["lower"] = np.array(1)
    tables = []
    match column.encode:
        case "onehot":
            tree["codes"], tree["one_hot_at"] = codes, np.array(start)
            start += column.codes
        case "embedding":
            tree["codes"], tree["id_at"] = codes, np.array(start)
        case "ordinal":
            tables.append(ordinal_values(column, codes)[:, None])
    tables += number_target_means(column)
    if tables:
        tree["table"], tree["table_at"] = np.hstack(tables).astype(np.float32), np.array(start)
    return tree


def _texts(columns: Sequence[TextColumn], inputs: Mapping[str, str]) -> Tree:
    first = np.cumsum([0, *(column.term_count for column in columns)])[:-1]
    return {"inputs": np.array([inputs[column.name] for column in columns]), "first": first}
