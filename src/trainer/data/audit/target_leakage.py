"""Single columns that give the target away: copies of it, codes of it, consequences of it.

Each feature alone answers for the target: the mean target of the rows with its level, or of the nearest
values of a number. What it has seen in one half of the training rows is judged on the other half, both
ways. A column that knows nearly all is not a feature in the sense of the task: it was written after the
target was known, or is the target in other words.

Owns: the judgement of one column. Does not own: groups and names of rows (`groups`, `columns`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.audit.audited_table import AuditedTable
from trainer.data.audit.findings import Finding, exclude, listed
from trainer.data.audit.statistics import auc, auc_standard_error, rank_correlation
from trainer.data.hashing import mix64

LIMIT = 0.99
_NEIGHBOURS = 3
_MOST_ROWS = 50_000
_LEAST_ROWS, _LEAST_OF_CLASS = 30, 10
_KNOWN_SHARE = 0.1
_HALVES = 0x51


def find_target_leakage(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Features of which one alone predicts the target nearly perfectly.

    Perfectly is an AUC of 1 for two classes, every class right beyond the share of the most frequent
    for several, and an R² or a rank correlation of 1 for numbers; nearly is 0.99.

    Args:
        audited: The table.
        ignored: Columns that name groups, which are told as such.
    """
    rows = audited.train
    if len(rows) > _MOST_ROWS:
        rows = rows[np.sort(np.argsort(_draws(rows))[:_MOST_ROWS])]
    found: list[tuple[float, str, str]] = []
    for name in audited.kinds:
        if name not in ignored:
            strength, measure = _strength(audited, name, rows)
            if strength >= LIMIT:
                found.append((strength, name, measure))
    if not found:
        return []
    found.sort(reverse=True)
    columns = [name for _, name, _ in found]
    return [
        Finding(
            "target_leakage", "fault", audited.table.name, tuple(columns), (), len(columns),
            "features that were known before the target",
            listed([f"'{name}' alone with {measure} {strength:.3f}"
                    for strength, name, measure in found]),
            "such a column is mostly the target in other words, or was written after it was known",
            f"if so, set {exclude(columns)}",
        )
    ]  # fmt: skip


def _draws(rows: RowIndex) -> RowIndex:
    keys: RowIndex = (mix64(rows.astype(np.uint64) + np.uint64(_HALVES)) >> np.uint64(1)).astype(
        np.int64
    )
    return keys


def _strength(audited: AuditedTable, name: str, rows: RowIndex) -> tuple[float, str]:
    """How well a feature alone predicts the best of the target's columns, and the measure of it."""
    y = audited.y[rows].astype(np.float64)
    half: BoolArray = (_draws(audited.rows[rows]) & 1).astype(np.bool_)
    numeric = audited.kinds[name] == "numeric"
    values = (
        audited.numbers(name)[rows] if numeric else audited.codes(name)[rows].astype(np.float64)
    )
    known = np.isfinite(values) if numeric else values >= 0
    answers = np.empty_like(y)
    for fitted in (half, ~half):
        if not fitted.any() or fitted.all():
            return 0.0, ""
        answers[~fitted] = _answers(values, known, y, fitted, numeric=numeric)
    parts = [np.ones(len(rows), dtype=np.bool_)]
    if not known.all() and known.mean() >= _KNOWN_SHARE:
        parts.append(known)
    best = (0.0, "")
    for part in parts:
        if part.sum() >= _LEAST_ROWS:
            ordered = values[part] if numeric and known[part].all() else None
            best = max(best, _judged(audited.target.task, y[part], answers[part], ordered))
    return best


def _answers(
    values: Float64Array, known: BoolArray, y: Float64Array, fitted: BoolArray, *, numeric: bool
) -> Float64Array:
    """The answers (n, width) for the rows that are not `fitted`."""
    asked = ~fitted
    prior = y[fitted].mean(axis=0)
    answers = np.tile(prior, (int(asked.sum()), 1))
    missing = fitted & ~known
    if missing.any():
        answers[~known[asked]] = y[missing].mean(axis=0)
    seen = fitted & known
    order = np.argsort(values[seen], kind="stable")
    ordered, learnt = values[seen][order], y[seen][order]
    sums = np.concatenate([np.zeros((1, y.shape[1])), np.cumsum(learnt, axis=0)])
    wanted = values[asked & known]
    low = np.searchsorted(ordered, wanted, side="left")
    high = np.searchsorted(ordered, wanted, side="right")
    counts = (high - low)[:, None]
    means = np.where(counts > 0, (sums[high] - sums[low]) / np.maximum(counts, 1), prior)
    few = np.flatnonzero(high - low < _NEIGHBOURS)
    if numeric and len(few) and len(ordered) >= 2 * _NEIGHBOURS:
        means[few] = _nearest(ordered, learnt, wanted[few], low[few])
    answers[known[asked]] = means
    return answers


def _nearest(
    ordered: Float64Array, learnt: Float64Array, wanted: Float64Array, place: RowIndex
) -> Float64Array:
    """The mean target of the nearest values, (n, width), where `place` is the place among them."""
    around = place[:, None] + np.arange(-_NEIGHBOURS, _NEIGHBOURS)
    inside = (around >= 0) & (around < len(ordered))
    around = np.clip(around, 0, len(ordered) - 1)
    with np.errstate(invalid="ignore"):  # from infinity to infinity
        away = np.where(inside, np.abs(ordered[around] - wanted[:, None]), np.inf)
    nearest = np.argsort(away, axis=1, kind="stable")[:, :_NEIGHBOURS]
    means: Float64Array = learnt[np.take_along_axis(around, nearest, axis=1)].mean(axis=1)
    return means


def _judged(
    task: str, y: Float64Array, answers: Float64Array, ordered: Float64Array | None
) -> tuple[float, str]:
    match task:
        case "multiclass":
            actual = y.argmax(axis=1)
            usual = float(y.mean(axis=0).max())
            right = float((answers.argmax(axis=1) == actual).mean())
            return (
                (right - usual) / (1 - usual) if usual < 1 else 0.0
            ), "accuracy beyond the prior"
        case "regression":
            return max(_number(column, answers[:, at], ordered) for at, column in enumerate(y.T))
        case _:
            return max(_class(column, answers[:, at], ordered) for at, column in enumerate(y.T))


def _number(
    y: Float64Array, answers: Float64Array, ordered: Float64Array | None
) -> tuple[float, str]:
    total = float(((y - y.mean()) ** 2).sum())
    if total == 0:
        return 0.0, ""
    found = (1 - float(((y - answers) ** 2).sum()) / total, "R²")
    if ordered is None:
        return found
    return max(found, (abs(rank_correlation(ordered, y)), "rank correlation"))


def _class(
    y: Float64Array, answers: Float64Array, ordered: Float64Array | None
) -> tuple[float, str]:
    positive = y > 0.5
    count = int(positive.sum())
    if min(count, len(y) - count) < _LEAST_OF_CLASS:
        return 0.0, ""
    area = auc(answers, positive)
    if ordered is not None:
        straight = auc(ordered, positive)
        area = max(area, straight, 1 - straight)
    # Of few rows 0.99 says little.
    sure = area - auc_standard_error(area, count, len(y) - count) >= 2 * LIMIT - 1
    return (area if sure else 0.0), "AUC"
