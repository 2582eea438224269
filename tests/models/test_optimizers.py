from __future__ import annotations

import gc
import typing
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import TypeAdapter

from trainer.config.optimizers import Optimizer, OptimizerName
from trainer.models.optimizers import build_optimizer
from trainer.models.stacked_optimizers import build_stacked_optimizer

SECTION: TypeAdapter[Any] = TypeAdapter(Optimizer)
NAMES: tuple[str, ...] = typing.get_args(OptimizerName)
optimizers = keras.optimizers
STEPS_PER_EPOCH, TOTAL = 4, 40

EXPECTED: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
    "sgd": (
        {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True, "clip_norm": 0.5},
        lambda: optimizers.SGD(0.1, momentum=0.8, nesterov=True, clipnorm=0.5),
    ),
    "rmsprop": (
        {"rho": 0.8, "momentum": 0.3, "epsilon": 0.01, "centered": True, "clip_value": 0.2},
        lambda: optimizers.RMSprop(
            1e-3, rho=0.8, momentum=0.3, epsilon=0.01, centered=True, clipvalue=0.2
        ),
    ),
    "adam": (
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01, "amsgrad": True, "global_clip_norm": 0.5},
        lambda: optimizers.Adam(
            1e-3, beta_1=0.8, beta_2=0.9, epsilon=0.01, amsgrad=True, global_clipnorm=0.5
        ),
    ),
    "adamw": (
        {"weight_decay": 0.3, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01, "amsgrad": True},
        lambda: optimizers.AdamW(
            1e-3, weight_decay=0.3, beta_1=0.8, beta_2=0.9, epsilon=0.01, amsgrad=True
        ),
    ),
    "adamax": (
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01, "weight_decay": 0.2},
        lambda: optimizers.Adamax(1e-3, beta_1=0.8, beta_2=0.9, epsilon=0.01, weight_decay=0.2),
    ),
    "nadam": (
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01},
        lambda: optimizers.Nadam(1e-3, beta_1=0.8, beta_2=0.9, epsilon=0.01),
    ),
    "lamb": (
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01},
        lambda: optimizers.Lamb(1e-3, beta_1=0.8, beta_2=0.9, epsilon=0.01),
    ),
    "schedule_free_adamw": (
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01, "warmup_steps": 2},
        lambda: optimizers.ScheduleFreeAdamW(
            2.5e-3, beta_1=0.8, beta_2=0.9, epsilon=0.01, warmup_steps=2
        ),
    ),
    "adadelta": (
        {"rho": 0.8, "epsilon": 0.01, "learning_rate": 1},
        lambda: optimizers.Adadelta(1.0, rho=0.8, epsilon=0.01),
    ),
    "adagrad": (
        {"initial_accumulator": 0.3, "epsilon": 0.01},
        lambda: optimizers.Adagrad(1e-3, initial_accumulator_value=0.3, epsilon=0.01),
    ),
    "adafactor": (
        {"beta_2_decay": -0.5, "epsilon_1": 1e-9, "epsilon_2": 0.1, "clip_threshold": 0.5},
        lambda: optimizers.Adafactor(
            1e-3, beta_2_decay=-0.5, epsilon_1=1e-9, epsilon_2=0.1, clip_threshold=0.5
        ),
    ),
    "ftrl": (
        {
            "learning_rate": 0.1,
            "learning_rate_power": -0.4,
            "initial_accumulator": 0.3,
            "l1": 0.01,
            "l2": 0.02,
            "l2_shrinkage": 0.03,
            "beta": 0.4,
        },
        lambda: optimizers.Ftrl(
            0.1,
            learning_rate_power=-0.4,
            initial_accumulator_value=0.3,
            l1_regularization_strength=0.01,
            l2_regularization_strength=0.02,
            l2_shrinkage_regularization_strength=0.03,
            beta=0.4,
        ),
    ),
    "lion": ({"beta_1": 0.8, "beta_2": 0.9}, lambda: optimizers.Lion(1e-3, beta_1=0.8, beta_2=0.9)),
    "muon": (
        {
            "momentum": 0.8,
            "nesterov": False,
            "iterations": 3,
            "adam_beta_1": 0.7,
            "adam_beta_2": 0.9,
            "adam_weight_decay": 0.2,
            "epsilon": 0.01,
            "weight_decay": 0.1,
        },
        lambda: optimizers.Muon(
            1e-3,
            momentum=0.8,
            nesterov=False,
            ns_steps=3,
            adam_beta_1=0.7,
            adam_beta_2=0.9,
            adam_weight_decay=0.2,
            epsilon=0.01,
            weight_decay=0.1,
        ),
    ),
}


