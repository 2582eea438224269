"""The runner's weights are plain Keras's, fed the same batches in the same order."""

import keras
import numpy as np
import pytest

from trainer.data.samples import Samples
from trainer.engine.batches import run_to_end
from trainer.engine.executors import SingleEpochExecutor
from trainer.engine.fit import Training, fit
from trainer.engine.monitors import BestEpochState, Monitors
from trainer.engine.runner import ResidentRunner, epoch_order
from trainer.errors import DivergedError

ROWS, WIDTH, EPOCHS, BATCH = 70, 5, 3, 16


def samples(rows=ROWS, outputs=1, *, weighted=False, seed=0):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, WIDTH)).astype(np.float32)
    if outputs == 1:
        y = (x[:, :1] + 0.1 * draw.normal(size=(rows, 1)) > 0).astype(np.float32)
    else:
        y = np.eye(outputs, dtype=np.float32)[draw.integers(0, outputs, rows)]
    weight = draw.uniform(0.5, 2, rows).astype(np.float32) if weighted else None
    return Samples(x, y, weight, np.arange(rows), np.zeros(rows, bool))


def dense():
    return keras.layers.Dense(8, activation="relu")


def network(hidden=lambda: [dense()], outputs=1, activation="sigmoid"):
    # Layers draw their initialisers' seeds when they are made: after this line, not before.
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [keras.Input((WIDTH,)), *hidden(), keras.layers.Dense(outputs, activation=activation)]
    )


def runner_for(model, optimizer, loss, train, *, compiled, seed=1, shuffle=True, call=1_000):
    return ResidentRunner(
        model,
        optimizer,
        loss,
        train,
        seed=seed,
        batch_size=BATCH,
        shuffle=shuffle,
        compiled=compiled,
        steps_per_execution=call,
    )


CASES = {
    "adam": (lambda: [dense()], lambda: keras.optimizers.Adam(0.01), {}),
    "sgd, momentum": (
        lambda: [dense()],
        lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        {},
    ),
    "adamw, clipped": (
        lambda: [dense()],
        lambda: keras.optimizers.AdamW(0.01, weight_decay=0.01, global_clipnorm=0.5),
        {},
    ),
    "schedule": (
        lambda: [dense()],
        lambda: keras.optimizers.RMSprop(keras.optimizers.schedules.CosineDecay(0.01, 12)),
        {},
    ),
    "accumulation": (
        lambda: [dense()],
        lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
        {},
    ),
    "normalisation": (
        lambda: [dense(), keras.layers.BatchNormalization(), keras.layers.LayerNormalization()],
        lambda: keras.optimizers.Adam(0.01),
        {},
    ),
    "penalty": (
        lambda: [keras.layers.Dense(8, activation="tanh", kernel_regularizer="l2")],
        lambda: keras.optimizers.Adam(0.01),
        {},
    ),
    "weights": (lambda: [dense()], lambda: keras.optimizers.Adam(0.01), {"weighted": True}),
    "classes": (lambda: [dense()], lambda: keras.optimizers.Adam(0.01), {"outputs": 3}),
    "average": (
        lambda: [dense()],
        lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
        {},
    ),
}


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_keras(case, compiled):
    hidden, optimizer, options = CASES[case]
    train = samples(**options)
    outputs = train.y.shape[1]
    activation = "sigmoid" if outputs == 1 else "softmax"
    loss = "binary_crossentropy" if outputs == 1 else "categorical_crossentropy"

    ours = network(hidden, outputs=outputs, activation=activation)
    runner = runner_for(ours, optimizer(), keras.losses.get(loss), train, compiled=compiled)
    losses = [run_to_end(runner.train(epoch, 10**9, None)).loss for epoch in range(1, EPOCHS + 1)]

    theirs = network(hidden, outputs=outputs, activation=activation)
    theirs.compile(optimizer(), keras.losses.get(loss), jit_compile=False)
    expected = []
    for epoch in range(1, EPOCHS + 1):
        order = epoch_order(ROWS, 1, epoch, True)
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
    # Keras writes the averages over the weights at the end of each call of fit.
    if case == "average":
        return
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=2e-4, atol=2e-5)


