"""A state restored into a new network and optimizer continues to the same bytes."""

import keras
import numpy as np
import pytest

from trainer.data.samples import Samples
from trainer.engine.batches import run_to_end
from trainer.engine.runner import ResidentRunner
from trainer.engine.state import get_state, restore
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
    # Keras numbers automatic names by a counter of the process; `build_network` sets all names.
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(0.01, 40),
        use_ema=True,
        name="adamw",
        gradient_accumulation_steps=2,
    )
    runner = ResidentRunner(
        network,
        optimizer,
        keras.losses.BinaryCrossentropy(),
        samples,
        seed=3,
        batch_size=8,
        shuffle=True,
        steps_per_execution=1_000,
        compiled=False,
    )
    return network, optimizer, runner


@pytest.mark.slow
def test_training_continues_bit_for_bit():
    network, optimizer, runner = build()
    for epoch in (1, 2):
        run_to_end(runner.train(epoch, 10**9, None))
    half = get_state(network, optimizer)
    for epoch in (3, 4):
        run_to_end(runner.train(epoch, 10**9, None))
    expected = get_state(network, optimizer)

    network, optimizer, runner = build()
    restore(network, optimizer, half)
    for epoch in (3, 4):
        run_to_end(runner.train(epoch, 10**9, None))
    resumed = get_state(network, optimizer)
    assert expected.keys() == resumed.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)


def test_state_contains_every_kind_of_variable():
    network, optimizer, _ = build()
    names = " ".join(get_state(network, optimizer))
    for part in ("kernel", "moving_mean", "seed_generator", "iteration", "momentum", "average"):
        assert part in names


def test_state_of_another_network_is_rejected():
    network, optimizer, _ = build()
    other = get_state(*build(units=9)[:2])
    with pytest.raises(RunError, match="shape"):
        restore(network, optimizer, other)
    other.popitem()
    with pytest.raises(RunError, match="variables"):
        restore(network, optimizer, other)
