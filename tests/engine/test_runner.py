"""The runner trains to the same weights as plain Keras with the same batches in the same order."""

from itertools import product

import keras
import numpy as np
import pytest

from tests.engine.epochs import fit_epochs
from trainer.data.samples import Samples
from trainer.engine.averages import averaged_weights
from trainer.engine.batches import run_to_end
from trainer.engine.executors import NetworkExecutor
from trainer.engine.monitors import BestEpochState, Monitors
from trainer.engine.runner import ResidentRunner, epoch_order
from trainer.engine.training import Training
from trainer.engine.training_group import TrainingGroup

ROWS, WIDTH, EPOCHS, BATCH = 70, 5, 3, 16


def samples(rows=ROWS, outputs=1, *, weighted=False, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    if outputs == 1:
        y = (x[:, :1] + 0.1 * rng.normal(size=(rows, 1)) > 0).astype(np.float32)
    else:
        y = np.eye(outputs, dtype=np.float32)[rng.integers(0, outputs, rows)]
    weight = rng.uniform(0.5, 2, rows).astype(np.float32) if weighted else None
    return Samples({"features": x}, y, weight, np.arange(rows), np.zeros(rows, bool))


def dense():
    return keras.layers.Dense(8, activation="relu")


def network(hidden=lambda: [dense()], outputs=1, activation="sigmoid"):
    # Layers draw the seeds of their initializers when they are created, so after this line.
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


# Optimizers, layers and data are combined: a case fails if any of its parts does.
CASES = {
    "adam": (lambda: [dense()], lambda: keras.optimizers.Adam(0.01), {}),
    "sgd with momentum, classes": (
        lambda: [dense()],
        lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        {"outputs": 3},
    ),
    "adamw with clipping, normalization, weights": (
        lambda: [dense(), keras.layers.BatchNormalization(), keras.layers.LayerNormalization()],
        lambda: keras.optimizers.AdamW(0.01, weight_decay=0.01, global_clipnorm=0.5),
        {"weighted": True},
    ),
    "rmsprop with schedule, regularizer": (
        lambda: [keras.layers.Dense(8, activation="tanh", kernel_regularizer="l2")],
        lambda: keras.optimizers.RMSprop(keras.optimizers.schedules.CosineDecay(0.01, 12)),
        {},
    ),
    "gradient accumulation": (
        lambda: [dense()],
        lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
        {},
    ),
    "averages": (
        lambda: [dense()],
        lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
        {},
    ),
}


# Adam is also trained with gradient accumulation and with averages.
QUICK = {
    *product(set(CASES) - {"adam"}, (False,)),
    ("adamw with clipping, normalization, weights", True),
}


@pytest.mark.parametrize(
    ("case", "compiled"),
    [
        pytest.param(*pair, marks=[] if pair in QUICK else [pytest.mark.slow])
        for pair in product(CASES, (False, True))
    ],
)
def test_weights_equal_those_of_keras(case, compiled):
    hidden, optimizer, options = CASES[case]
    # At the end of each call of `fit`, Keras overwrites the weights with the averages.
    epochs = 1 if case == "averages" else EPOCHS
    train = samples(**options)
    outputs = train.y.shape[1]
    activation = "sigmoid" if outputs == 1 else "softmax"
    loss = "binary_crossentropy" if outputs == 1 else "categorical_crossentropy"

    model = network(hidden, outputs=outputs, activation=activation)
    runner = runner_for(model, optimizer(), keras.losses.get(loss), train, compiled=compiled)
    losses = [run_to_end(runner.train(epoch, 10**9, None)).loss for epoch in range(1, epochs + 1)]
    with averaged_weights(model, runner.train_step.optimizer):
        weights = model.get_weights()

    keras_model = network(hidden, outputs=outputs, activation=activation)
    keras_model.compile(optimizer(), keras.losses.get(loss), jit_compile=False)
    expected = []
    for epoch in range(1, epochs + 1):
        order = epoch_order(ROWS, 1, epoch, True)
        weight = None if train.weight is None else train.weight[order]
        history = keras_model.fit(
            train.inputs["features"][order],
            train.y[order],
            sample_weight=weight,
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
        )
        expected.append(history.history["loss"][0])
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    for weight, keras_weight in zip(weights, keras_model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, keras_weight, rtol=2e-4, atol=2e-5)


def test_order_depends_only_on_seed_and_epoch():
    first = epoch_order(100, 7, 3, True)
    assert sorted(first) == list(range(100))
    assert np.array_equal(first, epoch_order(100, 7, 3, True))
    assert not np.array_equal(first, epoch_order(100, 7, 4, True))
    assert not np.array_equal(first, epoch_order(100, 8, 3, True))
    assert np.array_equal(epoch_order(5, 7, 3, False), np.arange(5))


def test_predictions_are_returned_with_their_rows():
    train = samples()
    model = network()
    loss = keras.losses.BinaryCrossentropy()
    runner = runner_for(model, keras.optimizers.SGD(0.0), loss, train, compiled=False)
    trained = run_to_end(runner.train(1, 10**9, None))
    assert sorted(trained.rows) == list(range(ROWS))
    expected = model(train.inputs["features"]).numpy()[trained.rows]
    np.testing.assert_allclose(trained.predictions, expected, rtol=1e-5)
    evaluated = run_to_end(runner.evaluate(train))
    np.testing.assert_allclose(
        evaluated.predictions, model(train.inputs["features"]).numpy(), rtol=1e-5
    )
    assert evaluated.loss == pytest.approx(
        float(loss(train.y, model(train.inputs["features"]))), rel=1e-5
    )


def test_epoch_can_be_limited_to_its_first_batches():
    runner = runner_for(
        network(), keras.optimizers.SGD(), keras.losses.MeanSquaredError(), samples(),
        compiled=False,
    )  # fmt: skip
    output = run_to_end(runner.train(1, 2, None))
    assert (output.steps, len(output.rows)) == (2, 2 * BATCH)


def training(*, learning_rate=0.1, total_steps=20, keep_last=False, ema=False, validation=None):
    train = samples()
    model = network()
    optimizer = keras.optimizers.SGD(learning_rate, use_ema=ema, ema_momentum=0.9)
    loss = keras.losses.BinaryCrossentropy()
    runner = runner_for(model, optimizer, loss, train, compiled=False)
    state = Training(
        train=train,
        validation=validation,
        compute_metrics=lambda output, rows: {"mean": float(rows.y[output.rows].mean())},
        monitors=Monitors(BestEpochState.start("lower"), None, None),
        monitor="loss" if validation is None else "val_loss",
        total_steps=total_steps,
        keep_last=keep_last,
    )
    return TrainingGroup([state], NetworkExecutor(runner, validation))


def test_fit_yields_every_epoch_until_the_last_step():
    state = training(total_steps=12)
    results = list(fit_epochs(state))
    assert [(result.epoch, result.step) for result in results] == [(1, 5), (2, 10), (3, 12)]
    assert [result.stop for result in results] == [None, None, "all epochs done"]
    assert set(results[0].metrics) == {"loss", "mean"}
    assert not state.is_interrupted


def test_fit_keeps_the_weights_of_the_best_epoch():
    state = training(validation=samples(40, seed=5), learning_rate=3.0, total_steps=100)
    best = (0, np.inf, None)
    for result in fit_epochs(state):
        if result.metrics["val_loss"] < best[1]:
            best = (result.epoch, result.metrics["val_loss"], state.evaluation_weights(0))
    (trained,) = state.members
    assert trained.best_epoch == best[0]
    for weight, expected in zip(trained.best_weights, best[2], strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_fit_evaluates_the_averages_and_trains_the_weights():
    averages = [
        result.metrics for result in fit_epochs(training(validation=samples(40, seed=5), ema=True))
    ]
    weights = [result.metrics for result in fit_epochs(training(validation=samples(40, seed=5)))]
    assert [m["loss"] for m in averages] == [m["loss"] for m in weights]
    assert [m["val_loss"] for m in averages] != [m["val_loss"] for m in weights]


def test_fit_stops_on_request():
    state = training(total_steps=10**6)
    results = list(fit_epochs(state, iter([None, None, "enough"]).__next__))
    assert [result.stop for result in results] == [None, None, "enough"]
    assert state.is_interrupted


def test_loss_that_is_not_finite_reports_where():
    state = training(learning_rate=1e38, total_steps=100)
    list(fit_epochs(state))
    (trained,) = state.members
    assert trained.problem.where.startswith("epoch ")
    assert "learning_rate" in trained.problem.fix
