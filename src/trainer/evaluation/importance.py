"""Permutation importance: how much worse the answers are when a column says nothing (Breiman 2001).

Each column of the table is shuffled over the rows, all its encoded columns together, `repeats` times;
its drop is the mean fall of the measure. The network stays as it is: what it could learn from the other
columns instead is not asked. Columns that say the same share their importance, or hide it.

The interval of a drop is drop ± z √(V + s² / repeats), with z of the normal distribution, s the standard
deviation between the repeats (how the shuffles fell) and V the variance over samples of rows, from the
influences of the rows on the mean drop (`influence`). The spread between repeats alone, Student's
interval, is that of these very rows: a column of noise on which a network overfits a little moves them a
little, always the same way, and would seem sure (of 1,000 simulated tables of 100 rows it held the 0 of
such a column in 68 of 100 where 95 were promised, this one in 96). V counts a column's own effect in the
rows it is taken from and given to, as if they were two samples; the interval is a little too wide
rather than too narrow.

Owns: shuffling, drops, intervals. Does not own: asking the network (`alterations`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import NormalDist

import numpy as np

from trainer.config.data import Task
from trainer.evaluation.alterations import Alteration, Ask, Encoding, ask_altered, column_names
from trainer.evaluation.answers import Doubles, Floats
from trainer.evaluation.influence import Headline, headline, influences, is_better_high


@dataclass(frozen=True, slots=True)
class ColumnDrop:
    """What a column is worth.

    Attributes:
        column: A column of the table.
        drop: How much worse the measure is without it, the mean over repeats; below 0: better.
        low: The lower end of its interval.
        high: The upper end.
    """

    column: str
    drop: float
    low: float
    high: float

    @property
    def is_noise(self) -> bool:
        """Whether there may be no drop at all."""
        return not self.low > 0


@dataclass(frozen=True, slots=True)
class Importance:
    """What each column is worth.

    Attributes:
        measure: What is measured.
        baseline: Its value with all columns as they are.
        rows: Of how many rows.
        repeats: Shuffles of each column.
        columns: The greatest drop first.
    """

    measure: Headline
    baseline: float
    rows: int
    repeats: int
    columns: tuple[ColumnDrop, ...]


def permutation_importance(
    task: Task,
    encodings: Sequence[Encoding],
    y: Floats,
    weight: Floats | None,
    ask: Ask,
    *,
    repeats: int,
    seed: int,
    level: float,
) -> Importance:
    """Shuffle each column and see what is lost.

    The order of a shuffle depends on the seed and the number of the repeat alone.

    Args:
        task: What is predicted.
        encodings: The rows, as often as they are encoded: n of them, one at least.
        y: Targets (n, k), as `trainer.models.metrics.compute_metrics` has them.
        weight: (n,) not all 0, or None.
        ask: The network.
        repeats: Shuffles of each column, at least 1.
        seed: Of the shuffles.
        level: Of the intervals, as 0.95.
    """
    names = column_names(encodings)
    measure = headline(task, y, weight)
    orders = [
        np.random.default_rng([seed, repeat]).permutation(len(y)) for repeat in range(repeats)
    ]

    def shuffled() -> Iterator[Alteration | None]:
        yield None
        for name in names:
            for order in orders:
                values = [each.x[order[:, None], each.of(name)] for each in encodings]
                yield Alteration(name, values)

    answers = ask_altered(ask, encodings, shuffled(), 1 + len(names) * repeats)
    baseline = influences(measure, task, y, next(answers), weight)
    sign = 1 if is_better_high(measure) else -1
    z = NormalDist().inv_cdf((1 + level) / 2)
    found = []
    for name in names:
        drops = np.empty(repeats)
        rows: Doubles = np.zeros(len(y))
        for repeat in range(repeats):
            without = influences(measure, task, y, next(answers), weight)
            drops[repeat] = sign * (baseline.value - without.value)
            rows += (baseline.rows - without.rows) / repeats
        drop = float(drops.mean())
        variance = float(np.dot(rows, rows))
        if repeats > 1:
            variance += float(drops.var(ddof=1)) / repeats
        half = z * variance**0.5
        found.append(ColumnDrop(name, drop, drop - half, drop + half))
    # NaN, of answers that are not finite, last.
    found.sort(key=lambda one: (isnan(one.drop), -one.drop))
    return Importance(measure, baseline.value, len(y), repeats, tuple(found))
