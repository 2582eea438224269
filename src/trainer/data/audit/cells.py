"""Cells that do not say what their column says: infinities, words among numbers, placeholders, levels
that training does not know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from trainer.config.nodes import column_key
from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.audit.audited_table import AuditedTable
from trainer.data.audit.findings import Finding, Kind, Severity, counted, exclude, listed, names
from trainer.data.column_settings import categorical_settings
from trainer.data.fitting import MAX_LEVEL_RATIO
from trainer.data.splits import SPLIT_NAMES, TEST, TRAIN, VALIDATION
from trainer.data.values import text

_PLACEHOLDER = re.compile(r"-?(?:9{2,}|8{3,})(?:\.0*)?|-9(?:\.0*)?")
_LEAST_PLACEHOLDERS, _PLACEHOLDER_SHARE = 3, 0.005
_UNSEEN_SHARE, _LEAST_UNSEEN = 0.05, 5
_RARE_ROWS = 10
_MANY_LEVELS = 20


def find_infinite(audited: AuditedTable) -> list[Finding]:
    """Infinite numbers: fit refuses them in training rows, and reads them as missing in others."""
    infinite = np.isinf(audited.matrix)
    columns = [audited.numeric[place] for place in np.flatnonzero(infinite.any(axis=0))]
    if not columns:
        return []
    at: RowIndex = np.flatnonzero(infinite.any(axis=1))
    training = bool((audited.split[at] == TRAIN).any())
    return [
        _cells_finding(
            audited, "infinite_values", "fault" if training else "warning", columns, at,
            "finite numbers", f"infinity in {counted(len(at), 'row')}, in {names(columns)}",
            "fit refuses them" if training else "they are read as missing",
            "correct them, leave the cells empty, or add the word to data.csv.null_values",
        )
    ]  # fmt: skip


def find_mixed_types(audited: AuditedTable) -> list[Finding]:
    """Words among numbers, and other values that are not of their column's kind."""
    found = []
    for name, wrong in audited.unreadable.items():
        at: RowIndex = np.flatnonzero(wrong)
        training = bool((audited.split[at] == TRAIN).any())
        what = {"numeric": "numbers", "datetime": "dates", "boolean": "yes or no"}
        kind = audited.kinds[name]
        words = _words(audited.frame[name], wrong)
        found.append(
            _cells_finding(
                audited, "mixed_types", "fault" if training else "warning", [name], at,
                f"{what.get(kind, kind)} in every row of '{name}'",
                f"{listed([repr(word) for word in words])} in {counted(len(at), 'row')}",
                "fit refuses them" if training else "they are read as missing",
                f"correct them, add them to data.csv.null_values, "
                f"or set {column_key(name)}.kind: categorical",
            )
        )  # fmt: skip
    return found


def find_values_as_text(audited: AuditedTable) -> list[Finding]:
    """Numbers and dates that are written as text: how `fit` reads them, and why some stay text."""
    found = []
    for name, reading in audited.readings.items():
        note = reading.note
        if note is None:
            continue
        kind: Kind = "dates_as_text"
        expected = f"ISO 8601 dates in '{name}', or {column_key(name)}.format"
        if note.about == "numbers":
            kind = "numbers_as_text"
            expected = f"plain numbers in '{name}', or {column_key(name)}.decimal"
        meaning = "the figures are wrong if that is not what is meant"
        if reading.kind == "categorical":
            if note.about == "numbers":
                kind, expected = "mixed_types", f"numbers, or words, in every row of '{name}'"
            meaning = "each value is a level of its own"
        found.append(
            Finding(
                kind, "warning", audited.table.name, (name,), (), 1,
                expected, note.what, meaning, note.fix,
            )
        )  # fmt: skip
    return found


def find_placeholders(audited: AuditedTable) -> list[Finding]:
    """Numbers such as -999 and 9999 that stand far from all others and are there again and again."""
    columns, words = [], []
    at = np.zeros(len(audited.rows), dtype=np.bool_)
    for place, name in enumerate(audited.numeric):
        values = audited.matrix[:, place]
        for extreme in _isolated(values):
            here = values == extreme
            cell = text(audited.frame[name].gather(np.flatnonzero(here)[:1]))[0]
            if _PLACEHOLDER.fullmatch(cell.strip().removeprefix("+")):
                columns.append(name)
                words.append(f"{cell} in {counted(int(here.sum()), 'row')} of '{name}'")
                at |= here
    if not columns:
        return []
    return [
        _cells_finding(
            audited, "placeholder_values", "warning", list(dict.fromkeys(columns)),
            np.flatnonzero(at), "numbers that were measured", listed(words),
            "what means that nothing is known is learnt as a number",
            "add them to data.csv.null_values, or leave the cells empty",
        )
    ]  # fmt: skip


