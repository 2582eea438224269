"""Keras callbacks get every epoch and can stop training; those with batch hooks are detected."""

import keras
import numpy as np
import pytest

from tests.engine.epochs import fit_epochs
from tests.engine.test_executors import training
from trainer.engine.callbacks import Callbacks, batch_hooks


class RecordingCallback(keras.callbacks.Callback):
    def __init__(self, stop_at=None):
        super().__init__()
        self.events, self.stop_at = [], stop_at

    def on_train_begin(self, logs=None):
        self.events.append("begin")

    def on_epoch_begin(self, epoch, logs=None):
        self.events.append(("epoch", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.events.append((epoch, sorted(logs), float(self.model.get_weights()[0][0, 0])))
        if epoch == self.stop_at:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.events.append("end")


class BatchCallback(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


@pytest.fixture(scope="module")
def untrained():
    """A training, and its state at the start."""
    group = training(1, steps=12)
    return group, group.snapshot(0)


@pytest.fixture
def training_with(untrained):
    """Return a function that restarts the training with other callbacks."""
    group, start = untrained

    def restart(*callbacks):
        group.members[0].callbacks = None
        group.restore([start])
        model = group.executor._learner.keras_model
        model.stop_training = False
        group.members[0].callbacks = Callbacks(callbacks, model)
        return group

    return restart


def test_callback_is_called_for_every_epoch(training_with):
    callback = RecordingCallback()
    state = training_with(callback)
    results = list(fit_epochs(state))
    names = sorted([*results[0].metrics, "learning_rate"])
    assert [event if isinstance(event, str) else event[:2] for event in callback.events] == [
        "begin",
        *(event for epoch in range(4) for event in (("epoch", epoch), (epoch, names))),
        "end",
    ]
    assert callback.events[-2][2] == pytest.approx(float(state.evaluation_weights(0)[0][0, 0]))


def test_callback_can_stop_training(training_with):
    results = list(fit_epochs(training_with(RecordingCallback(stop_at=1))))
    assert [result.stop for result in results] == [None, "a callback stopped training"]


def test_builtin_keras_callbacks_work(training_with, tmp_path):
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    list(fit_epochs(training_with(logger, keras.callbacks.EarlyStopping("loss"))))
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 5


def test_batch_hooks_are_detected():
    assert batch_hooks(RecordingCallback()) == []
    assert batch_hooks(keras.callbacks.CSVLogger("log.csv")) == []
    assert batch_hooks(BatchCallback()) == ["on_train_batch_end"]


class StatefulCallback(keras.callbacks.Callback):
    """Has an attribute of every kind."""

    def __init__(self):
        super().__init__()
        self.losses, self.best, self.table = [], float("inf"), {"values": [True, None]}
        self.kernel = self.file = None
        self.kernels = []

    def on_train_begin(self, logs=None):
        self.partial_epoch = "begun"
        self.file = object()

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(np.float32(logs["loss"]))
        self.best = min(self.best, logs["loss"])
        self.kernel = self.model.get_weights()[0]
        self.kernels.append(self.kernel)


def test_saved_attributes_are_restored(training_with):
    first, first_stopping = StatefulCallback(), keras.callbacks.EarlyStopping("loss", patience=9)
    first_stopping.restore_best_weights = True
    state = training_with(first, first_stopping)
    events = fit_epochs(state)
    next(events), next(events)
    callbacks = state.members[0].callbacks
    saved = callbacks.json_states(), callbacks.array_states()
    assert callbacks.unsaved_attributes() == ["StatefulCallback.file"]

    second, second_stopping = StatefulCallback(), keras.callbacks.EarlyStopping("loss", patience=9)
    callbacks = training_with(second, second_stopping).members[0].callbacks
    callbacks.restore(*saved)
    callbacks.on_train_begin()
    assert second.losses == pytest.approx(first.losses)
    assert (second.best, second.table, second.partial_epoch) == (first.best, first.table, "begun")
    np.testing.assert_array_equal(second.kernel, first.kernel)
    np.testing.assert_array_equal(second.kernels, first.kernels)
    for name in ("wait", "best", "best_epoch"):
        assert getattr(second_stopping, name) == getattr(first_stopping, name)
    for weight, expected in zip(
        second_stopping.best_weights, first_stopping.best_weights, strict=True
    ):
        np.testing.assert_array_equal(weight, expected)
    # Attributes that cannot be saved are those of the new callback.
    assert second.file is not first.file


def test_state_before_the_first_epoch(training_with):
    callback = StatefulCallback()
    callbacks = training_with(callback).members[0].callbacks
    saved = callbacks.json_states(), callbacks.array_states()
    assert saved[1] == {}
    callbacks.restore(*saved)
    callbacks.on_train_begin()
    assert callback.best == float("inf")
