"""The monitors behave as Keras's callbacks do, even after a restart at any epoch."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.schema import EarlyStopping, ReduceOnPlateau
from trainer.engine.monitors import (
    BestEpochState,
    EarlyStoppingState,
    Monitors,
    ReduceLROnPlateauState,
)

VALUES = st.lists(st.integers(-8, 8).map(lambda eighths: eighths / 8), min_size=1, max_size=40)


class _Optimizer:
    def __init__(self, learning_rate):
        self.learning_rate = learning_rate


class _Model:
    """The part of a model that Keras's callbacks use."""

    def __init__(self, learning_rate=1.0):
        self.stop_training = False
        self.optimizer = _Optimizer(learning_rate)


@given(VALUES, st.integers(1, 4), st.sampled_from([0.0, 0.25]), st.sampled_from(["min", "max"]))
def test_early_stopping_stops_at_the_same_epoch_as_keras(values, patience, min_delta, mode):
    import keras

    callback = keras.callbacks.EarlyStopping(
        monitor="m", patience=patience, min_delta=min_delta, mode=mode
    )
    model = _Model()
    callback.set_model(model)
    callback.on_train_begin()
    settings = EarlyStopping(monitor="val_loss", patience=patience, min_delta=min_delta)
    early_stopping = EarlyStoppingState.start(settings, "lower" if mode == "min" else "higher")
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"m": value})
        reason = early_stopping.update(epoch + 1, value)
        # Keras never stops at the first epoch; here its value is always an improvement.
        assert (reason is not None) == model.stop_training
        if reason is not None:
            assert f"for {patience} epoch" in reason
            return


@given(VALUES, st.integers(1, 3), st.integers(0, 3), st.sampled_from([0.0, 0.25]))
def test_learning_rate_reduction_matches_keras(values, patience, cooldown, min_delta):
    import keras

    callback = keras.callbacks.ReduceLROnPlateau(
        monitor="m",
        factor=0.5,
        patience=patience,
        cooldown=cooldown,
        min_delta=min_delta,
        min_lr=0.1,
        mode="min",
    )
    keras_model = _Model()
    callback.set_model(keras_model)
    callback.on_train_begin()
    settings = ReduceOnPlateau(
        factor=0.5,
        patience=patience,
        cooldown=cooldown,
        min_delta=min_delta,
        min_learning_rate=0.1,
    )
    reduce_lr = ReduceLROnPlateauState.start(settings, "lower")
    learning_rate = 1.0
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"m": value})
        learning_rate = reduce_lr.update(value, learning_rate)
        assert learning_rate == pytest.approx(float(keras_model.optimizer.learning_rate), rel=1e-6)


@given(VALUES, st.data())
def test_decisions_after_a_restart_are_unchanged(values, data):
    cut = data.draw(st.integers(0, len(values)))

    def make_monitors():
        return Monitors(
            BestEpochState.start("lower"),
            EarlyStoppingState.start(EarlyStopping(patience=2, min_delta=0.1), "lower"),
            ReduceLROnPlateauState.start(ReduceOnPlateau(patience=1, cooldown=1), "lower"),
        )

    def run(monitors, part, first, learning_rate):
        decisions = []
        for epoch, value in enumerate(part, first):
            learning_rate = monitors.reduce_lr.update(value, learning_rate)
            decisions.append(
                (
                    monitors.best.update(epoch, value),
                    monitors.early_stopping.update(epoch, value),
                    learning_rate,
                )
            )
        return decisions, learning_rate

    expected, _ = run(make_monitors(), values, 1, 1.0)
    first = make_monitors()
    before, learning_rate = run(first, values[:cut], 1, 1.0)
    second = make_monitors()
    second.restore(json.loads(json.dumps(first.state())))
    after, _ = run(second, values[cut:], cut + 1, learning_rate)
    assert before + after == expected


def test_nan_is_never_best():
    best = BestEpochState.start("higher")
    assert not best.update(1, math.nan)
    assert best.epoch == 0
    assert best.update(2, -5.0)
    assert not best.update(3, math.nan)


def test_epochs_before_start_epoch_are_not_counted():
    early_stopping = EarlyStoppingState.start(EarlyStopping(patience=2, start_epoch=5), "lower")
    reasons = [early_stopping.update(epoch, 1.0) for epoch in range(1, 9)]
    assert [reason is not None for reason in reasons] == [False] * 6 + [True, True]
