"""Training rows on disk, which are read in windows.

The order of the rows is a pure function of (seed, epoch) and the encoded table: its shards are permuted,
consecutive shards form a window, and the rows of a window are permuted; batches of texts may be sorted
by length within it (`trainer.engine.lengths`). A table of one window has the order of resident rows.
Batches may span two windows, so that only the last batch of an epoch is smaller.

While the device trains on one chunk of batches, a thread reads the next. Memory holds the rows of a few
windows, however many there are on disk.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.samples import Samples
from trainer.engine.batches import Float32Array, input_tensors
from trainer.engine.lengths import order_generator, sorted_batches, without_padding
from trainer.engine.rows import Batching, Part, TrainingRows

SHARD_ROWS = 1 << 16
WINDOW_SHARDS = 8
_WINDOW_BYTES = 1 << 27


@dataclass(frozen=True, slots=True)
class Window:
    """Rows that are in memory together.

    Attributes:
        shards: Row ranges, in ascending order.
        order: Permutation of the rows of the concatenated shards; None to keep their order.
    """

    shards: tuple[slice, ...]
    order: NDArray[np.int64] | None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(shard.stop - shard.start for shard in self.shards)

    def positions(self) -> NDArray[np.int32]:
        """Return the (rows,) positions of the rows in the samples, in the order of the window."""
        positions = np.concatenate(
            [np.arange(shard.start, shard.stop, dtype=np.int32) for shard in self.shards]
        )
        return positions if self.order is None else positions[self.order]


def shard_rows(row_bytes: int) -> int:
    """Return the rows per shard: `SHARD_ROWS`, or the power of two that limits a window's bytes."""
    max_rows = _WINDOW_BYTES // (WINDOW_SHARDS * max(1, row_bytes))
    return min(SHARD_ROWS, 1 << max(0, max_rows.bit_length() - 1))


def _row_bytes(samples: Samples) -> int:
    """Return the bytes of the inputs of one row."""
    return sum(prod(array.shape[1:]) * array.dtype.itemsize for array in samples.inputs.values())


