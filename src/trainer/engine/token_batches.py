"""Batches with a number of tokens instead of a number of rows, for pairs of texts. Does not import
TensorFlow.

A pair keeps the tokens of its longer text, rounded up to one of a few lengths; a batch has pairs of
similar lengths, as many as its tokens allow with padding. How many rows each batch has follows from the
lengths alone, so that an epoch always has the same number of steps. Which rows these are, and the order
of the batches, are a pure function of (seed, epoch).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.config.schema import Fit
from trainer.data.arrays import RowIndex
from trainer.data.dataset import Dataset
from trainer.engine.lengths import Lengths, order_generator, rounded_lengths
from trainer.inputs import TOKENS
from trainer.models.translation.shape import TranslationShape

_LENGTHS, _STEP = 4, 8
"""Number of different lengths, each with a program of its own, and what they are multiples of."""


@dataclass(frozen=True, slots=True)
class EpochBatches:
    """The batches of an epoch, in order.

    Attributes:
        rows: The rows of all batches.
        sizes: Number of rows of each batch.
        lengths: Number of tokens that its rows keep.
    """

    rows: RowIndex
    sizes: RowIndex
    lengths: RowIndex


@dataclass(frozen=True, slots=True)
class TokenBatches:
    """How pairs of texts are divided into batches.

    Attributes:
        kept: Number of tokens that each row keeps.
        sizes: Number of rows of each batch, from short to long texts.
        lengths: Number of tokens that its rows keep.
    """

    kept: Lengths
    sizes: RowIndex
    lengths: RowIndex

    @property
    def whole_rows(self) -> int:
        """Rows of a batch of the longest texts, which needs about as much memory as any other."""
        return int(self.sizes[self.lengths == self.lengths.max()].max())

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return len(self.sizes)

    def epoch(self, seed: int, epoch: int, *, shuffle: bool = True) -> EpochBatches:
        """Return the batches of an epoch; without shuffling, from short to long texts."""
        count = len(self.kept)
        generator = order_generator(seed, epoch)
        rows = generator.permutation(count) if shuffle else np.arange(count)
        rows = rows[np.argsort(self.kept[rows], kind="stable")]
        if not shuffle:
            return EpochBatches(rows, self.sizes, self.lengths)
        order = generator.permutation(self.steps)
        parts = np.split(rows, np.cumsum(self.sizes)[:-1])
        return EpochBatches(
            np.concatenate([parts[number] for number in order]),
            self.sizes[order],
            self.lengths[order],
        )

    def row_count(self, seed: int, epoch: int, steps: int, *, shuffle: bool = True) -> int:
        """Return the number of rows of the first batches of an epoch."""
        return int(self.epoch(seed, epoch, shuffle=shuffle).sizes[:steps].sum())


def pair_lengths(
    sources: NDArray[np.int32], source_pad: int, targets: NDArray[np.int32], target_pad: int
) -> Lengths:
    """Return the number of tokens that each pair keeps.

    Args:
        sources: Ids (rows, source length), padded at the end.
        source_pad: The id of their padding.
        targets: Ids (rows, target length) after that of the start, padded at the end.
        target_pad: The id of their padding.
    """
    longest = max(sources.shape[1], targets.shape[1])
    step = _STEP * -(-longest // (_STEP * _LENGTHS))
    # The greatest lengths of both can differ by a token or two, and need no program each.
    used = np.maximum(
        rounded_lengths(sources, source_pad, 1), rounded_lengths(targets, target_pad, 1)
    )
    kept: Lengths = np.minimum(-(-used // step) * step, longest).astype(np.int32)
    return kept


def divide(kept: Lengths, tokens: int) -> TokenBatches:
    """Return batches of at most a number of tokens, with padding; at least one row each.

    A batch of short texts takes in longer ones, and is padded to their length, only if there are too few
    short ones left to fill it.

    Args:
        kept: Number of tokens that each row keeps.
        tokens: The tokens of a batch.
    """
    ordered = np.sort(kept)
    classes = np.unique(ordered)
    sizes, lengths = [], []
    start = 0
    while start < len(ordered):
        for length in classes[classes >= ordered[start]].tolist():
            stop = min(start + max(1, tokens // length), len(ordered))
            if ordered[stop - 1] <= length:
                break
        sizes.append(stop - start)
        lengths.append(length)
        start = stop
    return TokenBatches(kept, np.array(sizes, np.int64), np.array(lengths, np.int64))


def training_batches(
    fit: Fit, dataset: Dataset, shape: TranslationShape | None
) -> TokenBatches | None:
    """Return the batches of the training rows; None if these have a number of rows.

    Args:
        fit: The section `fit`.
        dataset: The rows.
        shape: The tokens of source and target of a network that translates.
    """
    if fit.batch_tokens is None or shape is None:
        return None
    samples = dataset.samples("train")
    assert samples is not None, "there are training rows"
    sources, targets = samples.inputs[TOKENS], samples.y[:, 1:].astype(np.int32)
    kept = pair_lengths(np.asarray(sources), shape.source_pad, targets, shape.target_pad)
    return divide(kept, fit.batch_tokens)


def rows_and_steps(fit: Fit, rows: int, batches: TokenBatches | None) -> tuple[int, int]:
    """Return the rows of a batch, of the longest texts if batches have tokens, and steps per epoch."""
    if batches is not None:
        return batches.whole_rows, batches.steps
    batch = min(fit.batch_size, rows)
    return batch, -(-rows // batch)
