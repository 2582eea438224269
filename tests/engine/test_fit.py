"""Training that is stopped at any point and resumed from a snapshot ends with the same bytes."""

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import keras
import numpy as np
import pytest

from tests.engine.adversarial import AdversarialLearner
from tests.engine.epochs import fit_epochs
from tests.engine.networks import executor_for, on_disk, samples, supervised
from tests.marks import slow_except
from trainer.config.schedules import CosineSchedule
from trainer.config.schema import EarlyStopping, ReduceOnPlateau
from trainer.engine import batches, streaming
from trainer.engine.events import RolledBack, StepCheckpoint
from trainer.engine.fit import fit
from trainer.engine.monitors import (
    BestEpochState,
    EarlyStoppingState,
    Monitors,
    ReduceLROnPlateauState,
)
from trainer.engine.rows import ResidentRows
from trainer.engine.snapshot import Snapshot
from trainer.engine.streaming import StreamedRows
from trainer.engine.training import Rollback, Training
from trainer.engine.training_group import TrainingGroup
from trainer.errors import RunError
from trainer.models.noise import CompiledDropout
from trainer.models.schedules import ScheduledRate

BATCH, STEPS_PER_EXECUTION = 8, 2
ROWS = 70
STEPS = -(-ROWS // BATCH)
EPOCHS = 5


def training(
    *, kind=ResidentRows, compiled=False, schedule=True, block=1, rollback=None, rate=0.2,
    adversarial=False,
):  # fmt: skip
    keras.utils.set_random_seed(1)
    dropout = CompiledDropout if compiled else keras.layers.Dropout
    network = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(6, activation="relu", name="dense"),
            keras.layers.BatchNormalization(name="batch_normalization"),
            dropout(0.3, seed=5, name="dropout"),
            keras.layers.Dense(1, activation="sigmoid", name="head"),
        ],
        name="network",
    )
    # XLA compiles a partial batch separately, which doubles the time of these tests; the cases without
    # XLA cover partial batches.
    rows, val_rows = (64, 32) if compiled else (ROWS, 40)
    steps = -(-rows // BATCH)
    if schedule:
        rate = ScheduledRate(rate, CosineSchedule(cosine={}), steps, EPOCHS * steps)
    optimizer = keras.optimizers.AdamW(rate, use_ema=True, ema_momentum=0.9, name="adamw")
    train, validation = samples(rows, weighted=True), samples(val_rows, seed=5)
    if kind is StreamedRows:
        train, validation = on_disk(train), on_disk(validation)
    learner = AdversarialLearner() if adversarial else supervised(network, optimizer)
    executor = executor_for(
        learner, train, validation, kind=kind, compiled=compiled, epochs=block, seed=2,
        batch_size=BATCH, steps_per_execution=STEPS_PER_EXECUTION if block == 1 else 1_000,
    )  # fmt: skip
    reduce_lr = ReduceLROnPlateauState.start(ReduceOnPlateau(patience=1, factor=0.3), "lower")
    if rollback is not None:
        max_rollbacks, factor = rollback
        rollback = Rollback(learner=learner, max_rollbacks=max_rollbacks, factor=factor)
    state = Training(
        train=train,
        validation=validation,
        compute_metrics=lambda output, _: {
            "mean": float(output.predictions.mean(dtype=np.float64))
        },
        monitors=Monitors(
            BestEpochState.start("lower"),
            EarlyStoppingState.start(EarlyStopping(patience=7), "lower"),
            None if schedule else reduce_lr,
        ),
        monitor="val_loss",
        total_steps=EPOCHS * steps - 3,
        rollback=rollback,
    )
    return TrainingGroup([state], executor)


# The learning rates are so high that the last epoch is not the best.
CASES = {
    "schedule": {},
    "plateau": {"schedule": False, "rate": 0.6},
    "streaming": {"kind": StreamedRows},
    "blocks": {"block": 3},
    "blocks, xla": {"block": 3, "compiled": True},
    "xla": {"compiled": True},
    "two networks, streaming": {"adversarial": True, "kind": StreamedRows},
}
QUICK = {"schedule", "streaming", "blocks"}


@dataclass(frozen=True)
class Reference:
    """Two equal training runs, and the uninterrupted history of the first.

    Attributes:
        first: A training run that has ended.
        second: An equal one that has not started.
        start: The state of both at the start.
        epochs: The events of the epochs, without the reason to stop.
        checks: How often the training checked whether it should stop.
        end: The state at the end.
    """

    first: TrainingGroup
    second: TrainingGroup
    start: Snapshot
    epochs: list[Any]
    checks: int
    end: Snapshot


@pytest.fixture(scope="module", autouse=True)
def _small_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "SHARD_ROWS", 8)
        patch.setattr(batches, "_EVALUATION_BATCH", 16)
        patch.setattr(batches, "_EVALUATION_BATCHES", 1)
        yield


@pytest.fixture(scope="module")
def reference(_small_parts):
    """The reference of a case, built once: tracing the programs takes longest."""
    references = {}

    def build(case):
        if case not in references:
            first, second = training(**CASES[case]), training(**CASES[case])
            start = first.snapshot(0)
            checks = []
            epochs = run(first, lambda: checks.append(None))
            end = first.snapshot(0)
            references[case] = Reference(first, second, start, epochs, len(checks), end)
        return references[case]

    return build


