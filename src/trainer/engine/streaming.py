"""The epoch runner for rows that are not on the device: windows of them, read ahead of it.

The order of the rows is a pure function of (seed, epoch) and of the encoded table: its shards are
permuted; some of them in a row are a window; the rows of a window are permuted. A table of one window
has the resident runner's order. Rows that a window leaves over go on into the next, so that only the
last batch of an epoch is short.

While the device runs one chunk of batches, a thread reads the next: some windows' worth of rows are in
memory, however many there are on disk.

Owns: order, reading ahead, training. Does not own: the rows on disk (`trainer.data.scratch_arrays`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.samples import Samples
from trainer.data.scratch_arrays import release_pages
from trainer.engine.batches import (
    EpochOutput,
    Evaluator,
    Float32Array,
    PartialEpoch,
    Program,
    TrainStep,
    gather_batch,
    run_in_batches,
)

SHARD_ROWS = 1 << 16
WINDOW_SHARDS = 8
_WINDOW_BYTES = 1 << 27


@dataclass(frozen=True, slots=True)
class Window:
    """Rows that are in memory together.

    Attributes:
        shards: Where they are, rising.
        order: Their order, positions in the shards one behind another; None for as they are.
    """

    shards: tuple[slice, ...]
    order: NDArray[np.int64] | None

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(shard.stop - shard.start for shard in self.shards)

    def positions(self) -> NDArray[np.int32]:
        """(rows,) where each of them is in the samples, in the window's order."""
        places = np.concatenate(
            [np.arange(shard.start, shard.stop, dtype=np.int32) for shard in self.shards]
        )
        return places if self.order is None else places[self.order]


def shard_rows(width: int) -> int:
    """Rows of a shard: `SHARD_ROWS`, or the power of two that bounds a window's bytes."""
    most = _WINDOW_BYTES // (4 * WINDOW_SHARDS * max(1, width))
    return min(SHARD_ROWS, 1 << max(0, most.bit_length() - 1))


