from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from trainer.config.objectives import Loss, LossName
from trainer.models.losses import HalfSquaredError, build_loss

NAMES = [name for name in LossName.__args__ if name != "auto"]  # type: ignore[attr-defined]
Y = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
P = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]], dtype=np.float32)


def value(loss: Any, weight: Any = None) -> float:
    return float(loss(Y, P, sample_weight=weight))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "half_squared_error"])
def test_name_is_that_of_keras(name: LossName) -> None:
    expected = keras.losses.get(name)
    balanced = {"apply_class_balancing": True} if name == "binary_focal_crossentropy" else {}
    built = build_loss(Loss(), name)
    assert value(built) == pytest.approx(float(np.mean(expected(Y, P, **balanced))), rel=1e-6)
    assert type(built).__module__.startswith("keras")
    assert built.reduction == "sum_over_batch_size"


@pytest.mark.parametrize("name", NAMES)
def test_weighted_loss_is_divided_by_the_number_of_rows(name: LossName) -> None:
    loss = build_loss(Loss(), name)
    rows = [float(loss(Y[i : i + 1], P[i : i + 1])) for i in range(2)]
    weighted = value(loss, np.array([3.0, 0.5], dtype=np.float32))
    assert weighted == pytest.approx((3 * rows[0] + 0.5 * rows[1]) / 2, rel=1e-5)


def test_half_squared_error_is_half_the_mean_squared_error() -> None:
    half, full = (build_loss(Loss(), name) for name in ("half_squared_error", "mean_squared_error"))
    assert value(half) == pytest.approx(value(full) / 2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(half))
    assert isinstance(again, HalfSquaredError)
    assert value(again) == value(half)


USED = {
    "label_smoothing": [
        "binary_crossentropy",
        "binary_focal_crossentropy",
        "categorical_crossentropy",
        "categorical_focal_crossentropy",
    ],
    "gamma": ["binary_focal_crossentropy", "categorical_focal_crossentropy"],
    "alpha": ["binary_focal_crossentropy", "categorical_focal_crossentropy"],
    "delta": ["huber"],
}


@pytest.mark.parametrize(
    ("setting", "name"), [(setting, name) for setting in USED for name in USED[setting]]
)
def test_every_setting_has_an_effect(setting: str, name: LossName) -> None:
    loss = build_loss(Loss(), name)
    other = build_loss(Loss(**{setting: 0.05}), name)
    assert value(loss) != value(other)


def test_every_setting_is_tested() -> None:
    assert set(USED) == set(Loss.model_fields) - {"name"}


def test_alpha_weights_the_positive_class() -> None:
    loss = build_loss(Loss(alpha=0.9, gamma=0.0), "binary_focal_crossentropy")
    y, p = np.array([[1.0]]), np.array([[0.5]])
    assert float(loss(y, p)) == pytest.approx(0.9 * np.log(2), rel=1e-5)
    assert float(loss(1 - y, p)) == pytest.approx(0.1 * np.log(2), rel=1e-5)


def test_label_smoothing_equals_its_formula() -> None:
    loss = build_loss(Loss(label_smoothing=0.2), "binary_crossentropy")
    expected = -(0.9 * np.log(0.8) + 0.1 * np.log(0.2))
    assert float(loss(np.array([[1.0]]), np.array([[0.8]]))) == pytest.approx(expected, rel=1e-5)


def test_auto_is_rejected() -> None:
    with pytest.raises(AssertionError):
        build_loss(Loss(), "auto")
