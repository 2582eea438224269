"""What is known of a column's values after they have gone by: moments, and a sample for quantiles.

Count, mean, deviation, minimum and maximum are exact to rounding: each batch's are computed in
float64 and merged (Chan, Golub and LeVeque 1979; here with deviations in place of sums of squares, so
that large values do not overflow). Quantiles are those of the values whose rows have the smallest
hash, at most `SAMPLE_ROWS` of them and `SAMPLE_CELLS` over all columns: a sample that depends neither
on the order of the rows nor on how they were batched, and all values where there are fewer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import hypot, inf, sqrt

import numpy as np

from trainer.data.arrays import Float64Array, UInt64Array
from trainer.data.numeric import Bounds, SortedValues, mean, std

SAMPLE_ROWS = 1_000_000
SAMPLE_CELLS = 1 << 24
_SLACK = 1.5


def sample_limit(columns: int) -> int:
    """Values kept of each of so many columns."""
    return min(SAMPLE_ROWS, SAMPLE_CELLS // max(1, columns))


@dataclass(frozen=True, slots=True)
class Moments:
    """Of some values; the deviation is the population's."""

    count: int = 0
    mean: float = 0.0
    std: float = 0.0
    minimum: float = inf
    maximum: float = -inf

    @classmethod
    def of(cls, values: Float64Array) -> Moments:
        """Of values, shape (n,), none of them NaN."""
        if not len(values):
            return cls()
        low, high = float(values.min()), float(values.max())
        return cls(len(values), mean(values), std(values), low, high)

    def merged(self, other: Moments) -> Moments:
        """Of these and other values."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        mine, others = self.count / count, other.count / count
        away = other.mean - self.mean
        within = hypot(sqrt(mine) * self.std, sqrt(others) * other.std)
        return Moments(
            count,
            self.mean + away * others,
            hypot(within, sqrt(mine * others) * away),
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )


@dataclass(slots=True)
class BottomKSample:
    """The values whose rows have the smallest keys; at most `limit` of them."""

    limit: int
    _keys: list[UInt64Array] = field(default_factory=list)
    _values: list[Float64Array] = field(default_factory=list)
    _held: int = 0
    _last: np.uint64 | None = None

    def add(self, keys: UInt64Array, values: Float64Array) -> None:
        """Take in values, shape (n,), with the keys of their rows."""
        if self._last is not None:
            near = keys <= self._last
            keys, values = keys[near], values[near]
        self._keys.append(keys)
        self._values.append(values)
        self._held += len(keys)
        if self._held > _SLACK * self.limit:
            self._compact()

    def values(self) -> Float64Array:
        """The sampled values, sorted."""
        self._compact()
        return np.sort(self._values[0])

    def _compact(self) -> None:
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        values = np.concatenate([np.empty(0), *self._values])
        if len(keys) > self.limit:
            near = np.argpartition(keys, self.limit - 1)[: self.limit]
            keys, values = keys[near], values[near]
            self._last = keys.max()
        self._keys, self._values, self._held = [keys], [values], len(keys)


@dataclass(frozen=True, slots=True)
class Sketch:
    """The known values of a column, as `numeric.Known`.

    Attributes:
        moments: Of the known values.
        ordered: The sampled values.
        missing: Rows without a value.
        clipped: Moments once moved to the bounds of `within`; None where no value is beyond them.
    """

    moments: Moments
    ordered: SortedValues
    missing: int
    clipped: Moments | None = None

    @property
    def minimum(self) -> float:
        return self.moments.minimum

    @property
    def maximum(self) -> float:
        return self.moments.maximum

    @property
    def sampled(self) -> int | None:
        kept = len(self.ordered.values)
        return None if kept == self.moments.count else kept

    def mean(self) -> float:
        return self.moments.mean

    def std(self) -> float:
        return self.moments.std

    def most_frequent(self) -> float:
        return self.ordered.most_frequent()

    def quantile(self, share: float) -> float:
        return self.ordered.quantile(share)

    def within(self, bounds: Bounds) -> Sketch:
        moments = self.moments if self.clipped is None else self.clipped
        return Sketch(moments, self.ordered.within(bounds), self.missing)

    def filled(self, fill: float) -> Sketch:
        if not self.missing:
            return self
        moments = self.moments.merged(Moments(self.missing, fill, 0.0, fill, fill))
        share = len(self.ordered.values) / self.moments.count
        gaps = SortedValues(self.ordered.values, round(self.missing * share))
        return Sketch(moments, gaps.filled(fill), 0)

    def count(self) -> int:
        return self.ordered.count()