def build(name: str, settings: dict[str, Any] | None = None, precision: Any = "float32") -> Any:
    section = SECTION.validate_python({"name": name, **(settings or {})})
    return build_optimizer(section, STEPS_PER_EPOCH, TOTAL, precision)


def variables() -> list[Any]:
    rng = np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in [(3, 4), (4,)]]


def train(optimizer: Any, trained: list[Any], steps: range) -> list[Any]:
    """Apply gradients that depend on the step; return the values of the variables."""
    if not optimizer.built:
        optimizer.build(trained)
    for step in steps:
        rng = np.random.default_rng(step)
        gradients = [rng.normal(size=tuple(v.shape)).astype("float32") for v in trained]
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients])
    return [variable.numpy() for variable in trained]


@pytest.mark.parametrize("name", NAMES)
def test_three_steps_match_keras(name: str) -> None:
    settings, make_expected = EXPECTED[name]
    values = train(build(name, settings), variables(), range(3))
    expected = train(make_expected(), variables(), range(3))
    for value, expected_value in zip(values, expected, strict=True):
        np.testing.assert_array_equal(value, expected_value)


@pytest.mark.parametrize("name", NAMES)
def test_variables_are_the_complete_state(name: str) -> None:
    settings = {
        **EXPECTED[name][0],
        "ema": {"momentum": 0.5, "overwrite_every": "3 steps"},
        "gradient_accumulation_steps": 2,
    }
    trained, optimizer = variables(), build(name, settings)
    train(optimizer, trained, range(5))
    resumed, resumed_optimizer = variables(), build(name, settings)
    resumed_optimizer.build(resumed)
    pairs = [*zip(resumed, trained, strict=True)]
    pairs += zip(resumed_optimizer.variables, optimizer.variables, strict=True)
    for new, old in pairs:
        new.assign(old.numpy())
    for value, expected_value in zip(
        train(resumed_optimizer, resumed, range(5, 11)),
        train(optimizer, trained, range(5, 11)),
        strict=True,
    ):
        np.testing.assert_array_equal(value, expected_value)


OTHER: dict[str, Any] = {
    "schedule": "cosine",
    "clip_norm": 0.5,
    "global_clip_norm": 0.5,
    "clip_value": 0.5,
    "weight_decay": 0.125,
    "ema": 0.5,
    "gradient_accumulation_steps": 3,
    "warmup_steps": 5,
    "iterations": 7,
    "beta_2_decay": -0.5,
    "learning_rate_power": -0.25,
}
FIELDS = [
    (name, field)
    for name in NAMES
    for field in type(SECTION.validate_python({"name": name})).model_fields
    if field != "name"
]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_setting_has_an_effect(name: str, field: str) -> None:
    start = getattr(SECTION.validate_python({"name": name}), field)
    other = OTHER.get(field, not start if isinstance(start, bool) else 0.375)
    assert other != start
    assert build(name).get_config() != build(name, {field: other}).get_config()


@pytest.mark.parametrize("field", ["momentum", "overwrite_every"])
def test_every_setting_of_the_average_has_an_effect(field: str) -> None:
    ema = {"momentum": 0.5, "overwrite_every": "2 epochs"}
    other = {**ema, field: {"momentum": 0.25, "overwrite_every": "3 steps"}[field]}
    config = build("adam", {"ema": ema}).get_config()
    assert config != build("adam", {"ema": other}).get_config()
    assert config["ema_overwrite_frequency"] == 8


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_accepts_no_weight_decay(name: str) -> None:
    assert build(name, {"weight_decay": None}).weight_decay in (None, 0.0)


def test_adamw_without_weight_decay_equals_adam() -> None:
    values = train(build("adamw", {"weight_decay": None}), variables(), range(3))
    for value, expected_value in zip(
        values, train(build("adam"), variables(), range(3)), strict=True
    ):
        np.testing.assert_array_equal(value, expected_value)