def streamed_order(
    rows: int, seed: int, epoch: int, *, shuffle: bool, shard: int
) -> Iterator[Window]:
    """Yield the windows of an epoch, in order.

    Args:
        rows: Number of rows.
        seed: Seed of the order.
        epoch: Epoch number, from 1.
        shuffle: False to keep the order of the rows on disk.
        shard: Rows per shard; the last one may be smaller.
    """
    shards = [slice(first, min(first + shard, rows)) for first in range(0, rows, shard)]
    windows = -(-len(shards) // WINDOW_SHARDS)
    if shuffle:
        order = _generator(seed, epoch, windows).permutation(len(shards))
        shards = [shards[index] for index in order]
    for number in range(windows):
        part = shards[number * WINDOW_SHARDS : (number + 1) * WINDOW_SHARDS]
        window = Window(tuple(sorted(part, key=lambda shard: int(shard.start))), None)
        if shuffle:
            order = _generator(seed, epoch, number).permutation(window.rows)
            window = Window(window.shards, order)
        yield window


def _generator(seed: int, epoch: int, number: int) -> np.random.Generator:
    # Streams whose counters differ in the highest word never overlap.
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, number]))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Complete batches for one device call, in order."""

    inputs: dict[str, NDArray[Any]]
    y: Float32Array
    weight: Float32Array | None

    @classmethod
    def empty(cls, samples: Samples, rows: int) -> _Chunk:
        return cls(
            {
                name: np.empty((rows, *array.shape[1:]), array.dtype)
                for name, array in samples.inputs.items()
            },
            np.empty((rows, samples.y.shape[1]), np.float32),
            None if samples.weight is None else np.empty(rows, np.float32),
        )


class StreamedRows(TrainingRows):
    """Rows that are read from disk in windows."""

    def __init__(self, samples: Samples, batching: Batching) -> None:
        """Initialize without reading any rows.

        Args:
            samples: Rows that are memory-mapped from a file.
            batching: How they are divided.
        """
        super().__init__(samples, batching)
        self._samples = samples
        self._shard = shard_rows(_row_bytes(samples))
        window_batches = max(1, WINDOW_SHARDS * self._shard // self.batch)
        self._chunk = self.batch * min(window_batches, batching.steps_per_execution)

    def parts(
        self, epoch: int, first: int, order: NDArray[np.int32]
    ) -> Generator[Part, None, None]:
        chunks, done = self._chunks(epoch, first, order), first
        with ThreadPoolExecutor(1, "prefetch") as reader:
            next_chunk = reader.submit(next, chunks, None)
            while (chunk := next_chunk.result()) is not None:
                next_chunk = reader.submit(next, chunks, None)
                yield from self._calls(chunk, order[done:])
                done += len(chunk.y)

    def _calls(self, chunk: _Chunk, positions: NDArray[np.int32]) -> Iterator[Part]:
        """Yield the rows of a chunk, the first of them at these positions; see `parts`."""
        lengths, size = self.batching.lengths, len(chunk.y)
        call = size if lengths is None else self.batch
        for begin in range(0, size, call):
            part = slice(begin, min(begin + call, size))
            x = input_tensors(chunk.inputs, part)
            if lengths is not None:
                x = without_padding(x, int(lengths[positions[part]].max()))
            weight = None if chunk.weight is None else tf.constant(chunk.weight[part])
            yield None, x, tf.constant(chunk.y[part]), weight

    def _chunks(self, epoch: int, first: int, order: NDArray[np.int32]) -> Iterator[_Chunk]:
        """Yield the rows of an epoch in chunks of one device call each; see `parts`."""
        last = len(order)
        remaining, filled, seen = last - first, 0, 0
        chunk = _Chunk.empty(self._samples, min(self._chunk, remaining))
        seed, shuffle = self.batching.seed, self.batching.shuffle
        windows = streamed_order(self.count, seed, epoch, shuffle=shuffle, shard=self._shard)
        for number, whole in enumerate(windows):
            window = self._sorted(whole, seen, order_generator(seed, epoch, number))
            part = slice(seen, min(seen + window.rows, last))
            seen += window.rows
            order[part] = window.positions()[: part.stop - part.start]
            if seen <= first:
                continue
            rows = self._read(window)
            used = max(0, first - part.start)
            while used < window.rows and remaining:
                count = min(window.rows - used, len(chunk.y) - filled)
                _copy(rows, window.order, used, chunk, filled, count)
                filled, used, remaining = filled + count, used + count, remaining - count
                if filled == len(chunk.y):
                    yield chunk
                    chunk, filled = _Chunk.empty(self._samples, min(self._chunk, remaining)), 0
            if not remaining:
                return

    def _sorted(self, window: Window, seen: int, generator: np.random.Generator) -> Window:
        """Return a window with its batches sorted by length, after a number of rows of the epoch."""
        lengths = self.batching.lengths
        if lengths is None or window.order is None:
            return window
        rest = -seen % self.batch
        places = sorted_batches(lengths[window.positions()], self.batch, generator, rest)
        return replace(window, order=window.order[places])

    def _read(self, window: Window) -> _Chunk:
        rows = _Chunk.empty(self._samples, window.rows)
        first = 0
        for shard in window.shards:
            part = slice(first, first + shard.stop - shard.start)
            for name, values in rows.inputs.items():
                values[part] = self._samples.inputs[name][shard]
            rows.y[part] = self._samples.y[shard]
            if rows.weight is not None and self._samples.weight is not None:
                rows.weight[part] = self._samples.weight[shard]
            first = part.stop
        self._samples.release_pages()
        return rows


def _copy(
    rows: _Chunk, order: NDArray[np.int64] | None, first: int, chunk: _Chunk, at: int, count: int
) -> None:
    """Copy `count` rows of a window, beginning at `first` in its order, to position `at` of a chunk."""
    source = slice(first, first + count) if order is None else order[first : first + count]
    target = slice(at, at + count)
    for name, values in chunk.inputs.items():
        values[target] = rows.inputs[name][source]
    chunk.y[target] = rows.y[source]
    if chunk.weight is not None and rows.weight is not None:
        chunk.weight[target] = rows.weight[source]
