"""The streaming runner trains as plain Keras and as the resident runner do."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.engine.test_runner import EPOCHS, dense, network, samples
from tests.marks import slow_except
from trainer.data.scratch_arrays import ScratchArray
from trainer.engine import streaming
from trainer.engine.batches import run_to_end
from trainer.engine.runner import ResidentRunner, epoch_order
from trainer.engine.streaming import StreamingRunner, shard_rows, streamed_order

ROWS, BATCH, SHARD = 530, 16, 8


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(streaming, "SHARD_ROWS", SHARD)


def on_disk(samples):
    def stored(array):
        scratch = ScratchArray(len(array), array.shape[1:], array.dtype.str)
        for start in range(0, len(array), 100):
            scratch.append(array[start : start + 100])
        return scratch.mapped()

    inputs = {name: stored(array) for name, array in samples.inputs.items()}
    return replace(samples, inputs=inputs, y=stored(samples.y))


def runner_for(kind, model, optimizer, train, *, loss="binary_crossentropy", **settings):
    options = {"seed": 1, "batch_size": BATCH, "shuffle": True, "compiled": False}
    options = {**options, "steps_per_execution": 1_000, **settings}
    return kind(model, optimizer, keras.losses.get(loss), train, **options)


def order_of(count, epoch, *, seed=1, shuffle=True, shard=SHARD):
    parts = []
    for window in streamed_order(count, seed, epoch, shuffle=shuffle, shard=shard):
        rows = np.concatenate([np.arange(shard.start, shard.stop) for shard in window.shards])
        parts.append(rows if window.order is None else rows[window.order])
    return np.concatenate(parts)


@pytest.mark.parametrize("compiled", slow_except([False], [False, True]), ids=["graph", "xla"])
def test_weights_equal_those_of_keras(compiled):
    def hidden():
        return [dense(), keras.layers.BatchNormalization()]

    def optimizer():
        return keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)

    train = on_disk(samples(ROWS, outputs=3, weighted=True))
    loss = "categorical_crossentropy"

    model = network(hidden, outputs=3, activation="softmax")
    runner = runner_for(StreamingRunner, model, optimizer(), train, loss=loss, compiled=compiled)
    losses = [run_to_end(runner.train(epoch, 10**9, None)).loss for epoch in range(1, EPOCHS + 1)]

    keras_model = network(hidden, outputs=3, activation="softmax")
    keras_model.compile(optimizer(), keras.losses.get(loss), jit_compile=False)
    expected = []
    for epoch in range(1, EPOCHS + 1):
        order = order_of(ROWS, epoch)
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
    ("batch_size", "shuffle"), [(1, True), (7, True), (100, False), (100, True), (1000, True)]
)
def test_epoch_contains_every_row_once_and_only_the_last_batch_is_smaller(batch_size, shuffle):
    train = on_disk(samples(ROWS))
    model = network()
    runner = runner_for(
        StreamingRunner, model, keras.optimizers.SGD(0.0), train,
        batch_size=batch_size, shuffle=shuffle,
    )  # fmt: skip
    for epoch in (1, 2):
        output = run_to_end(runner.train(epoch, 10**9, None))
        assert np.array_equal(output.rows, order_of(ROWS, epoch, shuffle=shuffle))
        assert sorted(output.rows) == list(range(ROWS))
        assert output.steps == runner.steps_per_epoch == -(-ROWS // min(batch_size, ROWS))
        expected = model(train.inputs["features"][output.rows]).numpy()
        np.testing.assert_allclose(output.predictions, expected, rtol=1e-5)
    assert len(runner.program._shapes) <= 2


@pytest.mark.parametrize(("rows", "shuffle"), [(3, False), (64, False), (530, False), (530, True)])
def test_equals_resident_runner_in_file_order_or_in_one_window(rows, shuffle, monkeypatch):
    if shuffle:
        monkeypatch.setattr(streaming, "SHARD_ROWS", 128)
    losses, weights = [], []
    for kind, train in (
        (ResidentRunner, samples(rows)),
        (StreamingRunner, on_disk(samples(rows))),
    ):
        model = network()
        runner = runner_for(kind, model, keras.optimizers.Adam(0.01), train, shuffle=shuffle)
        losses.append([run_to_end(runner.train(epoch, 10**9, None)).loss for epoch in range(1, 4)])
        losses[-1].append(run_to_end(runner.evaluate(train)).loss)
        weights.append(model.get_weights())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    for weight, expected in zip(*weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


def test_training_is_deterministic():
    results = []
    for _ in range(2):
        model = network()
        train = on_disk(samples(ROWS, weighted=True))
        runner = runner_for(StreamingRunner, model, keras.optimizers.Adam(), train)
        outputs = [run_to_end(runner.train(epoch, 10**9, None)) for epoch in (1, 2)]
        results.append((outputs[1].loss, model.get_weights()))
    assert results[0][0] == results[1][0]
    for weight, expected in zip(results[0][1], results[1][1], strict=True):
        assert np.array_equal(weight, expected)


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
    train = on_disk(samples(ROWS))
    runner = runner_for(StreamingRunner, network(), keras.optimizers.SGD(), train)
    output = run_to_end(runner.train(1, 5, None))
    assert (output.steps, len(output.rows)) == (5, 5 * BATCH)
    assert np.array_equal(output.rows, order_of(ROWS, 1)[: 5 * BATCH])


def test_read_error_ends_the_epoch(monkeypatch):
    train = on_disk(samples(ROWS))
    runner = runner_for(StreamingRunner, network(), keras.optimizers.SGD(), train)

    def broken(window):
        raise OSError("gone")

    monkeypatch.setattr(runner, "_read", broken)
    with pytest.raises(OSError, match="gone"):
        run_to_end(runner.train(1, 10**9, None))


def test_shards_of_wide_rows_are_smaller(monkeypatch):
    monkeypatch.setattr(streaming, "SHARD_ROWS", 1 << 16)
    assert shard_rows(80) == 1 << 16
    assert shard_rows(8192) * 8192 * streaming.WINDOW_SHARDS <= 1 << 27
    assert shard_rows(10**9) == 1
