"""Batches of texts of similar length, whose padding is cut off. Does not import TensorFlow.

A network that masks padding has the same output without it. A text keeps its tokens, and padding up to
one of a few lengths; a batch is as long as its longest text. Training and evaluation have a program for
each length, which runs one batch in each device call.

The order of the rows remains a pure function of (seed, epoch) and their lengths: successive batches of
the shuffled rows are sorted by length, and shuffled as batches.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.arrays import RowIndex
from trainer.inputs import TOKENS, InputArray, Inputs

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


class ShorterNetworks:
    """Networks of the layers of a network, by the number of tokens that they take.

    Attributes:
        networks: Number of tokens → the network for batches of that length; the longest one is absent.
    """

    def __init__(self, make: Callable[[int], Any], pad_id: int) -> None:
        """Start without networks.

        Args:
            make: Builds the network for a number of tokens.
            pad_id: The id of padding.
        """
        self._make, self._pad_id = make, pad_id
        self.networks: dict[int, Any] = {}

    def kept_tokens(self, inputs: Inputs, batch: int) -> Lengths | None:
        """Return the `batch_lengths` of rows, and build the networks that they need."""
        ids = inputs[TOKENS]
        lengths = batch_lengths(ids, self._pad_id, batch)
        for length in [] if lengths is None else np.unique(lengths).tolist():
            if length < ids.shape[1] and length not in self.networks:
                self.networks[length] = self._make(length)
        return lengths


def batch_lengths(ids: InputArray, pad_id: int, batch: int) -> Lengths | None:
    """Return the number of tokens that each row keeps: one of at most 8 lengths.

    A length that saves less than the time of a batch is replaced by the next one.

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


def without_padding(x: Any, length: int | None) -> Any:
    """Return the inputs of a batch with the first tokens only; all of them without a length."""
    if length is None:
        return x
    if isinstance(x, dict):
        return {**x, TOKENS: x[TOKENS][:, :length]}
    return x[:, :length]


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
