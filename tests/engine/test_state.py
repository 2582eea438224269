"""Training continued from a state restored into a new network and optimizer gives the same bytes."""

import keras
import numpy as np
import pytest

from tests.engine.networks import executor_for, supervised, train_epoch
from trainer.data.samples import Samples
from trainer.errors import RunError


def build(units=8):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)).astype(np.float32)
    samples = Samples(
        {"features": x}, (x[:, :1] > 0).astype(np.float32), None, np.arange(50), np.zeros(50, bool)
    )
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units, name="dense"),
            keras.layers.BatchNormalization(name="batch_normalization"),
            keras.layers.Dropout(0.3, seed=5, name="dropout"),
            keras.layers.Dense(1, activation="sigmoid", name="head"),
        ],
        name="network",
    )
    # Keras numbers automatic names with a per-process counter; `build_network` sets all names.
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(0.01, 40),
        use_ema=True,
        name="adamw",
        gradient_accumulation_steps=2,
    )
    return supervised(network, optimizer), samples


@pytest.mark.slow
def test_training_continues_bit_for_bit():
    def train(learner, samples, epochs):
        executor = executor_for(learner, samples, batch_size=8)
        for epoch in epochs:
            train_epoch(executor, epoch)
        return learner.state()

    learner, samples = build()
    half = train(learner, samples, (1, 2))
    expected = train(learner, samples, (3, 4))
    learner, samples = build()
    learner.restore(half)
    resumed = train(learner, samples, (3, 4))
    assert expected.keys() == resumed.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_training_does_not_change_an_earlier_state(compiled):
    learner, samples = build()
    state = learner.state()
    copies = {name: value.copy() for name, value in state.items()}
    train_epoch(executor_for(learner, samples, batch_size=25, compiled=compiled), 1)
    for name, value in state.items():
        np.testing.assert_array_equal(value, copies[name], err_msg=name)
    assert any((value != copies[name]).any() for name, value in learner.state().items())


def test_state_contains_every_kind_of_variable():
    learner, _ = build()
    names = " ".join(learner.state())
    for part in ("kernel", "moving_mean", "seed_generator", "iteration", "momentum", "average"):
        assert part in names


def test_state_of_another_network_is_rejected():
    learner, _ = build()
    other = build(units=9)[0].state()
    with pytest.raises(RunError, match="shape"):
        learner.restore(other)
    other.popitem()
    with pytest.raises(RunError, match="variables"):
        learner.restore(other)
