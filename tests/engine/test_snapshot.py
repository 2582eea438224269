"""A training that is stopped anywhere and goes on from its snapshot ends with the same bytes."""

import math

import keras
import numpy as np
import pytest

from tests.engine.test_runner import samples
from tests.engine.test_streaming import on_disk
from trainer.config.optimizers import CosineSchedule
from trainer.config.schema import EarlyStopping, ReduceOnPlateau
from trainer.engine import batches, streaming
from trainer.engine.events import EpochEnd, RolledBack, StepCheckpoint
from trainer.engine.executors import MultiEpochExecutor, SingleEpochExecutor
from trainer.engine.fit import RollbackState, Training, fit
from trainer.engine.monitors import (
    BestEpochState,
    EarlyStoppingState,
    Monitors,
    ReduceLROnPlateauState,
)
from trainer.engine.multi_epoch import MultiEpochProgram
from trainer.engine.runner import ResidentRunner
from trainer.engine.snapshot import restore_snapshot, take_snapshot
from trainer.engine.streaming import StreamingRunner
from trainer.errors import DivergedError, RunError
from trainer.models.noise import CompiledDropout
from trainer.models.schedules import ScheduledRate

BATCH, CALL = 8, 2
STEPS = -(-70 // BATCH)


def training(
    *, kind=ResidentRunner, compiled=False, schedule=True, block=1, rollback=None, rate=0.02
):
    keras.utils.set_random_seed(1)
    dropout = CompiledDropout if compiled else keras.layers.Dropout
    network = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(6, activation="relu", name="dense"),
            keras.layers.BatchNormalization(name="normalisation"),
            dropout(0.3, seed=5, name="dropout"),
            keras.layers.Dense(1, activation="sigmoid", name="head"),
        ],
        name="network",
    )
    if schedule:
        rate = ScheduledRate(rate, CosineSchedule(cosine={}), STEPS, 8 * STEPS)
    optimizer = keras.optimizers.AdamW(rate, use_ema=True, ema_momentum=0.9, name="adamw")
    train, validation = samples(weighted=True), samples(40, seed=5)
    if kind is StreamingRunner:
        train, validation = on_disk(train), on_disk(validation)
    runner = kind(
        network,
        optimizer,
        keras.losses.BinaryCrossentropy(),
        train,
        seed=2,
        batch_size=BATCH,
        shuffle=True,
        compiled=compiled,
        steps_per_execution=CALL if block == 1 else 1_000,
    )
    executor = SingleEpochExecutor(runner, network, optimizer, validation)
    if block > 1:
        blocks = MultiEpochProgram(
            runner, network, optimizer, validation, epochs=block, compiled=compiled
        )
        executor = MultiEpochExecutor(executor, blocks)
    reduce_lr = ReduceLROnPlateauState.start(ReduceOnPlateau(patience=1, factor=0.3), "lower")
    return Training(
        network=network,
        optimizer=optimizer,
        train_step=runner.train_step,
        executor=executor,
        train=train,
        validation=validation,
        compute_metrics=lambda done, judged: {
            "mean": float(done.predictions.mean(dtype=np.float64))
        },
        monitors=Monitors(
            BestEpochState.start("lower"),
            EarlyStoppingState.start(EarlyStopping(patience=7), "lower"),
            None if schedule else reduce_lr,
        ),
        monitor="val_loss",
        total_steps=8 * STEPS - 3,
        rollback=rollback,
    )


def whole(state):
    """All that is compared: arrays and facts, and what each epoch gave."""
    snapshot = take_snapshot(state)
    return snapshot.arrays, snapshot.metadata


def events_of(state, interrupted=lambda: None):
    """What a log would hold of a training."""
    return [
        (event.epoch, event.step, event.learning_rate, event.metrics, event.improved, event.stop)
        for event in fit(state, interrupted)
        if isinstance(event, EpochEnd)
    ]


def stop_after(calls):
    asked = iter(range(calls))
    return lambda: None if next(asked, None) is not None else "asked to"


def same(first, second):
    assert first[1] == second[1]
    assert list(first[0]) == list(second[0])
    for name, value in first[0].items():
        np.testing.assert_array_equal(value, second[0][name], err_msg=name)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(streaming, "SHARD_ROWS", 8)
    monkeypatch.setattr(batches, "_EVALUATION_BATCH", 16)
    monkeypatch.setattr(batches, "_EVALUATION_BATCHES", 1)


