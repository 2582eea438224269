"""The epoch runner for rows that are not on the device: windows of them, read ahead of it.

The order of the rows is a pure function of (seed, epoch) and of the encoded table: its shards are
permuted; some of them in a row are a window; the rows of a window are permuted. A table of one window
has the resident runner's order. Rows that a window leaves over go on into the next, so that only the
last batch of an epoch is short.

While the device runs one chunk of batches, a thread reads the next: some windows' worth of rows are in
memory, however many there are on disk.

Owns: order, reading ahead, training. Does not own: the rows on disk (`trainer.data.scratch`).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.samples import Samples
from trainer.data.scratch import forget
from trainer.engine.batches import Array, Evaluator, Pass, Program, Stepper, batch_of, in_batches

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

    x: Array
    y: Array
    weight: Array | None
    rows: NDArray[np.int32]

    @classmethod
    def empty(cls, samples: Samples, rows: int) -> _Chunk:
        return cls(
            np.empty((rows, *samples.x.shape[1:]), np.float32),
            np.empty((rows, samples.y.shape[1]), np.float32),
            None if samples.weight is None else np.empty(rows, np.float32),
            np.empty(rows, np.int32),
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
        """
        rows = len(samples.x)
        self._samples, self._rows, self._seed, self._shuffle = samples, rows, seed, shuffle
        self._batch = min(batch_size, rows)
        self._shard = shard_rows(int(np.prod(samples.x.shape[1:])))
        self._chunk = self._batch * max(1, WINDOW_SHARDS * self._shard // self._batch)
        self.steps_per_epoch = -(-rows // self._batch)
        self._outputs = int(network.output_shape[-1])
        self.stepper = Stepper(network, loss, optimizer)
        # Every variable exists before the first trace: none can be made inside one.
        optimizer.build(network.trainable_variables)
        self.program = Program(self._in_program, compiled=compiled)
        self.evaluator = Evaluator(network, loss)

    def train(self, epoch: int, max_steps: int) -> Pass:
        """As in `EpochRunner`."""
        wanted = min(self._rows, max_steps * self._batch)
        predictions = np.empty((wanted, self._outputs), np.float32)
        order = np.empty(wanted, np.int32)
        done, loss = 0, 0.0
        self.stepper.loss_mean.reset_state()
        chunks = self._chunks(epoch, wanted)
        with ThreadPoolExecutor(1, "rows ahead") as reader:
            ahead = reader.submit(next, chunks, None)
            while (chunk := ahead.result()) is not None:
                ahead = reader.submit(next, chunks, None)
                weight = None if chunk.weight is None else tf.constant(chunk.weight)
                mean, outputs = self.program(tf.constant(chunk.x), tf.constant(chunk.y), weight)
                here = slice(done, done + len(chunk.rows))
                predictions[here], order[here] = np.asarray(outputs), chunk.rows
                done, loss = here.stop, float(mean)
        return Pass(loss, predictions, order, -(-wanted // self._batch))

    def evaluate(self, samples: Samples) -> Pass:
        """As in `EpochRunner`."""
        judged = self.evaluator.evaluate(samples)
        forget(samples.x)
        forget(samples.y)
        return judged

    def _chunks(self, epoch: int, wanted: int) -> Iterator[_Chunk]:
        """The first `wanted` rows of an epoch in their order, as many at a time as one call takes."""
        left, filled = wanted, 0
        chunk = _Chunk.empty(self._samples, min(self._chunk, left))
        for window in streamed_order(
            self._rows, self._seed, epoch, shuffle=self._shuffle, shard=self._shard
        ):
            held = self._read(window)
            taken = 0
            while taken < window.rows and left:
                count = min(window.rows - taken, len(chunk.rows) - filled)
                _put(chunk, filled, held, window.order, taken, count)
                filled, taken, left = filled + count, taken + count, left - count
                if filled == len(chunk.rows):
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
            held.rows[here] = np.arange(shard.start, shard.stop, dtype=np.int32)
            first = here.stop
        forget(self._samples.x)
        forget(self._samples.y)
        return held

    def _in_program(self, x: Any, y: Any, weight: Any) -> tuple[Any, Any]:
        predictions = in_batches(
            lambda rows: self.stepper.train_step(batch_of(x, y, weight, rows)),
            tf.range(int(x.shape[0])),
            self._batch,
            int(y.shape[1]),
        )
        return self.stepper.loss_mean.result(), predictions


def _put(
    chunk: _Chunk, at: int, held: _Chunk, order: NDArray[np.int64] | None, first: int, count: int
) -> None:
    """Copy `count` rows of a window, from `first` in its order on, to `at` in a chunk."""
    places = slice(first, first + count) if order is None else order[first : first + count]
    here = slice(at, at + count)
    chunk.x[here], chunk.y[here], chunk.rows[here] = (
        held.x[places],
        held.y[places],
        held.rows[places],
    )
    if chunk.weight is not None and held.weight is not None:
        chunk.weight[here] = held.weight[places]
