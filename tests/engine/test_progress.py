"""Progress of the training of one network."""

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
from trainer.engine.progress import Progress

STEPS = 2


def output(loss):
    rows = np.arange(4, dtype=np.int32)
    return EpochOutput(loss, np.zeros((4, 1), np.float32), rows, np.full(STEPS, loss, np.float32))


def result(loss, val_loss, weights=(0.0,), learning_rate=0.5):
    return EpochResult(output(loss), output(val_loss), learning_rate, lambda: [np.array(weights)])


def make_progress(*, total_steps=100, keep_last=False):
    x, y = np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)
    samples = Samples(x, y, None, np.arange(4), np.zeros(4, bool))
    return Progress(
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
    progress = make_progress()
    first = progress.end_epoch(result(1.0, 2.0, weights=(1.0,)))
    assert first.metrics == {"loss": 1.0, "rows": 4.0, "val_loss": 2.0, "val_rows": 4.0}
    assert (first.improved, first.learning_rate) == (True, 0.5)
    second = progress.end_epoch(result(0.5, 3.0, weights=(2.0,)))
    assert not second.improved
    assert second.learning_rate == pytest.approx(0.05)
    assert (progress.epoch, progress.step, progress.best_epoch) == (2, 2 * STEPS, 1)
    assert progress.best_weights == [np.array([1.0])]


def test_keep_last_keeps_the_latest_weights():
    progress = make_progress(keep_last=True)
    progress.end_epoch(result(1.0, 2.0, weights=(1.0,)))
    assert progress.end_epoch(result(1.0, 3.0, weights=(2.0,))).improved
    assert (progress.best_epoch, progress.best_weights) == (2, [np.array([2.0])])


def test_reasons_to_stop():
    progress = make_progress(total_steps=4 * STEPS)
    progress.end_epoch(result(1.0, 1.0))
    progress.end_epoch(result(1.0, 2.0))
    assert progress.check_stop() is None
    progress.end_epoch(result(1.0, 2.0))
    assert progress.check_stop() == "val_loss has not improved for 2 epochs"
    progress.end_epoch(result(1.0, 2.0))
    assert progress.check_stop() == "all epochs done"


def test_restored_progress_continues_equally():
    progress, restored = make_progress(), make_progress()
    progress.end_epoch(result(1.0, 2.0, weights=(1.0,)))
    progress.end_epoch(result(1.0, 3.0))
    metadata = json.loads(json.dumps(progress.metadata(partial_steps=3, rollbacks=1)))
    assert (metadata["steps_begun"], metadata["rewound"]) == (3, 1)
    restored.restore(metadata, progress.best_weights)
    for following in (progress, restored):
        following.end_epoch(result(1.0, 4.0))
    assert restored.metadata() == progress.metadata()
    assert restored.check_stop() == progress.check_stop() is not None
    assert restored.best_weights == progress.best_weights


def test_interrupted_progress_has_no_reason_to_stop_when_restored():
    progress = make_progress()
    progress.stop_reason, progress.interrupted = "interrupted by the user", True
    metadata = progress.metadata()
    assert metadata["stopped_because"] is None
    progress.restore(metadata, [])
    assert (progress.stop_reason, progress.interrupted) == (None, False)


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
