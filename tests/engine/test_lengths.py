"""Batches of texts of similar length, without the padding."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.networks import on_disk, samples
from trainer.engine import streaming
from trainer.engine.lengths import batch_lengths, order_generator, rounded_lengths, sorted_batches
from trainer.engine.rows import Batching, ResidentRows
from trainer.engine.streaming import StreamedRows
from trainer.inputs import FEATURES, TOKENS

LENGTH, BATCH, PAD = 40, 4, 1


@given(
    st.lists(st.sampled_from([16, 32, 40]), max_size=700),
    st.integers(1, 5),
    st.integers(0, 8),
)
def test_rows_of_a_batch_have_similar_lengths(lengths, batch, first):
    values = np.asarray(lengths, np.int32)
    order = sorted_batches(values, batch, order_generator(1, 2), first)
    assert sorted(order) == list(range(len(values)))
    assert np.array_equal(order, sorted_batches(values, batch, order_generator(1, 2), first))
    first = min(first, len(values))
    count = (len(values) - first) // batch
    rest = len(values) - count * batch - first
    assert np.array_equal(order[:first], np.arange(first))
    assert np.array_equal(order[len(values) - rest :], np.arange(len(values) - rest, len(values)))
    batches = values[order[first : first + count * batch]].reshape(count, batch)
    mixed = sum(len(set(row)) > 1 for row in batches.tolist())
    # Sorted rows of three lengths have two changes of length.
    assert mixed <= 2 * -(-count // 64)


def test_lengths_are_rounded():
    ids = np.full((5, 20), PAD, np.int32)
    for row, count in enumerate((1, 16, 17, 20)):
        ids[row, :count] = 7
    # Padding within a text is kept.
    ids[0, 2] = 7
    assert rounded_lengths(ids, PAD, 16).tolist() == [16, 16, 20, 20, 20]
    assert batch_lengths(np.repeat(ids, 3, axis=0), PAD, 1).tolist() == [16] * 6 + [20] * 9
    assert batch_lengths(ids[2:4], PAD, 1) is None
    assert batch_lengths(ids[:, :16], PAD, 1) is None
    long = np.full((1, 512), PAD, np.int32)
    long[0, 0] = 7
    assert batch_lengths(long, PAD, 1).tolist() == [64]


def test_a_length_that_saves_less_than_a_batch_is_not_used():
    ids = np.full((40, 48), PAD, np.int32)
    ids[:, 0] = 7
    ids[10:16, 20] = ids[16:, 40] = 7
    # 10 rows of 16 tokens instead of 32 save the time of 5, those of 32 instead of 48 that of 2.
    assert set(batch_lengths(ids, PAD, 2).tolist()) == {16, 32, 48}
    assert set(batch_lengths(ids, PAD, 4).tolist()) == {16, 48}
    # All 16 rows of 32 tokens save the time of 5.3.
    assert set(batch_lengths(ids, PAD, 5).tolist()) == {16, 48}
    assert batch_lengths(ids, PAD, 6) is None


def texts(rows, *, features):
    generator = np.random.default_rng(0)
    ids = generator.integers(2, 90, (rows, LENGTH)).astype(np.int32)
    counts = generator.integers(1, LENGTH + 1, rows)
    ids[np.arange(LENGTH) >= counts[:, None]] = PAD
    table = samples(rows, weighted=True)
    inputs = {TOKENS: ids, FEATURES: table.inputs[FEATURES]} if features else {TOKENS: ids}
    return replace(table, inputs=inputs)


def batches(rows, first=0, last=None):
    """Return the order of an epoch, and the inputs, targets and weights of its device calls."""
    order = np.empty(rows.count if last is None else last, np.int32)
    parts = []
    for positions, x, y, weight in rows.parts(3, first, order):
        assert positions is None
        parts.append((x, np.asarray(y), np.asarray(weight)))
    return order, parts


@pytest.mark.parametrize(
    ("count", "shuffle", "features"), [(150, True, True), (70, True, False), (70, False, True)]
)
def test_batches_have_the_tokens_of_their_rows(count, shuffle, features, monkeypatch):
    # Windows of 64 rows, so that a batch of 6 spans two of them.
    monkeypatch.setattr(streaming, "SHARD_ROWS", 8)
    train = texts(count, features=features)
    lengths = batch_lengths(train.inputs[TOKENS], PAD, 1)
    batching = Batching(
        seed=7, batch_size=6, shuffle=shuffle, steps_per_execution=5, lengths=lengths
    )
    for rows in (ResidentRows(train, batching), StreamedRows(on_disk(train), batching)):
        order, parts = batches(rows)
        assert sorted(order) == list(range(count))
        assert np.array_equal(order, np.arange(count)) == (not shuffle)
        assert len(parts) == rows.steps_per_epoch
        for number, (x, y, weight) in enumerate(parts):
            places = order[6 * number : 6 * number + 6]
            tokens = np.asarray(x[TOKENS] if features else x)
            assert tokens.shape[1] == lengths[places].max()
            assert np.array_equal(tokens, train.inputs[TOKENS][places, : tokens.shape[1]])
            assert (train.inputs[TOKENS][places, tokens.shape[1] :] == PAD).all()
            assert np.array_equal(y, train.y[places])
            assert np.array_equal(weight, train.weight[places])
            if features:
                assert np.array_equal(x[FEATURES], train.inputs[FEATURES][places])
        shorter, rest = batches(rows, first=24, last=48)
        assert np.array_equal(shorter, order[:48])
        assert [len(y) for _, y, _ in rest] == [6] * 4
        assert np.array_equal(rest[0][1], parts[4][1])


def test_rows_on_disk_have_the_order_of_resident_rows():
    train = texts(90, features=False)
    lengths = batch_lengths(train.inputs[TOKENS], PAD, 1)
    batching = Batching(
        seed=7, batch_size=BATCH, shuffle=True, steps_per_execution=5, lengths=lengths
    )
    resident, _ = batches(ResidentRows(train, batching))
    streamed, _ = batches(StreamedRows(on_disk(train), batching))
    assert np.array_equal(resident, streamed)
