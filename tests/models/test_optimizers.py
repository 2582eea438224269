from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from pydantic import TypeAdapter

from trainer.config.optimizers import Optimizer, OptimizerName
from trainer.models.optimizers import build_optimizer

SECTION: TypeAdapter[Any] = TypeAdapter(Optimizer)
NAMES: tuple[str, ...] = typing.get_args(OptimizerName)
own = keras.optimizers
STEPS_PER_EPOCH, TOTAL = 4, 40

BY_HAND: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
    "sgd": (
        {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True, "clip_norm": 0.5},
        lambda: own.SGD(0.1, momentum=0.8, nesterov=True, clipnorm=0.5),
    ),
    "rmsprop": (
        {"rho": 0.8, "momentum": 0.3, "epsilon": 0.01, "centered": True, "clip_value": 0.2},
        lambda: own.RMSprop(
            1e-3, rho=0.8, momentum=0.3, epsilon=0.01, centered=True, clipvalue=0.2
        ),
    ),
    "adam": (
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01, "amsgrad": True, "global_clip_norm": 0.5},
        lambda: own.Adam(
            1e-3, beta_1=0.8, beta_2=0.9, epsilon=0.01, amsgrad=True, global_clipnorm=0.5
        ),
    ),
    "adamw": (
        {"weight_decay": 0.3, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01, "amsgrad": True},
        lambda: own.AdamW(
            1e-3, weight_decay=0.3, beta_1=0.8, beta_2=0.9, epsilon=0.01, amsgrad=True
        ),
    ),
    "adamax": (
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01, "weight_decay": 0.2},
        lambda: own.Adamax(1e-3, beta_1=0.8, beta_2=0.9, epsilon=0.01, weight_decay=0.2),
    ),
    "nadam": (
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01},
        lambda: own.Nadam(1e-3, beta_1=0.8, beta_2=0.9, epsilon=0.01),
    ),
    "lamb": (
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01},
        lambda: own.Lamb(1e-3, beta_1=0.8, beta_2=0.9, epsilon=0.01),
    ),
    "schedule_free_adamw": (
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01, "warmup_steps": 2},
        lambda: own.ScheduleFreeAdamW(2.5e-3, beta_1=0.8, beta_2=0.9, epsilon=0.01, warmup_steps=2),
    ),
    "adadelta": (
        {"rho": 0.8, "epsilon": 0.01, "learning_rate": 1},
        lambda: own.Adadelta(1.0, rho=0.8, epsilon=0.01),
    ),
    "adagrad": (
        {"initial_accumulator": 0.3, "epsilon": 0.01},
        lambda: own.Adagrad(1e-3, initial_accumulator_value=0.3, epsilon=0.01),
    ),
    "adafactor": (
        {"beta_2_decay": -0.5, "epsilon_1": 1e-9, "epsilon_2": 0.1, "clip_threshold": 0.5},
        lambda: own.Adafactor(
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
        lambda: own.Ftrl(
            0.1,
            learning_rate_power=-0.4,
            initial_accumulator_value=0.3,
            l1_regularization_strength=0.01,
            l2_regularization_strength=0.02,
            l2_shrinkage_regularization_strength=0.03,
            beta=0.4,
        ),
    ),
    "lion": ({"beta_1": 0.8, "beta_2": 0.9}, lambda: own.Lion(1e-3, beta_1=0.8, beta_2=0.9)),
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
        lambda: own.Muon(
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


def walk(optimizer: Any, trained: list[Any], steps: range) -> list[Any]:
    """The variables' values after gradients that are a function of the step."""
    if not optimizer.built:
        optimizer.build(trained)
    for step in steps:
        rng = np.random.default_rng(step)
        gradients = [rng.normal(size=tuple(v.shape)).astype("float32") for v in trained]
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients])
    return [variable.numpy() for variable in trained]


