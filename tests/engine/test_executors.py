"""Epochs in blocks give, bit for bit, what epochs one by one give; also when stopped inside a block."""

import keras
import numpy as np
import pytest

from trainer.config.schema import EarlyStopping, ReduceOnPlateau
from trainer.data.samples import Samples
from trainer.engine.executors import MultiEpochExecutor, SingleEpochExecutor
from trainer.engine.fit import Training, fit
from trainer.engine.monitors import (
    BestEpochState,
    EarlyStoppingState,
    Monitors,
    ReduceLROnPlateauState,
)
from trainer.engine.multi_epoch import MultiEpochProgram, epochs_per_execution
from trainer.engine.runner import ResidentRunner
from trainer.engine.state import get_state
from trainer.models.noise import CompiledDropout, CompiledGaussianNoise


def samples(rows, seed):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, 3)).astype(np.float32)
    y = (x[:, :1] + 0.5 * draw.normal(size=(rows, 1)) > 0).astype(np.float32)
    weight = draw.uniform(0.5, 2, rows).astype(np.float32)
    return Samples(x, y, weight, np.arange(rows), np.zeros(rows, bool))


def training(block, *, compiled=False, ema=False, validated=True, monitors=None, steps=90):
    keras.utils.set_random_seed(1)
    hidden = [keras.layers.Dense(5, activation="relu"), keras.layers.BatchNormalization()]
    if compiled:
        hidden += [CompiledDropout(0.2, seed=3), CompiledGaussianNoise(0.1, seed=4)]
    else:
        hidden += [keras.layers.Dropout(0.2, seed=3), keras.layers.GaussianNoise(0.1, seed=4)]
    head = keras.layers.Dense(1, activation="sigmoid")
    network = keras.Sequential([keras.Input((3,)), *hidden, head])
    optimizer = keras.optimizers.Adam(
        0.05 if monitors else keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.8),
        use_ema=ema,
        ema_momentum=0.8,
    )
    train, validation = samples(21, 0), samples(10, 1) if validated else None
    runner = ResidentRunner(
        network,
        optimizer,
        keras.losses.BinaryCrossentropy(),
        train,
        seed=2,
        batch_size=8,
        shuffle=True,
        steps_per_execution=1_000,
        compiled=compiled,
    )
    executor = SingleEpochExecutor(runner, network, optimizer, validation)
    if block > 1:
        blocks = MultiEpochProgram(
            runner, network, optimizer, validation, epochs=block, compiled=compiled
        )
        executor = MultiEpochExecutor(executor, blocks)
    return Training(
        network=network,
        optimizer=optimizer,
        train_step=runner.train_step,
        executor=executor,
        train=train,
        validation=validation,
        compute_metrics=lambda done, judged: {"mean": float(done.predictions.mean())},
        monitors=monitors or Monitors(BestEpochState.start("lower"), None, None),
        monitor="val_loss" if validated else "loss",
        total_steps=steps,
    )


def deciding():
    return Monitors(
        BestEpochState.start("lower"),
        EarlyStoppingState.start(EarlyStopping(patience=6), "lower"),
        ReduceLROnPlateauState.start(ReduceOnPlateau(patience=2, factor=0.3), "lower"),
    )


CASES = {
    "plain": {},
    "average": {"ema": True},
    "average, xla": {"ema": True, "compiled": True},
    "no validation": {"validated": False},
    "cut short": {"steps": 50},
}


@pytest.mark.parametrize("case", CASES)
def test_blocks_give_what_single_epochs_give(case):
    one, many = training(1, **CASES[case]), training(7, **CASES[case])
    single, blocks = list(fit(one, lambda: None)), list(fit(many, lambda: None))
    assert len(single) == len(blocks) > 15
    assert [told(result) for result in single] == [told(result) for result in blocks]
    same_arrays(get_state(one.network, one.optimizer), get_state(many.network, many.optimizer))
    for mine, other in zip(one.best_weights, many.best_weights, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
def test_decisions_inside_a_block_fall_on_the_same_epoch(compiled):
    one = training(1, monitors=deciding(), steps=3000, compiled=compiled)
    many = training(16, monitors=deciding(), steps=3000, compiled=compiled)
    single, blocks = list(fit(one, lambda: None)), list(fit(many, lambda: None))
    assert "has not improved" in single[-1].stop
    assert len({result.learning_rate for result in single}) > 1
    assert [told(result) for result in single] == [told(result) for result in blocks]
    same_arrays(get_state(one.network, one.optimizer), get_state(many.network, many.optimizer))


def test_whoever_looks_inside_a_block_sees_that_epoch():
    one, many = training(1), training(8)
    seen = {}
    for result in fit(one, lambda: None):
        seen[result.epoch] = get_state(one.network, one.optimizer)
    for result in fit(many, lambda: None):
        if result.epoch in {3, 4, 13}:
            many.sync_variables()
            same_arrays(seen[result.epoch], get_state(many.network, many.optimizer))
    same_arrays(seen[30], get_state(many.network, many.optimizer))


def test_a_block_is_as_long_as_it_pays():
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    assert epochs_per_execution(samples(4, 0), None, 4, network, 1000) == 100
    assert epochs_per_execution(samples(4, 0), None, 4, network, 999) == 1
    assert epochs_per_execution(samples(4, 0), samples(4, 0), 1, network, 1000) == 50
    assert epochs_per_execution(samples(5000, 0), None, 8, network, 1000) == 1
    wide = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1_000_000)])
    assert epochs_per_execution(samples(4, 0), None, 4, wide, 1000) == 1


def told(result):
    return (
        result.epoch,
        result.step,
        # A schedule's power is rounded differently inside and outside a program.
        pytest.approx(result.learning_rate, rel=1e-6),
        {
            # Validation is part of the compiled program in a block, and a graph of its own otherwise.
            name: pytest.approx(value, rel=1e-5) if name.startswith("val_") else value
            for name, value in result.metrics.items()
        },
        result.improved,
        result.stop,
    )


def same_arrays(first, second):
    assert [name.split("/")[0] for name in first] == [name.split("/")[0] for name in second]
    for name, mine, other in zip(first, first.values(), second.values(), strict=True):
        np.testing.assert_array_equal(mine, other, err_msg=name)
