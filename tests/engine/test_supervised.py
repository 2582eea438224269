"""The learner of one network trains to the same weights as plain Keras with the same batches."""

from itertools import product

import keras
import numpy as np
import pytest

from tests.engine.epochs import fit_epochs
from tests.engine.networks import (
    BATCH,
    ROWS,
    dense,
    executor_for,
    network,
    samples,
    supervised,
    train_epoch,
)
from trainer.engine.batches import Evaluator
from trainer.engine.monitors import BestEpochState, Monitors
from trainer.engine.rows import epoch_order
from trainer.engine.training import Training
from trainer.engine.training_group import TrainingGroup

EPOCHS = 3


# Optimizers, layers and data are combined: a case fails if any of its parts does.
CASES = {
    "adam": (lambda: [dense()], lambda: keras.optimizers.Adam(0.01), {}),
    "sgd with momentum, classes": (
        lambda: [dense()],
        lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        {"outputs": 3},
    ),
    "rmsprop": (lambda: [dense()], lambda: keras.optimizers.RMSprop(0.01), {}),
    "combined": (
        lambda: [
            keras.layers.Dense(8, activation="tanh", kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.LayerNormalization(),
        ],
        lambda: keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(0.01, 12), weight_decay=0.01, global_clipnorm=0.5
        ),
        {"outputs": 3, "weighted": True},
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


QUICK = {("combined", True), ("averages", False)}


@pytest.mark.parametrize(
    ("case", "compiled"),
    [
        pytest.param(*pair, marks=[] if pair in QUICK else [pytest.mark.slow])
        for pair in product(CASES, (False, True))
    ],
)
def test_weights_match_keras(case, compiled):
    hidden, optimizer, options = CASES[case]
    # At the end of each call of `fit`, Keras overwrites the weights with the averages.
    epochs = 1 if case == "averages" else EPOCHS
    # XLA compiles a partial batch separately; the cases without XLA have one.
    rows = ROWS // BATCH * BATCH if compiled else ROWS
    train = samples(rows, **options)
    outputs = train.y.shape[1]
    activation = "sigmoid" if outputs == 1 else "softmax"
    loss = "binary_crossentropy" if outputs == 1 else "categorical_crossentropy"

    model = network(hidden, outputs=outputs, activation=activation)
    learner = supervised(model, optimizer(), loss)
    executor = executor_for(learner, train, compiled=compiled)
    losses = [train_epoch(executor, epoch).loss for epoch in range(1, epochs + 1)]
    weights = learner.evaluation_weights()

    keras_model = network(hidden, outputs=outputs, activation=activation)
    keras_model.compile(optimizer(), keras.losses.get(loss), jit_compile=False)
    expected = []
    for epoch in range(1, epochs + 1):
        order = epoch_order(rows, 1, epoch, True)
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


def test_predictions_are_returned_with_their_rows():
    train = samples()
    model = network()
    loss = keras.losses.BinaryCrossentropy()
    learner = supervised(model, keras.optimizers.SGD(0.0), loss)
    trained = train_epoch(executor_for(learner, train), 1)
    assert sorted(trained.rows) == list(range(ROWS))
    expected = model(train.inputs["features"]).numpy()[trained.rows]
    np.testing.assert_allclose(trained.predictions, expected, rtol=1e-5)
    evaluated = Evaluator(learner).evaluate(train)
    np.testing.assert_allclose(
        evaluated.predictions, model(train.inputs["features"]).numpy(), rtol=1e-5
    )
    assert evaluated.loss == pytest.approx(
        float(loss(train.y, model(train.inputs["features"]))), rel=1e-5
    )


@pytest.mark.slow
def test_predictions_of_training_are_kept_only_if_needed():
    weights = []
    for keep_outputs in (True, False):
        learner = supervised(network(), keras.optimizers.Adam(), keep_outputs=keep_outputs)
        output = train_epoch(executor_for(learner, samples()), 1)
        assert output.predictions.shape == (ROWS, int(keep_outputs))
        assert Evaluator(learner).evaluate(samples()).predictions.shape == (ROWS, 1)
        weights.append(learner.evaluation_weights())
    for weight, expected in zip(*weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_epoch_can_be_limited_to_its_first_batches():
    executor = executor_for(supervised(network(), keras.optimizers.SGD()), samples())
    output = train_epoch(executor, 1, max_steps=2)
    assert (output.steps, len(output.rows)) == (2, 2 * BATCH)


def training(*, learning_rate=0.1, total_steps=20, keep_last=False, ema=False, validation=None):
    train = samples()
    optimizer = keras.optimizers.SGD(learning_rate, use_ema=ema, ema_momentum=0.9)
    executor = executor_for(supervised(network(), optimizer), train, validation)
    state = Training(
        train=train,
        validation=validation,
        compute_metrics=lambda output, rows: {"mean": float(rows.y[output.rows].mean())},
        monitors=Monitors(BestEpochState.start("lower"), None, None),
        monitor="loss" if validation is None else "val_loss",
        total_steps=total_steps,
        keep_last=keep_last,
    )
    return TrainingGroup([state], executor)


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
