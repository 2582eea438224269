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

CONVOLUTION: dict[str, Any] = {
    "kernel_size": [1, 2],
    "strides": [2, 3],
    "padding": "same",
    "activation": "tanh",
    "use_bias": False,
    "bias_initializer": "ones",
    "bias_regularizer": {"l2": 0.1},
    "activity_regularizer": {"l2": 0.1},
}
FILTERS: dict[str, Any] = {
    "filters": 7,
    "kernel_initializer": "he_normal",
    "kernel_regularizer": {"l2": 0.1},
}
DEPTHWISE: dict[str, Any] = {
    "depth_multiplier": 2,
    "dilation_rate": [1, 2],
    "depthwise_initializer": "ones",
    "depthwise_regularizer": {"l1": 0.1},
}
RECURRENT: dict[str, Any] = {
    "units": 5,
    "bidirectional": True,
    "return_sequences": True,
    "kernel_initializer": "ones",
    "recurrent_initializer": "ones",
    "kernel_regularizer": {"l2": 0.1},
    "recurrent_regularizer": {"l2": 0.1},
}
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
    "reshape": {"shape": [3, -1]},
    "spatial_dropout": {"rate": 0.5},
    "group_normalization": {"groups": 2, "epsilon": 0.1, "center": False, "scale": False},
    "conv1d": {**CONVOLUTION, **FILTERS, "kernel_size": 2, "strides": 3, "dilation_rate": 2},
    "conv2d": {**CONVOLUTION, **FILTERS, "dilation_rate": [1, 2]},
    "conv2d_transpose": {**CONVOLUTION, **FILTERS},
    "depthwise_conv2d": {**CONVOLUTION, **DEPTHWISE, "strides": 2},
    "separable_conv2d": {
        **CONVOLUTION,
        **DEPTHWISE,
        "strides": 2,
        "filters": 7,
        "pointwise_initializer": "ones",
        "pointwise_regularizer": {"l2": 0.1},
    },
    "max_pool1d": {"pool_size": 3, "strides": 1, "padding": "same"},
    "max_pool2d": {"pool_size": 3, "strides": [1, 2], "padding": "same"},
    "average_pool1d": {"pool_size": 3, "strides": 1, "padding": "same"},
    "average_pool2d": {"pool_size": 3, "strides": [1, 2], "padding": "same"},
    "global_max_pool": {},
    "global_average_pool": {},
    "zero_padding2d": {"padding": [1, 2]},
    "up_sampling2d": {"size": [1, 3], "interpolation": "bilinear"},
    "rescaling": {"scale": 0.5, "offset": -1.0},
    "learned_scale": {"multiplier": 2.0},
    "principal_components": {"units": 3},
    "gru": RECURRENT,
    "lstm": RECURRENT,
    "transformer": {
        "heads": 4,
        "units": 6,
        "activation": "relu",
        "dropout": 0.5,
        "positions": True,
    },
    "residual": {
        "layers": [{"conv2d": {"filters": 2, "padding": "same"}}],
        "activation": "relu",
        "normalize_shortcut": True,
    },
}
"""A value other than the default for each setting of each kind of layer."""
START: dict[str, dict[str, Any]] = {
    "dense": {"units": 4},
    "principal_components": {"units": 4},
    "activation": {"name": "relu"},
    "dropout": {"rate": 0.1},
    "gaussian_noise": {"stddev": 0.1},
    "reshape": {"shape": [-1, 4]},
    "spatial_dropout": {"rate": 0.1},
    "group_normalization": {"groups": 4},
    "conv1d": {"filters": 4},
    "conv2d": {"filters": 4},
    "conv2d_transpose": {"filters": 4},
    "separable_conv2d": {"filters": 4},
    "rescaling": {"scale": 2.0},
    "gru": {"units": 4},
    "lstm": {"units": 4},
    "transformer": {"heads": 2},
    "residual": {"layers": [{"conv2d": {"filters": 3, "padding": "same"}}]},
}
SEQUENCE_LAYERS = ["conv1d", "max_pool1d", "average_pool1d", "gru", "lstm", "transformer"]
BEFORE: dict[str, list[Any]] = {
    "dense": ["flatten"],
    "principal_components": ["flatten"],
    **{key: [{"reshape": [-1, 4]}] for key in SEQUENCE_LAYERS},
}
"""The layers between an image (6, 6, 4) and a layer."""
SETTINGS = [(kind, name) for kind, settings in OTHER.items() for name in settings]


def test_every_kind_and_setting_is_tested() -> None:
    assert {name: set(settings) for name, settings in OTHER.items()} == {
        kind.kind: set(kind.model_fields) for kind in LAYER_KINDS if kind is not Custom
    }


@pytest.mark.parametrize("kind", [kind for kind in LAYER_KINDS if kind.stacking == "rows"])
def test_kinds_stacked_by_rows_have_no_weights_and_no_seed(
    network_of: Maker, kind: type[LayerKind]
) -> None:
    layers = [{kind.kind: START.get(kind.kind, {})}, "flatten"]
    network = network_of([*BEFORE.get(kind.kind, []), *layers], width=0, image=(6, 6, 4))
    layer = network.get_layer(kind.kind)
    assert layer.weights == []
    assert not hasattr(layer, "seed_generator")


@pytest.mark.parametrize(("kind", "setting"), SETTINGS)
def test_every_setting_has_an_effect(network_of: Maker, kind: str, setting: str) -> None:
    start = START.get(kind, {})
    before = BEFORE.get(kind, [])
    configs = [
        network_of([*before, {kind: settings}, "flatten"], width=0, image=(6, 6, 4))
        .get_layer(kind)
        .get_config()
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


@pytest.mark.parametrize("shape", [(6,), (2, 3, 6)])
def test_learned_scale_starts_at_1_and_learns_faster(
    network_of: Maker, shape: tuple[int, ...]
) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4, *shape)).astype(np.float32)
    sizes = {"width": 6} if len(shape) == 1 else {"width": 0, "image": shape}
    layer = network_of([{"learned_scale": 4}, "flatten"], **sizes).get_layer("learned_scale")
    np.testing.assert_array_equal(np.asarray(layer(x)), x)
    weights = generator.normal(size=6).astype(np.float32)
    layer.set_weights([weights])
    np.testing.assert_allclose(np.asarray(layer(x)), x * (1 + 4 * weights), rtol=1e-5, atol=1e-6)


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
