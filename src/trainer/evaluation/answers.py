"""What a network said of some rows, and what is true: what every judgement of this room is given.

Owns: the arrays and how they belong together. Does not own: where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trainer.config.data import Task

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.integer]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a network said of some rows, and what is true.

    Attributes:
        task: What is predicted.
        names: Classes (binary: the negative, the positive one), or columns.
        y: (n, k) as `trainer.models.metrics.compute_metrics` wants it: binary (n, 1) of 0 and 1;
            multiclass one-hot; multilabel 0 and 1; regression in the target's unit.
        p: (n, k) probabilities, or numbers. Its dtype says how near to 0 and 1 the log loss looks.
        rows: (n,) numbers of the rows in their source, each once.
        weight: (n,) of at least 0, or None for equal weights.
        group: (n,) codes; rows of one group belong together and are drawn together. Or None.
    """

    task: Task
    names: tuple[str, ...]
    y: Floats
    p: Floats
    rows: Rows
    weight: Doubles | None = None
    group: Integers | None = None

    def __post_init__(self) -> None:
        assert self.y.ndim == 2, self.y.shape
        assert self.y.shape == self.p.shape, (self.y.shape, self.p.shape)
        assert len(self.names) == (2 if self.task == "binary" else self.y.shape[1]), self.names
        for each in (self.rows, self.weight, self.group):
            assert each is None or each.shape == (len(self.y),), each.shape

    def __len__(self) -> int:
        return len(self.y)

    def weights(self) -> Doubles:
        """(n,) the weights, 1 where there are none."""
        if self.weight is None:
            return np.ones(len(self), np.float64)
        return self.weight.astype(np.float64)

    def take(self, index: Integers | Bools) -> Answers:
        """The rows of `index`, numbers of rows here or (n,) yes or no, in its order."""
        return replace(
            self,
            y=self.y[index],
            p=self.p[index],
            rows=self.rows[index],
            weight=None if self.weight is None else self.weight[index],
            group=None if self.group is None else self.group[index],
        )
