"""The target itself: classes too rare or too uneven, numbers far off, gaps that go with a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.arrays import Float64Array, RowIndex
from trainer.data.audit.audited_table import AuditedTable
from trainer.data.audit.findings import Finding, counted, exclude, listed
from trainer.data.audit.statistics import chi_square_critical_value
from trainer.data.column_settings import numeric_settings

_LEAST_OF_CLASS = 5
_IMBALANCE = 100
_DEVIATIONS = 10
_QUANTILE, _BEYOND = 0.975, 3
_MISSING_CHANCE, _MISSING_DIFFERENCE, _MISSING_ROWS = 1e-6, 0.1, 20


def find_rare_classes(audited: AuditedTable) -> list[Finding]:
    """Classes with too few training rows to be learnt, or without rows to be judged by."""
    train = audited.classes["train"]
    rare = [name for name, count in train.items() if count < _LEAST_OF_CLASS]
    words = [f"{counted(train[name], 'training row')} of '{name}'" for name in rare]
    for split, counts in audited.classes.items():
        none = [name for name, count in counts.items() if not count and split != "train"]
        words += [f"no {split} row of '{name}'" for name in none]
        rare += [name for name in none if name not in rare]
    # Four rows of a table of logic are all there are.
    if not rare or len(audited.rows) < _LEAST_OF_CLASS * max(2, len(train)):
        return []
    by = audited.data.split.by
    stratify = ", or set data.split.by: stratified" if by in ("random", "hash") else ""
    return [
        Finding(
            "rare_class", "warning", audited.table.name, audited.targets, (), len(rare),
            f"at least {_LEAST_OF_CLASS} training rows of each class, and one in each other split",
            listed(words), "such a class is not learnt, or its figures are those of no row",
            "merge it with another, or collect more rows" + stratify,
        )
    ]  # fmt: skip


def find_imbalance(audited: AuditedTable, *, weighted: bool) -> list[Finding]:
    """Classes of which the most frequent has more than a hundred times the rows of the rarest.

    Those that are told as too rare do not count.

    Args:
        audited: The table.
        weighted: Whether the config weighs classes already.
    """
    counts = {
        name: count for name, count in audited.classes["train"].items() if count >= _LEAST_OF_CLASS
    }
    if weighted or not counts or audited.target.task == "multilabel":
        return []
    rarest, usual = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[usual] <= _IMBALANCE * counts[rarest]:
        return []
    return [
        Finding(
            "class_imbalance", "warning", audited.table.name, audited.targets, (), counts[rarest],
            f"at most {_IMBALANCE} rows of the most frequent class for one of the rarest",
            f"{counts[usual]:,} training rows of '{usual}' and {counts[rarest]:,} of '{rarest}'",
            "a network that never answers the rarest class is nearly always right",
            "set fit.class_weight: balanced, and judge by average_precision or balanced_accuracy",
        )
    ]  # fmt: skip


def find_outliers(audited: AuditedTable) -> list[Finding]:
    """Numbers to predict that are far beyond all others, of the training rows.

    Further than 10 median absolute deviations (times 1.4826, as a standard deviation) from the median,
    and than four times as far as the 2.5% or 97.5% quantile on that side: a long tail is no outlier.
    """
    if audited.target.task != "regression":
        return []
    found = []
    for at, name in enumerate(audited.targets):
        y = audited.target.inverse_transform(audited.y[audited.train])[:, at]
        far, middle, limit = _far(y)
        if not len(far):
            continue
        places = audited.places(audited.train[far])
        found.append(
            Finding(
                "target_outliers", "warning", places[0], (name,), places, len(far),
                f"values of '{name}' within {_DEVIATIONS} deviations of their median {middle:.4g}",
                f"{counted(len(far), 'training row')} beyond, as {y[far[0]]:.6g} "
                f"(a deviation is {limit:.4g})",
                "a few such rows rule a squared error",
                "correct them, or set loss: huber or loss: mean_absolute_error",
            )
        )  # fmt: skip
    return found


def _far(y: Float64Array) -> tuple[RowIndex, float, float]:
    """Where the outliers are; the median, and the deviation."""
    middle = float(np.median(y))
    deviation = 1.4826 * float(np.median(np.abs(y - middle)))
    if deviation == 0:
        deviation = float(y.std())
    low, high = np.quantile(y, [1 - _QUANTILE, _QUANTILE])
    beyond = np.abs(y - middle) > _DEVIATIONS * deviation
    beyond &= (y > high + _BEYOND * (high - middle)) | (y < low - _BEYOND * (middle - low))
    far: RowIndex = np.flatnonzero(beyond)
    return far, middle, deviation


def find_missing_by_class(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Features that are missing more often in one class than in another, in the training rows.

    By a chi-square test at 1e-6 over the number of features, and ten points between the classes.

    Args:
        audited: The table.
        ignored: Columns that give the target away anyhow.
    """
    if audited.target.task not in ("binary", "multiclass"):
        return []
    y = audited.y[audited.train]
    labels = y[:, 0].astype(np.int64) if y.shape[1] == 1 else y.argmax(axis=1)
    sizes = np.bincount(labels, minlength=len(audited.target.classes)).astype(np.float64)
    enough = sizes >= _MISSING_ROWS
    if enough.sum() < 2:
        return []
    chance = _MISSING_CHANCE / max(1, len(audited.kinds))
    limit = chi_square_critical_value(chance, int(enough.sum()) - 1)
    found: list[tuple[float, str, str]] = []
    for name in audited.kinds:
        missing = audited.codes(name)[audited.train] < 0
        if name in ignored or not missing.any():
            continue
        if audited.kinds[name] == "numeric" and numeric_settings(audited.data, name).indicator:
            continue
        gaps = np.bincount(labels[missing], minlength=len(sizes))[enough]
        rows = sizes[enough]
        share = gaps.sum() / rows.sum()
        if share in (0.0, 1.0):
            continue
        value = float(((gaps - share * rows) ** 2 / (share * (1 - share) * rows)).sum())
        shares = gaps / rows
        if value > limit and shares.max() - shares.min() >= _MISSING_DIFFERENCE:
            classes = np.array(audited.target.classes)[enough]
            most, least = classes[shares.argmax()], classes[shares.argmin()]
            words = f"'{name}' ({shares.max():.0%} of '{most}', {shares.min():.0%} of '{least}')"
            found.append((float(shares.max() - shares.min()), name, words))
    if not found:
        return []
    found.sort(reverse=True)
    columns = tuple(name for _, name, _ in found)
    known = (
        "if the gap is known before the target, set data.numeric.indicator: true, else "
        if all(audited.kinds[name] == "numeric" for name in columns)
        else "if the gap is a consequence of the target, "
    )
    return [
        Finding(
            "missing_by_class", "warning", audited.table.name, columns, (), len(columns),
            "values that are missing as often in every class", listed([words for *_, words in found]),
            "where the gap is a consequence of the class, it gives the class away",
            f"find out why; {known}set {exclude(columns)}",
        )
    ]  # fmt: skip
