"""Streaming statistics of a column: moments, and a sample for quantiles.

Count, mean, standard deviation, minimum and maximum are exact up to rounding: those of each batch are
computed in float64 and merged (Chan, Golub and LeVeque 1979; here with standard deviations instead of
sums of squares, so that large values do not overflow). Quantiles are those of the values whose rows
have the smallest hashes, at most `SAMPLE_ROWS` of them and `SAMPLE_CELLS` over all columns: a sample
that depends on neither the row order nor the batches, and includes all values if there are fewer.
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
    """Return the sample size for each of `columns` columns."""
    return min(SAMPLE_ROWS, SAMPLE_CELLS // max(1, columns))


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of some values, with the population standard deviation."""

    count: int = 0
    mean: float = 0.0
    std: float = 0.0
    minimum: float = inf
    maximum: float = -inf

    @classmethod
    def from_values(cls, values: Float64Array) -> Moments:
        """Return the moments of values, shape (n,), without NaN."""
        if not len(values):
            return cls()
        low, high = float(values.min()), float(values.max())
        return cls(len(values), mean(values), std(values), low, high)

    def merged(self, other: Moments) -> Moments:
        """Return the moments of these and other values together."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        share, other_share = self.count / count, other.count / count
        difference = other.mean - self.mean
        within = hypot(sqrt(share) * self.std, sqrt(other_share) * other.std)
        return Moments(
            count,
            self.mean + difference * other_share,
            hypot(within, sqrt(share * other_share) * difference),
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )


@dataclass(slots=True)
class BottomKSample:
    """A sample of the values whose rows have the smallest keys; at most `limit` values, if not None."""

    limit: int | None
    _keys: list[UInt64Array] = field(default_factory=list)
    _values: list[Float64Array] = field(default_factory=list)
    _size: int = 0
    _largest_key: np.uint64 | None = None

    def add(self, keys: UInt64Array, values: Float64Array) -> None:
        """Add values, shape (n,), with the keys of their rows."""
        if self._largest_key is not None:
            smallest = keys <= self._largest_key
            keys, values = keys[smallest], values[smallest]
        self._keys.append(keys)
        self._values.append(values)
        self._size += len(keys)
        if self.limit is not None and self._size > _SLACK * self.limit:
            self._compact(self.limit)

    def values(self) -> Float64Array:
        """Return the sampled values, sorted."""
        if self.limit is not None:
            self._compact(self.limit)
        return np.sort(np.concatenate([np.empty(0), *self._values]))

    def _compact(self, limit: int) -> None:
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        values = np.concatenate([np.empty(0), *self._values])
        if len(keys) > limit:
            smallest = np.argpartition(keys, limit - 1)[:limit]
            keys, values = keys[smallest], values[smallest]
            self._largest_key = keys.max()
        self._keys, self._values, self._size = [keys], [values], len(keys)


@dataclass(frozen=True, slots=True)
class Sketch:
    """Statistics of the known values of a column; implements `numeric.NumericSummary`.

    Attributes:
        moments: Moments of the known values.
        ordered: The sampled values.
        missing: Number of rows without a value.
        clipped: Moments after clipping to the bounds of `clip`; None if no value is outside.
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
    def values(self) -> Float64Array:
        return self.ordered.values

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

    def clip(self, bounds: Bounds) -> Sketch:
        moments = self.moments if self.clipped is None else self.clipped
        return Sketch(moments, self.ordered.clip(bounds), self.missing)

    def impute(self, fill: float) -> Sketch:
        if not self.missing:
            return self
        moments = self.moments.merged(Moments(self.missing, fill, 0.0, fill, fill))
        share = len(self.ordered.values) / self.moments.count
        missing_sample = SortedValues(self.ordered.values, round(self.missing * share))
        return Sketch(moments, missing_sample.impute(fill), 0)
