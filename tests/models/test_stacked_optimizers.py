"""The optimizer of a pack updates each member's variables like Keras's optimizer for that member alone.

A network has an embedding table, whose gradient has one row per row of the batch, with repeated ids and
an id that never occurs; and kernels with as many rows or columns as the pack has members.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import TypeAdapter

from trainer.config.optimizers import AnyOptimizer, Optimizer
from trainer.models.optimizers import build_optimizer
from trainer.models.stacked_optimizers import build_stacked_optimizer, varying_coefficients

LEVELS, DIMENSION, ROWS, STEPS = 5, 3, 8, 4
KERNELS = [(3, 2), (2, 1), (1, 1)]

PACKS: dict[str, list[dict[str, Any]]] = {
    "sgd": [{}, {"learning_rate": 0.1}],
    "momentum": [{"name": "sgd", "momentum": 0.5}, {"name": "sgd", "momentum": 0.9}],
    "nesterov": [
        {"name": "sgd", "nesterov": True, "momentum": momentum} for momentum in (0.5, 0.9)
    ],
    "rmsprop": [{}, {"rho": 0.5}],
    "centered": [
        {"name": "rmsprop", "centered": True, "momentum": momentum} for momentum in (0.5, 0.9)
    ],
    "adam": [{"beta_1": 0.5}, {"beta_2": 0.9, "epsilon": 0.01}],
    "amsgrad": [{"name": "adam", "amsgrad": True, "beta_2": beta} for beta in (0.5, 0.9)],
    "adamw": [{"weight_decay": 0.1}, {"weight_decay": 0.01}],
    "adamax": [{"beta_1": 0.5}, {"beta_2": 0.9}],
    "nadam": [{"beta_2": 0.9}, {"epsilon": 0.01}],
    "adadelta": [{"rho": 0.5, "learning_rate": 1.0}, {"epsilon": 0.01}],
    "adagrad": [{"learning_rate": 0.1}, {"epsilon": 0.01}],
    "ftrl": [{"l1": 0.01, "l2": 0.1}, {"l2_shrinkage": 0.1, "beta": 1}],
    "lion": [{"beta_1": 0.5}, {"beta_2": 0.5}],
    "clip_norm": [{"clip_norm": norm} for norm in (0.1, 1.0)],
    "global_clip_norm": [{"global_clip_norm": norm} for norm in (0.1, 1.0)],
    "clip_value": [{"clip_value": value} for value in (0.1, 0.3)],
    "one clip_norm": [{"clip_norm": 0.5}, {"clip_norm": 0.5}],
    "weight_decay": [{"weight_decay": decay} for decay in (0.1, 0.3)],
    "ema": [{"ema": momentum} for momentum in (0.5, 0.9)],
    "ema that overwrites the weights": [
        {"ema": {"momentum": momentum, "overwrite_every": "2 steps"}} for momentum in (0.5, 0.9)
    ],
    "gradient_accumulation_steps": [
        {"gradient_accumulation_steps": 2, "clip_norm": norm} for norm in (0.1, 1.0)
    ],
}
QUICK = {"adam", "adagrad", "clip_norm", "ema"}
OPTIMIZERS = {
    "sgd", "rmsprop", "adam", "adamw", "adamax", "nadam", "adadelta", "adagrad", "ftrl", "lion",
}  # fmt: skip


def settings_of(pack: str) -> list[AnyOptimizer]:
    adapter: TypeAdapter[AnyOptimizer] = TypeAdapter(Optimizer)
    name = pack if pack in OPTIMIZERS else "adam"
    return [
        adapter.validate_python({"name": name, "learning_rate": 0.05, **member})
        for member in PACKS[pack]
    ]


def draw(member: int) -> tuple[list[Any], Any, Any, list[Any]]:
    """Return the initial table and kernels; ids, rows and kernel gradients of every step."""
    generator = np.random.default_rng(member)

    def normal(*shape: int) -> Any:
        return generator.normal(size=shape).astype(np.float32)

    return (
        [normal(LEVELS, DIMENSION), *(normal(*shape) for shape in KERNELS)],
        generator.integers(1, LEVELS, (STEPS, ROWS)).astype(np.int32),
        normal(STEPS, ROWS, DIMENSION),
        [normal(STEPS, *shape) for shape in KERNELS],
    )


def train(optimizer: Any, values: list[Any], gradients: Callable[[Any], list[Any]]) -> list[Any]:
    """Return the variables and the optimizer's variables after all steps."""
    variables = [keras.Variable(value) for value in values]
    optimizer.build(variables)

    @tf.function
    def program(step: Any) -> None:
        optimizer.apply(gradients(step), variables)

    for step in range(STEPS):
        program(tf.constant(step))
    # The first two variables of the optimizer are the number of steps and the learning rate.
    return [variable.numpy() for variable in (*variables, *optimizer.variables[2:])]


