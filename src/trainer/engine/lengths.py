"""Batches of texts of similar length, whose padding is cut off. Does not import TensorFlow.

A network that masks padding has the same output without it. A text keeps its tokens, and padding up to
one of a few lengths; a batch is as long as its longest text. Training has a program for each length,
which trains on one batch in each device call.

The order of the rows remains a pure function of (seed, epoch) and their lengths: successive batches of
the shuffled rows are sorted by length, and shuffled as batches.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trainer.data.arrays import RowIndex
from trainer.inputs import InputArray

LENGTH_STEP = 16
_LENGTHS = 8
_SORTED_BATCHES = 64
# The time to compile a program is that of several batches, in each of a few epochs.
_SAVED_BATCHES = 1.0
_ROWS = 1 << 16

Lengths = NDArray[np.int32]
"""(rows,) number of tokens that each row keeps."""


def rounded_lengths(ids: NDArray[np.int32], pad_id: int, step: int) -> Lengths:
    """Return the position after the last token of each row, rounded up to a multiple of `step`.

    Args:
        ids: (rows, length), padded at the end.
        pad_id: The id of padding.
        step: The result is at most the length, which need not be a multiple.
    """
    length = ids.shape[1]
    used = length - np.argmax((ids != pad_id)[:, ::-1], axis=1)
    lengths: Lengths = np.minimum(-(-used // step) * step, length).astype(np.int32)
    return lengths


def batch_lengths(ids: InputArray, pad_id: int, batch: int) -> Lengths | None:
    """Return the number of tokens that each row keeps in training: one of at most 8 lengths.

    A length that saves less than the time of a batch in an epoch is replaced by the next one.

    Args:
        ids: (rows, length), padded at the end; may be memory-mapped.
        pad_id: The id of padding.
        batch: Rows per batch.

    Returns:
        None if no row can be shortened.
    """
    length = ids.shape[1]
    step = LENGTH_STEP * -(-length // (LENGTH_STEP * _LENGTHS))
    lengths = np.empty(len(ids), np.int32)
    for start in range(0, len(ids), _ROWS):
        part = slice(start, start + _ROWS)
        lengths[part] = rounded_lengths(ids[part], pad_id, step)
    for shorter, longer in pairwise(np.unique(lengths).tolist()):
        is_shorter = lengths == shorter
        if np.count_nonzero(is_shorter) / batch * (1 - shorter / longer) < _SAVED_BATCHES:
            lengths[is_shorter] = longer
    return lengths if (lengths < length).any() else None


def sorted_batches(
    lengths: Lengths, batch: int, generator: np.random.Generator, first: int = 0
) -> RowIndex:
    """Return a permutation of shuffled rows after which the rows of a batch have similar lengths.

    Rows of a batch that is not complete keep their place.

    Args:
        lengths: Length of each row, in the order of the rows.
        batch: Rows per batch.
        generator: Shuffles the batches.
        first: Number of rows before the first complete batch.
    """
    order = np.arange(len(lengths))
    last = first + max(0, len(lengths) - first) // batch * batch
    size = _SORTED_BATCHES * batch
    for start in range(first, last, size):
        stop = min(start + size, last)
        places = start + np.argsort(lengths[start:stop], kind="stable")
        order[start:stop] = generator.permutation(places.reshape(-1, batch)).reshape(-1)
    return order


def order_generator(seed: int, epoch: int, window: int = 0) -> np.random.Generator:
    """Return the generator of `sorted_batches` for the rows of a window of an epoch."""
    # The counter of the shuffled rows of this window starts at 0 in its third word.
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 1, window]))
