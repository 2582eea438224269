"""Streamed rows are trained on as by plain Keras and as resident rows are."""

import keras
import numpy as np
import pytest

from tests.engine.networks import (
    dense,
    executor_for,
    network,
    on_disk,
    samples,
    supervised,
    train_epoch,
)
from tests.marks import slow_except
from trainer.engine import streaming
from trainer.engine.batches import Evaluator
from trainer.engine.rows import ResidentRows, epoch_order
from trainer.engine.streaming import StreamedRows, shard_rows, streamed_order

ROWS, BATCH, SHARD, EPOCHS = 530, 16, 8, 3


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(streaming, "SHARD_ROWS", SHARD)


def streaming_executor(train, learner=None, **options):
    if learner is None:
        learner = supervised(network(), keras.optimizers.SGD(0.0))
    return executor_for(learner, train, kind=StreamedRows, **options)


def order_of(count, epoch, *, seed=1, shuffle=True, shard=SHARD):
    parts = []
    for window in streamed_order(count, seed, epoch, shuffle=shuffle, shard=shard):
        rows = np.concatenate([np.arange(shard.start, shard.stop) for shard in window.shards])
        parts.append(rows if window.order is None else rows[window.order])
    return np.concatenate(parts)


@pytest.mark.parametrize("compiled", slow_except([False], [False, True]), ids=["graph", "xla"])
def test_weights_match_keras(compiled):
    def hidden():
        return [dense(), keras.layers.BatchNormalization()]

    def optimizer():
        return keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)

    # XLA compiles a partial batch separately; the case without XLA has one.
    rows = ROWS // BATCH * BATCH if compiled else ROWS
    train = on_disk(samples(rows, outputs=3, weighted=True))
    loss = "categorical_crossentropy"

    model = network(hidden, outputs=3, activation="softmax")
    learner = supervised(model, optimizer(), loss)
    executor = streaming_executor(train, learner, compiled=compiled)
    losses = [train_epoch(executor, epoch).loss for epoch in range(1, EPOCHS + 1)]

    keras_model = network(hidden, outputs=3, activation="softmax")
    keras_model.compile(optimizer(), keras.losses.get(loss), jit_compile=False)
    expected = []
    for epoch in range(1, EPOCHS + 1):
        order = order_of(rows, epoch)
        history = keras_model.fit(
            train.inputs["features"][order],
            train.y[order],
            sample_weight=train.weight[order],
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
        )
        expected.append(history.history["loss"][0])
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    for weight, expected_weight in zip(model.weights, keras_model.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), expected_weight.numpy(), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("batch_size", "shuffle"),
    slow_except(
        [(7, True), (100, False)], [(1, True), (7, True), (100, False), (100, True), (1000, True)]
    ),
)
def test_epoch_contains_every_row_once_and_only_the_last_batch_is_smaller(batch_size, shuffle):
    train = on_disk(samples(ROWS))
    model = network()
    learner = supervised(model, keras.optimizers.SGD(0.0))
    executor = streaming_executor(train, learner, batch_size=batch_size, shuffle=shuffle)
    for epoch in (1, 2):
        output = train_epoch(executor, epoch)
        assert np.array_equal(output.rows, order_of(ROWS, epoch, shuffle=shuffle))
        assert sorted(output.rows) == list(range(ROWS))
        assert output.steps == -(-ROWS // min(batch_size, ROWS))
        expected = model(train.inputs["features"][output.rows]).numpy()
        np.testing.assert_allclose(output.predictions, expected, rtol=1e-5)
    assert len(executor.programs[0]._shapes) <= 2


@pytest.mark.parametrize(
    ("rows", "shuffle"),
    slow_except([(3, False), (530, True)], [(3, False), (64, False), (530, False), (530, True)]),
)
def test_equals_resident_rows_in_file_order_or_in_one_window(rows, shuffle, monkeypatch):
    if shuffle:
        monkeypatch.setattr(streaming, "SHARD_ROWS", 128)
    losses, weights = [], []
    for kind, train in (
        (ResidentRows, samples(rows)),
        (StreamedRows, on_disk(samples(rows))),
    ):
        learner = supervised(network(), keras.optimizers.Adam(0.01))
        executor = executor_for(learner, train, kind=kind, shuffle=shuffle)
        losses.append([train_epoch(executor, epoch).loss for epoch in range(1, 4)])
        losses[-1].append(Evaluator(learner).evaluate(train).loss)
        weights.append(learner.evaluation_weights())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    for weight, expected in zip(*weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


def test_order_depends_only_on_seed_and_epoch():
    first = order_of(ROWS, 3, seed=7)
    assert sorted(first) == list(range(ROWS))
    assert np.array_equal(first, order_of(ROWS, 3, seed=7))
    assert not np.array_equal(first, order_of(ROWS, 4, seed=7))
    assert not np.array_equal(first, order_of(ROWS, 3, seed=8))
    assert np.array_equal(order_of(ROWS, 3, shuffle=False), np.arange(ROWS))
    assert np.array_equal(order_of(ROWS, 3, shard=ROWS), epoch_order(ROWS, 1, 3, True))
    # The rows of a window come only from its shards.
    window = next(streamed_order(ROWS, 7, 3, shuffle=True, shard=SHARD))
    assert window.rows <= SHARD * streaming.WINDOW_SHARDS
    assert len({row // SHARD for row in first[: window.rows]}) == len(window.shards)


def test_epoch_can_be_limited_to_its_first_batches():
    output = train_epoch(streaming_executor(on_disk(samples(ROWS))), 1, max_steps=5)
    assert (output.steps, len(output.rows)) == (5, 5 * BATCH)
    assert np.array_equal(output.rows, order_of(ROWS, 1)[: 5 * BATCH])


def test_read_error_ends_the_epoch(monkeypatch):
    def broken(rows, window):
        raise OSError("gone")

    monkeypatch.setattr(StreamedRows, "_read", broken)
    with pytest.raises(OSError, match="gone"):
        train_epoch(streaming_executor(on_disk(samples(ROWS))), 1)


def test_shards_of_wide_rows_are_smaller(monkeypatch):
    monkeypatch.setattr(streaming, "SHARD_ROWS", 1 << 16)
    assert shard_rows(80) == 1 << 16
    assert shard_rows(8192) * 8192 * streaming.WINDOW_SHARDS <= 1 << 27
    assert shard_rows(10**9) == 1
