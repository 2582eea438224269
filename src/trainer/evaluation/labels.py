"""The measures of classes for many weightings of the same rows at once.

Owns: from truth and probabilities to every measure of two classes, several classes or yes/no columns.
The definitions are those of `trainer.models.metrics`; that computes one weighting of named metrics.
Does not own: names and parts as a user sees them (`measures`), the weightings (`bootstrap`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.config.data import Task
from trainer.evaluation.answers import Answers, Bools, Doubles
from trainer.evaluation.rankings import Ranking
from trainer.models.metrics import called_positive
from trainer.models.ranking import top_k_hits

AVERAGED = ("precision", "recall", "specificity", "f1")
Numbers = npt.NDArray[np.intp]
RANKED = ("auc", "average_precision")
TOPS = (3, 5)


def call(task: Task, p: Doubles, threshold: float) -> Bools:
    """(n, k) which classes or columns are called: those ≥ threshold, of several the likeliest."""
    if task != "multiclass":
        return called_positive(p, threshold)
    called = np.zeros(p.shape, np.bool_)
    if len(p):
        called[np.arange(len(p)), np.argmax(p, axis=1)] = True
    return called


class LabelJudge:
    """Judges one set of answers of classes under any weighting of its rows."""

    def __init__(self, answers: Answers, threshold: float, *, ranked: bool) -> None:
        """Sort what has to be sorted, and sum what can be summed row by row.

        Args:
            answers: Of classes or yes/no columns.
            threshold: From which probability on a label is positive (binary, multilabel).
            ranked: Whether areas under curves are wanted; they take most of the time.
        """
        task, p = answers.task, answers.p.astype(np.float64)
        self._task, self._parts = task, answers.y.shape[1]
        true, called = answers.y > 0.5, call(task, p, threshold)
        epsilon = np.finfo(answers.p.dtype).eps
        kept = np.clip(p, epsilon, 1 - epsilon)
        surprise = -np.where(true, np.log(kept), np.log1p(-kept))
        summed = [surprise, (p - answers.y) ** 2]
        self._classes: tuple[Numbers, Numbers] | None = None
        if task == "multiclass":
            numbers, likeliest = np.argmax(answers.y, axis=1), np.argmax(p, axis=1)
            self._classes = 2 * numbers + (numbers == likeliest), likeliest
            summed.append(-np.where(true, np.log(kept), 0.0).sum(axis=1, keepdims=True))
            summed += [top_k_hits(numbers, answers.p, k)[:, None] for k in self._tops]
        else:
            summed += [true, ~true, called, true & called]
        self._summed = np.concatenate(summed, axis=1, dtype=np.float64)
        self._rankings: tuple[Ranking, ...] = ()
        if ranked:
            self._rankings = tuple(Ranking(true[:, k], p[:, k]) for k in range(self._parts))

    @property
    def _tops(self) -> tuple[int, ...]:
        return tuple(k for k in TOPS if self._task == "multiclass" and self._parts > k)

    def judge(self, weights: Doubles) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
        """Every measure of each weighting.

        Args:
            weights: (r, n) of at least 0, each with a sum above 0.

        Returns:
            Of the whole, each (r,), and of its parts, each (r, k): every class against the rest, or
            every column.
        """
        total = weights.sum(axis=1)
        sums = weights @ self._summed
        k = self._parts
        true, negative, called, both = self._count(weights, sums)
        parts = _against_rest(true, negative, called, both)
        if self._rankings:
            areas = [ranking.areas(weights) for ranking in self._rankings]
            parts["auc"] = np.stack([area for area, _ in areas], axis=1)
            parts["average_precision"] = np.stack([precision for _, precision in areas], axis=1)
        parts["log_loss"] = sums[:, :k] / total[:, None]
        parts["brier"] = sums[:, k : 2 * k] / total[:, None]
        if self._task == "binary":
            return {name: values[:, 0] for name, values in parts.items()}, parts
        whole = self._whole(parts, true, negative, called, both, total)
        if self._task == "multiclass":
            whole["log_loss"] = sums[:, 2 * k] / total
            for index, top in enumerate(self._tops):
                whole[f"top_{top}_accuracy"] = sums[:, 2 * k + 1 + index] / total
        return whole, parts

    def _count(self, weights: Doubles, sums: Doubles) -> tuple[Doubles, ...]:
        """The weight of the rows of each class or column: truly so, truly not, called so, so and
        called so; each (r, k). What has no rows has 0 exactly.
        """
        k = self._parts
        if self._classes is None:
            return tuple(sums[:, i * k : (i + 1) * k] for i in (2, 3, 4, 5))
        numbers, likeliest = self._classes
        of_true = _sums(numbers, weights, 2 * k)
        both = of_true[:, 1::2]
        true = of_true[:, ::2] + both
        negative = true.sum(axis=1, keepdims=True) - true
        return true, negative, _sums(likeliest, weights, k), both

    def _whole(
        self,
        parts: dict[str, Doubles],
        true: Doubles,
        negative: Doubles,
        called: Doubles,
        both: Doubles,
        total: Doubles,
    ) -> dict[str, Doubles]:
        """The averages over the parts: plain (macro), of all decisions (micro), by rows (weighted)."""
        several = self._task == "multiclass"
        names = [name for name in (*AVERAGED, *RANKED) if name in parts]
        whole = {"accuracy": parts["accuracy"].mean(axis=1)}
        if several:
            whole["accuracy"] = both.sum(axis=1) / total
            seen = true > 0
            whole["balanced_accuracy"] = (parts["recall"] * seen).sum(axis=1) / seen.sum(axis=1)
        whole |= {name: parts[name].mean(axis=1) for name in names}
        if several:
            whole["mcc"] = matthews(true, called, both, total)
        whole["log_loss"] = parts["log_loss"].mean(axis=1)
        whole["brier"] = parts["brier"].sum(axis=1) if several else parts["brier"].mean(axis=1)
        micro = _against_rest(
            true.sum(axis=1), negative.sum(axis=1), called.sum(axis=1), both.sum(axis=1)
        )
        whole |= {f"{name}_micro": micro[name] for name in AVERAGED}
        # A class without rows takes no part, so its undefined area does not count either.
        for name in names:
            summed = np.where(true > 0, parts[name] * true, 0.0).sum(axis=1)
            whole[f"{name}_weighted"] = share(summed, true.sum(axis=1))
        return whole


def share(part: Doubles, whole: Doubles) -> Doubles:
    """The quotient, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def matthews(true: Doubles, called: Doubles, both: Doubles, total: Doubles) -> Doubles:
    """Gorodkin's R_K (2004), for two classes Matthews' coefficient; 0 when either side is constant.

    Args:
        true: (r, k) weight of the rows of each class.
        called: (r, k) weight of the rows called so.
        both: (r, k) weight of the rows that are both.
        total: (r,) weight of all rows.
    """
    covariance = both.sum(axis=1) * total - (true * called).sum(axis=1)
    of_called = total**2 - (called**2).sum(axis=1)
    of_true = total**2 - (true**2).sum(axis=1)
    # What rounding leaves of a constant side is no variance.
    vary = np.minimum(of_called, of_true) > 1e-14 * total**2
    product = np.where(vary, of_called * of_true, 1.0)
    return np.where(vary, covariance / np.sqrt(product), 0.0)


def _against_rest(
    true: Doubles, negative: Doubles, called: Doubles, both: Doubles
) -> dict[str, Doubles]:
    """What the counts of a class or column say of it, each of the shape of `true`."""
    total = true + negative
    rejected = np.maximum(negative - called + both, 0.0)
    recall, specificity = share(both, true), share(rejected, negative)
    sides = (true > 0).astype(np.float64) + (negative > 0)
    of_true, of_called, of_both = (
        np.stack(each, axis=-1).reshape(-1, 2)
        for each in ((true, negative), (called, total - called), (both, rejected))
    )
    return {
        "accuracy": (both + rejected) / total,
        "balanced_accuracy": (recall + specificity) / sides,
        "precision": share(both, called),
        "recall": recall,
        "specificity": specificity,
        "f1": share(2 * both, true + called),
        "mcc": matthews(of_true, of_called, of_both, total.reshape(-1)).reshape(true.shape),
    }


def _sums(codes: Numbers, weights: Doubles, size: int) -> Doubles:
    """The weight of each code in each weighting, (r, size)."""
    return np.stack([np.bincount(codes, line, size) for line in weights]).astype(np.float64)
