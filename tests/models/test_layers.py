from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from trainer.config.layers.base import LayerKind
from trainer.config.layers.custom import Custom
from trainer.config.layers.kinds import LAYER_KINDS
from trainer.config.layers.settings import Activation

Maker = Callable[..., Any]

OTHER: dict[str, dict[str, Any]] = {
    "dense": {
        "units": 9,
        "activation": "tanh",
        "use_bias": False,
        "kernel_initializer": "he_normal",
        "bias_initializer": "ones",
        "kernel_regularizer": {"l1": 0.1},
        "bias_regularizer": {"l2": 0.1},
        "activity_regularizer": {"l2": 0.1},
        "kernel_constraint": "unit_norm",
        "bias_constraint": {"max_norm": 2.0},
    },
    "activation": {"name": "gelu"},
    "dropout": {"rate": 0.5},
    "gaussian_noise": {"stddev": 0.5},
    "batch_normalization": {"momentum": 0.5, "epsilon": 0.1, "center": False, "scale": False},
    "layer_normalization": {"epsilon": 0.1, "center": False, "scale": False},
    "unit_normalization": {},
    "flatten": {},
    "reshape": {"shape": [2, 3]},
}
"""A value other than the default for each setting of each kind of layer."""
START: dict[str, dict[str, Any]] = {
    "dense": {"units": 4},
    "activation": {"name": "relu"},
    "dropout": {"rate": 0.1},
    "gaussian_noise": {"stddev": 0.1},
    "reshape": {"shape": [3, 2]},
}
SETTINGS = [(kind, name) for kind, settings in OTHER.items() for name in settings]


def test_every_kind_and_setting_is_tested() -> None:
    assert {name: set(settings) for name, settings in OTHER.items()} == {
        kind.kind: set(kind.model_fields) for kind in LAYER_KINDS if kind is not Custom
    }


@pytest.mark.parametrize("kind", [kind for kind in LAYER_KINDS if kind.stacking == "rows"])
def test_kinds_stacked_by_rows_have_no_weights_and_no_seed(
    network_of: Maker, kind: type[LayerKind]
) -> None:
    layer = network_of([{kind.kind: START.get(kind.kind, {})}, "flatten"]).get_layer(kind.kind)
    assert layer.weights == []
    assert not hasattr(layer, "seed_generator")


@pytest.mark.parametrize(("kind", "setting"), SETTINGS)
def test_every_setting_has_an_effect(network_of: Maker, kind: str, setting: str) -> None:
    start = START.get(kind, {})
    configs = [
        network_of([{kind: settings}, "flatten"]).get_layer(kind).get_config()
        for settings in (start, {**start, setting: OTHER[kind][setting]})
    ]
    assert configs[0] != configs[1]


@pytest.mark.parametrize("name", Activation.__args__)  # type: ignore[attr-defined]
def test_activations_match_keras(network_of: Maker, name: str) -> None:
    x = np.linspace(-3, 3, 12, dtype=np.float32).reshape(2, 6)
    network = network_of([{"activation": name}])
    values = network.get_layer("activation")(x)
    expected = keras.activations.get(name)(keras.ops.convert_to_tensor(x))
    np.testing.assert_allclose(np.asarray(values), np.asarray(expected))


def test_unit_normalization_scales_samples_to_length_1(network_of: Maker) -> None:
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    layer = network_of(["unit_normalization"]).get_layer("unit_normalization")
    expected = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(layer(x)), expected, rtol=1e-5)


def test_dense_equals_its_formula(network_of: Maker) -> None:
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    layer = network_of([{"dense": {"units": 3, "activation": "tanh"}}]).get_layer("dense")
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(np.asarray(layer(x)), np.tanh(x @ kernel + bias), rtol=1e-5)


def test_regularizers_add_to_the_losses(network_of: Maker) -> None:
    dense = {
        "units": 2,
        "kernel_initializer": "ones",
        "bias_initializer": "ones",
        "kernel_regularizer": {"l1": 1.0},
        "bias_regularizer": {"l2": 10.0},
        "activity_regularizer": {"l1": 100.0},
    }
    network = network_of([{"dense": dense}])
    network(np.ones((1, 6), dtype=np.float32))
    assert sum(float(loss) for loss in network.losses) == pytest.approx(12 + 20 + 100 * 14)