def test_learning_rate_without_schedule_can_be_set() -> None:
    for precision in ("float32", "mixed_float16", "mixed_bfloat16"):
        optimizer = build("sgd", {"learning_rate": 0.25}, precision)
        trained = variables()
        start = [variable.numpy() for variable in trained]
        optimizer.build(trained)
        optimizer.learning_rate.assign(0.0)
        for value, initial in zip(train(optimizer, trained, range(2)), start, strict=True):
            np.testing.assert_array_equal(value, initial)
        optimizer.learning_rate.assign(float(optimizer.learning_rate) + 0.125)
        assert float(optimizer.learning_rate) == 0.125


def test_float16_scales_the_loss() -> None:
    optimizer = build("adam", precision="mixed_float16")
    assert isinstance(optimizer, optimizers.LossScaleOptimizer)
    assert isinstance(optimizer.inner_optimizer, optimizers.Adam)
    assert not isinstance(build("adam", precision="mixed_bfloat16"), optimizers.LossScaleOptimizer)


STAIRS = {"exponential": {"every": "1 epoch", "factor": 0.5, "staircase": True}}


@pytest.mark.parametrize("gradient_accumulation_steps", [None, 2, 3])
def test_schedules_count_batches(gradient_accumulation_steps: int | None) -> None:
    """With a gradient of 1, the distance covered is the sum of the learning rates."""
    optimizer = build(
        "sgd",
        {
            "learning_rate": 1.0,
            "schedule": STAIRS,
            "gradient_accumulation_steps": gradient_accumulation_steps,
        },
    )
    variable = keras.Variable(np.zeros(2, dtype="float32"))
    optimizer.build([variable])
    distance = 0.0
    for batch in range(12):
        assert float(optimizer.learning_rate) == 0.5 ** (batch // STEPS_PER_EPOCH)
        if (batch + 1) % (gradient_accumulation_steps or 1) == 0:
            distance += 0.5 ** (batch // STEPS_PER_EPOCH)
        optimizer.apply([keras.ops.ones(2)])
        assert variable.numpy()[0] == pytest.approx(-distance)


def test_settings_counted_in_updates() -> None:
    ema = {"momentum": 0.25, "overwrite_every": "5 epochs"}
    config = build("adam", {"ema": ema, "gradient_accumulation_steps": 2}).get_config()
    assert config["ema_overwrite_frequency"] == 10
    # Two batches of √¼ each are one update of ¼.
    assert config["ema_momentum"] == 0.5
    assert (
        build(
            "schedule_free_adamw", {"warmup_steps": 7, "gradient_accumulation_steps": 2}
        ).warmup_steps
        == 4
    )


def test_finalize_replaces_the_weights_with_the_average() -> None:
    optimizer = build("sgd", {"learning_rate": 1.0, "ema": 0.5})
    variable = keras.Variable(np.zeros(1, dtype="float32"))
    optimizer.build([variable])
    for _ in range(3):
        optimizer.apply([keras.ops.ones(1)])
    assert variable.numpy()[0] == -3
    optimizer.finalize_variable_values([variable])
    # -1, then ½ · -1 + ½ · -2, then ½ · -1.5 + ½ · -3.
    assert variable.numpy()[0] == pytest.approx(-2.25)


def test_optimizer_name_is_not_numbered() -> None:
    assert build("adam").name == build("adam").name == "adam"


def graph_of_a_step(kind: Any) -> weakref.ref[Any]:
    """Return a reference to the graph of a program that is no longer used, nor its optimizer."""
    settings = SECTION.validate_python({"name": "adam"})
    is_stacked = kind == "stacked"
    optimizer: Any = (
        build_stacked_optimizer(settings, STEPS_PER_EPOCH, TOTAL)
        if is_stacked
        else build_optimizer(settings, STEPS_PER_EPOCH, TOTAL, kind)
    )
    variable = keras.Variable(np.ones((2, 1, 3), np.float32))
    optimizer.build([variable])

    def step(gradient: Any) -> None:
        if is_stacked:
            optimizer.set_step_values(tf.ones(2), {})
        optimizer.apply([gradient], [variable])

    program = tf.function(step, autograph=False)
    return weakref.ref(program.get_concrete_function(tf.ones((2, 1, 3))).graph)


@pytest.mark.parametrize("kind", ["float32", "mixed_float16", "stacked"])
def test_graph_of_a_program_is_freed(kind: Any) -> None:
    """Otherwise, the memory of a process grows with each network that it trains."""
    graph = graph_of_a_step(kind)
    gc.collect()
    assert graph() is None