CASES = {
    "schedule": {},
    "plateau": {"schedule": False},
    "xla": {"compiled": True},
    "streaming": {"kind": StreamingRunner},
    "blocks": {"block": 3},
    "blocks, xla": {"block": 3, "compiled": True},
}


@pytest.mark.parametrize("case", CASES)
def test_stopped_anywhere_it_ends_with_the_same_bytes(case):
    undisturbed, first, second = (training(**CASES[case]) for _ in range(3))
    start = take_snapshot(undisturbed)
    expected = events_of(undisturbed)
    in_blocks = CASES[case].get("block", 1) > 1
    stopped_within = 0
    for calls in range(7) if in_blocks else range(0, 60, 7):
        restore_snapshot(first, start)
        done = events_of(first, stop_after(calls))
        assert first.interrupted
        stopped_within += first.partial_epoch is not None
        restore_snapshot(second, take_snapshot(first))
        done = [event[:5] for event in done] + [event[:5] for event in events_of(second)]
        assert done == [event[:5] for event in expected]
        same(whole(undisturbed), whole(second))
    assert in_blocks or stopped_within > 3


def test_stopped_again_and_again():
    undisturbed, state = training(), training()
    expected = [event[:5] for event in events_of(undisturbed)]
    done, snapshot = [], take_snapshot(state)
    while True:
        restore_snapshot(state, snapshot)
        done += [event[:5] for event in events_of(state, stop_after(3))]
        snapshot = take_snapshot(state)
        if not state.interrupted:
            break
    assert done == expected
    same(whole(undisturbed), whole(state))


def test_a_stop_while_judging_loses_no_training():
    state = training()
    places = [event for event in fit(state, stop_after(5)) if isinstance(event, StepCheckpoint)]
    # Calls of two batches: the fifth moment to stop is within validation, after all nine batches.
    assert (places[-1].step, places[-1].stop) == (STEPS, "asked to")
    assert (state.epoch, state.partial_epoch.rows) == (0, 70)


def test_a_training_that_has_ended_yields_nothing():
    first = training()
    events_of(first)
    second = training()
    restore_snapshot(second, take_snapshot(first))
    assert second.stop_reason == "all epochs done"
    assert events_of(second) == []
    same(whole(first), whole(second))


def test_time_runs_out():
    state = training()
    state.max_seconds = 1e-9
    assert events_of(state) == []
    assert "fit.max_seconds" in state.stop_reason
    state = training()
    state.start_time -= 100.0
    state.max_seconds = 100.0 + 3600
    assert len(events_of(state)) > 1


def test_going_back_halves_the_rate_and_is_repeated_by_who_resumes():
    def exploding():
        return training(
            schedule=False, rate=1e37, rollback=RollbackState(max_rollbacks=400, factor=1e-4)
        )

    undisturbed = exploding()
    expected = list(fit(undisturbed, lambda: None))
    rolled_back = [event for event in expected if isinstance(event, RolledBack)]
    assert rolled_back
    assert rolled_back[0].learning_rate == pytest.approx(1e33)
    first, second = exploding(), exploding()
    start = take_snapshot(first)
    for calls in (0, 2, 5, 11):
        restore_snapshot(first, start)
        list(fit(first, stop_after(calls)))
        restore_snapshot(second, take_snapshot(first))
        list(fit(second, lambda: None))
        same(whole(undisturbed), whole(second))


def test_going_back_has_an_end():
    state = training(schedule=False, rate=1e37, rollback=RollbackState(max_rollbacks=2, factor=0.5))
    with pytest.raises(DivergedError) as told:
        list(fit(state, lambda: None))
    (problem,) = told.value.problems
    assert problem.where.startswith("epoch 1, step ")
    assert "after 2 rollbacks" in problem.found


def test_a_schedule_is_lowered_as_a_whole():
    state = training(rate=1e37, rollback=RollbackState(max_rollbacks=1_000, factor=1e-4))
    rolled_back = [event for event in fit(state, lambda: None) if isinstance(event, RolledBack)]
    assert rolled_back
    assert math.isfinite(float(state.optimizer.learning_rate))
    assert float(state.optimizer._learning_rate.scale) < 1


def test_a_snapshot_of_another_network_is_refused():
    state = training()
    list(fit(state, stop_after(3)))
    taken = take_snapshot(state)
    other = training(schedule=False)
    with pytest.raises(RunError):
        restore_snapshot(other, taken)
    for piece in ("begun/predictions", "begun/mean/0"):
        arrays = {name: value for name, value in taken.arrays.items() if name != piece}
        with pytest.raises(RunError):
            restore_snapshot(state, type(taken)(arrays, taken.metadata))
