from __future__ import annotations

from typing import Any, get_args

import keras
import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss, mean_squared_error

from trainer.config.losses import LOSSES, Loss, LossName, LossSetting
from trainer.models.losses import HalfSquaredError, StackedLoss, build_loss

NAMES = [name for name in LOSSES if name != "auto"]
OWN = ("half_squared_error", "quantile", "mean_with_quantiles")
Y = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
P = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]], dtype=np.float32)
WIDE = {"mean_with_quantiles": {"quantiles": [0.1, 0.8]}}
"""Settings with which a loss has three outputs for a target."""


def loss_of(name: LossName, **settings: Any) -> Loss:
    return Loss(**{"name": name, **WIDE.get(name, {}), **settings})


def value(loss: Any, weight: Any = None) -> float:
    return float(loss(Y, P, sample_weight=weight))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OWN])
def test_name_is_that_of_keras(name: LossName) -> None:
    expected = keras.losses.get(name)
    balanced = {"apply_class_balancing": True} if name == "binary_focal_crossentropy" else {}
    built = build_loss(Loss(name=name))
    assert value(built) == pytest.approx(float(np.mean(expected(Y, P, **balanced))), rel=1e-6)
    assert type(built).__module__.startswith("keras")
    assert built.reduction == "sum_over_batch_size"


@pytest.mark.parametrize("name", NAMES)
def test_weighted_loss_is_divided_by_the_number_of_rows(name: LossName) -> None:
    loss = build_loss(loss_of(name))
    rows = [float(loss(Y[i : i + 1], P[i : i + 1])) for i in range(2)]
    weighted = value(loss, np.array([3.0, 0.5], dtype=np.float32))
    assert weighted == pytest.approx((3 * rows[0] + 0.5 * rows[1]) / 2, rel=1e-5)


def test_half_squared_error_is_half_the_mean_squared_error() -> None:
    half = build_loss(Loss(name="half_squared_error"))
    full = build_loss(Loss(name="mean_squared_error"))
    assert value(half) == pytest.approx(value(full) / 2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(half))
    assert isinstance(again, HalfSquaredError)
    assert value(again) == value(half)


@pytest.mark.parametrize("quantiles", [[0.3], [0.1, 0.5], [0.05, 0.5, 0.95]])
@pytest.mark.parametrize("columns", [1, 2])
def test_quantile_loss_is_the_pinball_loss_of_each_quantile(
    quantiles: list[float], columns: int
) -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=(7, columns))
    p = rng.normal(size=(7, columns, len(quantiles)))
    expected = [
        mean_pinball_loss(y[:, column], p[:, column, index], alpha=quantile)
        for column in range(columns)
        for index, quantile in enumerate(quantiles)
    ]
    loss = build_loss(Loss(name="quantile", quantiles=quantiles))
    repeated = np.repeat(y, len(quantiles), axis=1).astype(np.float32)
    outputs = p.reshape(7, -1).astype(np.float32)
    assert float(loss(repeated, outputs)) == pytest.approx(np.mean(expected), rel=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(repeated, outputs)) == float(loss(repeated, outputs))


@pytest.mark.parametrize("columns", [1, 2])
def test_mean_with_quantiles_adds_the_squared_error_and_the_pinball_losses(columns: int) -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=(7, columns))
    p = rng.normal(size=(7, columns, 3))
    expected = [
        mean_squared_error(y[:, column], p[:, column, 0])
        + mean_pinball_loss(y[:, column], p[:, column, 1], alpha=0.05)
        + mean_pinball_loss(y[:, column], p[:, column, 2], alpha=0.9)
        for column in range(columns)
    ]
    loss = build_loss(Loss(name="mean_with_quantiles", quantiles=[0.05, 0.9]))
    repeated = np.repeat(y, 3, axis=1).astype(np.float32)
    outputs = p.reshape(7, -1).astype(np.float32)
    assert float(loss(repeated, outputs)) == pytest.approx(np.mean(expected), rel=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(repeated, outputs)) == float(loss(repeated, outputs))


@pytest.mark.parametrize("setting", get_args(LossSetting))
@pytest.mark.parametrize("name", NAMES)
def test_setting_has_an_effect_or_is_ignored(setting: str, name: LossName) -> None:
    loss = build_loss(loss_of(name))
    changed = 0.05
    if setting == "quantiles":
        changed = [0.2, 0.7] if name in WIDE else [0.2, 0.6, 0.7]
    other = build_loss(loss_of(name, **{setting: changed}))
    assert (value(loss) != value(other)) == (setting in LOSSES[name].settings)


def test_every_setting_and_loss_is_known() -> None:
    assert {"name", *get_args(LossSetting)} == set(Loss.model_fields)
    assert set(LOSSES) == set(get_args(LossName))


def test_alpha_weights_the_positive_class() -> None:
    loss = build_loss(Loss(name="binary_focal_crossentropy", alpha=0.9, gamma=0.0))
    y, p = np.array([[1.0]]), np.array([[0.5]])
    assert float(loss(y, p)) == pytest.approx(0.9 * np.log(2), rel=1e-5)
    assert float(loss(1 - y, p)) == pytest.approx(0.1 * np.log(2), rel=1e-5)


def test_label_smoothing_equals_its_formula() -> None:
    loss = build_loss(Loss(name="binary_crossentropy", label_smoothing=0.2))
    expected = -(0.9 * np.log(0.8) + 0.1 * np.log(0.2))
    assert float(loss(np.array([[1.0]]), np.array([[0.8]]))) == pytest.approx(expected, rel=1e-5)


def test_auto_is_rejected() -> None:
    with pytest.raises(AssertionError):
        build_loss(Loss())


@pytest.mark.parametrize("name", NAMES)
def test_stacked_loss_equals_the_loss_of_each_member(name: LossName) -> None:
    smoothing = [0.0, 0.3] if "label_smoothing" in LOSSES[name].settings else [0.0, 0.0]
    losses = [loss_of(name, label_smoothing=value) for value in smoothing]
    stacked = StackedLoss(losses)
    y, p = np.stack([Y, Y[::-1]]), np.stack([P, P])
    values = stacked(y, p, stacked.hyperparameters)
    assert tuple(values.shape) == (2, 2)
    for number, loss in enumerate(losses):
        expected = build_loss(loss).call(y[number], p[number])
        np.testing.assert_allclose(values[number], expected, rtol=1e-5)
