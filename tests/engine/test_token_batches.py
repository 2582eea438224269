"""Batches of pairs of texts with a number of tokens."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.engine.token_batches import divide, pair_lengths

LENGTHS = st.lists(st.sampled_from([8, 16, 24, 40]), min_size=1, max_size=200)


@given(LENGTHS, st.integers(1, 300), st.integers(0, 9), st.integers(1, 5))
def test_batches_have_each_row_once_and_few_tokens(
    lengths: list[int], tokens: int, seed: int, epoch: int
) -> None:
    kept = np.array(lengths, np.int32)
    batches = divide(kept, tokens)
    made = batches.epoch(seed, epoch)
    assert sorted(made.rows.tolist()) == list(range(len(kept)))
    assert len(made.sizes) == batches.steps
    assert made.sizes.sum() == len(kept)
    start = 0
    for size, length in zip(made.sizes, made.lengths, strict=True):
        part = kept[made.rows[start : start + size]]
        assert part.max() <= length
        assert size == 1 or size * length <= tokens
        start += size
    again = batches.epoch(seed, epoch)
    np.testing.assert_array_equal(made.rows, again.rows)
    assert batches.row_count(seed, epoch, 2) == made.sizes[:2].sum()


def test_each_epoch_has_other_batches() -> None:
    batches = divide(np.repeat([8, 16, 24], 20).astype(np.int32), 64)
    orders = {tuple(batches.epoch(1, epoch).rows) for epoch in range(1, 6)}
    assert len(orders) == 5
    # 8 rows of 8 tokens, 4 of 16, 2 of 24; the last 4 short rows are with the next ones.
    assert batches.sizes.tolist() == [8, 8, 4, 4, 4, 4, 4, 4, *[2] * 10]
    assert batches.epoch(1, 1, shuffle=False).rows.tolist() == list(range(60))


def test_a_pair_keeps_its_longer_text() -> None:
    sources, targets = np.zeros((4, 30), np.int32), np.ones((4, 20), np.int32)
    for row, (read, written) in enumerate(((1, 3), (9, 2), (30, 1), (2, 20))):
        sources[row, :read] = 5
        targets[row, :written] = 6
    assert pair_lengths(sources, 0, targets, 1).tolist() == [8, 16, 30, 24]