def test_order_is_a_permutation_of_seed_and_epoch_alone():
    first = epoch_order(100, 7, 3, True)
    assert sorted(first) == list(range(100))
    assert np.array_equal(first, epoch_order(100, 7, 3, True))
    assert not np.array_equal(first, epoch_order(100, 7, 4, True))
    assert not np.array_equal(first, epoch_order(100, 8, 3, True))
    assert np.array_equal(epoch_order(5, 7, 3, False), np.arange(5))


def test_predictions_come_with_the_rows_they_belong_to():
    train = samples()
    model = network()
    loss = keras.losses.BinaryCrossentropy()
    runner = runner_for(model, keras.optimizers.SGD(0.0), loss, train, compiled=False)
    done = run_to_end(runner.train(1, 10**9, None))
    assert sorted(done.rows) == list(range(ROWS))
    expected = model(train.x).numpy()[done.rows]
    np.testing.assert_allclose(done.predictions, expected, rtol=1e-5)
    judged = run_to_end(runner.evaluate(train))
    np.testing.assert_allclose(judged.predictions, model(train.x).numpy(), rtol=1e-5)
    assert judged.loss == pytest.approx(float(loss(train.y, model(train.x))), rel=1e-5)


def test_the_last_epoch_may_be_cut_short():
    runner = runner_for(
        network(), keras.optimizers.SGD(), keras.losses.MeanSquaredError(), samples(),
        compiled=False,
    )  # fmt: skip
    done = run_to_end(runner.train(1, 2, None))
    assert (done.steps, len(done.rows)) == (2, 2 * BATCH)


def training(*, learning_rate=0.1, total_steps=20, keep_last=False, ema=False, validation=None):
    train = samples()
    model = network()
    optimizer = keras.optimizers.SGD(learning_rate, use_ema=ema, ema_momentum=0.9)
    loss = keras.losses.BinaryCrossentropy()
    runner = runner_for(model, optimizer, loss, train, compiled=False)
    return Training(
        network=model,
        optimizer=optimizer,
        train_step=runner.train_step,
        executor=SingleEpochExecutor(runner, model, optimizer, validation),
        train=train,
        validation=validation,
        compute_metrics=lambda done, judged: {"mean": float(judged.y[done.rows].mean())},
        monitors=Monitors(BestEpochState.start("lower"), None, None),
        monitor="loss" if validation is None else "val_loss",
        total_steps=total_steps,
        keep_last=keep_last,
    )


def test_fit_yields_every_epoch_and_ends_with_the_last_step():
    state = training(total_steps=12)
    results = list(fit(state, lambda: None))
    assert [(result.epoch, result.step) for result in results] == [(1, 5), (2, 10), (3, 12)]
    assert [result.stop for result in results] == [None, None, "all epochs done"]
    assert set(results[0].metrics) == {"loss", "mean"}
    assert not state.interrupted


def test_fit_keeps_the_weights_of_the_best_epoch():
    state = training(validation=samples(40, seed=5), learning_rate=3.0, total_steps=100)
    best = (0, np.inf, None)
    for result in fit(state, lambda: None):
        if result.metrics["val_loss"] < best[1]:
            best = (result.epoch, result.metrics["val_loss"], state.network.get_weights())
    assert state.best_epoch == best[0]
    for kept, weight in zip(state.best_weights, best[2], strict=True):
        np.testing.assert_array_equal(kept, weight)


def test_fit_judges_the_average_and_trains_the_weights():
    with_average = training(validation=samples(40, seed=5), ema=True)
    without = training(validation=samples(40, seed=5))
    averaged_weights = list(fit(with_average, lambda: None))
    plain = list(fit(without, lambda: None))
    assert [r.metrics["loss"] for r in averaged_weights] == [r.metrics["loss"] for r in plain]
    assert [r.metrics["val_loss"] for r in averaged_weights] != [
        r.metrics["val_loss"] for r in plain
    ]


def test_fit_stops_when_asked():
    state = training(total_steps=10**6)
    results = list(fit(state, iter([None, None, "enough"]).__next__))
    assert [result.stop for result in results] == [None, None, "enough"]
    assert state.interrupted


def test_a_loss_that_is_not_finite_says_where():
    state = training(learning_rate=1e38, total_steps=100)
    with pytest.raises(DivergedError) as caught:
        list(fit(state, lambda: None))
    assert "epoch" in str(caught.value)
    assert "learning_rate" in str(caught.value)