def _isolated(values: Float64Array) -> list[float]:
    """The lowest and the highest value, where they are frequent and further from the next one than half
    the spread of the others.
    """
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return []
    found = []
    for ends in (values, -values[::-1]):
        count = int(np.searchsorted(ends, ends[0], side="right"))
        rest = ends[count:]
        if count < max(_LEAST_PLACEHOLDERS, _PLACEHOLDER_SHARE * len(ends)) or len(rest) < count:
            continue
        spread = float(np.quantile(rest, 0.99) - rest[0])
        if rest[0] - ends[0] > 0.5 * spread:
            found.append(float(ends[0] if ends is values else -ends[0]))
    return found


def find_category_problems(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Categories with almost as many levels as rows, and rows of levels that training does not know.

    Args:
        audited: The table.
        ignored: Columns that name rows or groups, or whose cells are numbers.
    """
    many, counts, unseen, shares = [], [], [], []
    at = np.zeros(len(audited.rows), dtype=np.bool_)
    can_merge = True
    for name in audited.discrete:
        if name in ignored or audited.kinds[name] != "categorical":
            continue
        codes = audited.codes(name)
        known = codes[audited.train][codes[audited.train] >= 0]
        settings = categorical_settings(audited.data, name)
        levels, sizes = np.unique(known, return_counts=True)
        merged = sizes < settings.min_count
        if np.count_nonzero(~merged) > max(_MANY_LEVELS, MAX_LEVEL_RATIO * len(known)):
            many.append(name)
            counts.append(f"{len(levels):,} levels of '{name}' in {len(known):,} rows")
            continue
        if merged.any() and settings.unknown == "rare":
            continue
        new = (codes >= 0) & ~np.isin(codes, levels)
        worst = _worst_split(audited, new)
        if worst:
            unseen.append(name)
            can_merge = can_merge and bool((sizes < _RARE_ROWS).any())
            shares.append(f"{worst} of '{name}'")
            at |= new
    found = []
    if many:
        found.append(
            Finding(
                "many_levels", "warning", audited.table.name, tuple(many), (), len(many),
                "categories with several rows a level", listed(counts),
                "levels of one row teach nothing",
                f"set data.categorical.min_count: {_RARE_ROWS}, or {exclude(many)}",
            )
        )  # fmt: skip
    if unseen:
        found.append(
            _cells_finding(
                audited, "unseen_levels", "warning", unseen, np.flatnonzero(at),
                "levels that training rows have too", listed(shares),
                "the network knows nothing of them",
                "split so that training has them"
                + (
                    f", or set data.categorical.min_count: {_RARE_ROWS} and "
                    "data.categorical.unknown: rare"
                    if can_merge  # else there is no rare level that could take them
                    else ""
                ),
            )
        )  # fmt: skip
    return found


def _worst_split(audited: AuditedTable, new: BoolArray) -> str:
    """How many rows of a split have new levels, if they are many."""
    for split in (TEST, VALIDATION):
        here = audited.split == split
        count, rows = int(new[here].sum()), int(here.sum())
        if count >= max(_LEAST_UNSEEN, _UNSEEN_SHARE * rows) and rows:
            return f"{count:,} of {rows:,} {SPLIT_NAMES[split]} rows with unseen levels"
    return ""


def _words(series: pl.Series, where: BoolArray) -> list[str]:
    """The different cells there, as they are written."""
    cells = series.gather(np.flatnonzero(where)).cast(pl.String)
    return [str(word) for word in cells.unique(maintain_order=True).to_list()]


def _cells_finding(
    audited: AuditedTable, kind: Kind, severity: Severity, columns: Sequence[str], at: RowIndex,
    expected: str, found: str, meaning: str, fix: str,
) -> Finding:  # fmt: skip
    places = audited.places(at)
    return Finding(
        kind, severity, places[0], tuple(columns), places, len(at), expected, found, meaning, fix
    )
