"""Principal components of the training rows, compared with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from trainer.config.schema import Config
from trainer.inputs import CATEGORIES, FEATURES, InputSpec
from trainer.models.principal_components import component_problems, principal_components
from trainer.models.summary import NetworkShape

ROWS = np.random.default_rng(0).normal(size=(60, 3)) @ np.random.default_rng(1).normal(size=(3, 8))
FEATURE_ROWS = (ROWS + 0.01 * np.random.default_rng(2).normal(size=ROWS.shape) + 5).astype("f4")


def test_same_as_scikit_learn() -> None:
    kernel, bias = principal_components(FEATURE_ROWS, 5)
    outputs = FEATURE_ROWS.astype(np.float64) @ kernel + bias
    expected = PCA(5, whiten=True, svd_solver="full").fit_transform(FEATURE_ROWS)
    # Scikit-learn divides the variance by n - 1; signs are arbitrary.
    np.testing.assert_allclose(np.abs(outputs), np.abs(expected) * np.sqrt(60 / 59), atol=2e-3)
    np.testing.assert_allclose(outputs.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(outputs.std(axis=0), 1, atol=1e-4)


def test_sign_does_not_depend_on_the_order_of_the_rows() -> None:
    (kernel, bias), (other, other_bias) = (
        principal_components(rows, 4) for rows in (FEATURE_ROWS, FEATURE_ROWS[::-1])
    )
    np.testing.assert_allclose(kernel, other, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(bias, other_bias, rtol=1e-3, atol=1e-3)
    assert (np.take_along_axis(kernel, np.abs(kernel).argmax(axis=0)[None], axis=0) > 0).all()


@pytest.mark.parametrize("rows", [1, 2, 60])
def test_directions_without_variance_are_0(rows: int) -> None:
    exact = np.repeat(np.arange(rows, dtype=np.float32)[:, None], 3, axis=1)
    kernel, bias = principal_components(exact, 3)
    outputs = exact @ kernel + bias
    assert np.isfinite(kernel).all()
    np.testing.assert_allclose(outputs[:, 1:], 0, atol=1e-5)
    np.testing.assert_allclose(outputs[:, 0].std(), float(rows > 1), atol=1e-5)


def shape_of(*names: str) -> NetworkShape:
    inputs = tuple(InputSpec(name, (4,), "float32") for name in names)
    return NetworkShape(inputs, (), "linear", 1)


def config_of(*layers: object) -> Config:
    data = {"source": "t.csv", "target": "y"}
    return Config.model_validate({"name": "t", "data": data, "model": {"layers": list(layers)}})


def test_must_be_the_first_layer() -> None:
    config = config_of({"dense": 4}, {"principal_components": 2})
    (problem,) = component_problems(config, shape_of(FEATURES))
    assert problem.key == "model.layers.1.principal_components"
    assert problem.found == "layer 2"
    assert not list(component_problems(config_of({"dense": 4}), shape_of(CATEGORIES)))


def test_is_for_features_only() -> None:
    config = config_of({"principal_components": 2})
    assert not list(component_problems(config, shape_of(FEATURES)))
    (problem,) = component_problems(config, shape_of(FEATURES, CATEGORIES))
    assert CATEGORIES in problem.found
