"""Several epochs per device call give the same bytes as single epochs, even if stopped in a block."""

import keras
import numpy as np
import pytest

from tests.engine.epochs import fit_epochs
from tests.engine.networks import executor_for, supervised
from tests.marks import slow_except
from trainer.config.schema import EarlyStopping, ReduceOnPlateau
from trainer.data.samples import Samples
from trainer.engine.monitors import (
    BestEpochState,
    EarlyStoppingState,
    Monitors,
    ReduceLROnPlateauState,
)
from trainer.engine.multi_epoch import epochs_per_execution
from trainer.engine.training import Training
from trainer.engine.training_group import TrainingGroup
from trainer.models.noise import CompiledDropout, CompiledGaussianNoise


def samples(rows, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    y = (x[:, :1] + 0.5 * rng.normal(size=(rows, 1)) > 0).astype(np.float32)
    weight = rng.uniform(0.5, 2, rows).astype(np.float32)
    return Samples({"features": x}, y, weight, np.arange(rows), np.zeros(rows, bool))


def training(block, *, compiled=False, ema=False, validated=True, monitors=None, steps=90):
    keras.utils.set_random_seed(1)
    dropout = CompiledDropout if compiled else keras.layers.Dropout
    noise = CompiledGaussianNoise if compiled else keras.layers.GaussianNoise
    network = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(5, activation="relu", name="dense"),
            keras.layers.BatchNormalization(name="batch_normalization"),
            dropout(0.2, seed=3, name="dropout"),
            noise(0.1, seed=4, name="noise"),
            keras.layers.Dense(1, activation="sigmoid", name="head"),
        ],
        name="network",
    )
    optimizer = keras.optimizers.Adam(
        0.05 if monitors else keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.8),
        use_ema=ema,
        ema_momentum=0.8,
        name="adam",
    )
    train, validation = samples(21, 0), samples(10, 1) if validated else None
    learner = supervised(network, optimizer)
    executor = executor_for(
        learner, train, validation, compiled=compiled, epochs=block, seed=2, batch_size=8
    )
    state = Training(
        train=train,
        validation=validation,
        compute_metrics=lambda output, _: {"mean": float(output.predictions.mean())},
        monitors=monitors or Monitors(BestEpochState.start("lower"), None, None),
        monitor="val_loss" if validated else "loss",
        total_steps=steps,
    )
    return TrainingGroup([state], executor)


def make_monitors():
    return Monitors(
        BestEpochState.start("lower"),
        EarlyStoppingState.start(EarlyStopping(patience=6), "lower"),
        ReduceLROnPlateauState.start(ReduceOnPlateau(patience=2, factor=0.3), "lower"),
    )


CASES = {
    "partial last epoch": {"steps": 50},
    "averages": {"ema": True},
    "averages, xla": {"ema": True, "compiled": True},
    "no validation": {"validated": False},
}


@pytest.fixture(scope="module")
def trainings():
    """Training of a case with single epochs and with blocks, built once."""
    cache = {}

    def get(case):
        if case not in cache:
            pair = training(1, **CASES[case]), training(7, **CASES[case])
            cache[case] = *pair, pair[0].snapshot(0)
        single, blocks, start = cache[case]
        for state in (single, blocks):
            state.restore([start])
        return single, blocks

    return get


@pytest.mark.parametrize("case", slow_except(["averages"], CASES))
def test_blocks_equal_single_epochs(case, trainings):
    assert_equal_training(*trainings(case), min_epochs=16)


def test_monitors_decide_at_the_same_epoch_within_a_block():
    single = training(1, monitors=make_monitors(), steps=3000)
    blocks = training(16, monitors=make_monitors(), steps=3000)
    events = assert_equal_training(single, blocks)
    assert "has not improved" in events[-1].stop
    assert len({event.learning_rate for event in events}) > 1


@pytest.mark.slow
def test_sync_variables_restores_an_epoch_within_a_block(trainings):
    single, blocks = trainings("averages")
    states = {}
    for event in fit_epochs(single):
        states[event.epoch] = variables(single)
    for event in fit_epochs(blocks):
        if event.epoch in {3, 4, 13}:
            blocks.executor.sync_variables(event.epoch)
            assert_equal_arrays(states[event.epoch], variables(blocks))
    assert_equal_arrays(states[30], variables(blocks))


def test_block_length():
    assert epochs_per_execution(samples(4, 0), None, 4, 4, 1000) == 100
    assert epochs_per_execution(samples(4, 0), None, 4, 4, 999) == 1
    assert epochs_per_execution(samples(4, 0), samples(4, 0), 1, 4, 1000) == 50
    assert epochs_per_execution(samples(5000, 0), None, 8, 4, 1000) == 1
    assert epochs_per_execution(samples(4, 0), None, 4, 4_000_000, 1000) == 1


def assert_equal_training(single, blocks, min_epochs=1):
    events = list(fit_epochs(single))
    assert [values(event) for event in events] == [values(event) for event in fit_epochs(blocks)]
    assert len(events) >= min_epochs
    assert_equal_arrays(variables(single), variables(blocks))
    best, expected_best = (group.members[0].best_weights for group in (blocks, single))
    for weight, expected in zip(best, expected_best, strict=True):
        np.testing.assert_array_equal(weight, expected)
    return events


def variables(group):
    return group.executor.states()[0]


def values(event):
    return (
        event.epoch,
        event.step,
        # The power in a schedule is rounded differently inside and outside a program.
        pytest.approx(event.learning_rate, rel=1e-6),
        {
            # Validation is part of the compiled program in a block, and a separate graph otherwise.
            name: pytest.approx(value, rel=1e-5) if name.startswith("val_") else value
            for name, value in event.metrics.items()
        },
        event.improved,
        event.stop,
    )


def assert_equal_arrays(arrays, expected):
    assert list(arrays) == list(expected)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