@pytest.mark.parametrize("name", NAMES)
def test_three_steps_are_those_of_keras(name: str) -> None:
    settings, by_hand = BY_HAND[name]
    found = walk(build(name, settings), variables(), range(3))
    expected = walk(by_hand(), variables(), range(3))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_its_variables_are_all_its_state(name: str) -> None:
    settings = {
        **BY_HAND[name][0],
        "ema": {"momentum": 0.5, "overwrite_every": "3 steps"},
        "gradient_accumulation_steps": 2,
    }
    trained, optimizer = variables(), build(name, settings)
    walk(optimizer, trained, range(5))
    resumed, again = variables(), build(name, settings)
    again.build(resumed)
    pairs = [*zip(resumed, trained, strict=True)]
    pairs += zip(again.variables, optimizer.variables, strict=True)
    for new, old in pairs:
        new.assign(old.numpy())
    for ours, theirs in zip(
        walk(again, resumed, range(5, 11)), walk(optimizer, trained, range(5, 11)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


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
def test_no_setting_is_ignored(name: str, field: str) -> None:
    start = getattr(SECTION.validate_python({"name": name}), field)
    other = OTHER.get(field, not start if isinstance(start, bool) else 0.375)
    assert other != start
    assert build(name).get_config() != build(name, {field: other}).get_config()


@pytest.mark.parametrize("field", ["momentum", "overwrite_every"])
def test_no_setting_of_the_average_is_ignored(field: str) -> None:
    ema = {"momentum": 0.5, "overwrite_every": "2 epochs"}
    other = {**ema, field: {"momentum": 0.25, "overwrite_every": "3 steps"}[field]}
    config = build("adam", {"ema": ema}).get_config()
    assert config != build("adam", {"ema": other}).get_config()
    assert config["ema_overwrite_frequency"] == 8


@pytest.mark.parametrize("name", NAMES)
def test_no_weight_decay_is_taken_by_all(name: str) -> None:
    assert build(name, {"weight_decay": None}).weight_decay in (None, 0.0)


def test_adamw_without_decay_is_adam() -> None:
    found = walk(build("adamw", {"weight_decay": None}), variables(), range(3))
    for ours, theirs in zip(found, walk(build("adam"), variables(), range(3)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_learning_rate_without_schedule_can_be_set() -> None:
    for precision in ("float32", "mixed_float16", "mixed_bfloat16"):
        optimizer = build("sgd", {"learning_rate": 0.25}, precision)
        trained = variables()
        start = [variable.numpy() for variable in trained]
        optimizer.build(trained)
        optimizer.learning_rate.assign(0.0)
        for ours, own_start in zip(walk(optimizer, trained, range(2)), start, strict=True):
            np.testing.assert_array_equal(ours, own_start)
        optimizer.learning_rate.assign(float(optimizer.learning_rate) + 0.125)
        assert float(optimizer.learning_rate) == 0.125


def test_float16_scales_the_loss() -> None:
    optimizer = build("adam", precision="mixed_float16")
    assert isinstance(optimizer, own.LossScaleOptimizer)
    assert isinstance(optimizer.inner_optimizer, own.Adam)
    assert not isinstance(build("adam", precision="mixed_bfloat16"), own.LossScaleOptimizer)


STAIRS = {"exponential": {"every": "1 epoch", "factor": 0.5, "staircase": True}}


@pytest.mark.parametrize("gradient_accumulation_steps", [None, 2, 3])
def test_schedules_count_batches(gradient_accumulation_steps: int | None) -> None:
    """Plain descent by a gradient of 1: how far it went is the sum of the learning rates."""
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
    went = 0.0
    for batch in range(12):
        assert float(optimizer.learning_rate) == 0.5 ** (batch // STEPS_PER_EPOCH)
        if (batch + 1) % (gradient_accumulation_steps or 1) == 0:
            went += 0.5 ** (batch // STEPS_PER_EPOCH)
        optimizer.apply([keras.ops.ones(2)])
        assert variable.numpy()[0] == pytest.approx(-went)


def test_what_keras_counts_in_updates_is_given_in_updates() -> None:
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


def test_the_average_takes_the_weights_place_when_asked() -> None:
    optimizer = build("sgd", {"learning_rate": 1.0, "ema": 0.5})
    variable = keras.Variable(np.zeros(1, dtype="float32"))
    optimizer.build([variable])
    for _ in range(3):
        optimizer.apply([keras.ops.ones(1)])
    assert variable.numpy()[0] == -3
    optimizer.finalize_variable_values([variable])
    # -1, then ½ · -1 + ½ · -2, then ½ · -1.5 + ½ · -3.
    assert variable.numpy()[0] == pytest.approx(-2.25)


def test_an_optimizers_name_does_not_depend_on_the_process() -> None:
    assert build("adam").name == build("adam").name == "adam"