def streamed_order(
    rows: int, seed: int, epoch: int, *, shuffle: bool, shard: int
) -> Iterator[Window]:
    """The windows of an epoch, in order.

    Args:
        rows: How many there are.
        seed: The seed.
        epoch: The epoch, from 1.
        shuffle: False for the order of the rows on disk.
        shard: Rows of a shard; the last one may have fewer.
    """
    shards = [slice(first, min(first + shard, rows)) for first in range(0, rows, shard)]
    windows = -(-len(shards) // WINDOW_SHARDS)
    if shuffle:
        shards = [
            shards[place] for place in _generator(seed, epoch, windows).permutation(len(shards))
        ]
    for window in range(windows):
        part = shards[window * WINDOW_SHARDS : (window + 1) * WINDOW_SHARDS]
        found = Window(tuple(sorted(part, key=lambda one: int(one.start))), None)
        if shuffle:
            order = _generator(seed, epoch, window).permutation(found.rows)
            found = Window(found.shards, order)
        yield found


def _generator(seed: int, epoch: int, number: int) -> np.random.Generator:
    # Counters that differ in their highest word never meet.
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, number]))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Whole batches in their order, as one call takes them."""

    x: Float32Array
    y: Float32Array
    weight: Float32Array | None

    @classmethod
    def empty(cls, samples: Samples, rows: int) -> _Chunk:
        return cls(
            np.empty((rows, *samples.x.shape[1:]), np.float32),
            np.empty((rows, samples.y.shape[1]), np.float32),
            None if samples.weight is None else np.empty(rows, np.float32),
        )


class StreamingRunner:
    """Rows on disk, an epoch as a few calls of one program."""

    def __init__(
        self,
        network: keras.Sequential,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        samples: Samples,
        *,
        seed: int,
        batch_size: int,
        shuffle: bool,
        compiled: bool,
        steps_in_a_call: int,
    ) -> None:
        """Make every variable; nothing is read.

        Args:
            network: Built; its weights change in place.
            optimizer: Its slots are made here.
            loss: As Keras computes it.
            samples: The training rows, mapped into memory from a file.
            seed: Of the order of the rows.
            batch_size: Rows a step; the last batch of an epoch may be shorter.
            shuffle: Another order each epoch.
            compiled: Compile the program with XLA; without it, it runs as a TensorFlow graph.
            steps_in_a_call: At most so many batches in one call of the device.
        """
        rows = len(samples.x)
        self._samples, self._rows, self._seed, self._shuffle = samples, rows, seed, shuffle
        self._batch = min(batch_size, rows)
        self._shard = shard_rows(int(np.prod(samples.x.shape[1:])))
        in_a_window = max(1, WINDOW_SHARDS * self._shard // self._batch)
        self._chunk = self._batch * min(in_a_window, steps_in_a_call)
        self.steps_per_epoch = -(-rows // self._batch)
        self.train_step = TrainStep(network, loss, optimizer)
        # Every variable exists before the first trace: none can be made inside one.
        optimizer.build(network.trainable_variables)
        self.program = Program(self._in_graph, compiled=compiled)
        self.evaluator = Evaluator(network, loss)

    def train(
        self, epoch: int, max_steps: int, partial_epoch: PartialEpoch | None
    ) -> Generator[PartialEpoch, None, EpochOutput]:
        """As in `EpochRunner`."""
        wanted = min(self._rows, max_steps * self._batch)
        order = np.empty(wanted, np.int32)
        if partial_epoch is None:
            partial_epoch = self.train_step.begin()
        chunks = self._chunks(epoch, partial_epoch.rows, wanted, order)
        with ThreadPoolExecutor(1, "rows ahead") as reader:
            ahead = reader.submit(next, chunks, None)
            while not partial_epoch.diverged and (chunk := ahead.result()) is not None:
                ahead = reader.submit(next, chunks, None)
                weight = None if chunk.weight is None else tf.constant(chunk.weight)
                partial_epoch.add(*self.program(tf.constant(chunk.x), tf.constant(chunk.y), weight))
                yield partial_epoch
        return partial_epoch.whole(order[: partial_epoch.rows])

    def evaluate(self, samples: Samples) -> Generator[None, None, EpochOutput]:
        """As in `EpochRunner`."""
        judged = yield from self.evaluator.evaluate_in_parts(samples)
        release_pages(samples.x)
        release_pages(samples.y)
        return judged

    def _chunks(
        self, epoch: int, first: int, last: int, order: NDArray[np.int32]
    ) -> Iterator[_Chunk]:
        """The rows from `first` to `last` of an epoch, as many at a time as one call takes.

        The rows' positions in the samples are written to `order`, from its start on.
        """
        left, filled, passed = last - first, 0, 0
        chunk = _Chunk.empty(self._samples, min(self._chunk, left))
        for window in streamed_order(
            self._rows, self._seed, epoch, shuffle=self._shuffle, shard=self._shard
        ):
            here = slice(passed, min(passed + window.rows, last))
            passed += window.rows
            order[here] = window.positions()[: here.stop - here.start]
            if passed <= first:
                continue
            held = self._read(window)
            taken = max(0, first - here.start)
            while taken < window.rows and left:
                count = min(window.rows - taken, len(chunk.x) - filled)
                _put(chunk, filled, held, window.order, taken, count)
                filled, taken, left = filled + count, taken + count, left - count
                if filled == len(chunk.x):
                    yield chunk
                    chunk, filled = _Chunk.empty(self._samples, min(self._chunk, left)), 0
            if not left:
                return

    def _read(self, window: Window) -> _Chunk:
        held = _Chunk.empty(self._samples, window.rows)
        first = 0
        for shard in window.shards:
            here = slice(first, first + shard.stop - shard.start)
            held.x[here] = self._samples.x[shard]
            held.y[here] = self._samples.y[shard]
            if held.weight is not None and self._samples.weight is not None:
                held.weight[here] = self._samples.weight[shard]
            first = here.stop
        release_pages(self._samples.x)
        release_pages(self._samples.y)
        return held

    def _in_graph(self, x: Any, y: Any, weight: Any) -> tuple[Any, Any]:
        return run_in_batches(
            lambda rows: self.train_step.update(gather_batch(x, y, weight, rows)),
            tf.range(int(x.shape[0])),
            self._batch,
            (int(y.shape[1]),),
        )


def _put(
    chunk: _Chunk, at: int, held: _Chunk, order: NDArray[np.int64] | None, first: int, count: int
) -> None:
    """Copy `count` rows of a window, from `first` in its order on, to `at` in a chunk."""
    places = slice(first, first + count) if order is None else order[first : first + count]
    here = slice(at, at + count)
    chunk.x[here], chunk.y[here] = held.x[places], held.y[places]
    if chunk.weight is not None and held.weight is not None:
        chunk.weight[here] = held.weight[places]
