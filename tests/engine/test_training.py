"""Progress, decisions and best weights of the training of one network."""

import json

import numpy as np
import pytest

from trainer.config.schema import EarlyStopping, ReduceOnPlateau
from trainer.data.samples import Samples
from trainer.engine.batches import EpochOutput
from trainer.engine.epoch_result import EpochResult
from trainer.engine.monitors import (
    BestEpochState,
    EarlyStoppingState,
    Monitors,
    ReduceLROnPlateauState,
)
from trainer.engine.snapshot import Snapshot
from trainer.engine.training import Training

STEPS = 2


def output(loss):
    rows = np.arange(4, dtype=np.int32)
    return EpochOutput(loss, np.zeros((4, 1), np.float32), rows, np.full(STEPS, loss, np.float32))


def result(loss, val_loss, weights=(0.0,), learning_rate=0.5):
    return EpochResult(output(loss), output(val_loss), learning_rate, lambda: [np.array(weights)])


def make_training(*, total_steps=100, keep_last=False):
    x, y = np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)
    samples = Samples({"features": x}, y, None, np.arange(4), np.zeros(4, bool))
    return Training(
        train=samples,
        validation=samples,
        compute_metrics=lambda output, samples: {"rows": float(len(output.rows))},
        monitors=Monitors(
            BestEpochState.start("lower"),
            EarlyStoppingState.start(EarlyStopping(monitor="val_loss", patience=2), "lower"),
            ReduceLROnPlateauState.start(
                ReduceOnPlateau(monitor="val_loss", patience=1, factor=0.1), "lower"
            ),
        ),
        monitor="val_loss",
        total_steps=total_steps,
        keep_last=keep_last,
    )


def test_epochs_are_counted_and_the_best_is_kept():
    state = make_training()
    first = state.end_epoch(result(1.0, 2.0, weights=(1.0,)))
    assert first.metrics == {"loss": 1.0, "rows": 4.0, "val_loss": 2.0, "val_rows": 4.0}
    assert (first.improved, first.learning_rate) == (True, 0.5)
    second = state.end_epoch(result(0.5, 3.0, weights=(2.0,)))
    assert not second.improved
    assert second.learning_rate == pytest.approx(0.05)
    assert (state.epoch, state.step, state.best_epoch) == (2, 2 * STEPS, 1)
    assert state.best_weights == [np.array([1.0])]


def test_keep_last_keeps_the_latest_weights():
    state = make_training(keep_last=True)
    state.end_epoch(result(1.0, 2.0, weights=(1.0,)))
    assert state.end_epoch(result(1.0, 3.0, weights=(2.0,))).improved
    assert (state.best_epoch, state.best_weights) == (2, [np.array([2.0])])


def test_reasons_to_stop():
    state = make_training(total_steps=4 * STEPS)
    state.end_epoch(result(1.0, 1.0))
    state.end_epoch(result(1.0, 2.0))
    assert state.check_stop() is None
    state.end_epoch(result(1.0, 2.0))
    assert state.check_stop() == "val_loss has not improved for 2 epochs"
    state.end_epoch(result(1.0, 2.0))
    assert state.check_stop() == "all epochs done"


def test_restored_training_continues_equally():
    state, restored = make_training(), make_training()
    state.end_epoch(result(1.0, 2.0, weights=(1.0,)))
    state.end_epoch(result(1.0, 3.0))
    snapshot = state.snapshot({}, 3)
    metadata = json.loads(json.dumps(snapshot.metadata))
    assert metadata["steps_begun"] == 3
    restored.restore(Snapshot(snapshot.arrays, metadata))
    for following in (state, restored):
        following.end_epoch(result(1.0, 4.0))
    assert restored.snapshot({}, 0).metadata == state.snapshot({}, 0).metadata
    assert restored.check_stop() == state.check_stop() is not None
    assert restored.best_weights == state.best_weights


def test_interrupted_training_has_no_reason_to_stop_when_restored():
    state = make_training()
    state.stop_reason, state.is_interrupted = "interrupted by the user", True
    snapshot = state.snapshot({}, 0)
    assert snapshot.metadata["stopped_because"] is None
    state.restore(snapshot)
    assert (state.stop_reason, state.is_interrupted) == (None, False)


@pytest.mark.parametrize(
    ("loss", "val_loss", "weight", "diverged"),
    [
        (1.0, 1.0, 1.0, False),
        (np.nan, 1.0, 1.0, True),
        (1.0, np.inf, 1.0, False),
        (1.0, np.inf, np.nan, True),
    ],
)
def test_divergence_is_in_the_loss_or_the_weights(loss, val_loss, weight, diverged):
    assert result(loss, val_loss, weights=(weight,)).is_diverged() is diverged
