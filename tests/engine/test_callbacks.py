"""Keras callbacks see every epoch and can stop training; those that ask for batches are named."""

import keras
import numpy as np
import pytest

from tests.engine.test_executors import training
from trainer.engine.batches import TrainStep
from trainer.engine.callbacks import Callbacks, batch_hooks
from trainer.engine.fit import fit


class Watching(keras.callbacks.Callback):
    def __init__(self, stop_at=None):
        super().__init__()
        self.seen, self.stop_at = [], stop_at

    def on_train_begin(self, logs=None):
        self.seen.append("begin")

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(("epoch", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append((epoch, sorted(logs), float(self.model.get_weights()[0][0, 0])))
        if epoch == self.stop_at:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.seen.append("end")


class ByBatch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


def watched(*callbacks):
    state = training(1, steps=12)
    train_step = TrainStep(state.network, keras.losses.BinaryCrossentropy(), state.optimizer)
    state.callbacks = Callbacks(callbacks, train_step)
    return state


def test_they_see_every_epoch():
    callback = Watching()
    state = watched(callback)
    results = list(fit(state, lambda: None))
    names = sorted([*results[0].metrics, "learning_rate"])
    assert [one if isinstance(one, str) else one[:2] for one in callback.seen] == [
        "begin",
        *(one for epoch in range(4) for one in (("epoch", epoch), (epoch, names))),
        "end",
    ]
    assert callback.seen[-2][2] == pytest.approx(float(state.network.get_weights()[0][0, 0]))


def test_one_can_stop_training():
    results = list(fit(watched(Watching(stop_at=1)), lambda: None))
    assert [result.stop for result in results] == [None, "a callback stopped training"]


def test_keras_own_callbacks_work(tmp_path):
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    list(fit(watched(logger, keras.callbacks.EarlyStopping("loss")), lambda: None))
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 5


def test_hooks_of_batches_are_found():
    assert batch_hooks(Watching()) == []
    assert batch_hooks(keras.callbacks.CSVLogger("log.csv")) == []
    assert batch_hooks(ByBatch()) == ["on_train_batch_end"]


class Remembering(keras.callbacks.Callback):
    """Keeps something of every kind."""

    def __init__(self):
        super().__init__()
        self.losses, self.best, self.table = [], float("inf"), {"seen": [True, None]}
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


def test_what_they_remember_is_kept():
    first, early = Remembering(), keras.callbacks.EarlyStopping("loss", patience=9)
    early.restore_best_weights = True
    state = watched(first, early)
    events = fit(state, lambda: None)
    next(events), next(events)
    kept = state.callbacks.json_states(), state.callbacks.array_states()
    assert state.callbacks.unsaved_attributes() == ["Remembering.file"]

    second, again = Remembering(), keras.callbacks.EarlyStopping("loss", patience=9)
    callbacks = watched(second, again).callbacks
    callbacks.restore(*kept)
    callbacks.on_train_begin()
    assert second.losses == pytest.approx(first.losses)
    assert (second.best, second.table, second.partial_epoch) == (first.best, first.table, "begun")
    np.testing.assert_array_equal(second.kernel, first.kernel)
    np.testing.assert_array_equal(second.kernels, first.kernels)
    assert (again.wait, again.best, again.best_epoch) == (early.wait, early.best, early.best_epoch)
    for one, other in zip(again.best_weights, early.best_weights, strict=True):
        np.testing.assert_array_equal(one, other)
    # What is no number, text or array is the new one's own.
    assert second.file is not first.file


def test_before_the_first_epoch_nothing_is_remembered():
    callback = Remembering()
    callbacks = watched(callback).callbacks
    kept = callbacks.json_states(), callbacks.array_states()
    assert kept[1] == {}
    callbacks.restore(*kept)
    callbacks.on_train_begin()
    assert callback.best == float("inf")
