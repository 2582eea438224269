"""Lists of labels in the cells of one column: `red|blue`, `["red", "blue"]`, or typed lists.

An empty text cell is an empty list; a null in a column of typed lists is missing.
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
from trainer.data.spellings import (
    canonical_level,
    casefold_level,
    merge_case_variants,
    natural_sort,
    normalize_text,
)
from trainer.data.values import to_mask, to_text
from trainer.errors import DataError, Problem

SEPARATORS = ("|", ";", ",")
"""The separators that `likely_separator` tries, in this order."""

_MIN_CELLS, _MIN_SHARE = 3, 0.05
_SHOWN = 3


def is_list_type(dtype: pl.DataType) -> bool:
    """Return whether cells of this type are lists of text or integers."""
    if not isinstance(dtype, pl.List | pl.Array):
        return False
    inner = dtype.inner
    return not (inner.is_nested() or inner.is_float() or inner in (pl.Binary, pl.Object))


def has_lists(series: pl.Series, data: Data) -> bool:
    """Return whether the cells of a target column are lists.

    They are if the config sets a separator, the type is a list, or every cell is a list in square
    brackets (`["red", "blue"]`, `['red']`).
    """
    if not isinstance(data.target, str):
        return False
    if is_list_type(series.dtype):
        return not _has_nested_json(series)
    return data.target_separator is not None or has_written_lists(series)


def _has_nested_json(series: pl.Series) -> bool:
    """Return whether lists of text contain JSON other than label lists, as NDJSON columns can."""
    if not isinstance(series.dtype, pl.List) or series.dtype.inner != pl.String:
        return False
    items = series.explode().unique().drop_nulls()
    json_items = items.filter(items.str.contains(r"^\{.*\}$|^\[.*\]$"))
    return any(_bracketed_labels(item) is None for item in json_items)


def has_written_lists(series: pl.Series) -> bool:
    """Return whether every cell of a text column is a list in square brackets."""
    if series.dtype != pl.String:
        return False
    known = series.drop_nulls()
    if not len(known) or not (known.str.starts_with("[") & known.str.ends_with("]")).all():
        return False
    return _bracketed_labels(known[0]) is not None


def explode_labels(series: pl.Series, separator: str | None) -> tuple[RowIndex, pl.Series]:
    """Return every label of every cell.

    Args:
        series: A column of lists or of text.
        separator: The separator of labels in a text cell; None if cells are lists.

    Returns:
        int64 (labels,): the row of each label, ascending; and the normalized labels.
    """
    if isinstance(series.dtype, pl.Array):
        series = series.arr.to_list()
    if isinstance(series.dtype, pl.List):
        lists = series.cast(pl.List(pl.String))
    else:
        cells = to_text(series)
        distinct = cells.unique().drop_nulls()
        split = [_labels(cell, separator) for cell in distinct]
        table = pl.DataFrame(
            {"cell": distinct, "labels": pl.Series(split, dtype=pl.List(pl.String))}
        )
        lists = (
            pl.DataFrame({"cell": cells}).join(table, on="cell", how="left", maintain_order="left")
        )["labels"]
    frame = pl.DataFrame({"row": np.arange(len(lists)), "label": lists.alias("label")})
    frame = frame.explode("label").drop_nulls("label")
    labels_of = {item: _labels(item, None) for item in frame["label"].unique()}
    if any(len(labels) != 1 for labels in labels_of.values()):
        # Lists contain lists as text, as in NDJSON columns.
        frame = frame.with_columns(
            pl.col("label").replace_strict(
                list(labels_of), list(labels_of.values()), return_dtype=pl.List(pl.String)
            )
        )
        frame = frame.explode("label").drop_nulls("label")
    else:
        changes = {item: labels[0] for item, labels in labels_of.items() if labels[0] != item}
        frame = frame.with_columns(pl.col("label").replace(list(changes), list(changes.values())))
    return np.array(frame["row"].to_numpy(), dtype=np.int64), frame["label"]


def _labels(cell: str, separator: str | None) -> list[str]:
    """Return the labels of a text cell, without empty ones."""
    parts = _bracketed_labels(cell)
    if parts is None:
        parts = [cell] if separator is None else cell.split(separator)
    return [label for label in map(normalize_text, parts) if label]


def _bracketed_labels(cell: str) -> list[str] | None:
    """Return the labels of a cell that is a JSON or Python list; None for other cells."""
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            items = parse(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(items, list) and all(isinstance(item, str | int) for item in items):
            return [str(item).lower() if isinstance(item, bool) else str(item) for item in items]
    return None


def count_labels(series: pl.Series, separator: str | None, *, ignore_case: bool) -> dict[str, int]:
    """Count the rows of each label; a row counts once even if it repeats the label."""
    rows, labels = explode_labels(series, separator)
    frame = pl.DataFrame({"row": rows, "label": labels}).unique()
    spellings: dict[str, list[tuple[str, int]]] = {}
    for label, count in frame["label"].value_counts().iter_rows():
        spellings.setdefault(canonical_level(label), []).append((label, count))
    counts = {
        min(group, key=lambda item: (-item[1], item[0]))[0]: sum(count for _, count in group)
        for group in spellings.values()
    }
    return merge_case_variants(counts.items()) if ignore_case else counts


def fit_labels(series: pl.Series, data: Data, *, ignore_case: bool) -> dict[str, int]:
    """Count the rows of each label, in natural order of the labels.

    Raises:
        DataError: If the cells are not lists, or there are fewer than two labels.
    """
    name = series.name
    if not has_lists(series, data):
        separator = likely_separator(series)
        fix = "list several yes/no columns in data.target, or set data.task: binary"
        if separator is not None:
            fix = f"set data.target_separator: '{separator}'"
        elif series.n_unique() > 2:
            fix = "set data.target_separator, or set data.task: multiclass"
        expected = f"lists of labels in '{name}', or several columns, for task: multilabel"
        found = f"cells such as '{series.drop_nulls()[0]}'" if series.count() else "no values"
        raise DataError(Problem("", expected, found, fix, "data.task"))
    counts = count_labels(series, data.target_separator, ignore_case=ignore_case)
    if len(counts) < 2:
        expected = f"at least two labels in the lists of '{name}' among the training rows"
        found = f"only '{next(iter(counts))}'" if counts else "none"
        fix = "check data.target; for a single label, set data.task: binary"
        raise DataError(Problem("", expected, found, fix, "data.target"))
    return {label: counts[label] for label in natural_sort(list(counts))}


def label_matrix(
    series: pl.Series, separator: str | None, classes: Sequence[str], *, ignore_case: bool
) -> tuple[Float32Array, Counter[str]]:
    """Encode lists of labels as a matrix.

    Args:
        series: A column of lists or of text.
        separator: See `explode_labels`.
        classes: The labels.
        ignore_case: Whether labels that differ only in case are merged.

    Returns:
        float32 (n, classes) of 0 and 1; and the counts of labels that are not among the classes.
    """
    y = np.zeros((len(series), len(classes)), dtype=np.float32)
    rows, labels = explode_labels(series, separator)
    if not len(rows):
        return y, Counter()
    key = casefold_level if ignore_case else canonical_level
    indices = {key(name): index for index, name in enumerate(classes)}
    distinct = labels.unique().to_list()
    distinct_codes = [indices.get(key(label), -1) for label in distinct]
    codes = labels.replace_strict(distinct, distinct_codes, return_dtype=pl.Int64).to_numpy()
    known = codes >= 0
    y[rows[known], codes[known]] = 1
    return y, Counter(labels.filter(pl.Series(~known)).to_list())


def join_labels(
    chosen: NDArray[np.int64], classes: Sequence[str], separator: str | None
) -> pl.Series:
    """Join the labels of each row, with the separator (default `|`) between them.

    Args:
        chosen: (n, classes) of 0 and 1.
        classes: The labels.
        separator: See `explode_labels`.
    """
    separator = separator or SEPARATORS[0]
    lists = [
        [name for name, is_chosen in zip(classes, row, strict=True) if is_chosen] for row in chosen
    ]
    return pl.Series([separator.join(labels) for labels in lists], dtype=pl.String)


def label_sets(series: pl.Series, separator: str | None, *, ignore_case: bool) -> list[str]:
    """Return the label set of each row as text, independent of the order of the labels."""
    rows, labels = explode_labels(series, separator)
    key = casefold_level if ignore_case else canonical_level
    sets: list[set[str]] = [set() for _ in range(len(series))]
    for row, label in zip(rows.tolist(), labels, strict=True):
        sets[row].add(key(label))
    return [" + ".join(sorted(labels)) for labels in sets]


def has_value(series: pl.Series) -> BoolArray:
    """Return a mask of the rows with a list, even an empty one; bool (n,)."""
    if series.dtype == pl.String:
        return np.ones(len(series), dtype=np.bool_)
    return to_mask(series.is_not_null())


def likely_separator(series: pl.Series) -> str | None:
    """Return the character that seems to separate labels in the cells of a text column, or None.

    It occurs in enough cells, and their parts recur in other cells: there are fewer distinct parts than
    distinct cells.
    """
    if series.dtype != pl.String:
        return None
    counts = series.drop_nulls().alias("cell").value_counts()
    total, cells = int(counts["count"].sum() or 0), counts["cell"]
    for separator in SEPARATORS:
        several = cells.str.contains(separator, literal=True)
        rows = int(counts["count"].filter(several).sum() or 0)
        if rows < max(_MIN_CELLS, _MIN_SHARE * total):
            continue
        lists = [_labels(cell, separator) for cell in cells]
        parts = Counter(label for labels in lists for label in dict.fromkeys(labels))
        recurring = sum(count > 1 for count in parts.values())
        if 2 <= len(parts) < len(cells) and 2 * recurring > len(parts):
            return separator
    return None


def labels_text(labels: Counter[str]) -> str:
    """Return the most frequent labels, for a message."""
    return quoted([label for label, _ in labels.most_common()], _SHOWN)
