from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from pydantic import TypeAdapter

from trainer.config.weights import Initializer, InitializerName
from trainer.models.initializers import build_initializer

SECTION: TypeAdapter[Any] = TypeAdapter(Initializer)
RANDOM = [
    *(name for name in InitializerName.__args__ if name not in ("identity", "ones", "zeros")),  # type: ignore[attr-defined]
    {"random_normal": {"mean": 1.0, "stddev": 2.0}},
    {"truncated_normal": {"mean": 1.0, "stddev": 2.0}},
    {"random_uniform": {"low": 1.0, "high": 2.0}},
    {"orthogonal": 3.0},
    {"variance_scaling": {"scale": 3.0, "mode": "fan_out", "distribution": "normal"}},
    {"variance_scaling": {"mode": "fan_avg", "distribution": "uniform"}},
]


def values(initializer: Any, seed: int, shape: tuple[int, ...] = (40, 50)) -> Any:
    built = build_initializer(SECTION.validate_python(initializer), seed)
    return np.asarray(built(shape, dtype="float32"))


@pytest.mark.parametrize("initializer", RANDOM, ids=str)
def test_values_depend_on_the_seed(initializer: Any) -> None:
    first = values(initializer, 1)
    np.testing.assert_array_equal(first, values(initializer, 1))
    assert (first != values(initializer, 2)).any()


@pytest.mark.parametrize("name", InitializerName.__args__)  # type: ignore[attr-defined]
def test_name_is_that_of_keras(name: str) -> None:
    expected = keras.initializers.get(name)
    built = build_initializer(SECTION.validate_python(name), 7)
    assert type(built) is type(expected)
    assert {**built.get_config(), "seed": None} == {**expected.get_config(), "seed": None}


def test_settings_are_passed_to_keras() -> None:
    uniform = values({"random_uniform": {"low": 1.0, "high": 2.0}}, 0)
    assert 1 <= uniform.min() < 1.05
    assert 1.95 < uniform.max() <= 2
    normal = values({"random_normal": {"mean": 1.0, "stddev": 2.0}}, 0)
    assert (normal.mean(), normal.std()) == pytest.approx((1, 2), abs=0.15)
    truncated = values({"truncated_normal": {"mean": 1.0, "stddev": 2.0}}, 0)
    assert truncated.max() <= 5
    assert truncated.mean() == pytest.approx(1, abs=0.15)
    gain = values({"orthogonal": 3.0}, 0, (20, 20))
    np.testing.assert_allclose(gain @ gain.T, 9 * np.eye(20), atol=1e-4)
    assert (values({"constant": 0.5}, 0) == 0.5).all()
    scaling = {"scale": 3.0, "mode": "fan_out", "distribution": "normal"}
    assert values({"variance_scaling": scaling}, 0).var() == pytest.approx(3 / 50, rel=0.1)