def run(state, interrupted=lambda: None):
    """Train and return what the log would contain for each epoch."""
    return [
        (event.epoch, event.step, event.learning_rate, event.metrics, event.improved)
        for event in fit_epochs(state, interrupted)
    ]


def stop_after(calls):
    remaining = iter(range(calls))
    return lambda: None if next(remaining, None) is not None else "stop requested"


def assert_same(snapshot, expected):
    assert snapshot.metadata == expected.metadata
    assert list(snapshot.arrays) == list(expected.arrays)
    for name, value in snapshot.arrays.items():
        np.testing.assert_array_equal(value, expected.arrays[name], err_msg=name)


@pytest.mark.parametrize("case", slow_except(QUICK, CASES))
def test_training_stopped_anywhere_ends_with_the_same_bytes(case, reference):
    expected = reference(case)
    first, second = expected.first, expected.second
    in_blocks = CASES[case].get("block", 1) > 1
    stopped_within_epoch = 0
    # There are six or eight checks per epoch. Stopping at every fifth one reaches every position within
    # an epoch, as 5 is coprime to both. The latest stop comes first, as it differs most from the initial
    # state of `second`.
    for calls in reversed(range(0, expected.checks, 1 if in_blocks else 5)):
        first.restore([expected.start])
        epochs = run(first, stop_after(calls))
        assert first.is_interrupted
        stopped_within_epoch += first.executor.partial_epoch is not None
        second.restore([first.snapshot(0)])
        assert epochs + run(second) == expected.epochs
        assert_same(second.snapshot(0), expected.end)
    assert in_blocks or stopped_within_epoch > 3


def test_training_stopped_repeatedly_ends_with_the_same_bytes(reference):
    expected = reference("schedule")
    state = expected.first
    epochs, snapshot = [], expected.start
    while True:
        state.restore([snapshot])
        epochs += run(state, stop_after(3))
        snapshot = state.snapshot(0)
        if not state.is_interrupted:
            break
    assert epochs == expected.epochs
    assert_same(snapshot, expected.end)


def test_stop_during_validation_keeps_the_trained_batches(reference):
    expected = reference("schedule")
    state = expected.first
    state.restore([expected.start])
    steps = [event for event in fit(state, stop_after(5)) if isinstance(event, StepCheckpoint)]
    # In calls of two batches, the fifth check is during validation, after all nine batches.
    assert (steps[-1].step, steps[-1].stop) == (STEPS, "stop requested")
    assert (state.epoch, state.executor.partial_epoch.rows) == (0, ROWS)


def test_completed_training_yields_nothing(reference):
    expected = reference("schedule")
    expected.second.restore([expected.end])
    assert expected.second.members[0].stop_reason == "all epochs done"
    assert run(expected.second) == []
    assert_same(expected.second.snapshot(0), expected.end)


def test_max_seconds(reference):
    expected = reference("schedule")
    expected.first.restore([expected.start])
    state = TrainingGroup(expected.first.members, expected.first.executor, max_seconds=1e-9)
    assert run(state) == []
    assert "fit.max_seconds" in state.members[0].stop_reason
    expected.first.restore([expected.start])
    state = TrainingGroup(expected.first.members, expected.first.executor, 100.0 + 3600)
    state.start_time = perf_counter() - 100.0
    assert len(run(state)) > 1


def test_rollback_lowers_the_learning_rate_and_resumes_with_the_same_bytes():
    def diverging():
        return training(schedule=False, rate=1e37, rollback=(400, 1e-4))

    first, second = diverging(), diverging()
    start = first.snapshot(0)
    events = list(fit(first, lambda: None))
    end = first.snapshot(0)
    rollbacks = [event for event in events if isinstance(event, RolledBack)]
    assert rollbacks
    assert rollbacks[0].learning_rate == pytest.approx(1e33)
    for calls in (2, 11):
        first.restore([start])
        list(fit(first, stop_after(calls)))
        assert first.is_interrupted
        second.restore([first.snapshot(0)])
        list(fit(second, lambda: None))
        assert_same(second.snapshot(0), end)


def test_number_of_rollbacks_is_limited():
    state = training(schedule=False, rate=1e37, rollback=(2, 0.5))
    list(fit(state, lambda: None))
    problem = state.members[0].problem
    assert problem.where.startswith("epoch 1, step ")
    assert "after 2 rollbacks" in problem.found


def test_rollback_scales_the_whole_schedule():
    state = training(rate=1e37, rollback=(1_000, 1e-4))
    assert any(isinstance(event, RolledBack) for event in fit(state, lambda: None))
    learner = state.members[0].rollback.learner
    assert math.isfinite(float(learner.learning_rate))
    assert learner.state()["optimizer/scale"] < 1


def test_snapshot_that_does_not_match_is_rejected(reference):
    expected = reference("schedule")
    state = expected.first
    state.restore([expected.start])
    list(fit(state, stop_after(3)))
    snapshot = state.snapshot(0)
    with pytest.raises(RunError):
        training(schedule=False).restore([snapshot])
    for missing in ("begun/predictions", "begun/mean/0"):
        arrays = {name: value for name, value in snapshot.arrays.items() if name != missing}
        with pytest.raises(RunError):
            state.restore([Snapshot(arrays, snapshot.metadata)])
