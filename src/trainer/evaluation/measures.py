"""The full list of measures of a task, by name.

Owns: which measures there are, their names, and all of them at once, for one weighting of the rows or
many. Where `trainer.models.metrics` has a metric, its definition is the definition. Does not own: the
arithmetic (`labels`, `numbers`, `rankings`), intervals (`bootstrap`).

Names are those of `trainer.config.objectives.MetricName`, and:

- two classes: nothing else;
- several classes, or yes/no columns: `precision`, `recall`, `specificity`, `f1`, `auc` and
  `average_precision` are macro averages; `…_micro` (not of areas: scores of one class are not held
  against those of another) is of all decisions pooled, `…_weighted` the mean by weight of the classes'
  or columns' positive rows, of those that have some;
- `PART/name`: the measure of one class against the rest, or of one column, by the same definitions as
  for two classes. In it accuracy, mcc and the others count a row of several classes as called so when
  this class is the likeliest.

`mape` is there only where it means something: no target is nearer to 0 than a hundredth of the median
absolute target. `top_3_accuracy` and `top_5_accuracy` only with more classes than that. Every measure
is nan without rows or weight, or when a prediction is not finite.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from trainer.config.data import Task
from trainer.config.objectives import METRICS
from trainer.evaluation.answers import Answers, Doubles
from trainer.evaluation.labels import RANKED, LabelJudge
from trainer.evaluation.numbers import NumberJudge

SEPARATOR = "/"
COMPARED: Mapping[Task, tuple[str, ...]] = {
    "binary": ("auc", "accuracy", "balanced_accuracy", "f1", "log_loss", "brier"),
    "multiclass": ("accuracy", "balanced_accuracy", "f1", "log_loss", "brier"),
    "multilabel": ("auc", "accuracy", "f1", "log_loss", "brier"),
    "regression": ("rmse", "mae", "r2"),
}
"""The metrics that a run is compared by, with baselines and with other runs."""
_SORTED = (*RANKED, *(f"{name}_weighted" for name in RANKED), "median_absolute_error")


def measure_all(answers: Answers, threshold: float = 0.5) -> dict[str, float]:
    """Every measure of the answers.

    Args:
        answers: What is judged.
        threshold: From which probability on a label is positive (binary, multilabel).

    Returns:
        Name → value, the whole first, then each part; nan where it is not defined.
    """
    judge = Judge(answers, threshold)
    (values,) = judge.measure(answers.weights()[None, :])
    return dict(zip(judge.names, map(float, values), strict=True))


def split_name(name: str) -> tuple[str, str]:
    """The part, empty for the whole, and the measure that `name` speaks of."""
    part, _, measure = name.rpartition(SEPARATOR)
    return part, measure


def is_higher_better(name: str) -> bool:
    """Whether a higher value is better, of any name that `measure_all` gives."""
    measure = split_name(name)[1]
    for ending in ("_micro", "_weighted"):
        measure = measure.removesuffix(ending)
    return METRICS[measure].better == "higher"  # type: ignore[index]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a measure stands: of the whole, or of the part with that number."""

    name: str
    part: int | None


class Judge:
    """Measures one set of answers under any weighting of its rows; `names` says what."""

    def __init__(
        self, answers: Answers, threshold: float = 0.5, names: Collection[str] | None = None
    ) -> None:
        """Prepare all that does not depend on the weighting.

        Args:
            answers: What is judged.
            threshold: From which probability on a label is positive (binary, multilabel).
            names: Only these measures, each of which the task must have; None for all.
        """
        self._finite = bool(np.isfinite(answers.p).all())
        ranked = names is None or any(split_name(name)[1] in _SORTED for name in names)
        if not self._finite:
            answers = replace(answers, p=np.zeros_like(answers.p))
        self._judge = (
            NumberJudge(answers, ranked=ranked)
            if answers.task == "regression"
            else LabelJudge(answers, threshold, ranked=ranked)
        )
        self._places = self._find_places(answers)
        if names is None and isinstance(self._judge, NumberJudge):
            shares = self._judge.shares
            self._places = {
                name: place
                for name, place in self._places.items()
                if place.name != "mape"
                or (all(shares) if place.part is None else shares[place.part])
            }
        if names is not None:
            assert set(names) <= set(self._places), set(names) - set(self._places)
            self._places = {name: self._places[name] for name in names}
        self.names = tuple(self._places)

    def measure(self, weights: Doubles) -> Doubles:
        """Every measure of each weighting.

        Args:
            weights: (r, n) of at least 0.

        Returns:
            (r, len(names)); nan where a measure is not defined.
        """
        found = np.full((len(weights), len(self.names)), np.nan)
        some = weights.sum(axis=1) > 0
        if not (self._finite and some.any()):
            return found
        whole, parts = self._judge.judge(weights if some.all() else weights[some])
        for index, place in enumerate(self._places.values()):
            source = whole[place.name] if place.part is None else parts[place.name][:, place.part]
            found[some, index] = source
        return found

    def _find_places(self, answers: Answers) -> dict[str, _Place]:
        """Every name and where it stands, without measuring anything that takes time."""
        with np.errstate(divide="ignore", invalid="ignore"):
            whole, parts = self._judge.judge(np.zeros((1, len(answers))))
        places = {name: _Place(name, None) for name in whole}
        if answers.task == "binary" or (answers.task == "regression" and answers.y.shape[1] == 1):
            return places
        for number, part in enumerate(answers.names):
            for name in parts:
                places[f"{part}{SEPARATOR}{name}"] = _Place(name, number)
        return places
