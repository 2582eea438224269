"""The training rows of a network: their order in an epoch, in batches and in device calls.

The order is a pure function of (seed, epoch), and of the lengths of texts if batches are made by them
(`trainer.engine.lengths`, `trainer.engine.token_batches`). `ResidentRows` keeps the rows on the device;
`trainer.engine.streaming` reads them from disk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.samples import Samples
from trainer.engine.batches import gather_batch, to_device
from trainer.engine.lengths import Lengths, order_generator, sorted_batches, without_padding
from trainer.engine.token_batches import EpochBatches, TokenBatches

Part = tuple[Any, Any, Any, Any]
"""Order, inputs, targets and sample weights (or None): the arguments of `train_in_batches`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How the rows of an epoch are ordered and divided.

    Attributes:
        seed: Seed of the order.
        batch_size: Rows per step; the last batch of an epoch may be smaller.
        shuffle: Whether to shuffle the rows before each epoch.
        steps_per_execution: Maximum number of batches per device call.
        lengths: Number of tokens that each row keeps; batches then have rows of similar lengths, each in
            a device call of its own. None if all rows keep all tokens.
    """

    seed: int
    batch_size: int
    shuffle: bool
    steps_per_execution: int
    lengths: Lengths | None = None


class TrainingRows(ABC):
    """Training rows that are divided into batches and device calls.

    Attributes:
        batching: How they are divided.
        count: Number of rows.
        batch: Rows per step.
        steps_per_epoch: Batches per epoch.
    """

    def __init__(self, samples: Samples, batching: Batching) -> None:
        self.batching, self.count = batching, len(samples)
        self.batch = min(batching.batch_size, self.count)
        self.steps_per_epoch = -(-self.count // self.batch)

    def row_count(self, epoch: int, steps: int) -> int:
        """Return the number of rows of the first batches of an epoch."""
        return min(self.count, steps * self.batch)

    @abstractmethod
    def parts(
        self, epoch: int, first: int, order: NDArray[np.int32]
    ) -> Generator[Part, None, None]:
        """Yield the rows of an epoch from row `first` on, one device call at a time.

        Args:
            epoch: Number of the epoch, from 1.
            first: Number of rows to skip.
            order: Receives the positions in the samples of all rows up to those yielded; its length is
                the number of rows to train on.
        """


def epoch_order(rows: int, seed: int, epoch: int, shuffle: bool) -> NDArray[np.int32]:
    """Return the order of the rows in an epoch: a permutation that depends only on (seed, epoch)."""
    if not shuffle:
        return np.arange(rows, dtype=np.int32)
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(rows).astype(np.int32)


def row_keys(positions: NDArray[np.int32], epoch: int) -> Any:
    """Return what random changes of rows depend on, (rows, 2) int32: position and epoch."""
    return tf.constant(np.stack([positions, np.full_like(positions, epoch)], axis=1))


class ResidentRows(TrainingRows):
    """Rows that are kept on the device.

    Attributes:
        data: Inputs, targets and sample weights (or None) as tensors.
    """

    def __init__(self, samples: Samples, batching: Batching) -> None:
        """Copy the rows to the device."""
        super().__init__(samples, batching)
        self.data = to_device(samples)

    def parts(
        self, epoch: int, first: int, order: NDArray[np.int32]
    ) -> Generator[Part, None, None]:
        order[:] = self.order(epoch)[: len(order)]
        if self.batching.lengths is not None:
            yield from self._short_batches(order[first:], self.batching.lengths)
            return
        call = self.batching.steps_per_execution * self.batch
        for begin in range(first, len(order), call):
            yield (tf.constant(order[begin : begin + call]), *self.data)

    def order(self, epoch: int) -> NDArray[np.int32]:
        """Return the order of the rows in an epoch."""
        seed, shuffle, lengths = self.batching.seed, self.batching.shuffle, self.batching.lengths
        order = epoch_order(self.count, seed, epoch, shuffle)
        if lengths is None or not shuffle:
            return order
        return order[sorted_batches(lengths[order], self.batch, order_generator(seed, epoch))]

    def _short_batches(self, order: NDArray[np.int32], lengths: Lengths) -> Iterator[Part]:
        for begin in range(0, len(order), self.batch):
            rows = order[begin : begin + self.batch]
            x, y, *weight = gather_batch(*self.data, tf.constant(rows))
            x = without_padding(x, int(lengths[rows].max()))
            yield None, x, y, weight[0] if weight else None


class TokenBatchRows(ResidentRows):
    """Rows of pairs of texts that are kept on the device, in batches with a number of tokens.

    Each batch is a device call of its own, without the padding that it does not need.
    """

    def __init__(self, samples: Samples, batching: Batching, batches: TokenBatches) -> None:
        """Copy the rows to the device."""
        super().__init__(samples, batching)
        self._batches = batches
        self.batch = int(batches.sizes.max())
        self.steps_per_epoch = batches.steps

    def row_count(self, epoch: int, steps: int) -> int:
        batching = self.batching
        return self._batches.row_count(batching.seed, epoch, steps, shuffle=batching.shuffle)

    def order(self, epoch: int) -> NDArray[np.int32]:
        return self._epoch(epoch).rows.astype(np.int32)

    def parts(
        self, epoch: int, first: int, order: NDArray[np.int32]
    ) -> Generator[Part, None, None]:
        batches = self._epoch(epoch)
        order[:] = batches.rows[: len(order)]
        stops = np.cumsum(batches.sizes)
        for stop, size, length in zip(stops, batches.sizes, batches.lengths, strict=True):
            if first < stop <= len(order):
                rows = tf.constant(order[stop - size : stop])
                x, y, *weight = gather_batch(*self.data, rows)
                # A target has the id of its start before the tokens that are predicted.
                x, y = without_padding(x, int(length)), y[:, : int(length) + 1]
                yield None, x, y, weight[0] if weight else None

    def _epoch(self, epoch: int) -> EpochBatches:
        return self._batches.epoch(self.batching.seed, epoch, shuffle=self.batching.shuffle)


class WholeBatchRows(ResidentRows):
    """Rows that are kept on the device, of which each epoch leaves out those that do not fill a batch:
    other ones in each epoch.
    """

    def __init__(self, samples: Samples, batching: Batching) -> None:
        """Copy the rows to the device."""
        super().__init__(samples, batching)
        self._rows = self.count
        self.steps_per_epoch = self.count // self.batch
        self.count = self.steps_per_epoch * self.batch

    def order(self, epoch: int) -> NDArray[np.int32]:
        """Return the order of the rows that an epoch trains on."""
        order = epoch_order(self._rows, self.batching.seed, epoch, self.batching.shuffle)
        return order[: self.count]
