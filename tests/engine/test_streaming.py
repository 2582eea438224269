"""The streaming runner trains as plain Keras does on the same batches, and as the resident one does."""

import keras
import numpy as np
import pytest

from tests.engine.test_runner import CASES, EPOCHS, network, samples
from trainer.data.scratch_arrays import ScratchArray
from trainer.engine import streaming
from trainer.engine.batches import run_to_end
from trainer.engine.runner import ResidentRunner, epoch_order
from trainer.engine.streaming import StreamingRunner, shard_rows, streamed_order

ROWS, BATCH, SHARD = 530, 16, 8


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(streaming, "SHARD_ROWS", SHARD)


def on_disk(held):
    def stored(array):
        scratch = ScratchArray(*array.shape)
        for start in range(0, len(array), 100):
            scratch.append(array[start : start + 100])
        return scratch.mapped()

    return type(held)(stored(held.x), stored(held.y), held.weight, held.rows, held.unseen)


def runner_for(kind, model, optimizer, train, *, loss="binary_crossentropy", **settings):
    options = {"seed": 1, "batch_size": BATCH, "shuffle": True, "compiled": False}
    options = {**options, "steps_per_execution": 1_000, **settings}
    return kind(model, optimizer, keras.losses.get(loss), train, **options)


def order_of(rows, epoch, *, seed=1, shuffle=True, shard=SHARD):
    parts = []
    for window in streamed_order(rows, seed, epoch, shuffle=shuffle, shard=shard):
        held = np.concatenate([np.arange(one.start, one.stop) for one in window.shards])
        parts.append(held if window.order is None else held[window.order])
    return np.concatenate(parts)


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("case", ["accumulation", "normalisation", "weights", "classes"])
def test_weights_are_those_of_keras(case, compiled):
    hidden, optimizer, options = CASES[case]
    train = on_disk(samples(ROWS, **options))
    outputs = train.y.shape[1]
    activation = "sigmoid" if outputs == 1 else "softmax"
    loss = "binary_crossentropy" if outputs == 1 else "categorical_crossentropy"

    ours = network(hidden, outputs=outputs, activation=activation)
    runner = runner_for(StreamingRunner, ours, optimizer(), train, loss=loss, compiled=compiled)
    losses = [run_to_end(runner.train(epoch, 10**9, None)).loss for epoch in range(1, EPOCHS + 1)]

    theirs = network(hidden, outputs=outputs, activation=activation)
    theirs.compile(optimizer(), keras.losses.get(loss), jit_compile=False)
    expected = []
    for epoch in range(1, EPOCHS + 1):
        order = order_of(ROWS, epoch)
        weight = None if train.weight is None else train.weight[order]
        history = theirs.fit(
            train.x[order],
            train.y[order],
            sample_weight=weight,
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
        )
        expected.append(history.history["loss"][0])
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("batch_size", "shuffle"), [(1, True), (7, True), (100, False), (100, True), (1000, True)]
)
def test_every_row_once_an_epoch_and_only_the_last_batch_is_short(batch_size, shuffle):
    train = on_disk(samples(ROWS))
    model = network()
    runner = runner_for(
        StreamingRunner, model, keras.optimizers.SGD(0.0), train,
        batch_size=batch_size, shuffle=shuffle,
    )  # fmt: skip
    for epoch in (1, 2):
        done = run_to_end(runner.train(epoch, 10**9, None))
        assert np.array_equal(done.rows, order_of(ROWS, epoch, shuffle=shuffle))
        assert sorted(done.rows) == list(range(ROWS))
        assert done.steps == runner.steps_per_epoch == -(-ROWS // min(batch_size, ROWS))
        expected = model(train.x[done.rows]).numpy()
        np.testing.assert_allclose(done.predictions, expected, rtol=1e-5)
    assert len(runner.program._shapes) <= 2


@pytest.mark.parametrize("rows", [3, 64, 530])
def test_as_the_resident_runner_in_file_order_or_in_one_window(rows, monkeypatch):
    for shuffle in (False, True):
        if shuffle:
            monkeypatch.setattr(streaming, "SHARD_ROWS", 128)
        losses, weights = [], []
        for kind, train in (
            (ResidentRunner, samples(rows)),
            (StreamingRunner, on_disk(samples(rows))),
        ):
            model = network()
            runner = runner_for(kind, model, keras.optimizers.Adam(0.01), train, shuffle=shuffle)
            losses.append(
                [run_to_end(runner.train(epoch, 10**9, None)).loss for epoch in range(1, 4)]
            )
            losses[-1].append(run_to_end(runner.evaluate(train)).loss)
            weights.append(model.get_weights())
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
        for one, other in zip(*weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_same_bytes_from_run_to_run():
    found = []
    for _ in range(2):
        model = network()
        train = on_disk(samples(ROWS, weighted=True))
        runner = runner_for(StreamingRunner, model, keras.optimizers.Adam(), train, compiled=True)
        done = [run_to_end(runner.train(epoch, 10**9, None)) for epoch in (1, 2)]
        found.append((done[1].loss, model.get_weights()))
    assert found[0][0] == found[1][0]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert np.array_equal(one, other)


def test_order_is_a_function_of_seed_and_epoch_alone():
    first = order_of(ROWS, 3, seed=7)
    assert sorted(first) == list(range(ROWS))
    assert np.array_equal(first, order_of(ROWS, 3, seed=7))
    assert not np.array_equal(first, order_of(ROWS, 4, seed=7))
    assert not np.array_equal(first, order_of(ROWS, 3, seed=8))
    assert np.array_equal(order_of(ROWS, 3, shuffle=False), np.arange(ROWS))
    assert np.array_equal(order_of(ROWS, 3, shard=ROWS), epoch_order(ROWS, 1, 3, True))
    # Rows of a window come from its shards alone.
    window = next(streamed_order(ROWS, 7, 3, shuffle=True, shard=SHARD))
    assert window.rows <= SHARD * streaming.WINDOW_SHARDS
    assert len({row // SHARD for row in first[: window.rows]}) == len(window.shards)


def test_the_last_epoch_may_be_cut_short():
    train = on_disk(samples(ROWS))
    runner = runner_for(StreamingRunner, network(), keras.optimizers.SGD(), train)
    done = run_to_end(runner.train(1, 5, None))
    assert (done.steps, len(done.rows)) == (5, 5 * BATCH)
    assert np.array_equal(done.rows, order_of(ROWS, 1)[: 5 * BATCH])


def test_rows_that_cannot_be_read_end_the_epoch(monkeypatch):
    train = on_disk(samples(ROWS))
    runner = runner_for(StreamingRunner, network(), keras.optimizers.SGD(), train)

    def broken(window):
        raise OSError("gone")

    monkeypatch.setattr(runner, "_read", broken)
    with pytest.raises(OSError, match="gone"):
        run_to_end(runner.train(1, 10**9, None))


def test_windows_of_wide_rows_have_fewer_rows(monkeypatch):
    monkeypatch.setattr(streaming, "SHARD_ROWS", 1 << 16)
    assert shard_rows(20) == 1 << 16
    assert shard_rows(2048) * 2048 * 4 * streaming.WINDOW_SHARDS <= 1 << 27
    assert shard_rows(10**9) == 1
