"""Lists of labels in the cells of one column: `red|blue`, `["red", "blue"]`, a column of lists.

A text cell without a value is a list without labels; a missing list of a typed column is missing.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.config.data import Data
from trainer.data.arrays import BoolArray, Float32Array, RowIndex
from trainer.data.message_lists import quoted
from trainer.data.values import (
    canonical_level,
    casefold_level,
    merge_case_variants,
    natural_sort,
    normalize_text,
    text,
    to_mask,
)
from trainer.errors import DataError, Problem

SEPARATORS = ("|", ";", ",")
"""The signs that `likely_separator` tries, in this order."""

_LEAST_CELLS, _LEAST_SHARE = 3, 0.05
_SHOWN = 3


def is_list_type(dtype: pl.DataType) -> bool:
    """Whether cells of this type are lists of words or whole numbers."""
    if not isinstance(dtype, pl.List | pl.Array):
        return False
    inner = dtype.inner
    return not (inner.is_nested() or inner.is_float() or inner in (pl.Binary, pl.Object))


def has_lists(series: pl.Series, data: Data) -> bool:
    """Whether the cells of a target column are lists: a separator is stated, the type says so, or
    every cell is written as a list (`["red", "blue"]`, `['red']`).
    """
    if not isinstance(data.target, str):
        return False
    if is_list_type(series.dtype):
        return not _is_nested_deeper(series)
    return data.target_separator is not None or has_written_lists(series)


def _is_nested_deeper(series: pl.Series) -> bool:
    """Whether lists of text hold JSON that is no list of labels, as a column of NDJSON can."""
    if not isinstance(series.dtype, pl.List) or series.dtype.inner != pl.String:
        return False
    words = series.explode().unique().drop_nulls()
    odd = words.filter(words.str.contains(r"^\{.*\}$|^\[.*\]$"))
    return any(_written(word) is None for word in odd)


def has_written_lists(series: pl.Series) -> bool:
    """Whether every cell of a column of text is a list in square brackets."""
    if series.dtype != pl.String:
        return False
    known = series.drop_nulls()
    if not len(known) or not (known.str.starts_with("[") & known.str.ends_with("]")).all():
        return False
    return _written(known[0]) is not None


def explode_labels(series: pl.Series, separator: str | None) -> tuple[RowIndex, pl.Series]:
    """Every label of every cell.

    Args:
        series: A column of lists or of text.
        separator: What stands between the labels of a text cell; None where cells are lists.

    Returns:
        int64 (labels,): the row of each label, rising; and the labels, as `normalize_text` writes them.
    """
    if isinstance(series.dtype, pl.Array):
        series = series.arr.to_list()
    if isinstance(series.dtype, pl.List):
        words = series.cast(pl.List(pl.String))
    else:
        cells = text(series)
        distinct = cells.unique().drop_nulls()
        lists = [_labels(cell, separator) for cell in distinct]
        table = pl.DataFrame(
            {"cell": distinct, "labels": pl.Series(lists, dtype=pl.List(pl.String))}
        )
        words = (
            pl.DataFrame({"cell": cells}).join(table, on="cell", how="left", maintain_order="left")
        )["labels"]
    frame = pl.DataFrame({"row": np.arange(len(words)), "label": words.alias("label")})
    frame = frame.explode("label").drop_nulls("label")
    spelled = frame["label"].unique()
    found = {word: _labels(word, None) for word in spelled}
    if any(len(labels) != 1 for labels in found.values()):
        # Lists written as text in lists, as NDJSON is read.
        frame = frame.with_columns(
            pl.col("label").replace_strict(
                list(found), list(found.values()), return_dtype=pl.List(pl.String)
            )
        )
        frame = frame.explode("label").drop_nulls("label")
    else:
        odd = [word for word, labels in found.items() if labels[0] != word]
        frame = frame.with_columns(pl.col("label").replace(odd, [found[word][0] for word in odd]))
    return np.array(frame["row"].to_numpy(), dtype=np.int64), frame["label"]


def _labels(cell: str, separator: str | None) -> list[str]:
    """The labels of a text cell, without empty ones."""
    written = _written(cell)
    parts = (
        written if written is not None else [cell] if separator is None else cell.split(separator)
    )
    return [label for label in map(normalize_text, parts) if label]


def _written(cell: str) -> list[str] | None:
    """The labels of a cell that is a list of JSON or Python in square brackets, else None."""
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and all(isinstance(one, str | int) for one in found):
            return [str(one).lower() if isinstance(one, bool) else str(one) for one in found]
    return None


def count_labels(series: pl.Series, separator: str | None, *, ignore_case: bool) -> dict[str, int]:
    """Rows of each label, a row once however often it has the label."""
    rows, labels = explode_labels(series, separator)
    frame = pl.DataFrame({"row": rows, "label": labels}).unique()
    spellings: dict[str, list[tuple[str, int]]] = {}
    for label, count in frame["label"].value_counts().iter_rows():
        spellings.setdefault(canonical_level(label), []).append((label, count))
    counts = {
        min(found, key=lambda one: (-one[1], one[0]))[0]: sum(count for _, count in found)
        for found in spellings.values()
    }
    return merge_case_variants(counts.items()) if ignore_case else counts


def fit_labels(series: pl.Series, data: Data, *, ignore_case: bool) -> dict[str, int]:
    """Rows of each label in lists, in natural order of the labels.

    Raises:
        DataError: The cells are no lists, or there are fewer than two labels.
    """
    name = series.name
    if not has_lists(series, data):
        sign = likely_separator(series)
        fix = "name several yes/no columns in data.target, or set data.task: binary"
        if sign is not None:
            fix = f"set data.target_separator: '{sign}'"
        elif series.n_unique() > 2:
            fix = "set data.target_separator, or set data.task: multiclass"
        expected = f"lists of labels in '{name}', or several columns, for task: multilabel"
        found = f"cells such as '{series.drop_nulls()[0]}'" if series.count() else "no values"
        raise DataError(Problem("", expected, found, fix, "data.task"))
    counts = count_labels(series, data.target_separator, ignore_case=ignore_case)
    if len(counts) < 2:
        expected = f"at least two labels in the lists of '{name}' among the training rows"
        found = f"'{next(iter(counts))}' only" if counts else "none"
        fix = "is this the right target? Of one label, set data.task: binary"
        raise DataError(Problem("", expected, found, fix, "data.target"))
    return {label: counts[label] for label in natural_sort(list(counts))}


def label_matrix(
    series: pl.Series, separator: str | None, classes: Sequence[str], *, ignore_case: bool
) -> tuple[Float32Array, Counter[str]]:
    """Which row has which label.

    Args:
        series: A column of lists or of text.
        separator: As in `explode_labels`.
        classes: The labels.
        ignore_case: Whether labels that differ in case only are one.

    Returns:
        float32 (n, classes) of 0 and 1; and the labels that are not among the classes, with the number
        of times they occur.
    """
    y = np.zeros((len(series), len(classes)), dtype=np.float32)
    rows, labels = explode_labels(series, separator)
    if not len(rows):
        return y, Counter()
    key = casefold_level if ignore_case else canonical_level
    places = {key(name): place for place, name in enumerate(classes)}
    distinct = labels.unique().to_list()
    found = [places.get(key(label), -1) for label in distinct]
    codes = labels.replace_strict(distinct, found, return_dtype=pl.Int64).to_numpy()
    known = codes >= 0
    y[rows[known], codes[known]] = 1
    return y, Counter(labels.filter(pl.Series(~known)).to_list())


def join_labels(
    chosen: NDArray[np.int64], classes: Sequence[str], separator: str | None
) -> pl.Series:
    """The labels of each row in one text, between them the separator (`|` where there is none).

    Args:
        chosen: (n, classes) of 0 and 1.
        classes: The labels.
        separator: As in `explode_labels`.
    """
    sign = separator or SEPARATORS[0]
    words = [[name for name, has_it in zip(classes, row, strict=True) if has_it] for row in chosen]
    return pl.Series([sign.join(labels) for labels in words], dtype=pl.String)


def label_sets(series: pl.Series, separator: str | None, *, ignore_case: bool) -> list[str]:
    """The labels of each row as one text, the same for the same labels in any order."""
    rows, labels = explode_labels(series, separator)
    key = casefold_level if ignore_case else canonical_level
    sets: list[set[str]] = [set() for _ in range(len(series))]
    for row, label in zip(rows.tolist(), labels, strict=True):
        sets[row].add(key(label))
    return [" + ".join(sorted(labels)) for labels in sets]


def has_value(series: pl.Series) -> BoolArray:
    """Which rows have a list, if an empty one; bool (n,)."""
    if series.dtype == pl.String:
        return np.ones(len(series), dtype=np.bool_)
    return to_mask(series.is_not_null())


def likely_separator(series: pl.Series) -> str | None:
    """The sign that seems to separate labels in the cells of a column of text, or None.

    The sign is in a good many cells, and the parts of these come again in other cells: there are fewer
    different parts than different cells.
    """
    if series.dtype != pl.String:
        return None
    counts = series.drop_nulls().alias("cell").value_counts()
    total, cells = int(counts["count"].sum() or 0), counts["cell"]
    for sign in SEPARATORS:
        several = cells.str.contains(sign, literal=True)
        rows = int(counts["count"].filter(several).sum() or 0)
        if rows < max(_LEAST_CELLS, _LEAST_SHARE * total):
            continue
        lists = [_labels(cell, sign) for cell in cells]
        parts = Counter(label for labels in lists for label in dict.fromkeys(labels))
        again = sum(count > 1 for count in parts.values())
        if 2 <= len(parts) < len(cells) and 2 * again > len(parts):
            return sign
    return None


def labels_text(labels: Counter[str]) -> str:
    """The most frequent of some labels, for a message."""
    return quoted([label for label, _ in labels.most_common()], _SHOWN)