def train_alone(settings: AnyOptimizer, member: int) -> list[Any]:
    values, ids, rows, kernels = draw(member)

    def gradients(step: Any) -> list[Any]:
        table = tf.IndexedSlices(rows[step], ids[step], tf.constant(values[0].shape))
        return [table, *(kernel[step] for kernel in kernels)]

    ids, rows, *kernels = map(tf.constant, (ids, rows, *kernels))
    return train(build_optimizer(settings, 10, 10, "float32"), values, gradients)


def train_pack(settings: list[AnyOptimizer]) -> list[Any]:
    size = len(settings)
    members = [draw(number) for number in range(size)]
    tables, *values = (np.stack(arrays) for arrays in zip(*(m[0] for m in members), strict=True))
    ids = np.stack([member[1] + LEVELS * number for number, member in enumerate(members)], axis=1)
    rows = np.stack([member[2] for member in members], axis=1)
    kernels = [np.stack(arrays, axis=1) for arrays in zip(*(m[3] for m in members), strict=True)]
    optimizer: Any = build_stacked_optimizer(settings[0], 10, 10)
    coefficients = {
        name: (tf.constant(values, tf.float32), tf.constant(1 - values, tf.float32))
        for name, values in varying_coefficients(settings).items()
    }
    rates = tf.constant([member.learning_rate for member in settings], tf.float32)

    def gradients(step: Any) -> list[Any]:
        optimizer.set_step_values(rates, coefficients)
        table = tf.IndexedSlices(
            tf.reshape(rows[step], (-1, DIMENSION)),
            tf.reshape(ids[step], (-1,)),
            tf.constant([size * LEVELS, DIMENSION]),
        )
        return [table, *(kernel[step] for kernel in kernels)]

    ids, rows, *kernels = map(tf.constant, (ids, rows, *kernels))
    return train(optimizer, [tables.reshape(-1, DIMENSION), *values], gradients)


@pytest.mark.parametrize(
    "pack",
    [pytest.param(pack, marks=[] if pack in QUICK else pytest.mark.slow) for pack in PACKS],
)
def test_member_is_updated_like_a_single_network(pack: str) -> None:
    settings = settings_of(pack)
    stacked = train_pack(settings)
    for number, member in enumerate(settings):
        for ours, expected in zip(stacked, train_alone(member, number), strict=True):
            values = ours.reshape((-1, *expected.shape))
            # A decay that only depends on the step is shared.
            values = values[number if len(values) > 1 else 0]
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_keras_squares_the_rows_of_an_id_before_it_sums_them() -> None:
    """Why tables are not updated by the dense gradient."""
    table = keras.Variable(np.zeros((1, 1), np.float32))
    optimizer = keras.optimizers.Adagrad(1.0, initial_accumulator_value=0.0)
    optimizer.build([table])
    gradient = tf.IndexedSlices(
        tf.constant([[1.0], [2.0]]), tf.constant([0, 0]), tf.constant([1, 1])
    )
    optimizer.apply([gradient], [table])
    assert float(optimizer.variables[2].numpy()[0, 0]) == 1.0**2 + 2.0**2
