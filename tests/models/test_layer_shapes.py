"""Shapes, weights and multiplications of layers of images and sequences, compared with Keras."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config.kinds import entry_model
from trainer.config.layers.base import LayerEntry, LayerKind, ShapeError
from trainer.config.layers.kinds import LAYER_KINDS
from trainer.config.model import Model
from trainer.errors import ConfigError
from trainer.models.layers import LayerContext, build_layer
from trainer.models.summary import summarize_layers

Maker = Callable[..., Any]

SIZES = st.integers(1, 9)
PAIRS = SIZES | st.lists(SIZES, min_size=2, max_size=2)
SMALL = st.integers(1, 3)
BIAS = {"use_bias": st.booleans(), "padding": st.sampled_from(["valid", "same"])}
POOL = {
    "pool_size": PAIRS,
    "strides": st.none() | PAIRS,
    "padding": st.sampled_from(["valid", "same"]),
}
POOL_1D = {**POOL, "pool_size": SIZES, "strides": st.none() | SIZES}
NORMALIZATION = {"center": st.booleans(), "scale": st.booleans()}
RECURRENT = {
    "units": SIZES,
    "bidirectional": st.booleans(),
    "return_sequences": st.booleans(),
}
DEPTHWISE = {
    **BIAS,
    "kernel_size": PAIRS,
    "strides": SMALL,
    "dilation_rate": SMALL,
    "depth_multiplier": SMALL,
}
DRAWN: dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {
    "conv1d": (
        1,
        {**BIAS, "filters": SIZES, "kernel_size": SIZES, "strides": SMALL, "dilation_rate": SMALL},
    ),
    "conv2d": (
        2,
        {**BIAS, "filters": SIZES, "kernel_size": PAIRS, "strides": SMALL, "dilation_rate": PAIRS},
    ),
    "conv2d_transpose": (
        2,
        {**BIAS, "filters": SIZES, "kernel_size": PAIRS, "strides": PAIRS},
    ),
    "depthwise_conv2d": (2, DEPTHWISE),
    "separable_conv2d": (2, {**DEPTHWISE, "filters": SIZES}),
    "max_pool1d": (1, POOL_1D),
    "average_pool1d": (1, POOL_1D),
    "max_pool2d": (2, POOL),
    "average_pool2d": (2, POOL),
    "global_max_pool": (0, {}),
    "global_average_pool": (0, {}),
    "spatial_dropout": (0, {"rate": st.just(0.5)}),
    "batch_normalization": (2, NORMALIZATION),
    "layer_normalization": (2, NORMALIZATION),
    "group_normalization": (0, {"groups": SIZES, **NORMALIZATION}),
    "zero_padding2d": (
        2,
        {"padding": st.integers(0, 3) | st.lists(st.integers(0, 3), min_size=4, max_size=4)},
    ),
    "up_sampling2d": (2, {"size": PAIRS}),
    "rescaling": (0, {"scale": st.just(2.0), "offset": st.just(1.0)}),
    "learned_scale": (0, {}),
    "flatten": (0, {}),
    "gru": (1, RECURRENT),
    "lstm": (1, RECURRENT),
}
"""Axes besides the channels (0: one or two) and settings of each kind."""


@st.composite
def layers(draw: st.DrawFn, kind: str) -> tuple[LayerKind, tuple[int, ...]]:
    """Draw the settings of a layer and its input shape."""
    axes, strategies = DRAWN[kind]
    axes = axes or draw(st.integers(1, 2))
    shape = tuple(draw(st.lists(st.integers(1, 12), min_size=axes + 1, max_size=axes + 1)))
    drawn = {name: draw(strategy) for name, strategy in strategies.items()}
    if np.max(drawn.get("dilation_rate", 1)) > 1 and np.max(drawn["strides"]) > 1:
        drawn["strides"] = 1
    (entry,) = (entry_model(known, LayerEntry) for known in LAYER_KINDS if known.kind == kind)
    return entry.model_validate({kind: drawn}).settings, shape


def check_against_keras(drawn: tuple[LayerKind, tuple[int, ...]]) -> None:
    layer, shape = drawn
    build = partial(build_layer, layer, "layer", shape, LayerContext(0, "float32", compiled=False))
    try:
        output = layer.output_shape(shape)
    except ShapeError:
        with pytest.raises(Exception, match=r"\w"):  # noqa: PT012
            network = keras.Sequential([keras.Input(shape), build()])
            assert 0 not in network.output_shape[1:]
        return
    network = keras.Sequential([keras.Input(shape), build()])
    assert network.output_shape[1:] == output
    assert network.count_params() == sum(
        map(prod, layer.trainable_shapes(shape) or ())
    ) + layer.non_trainable(shape)
    shapes = [tuple(weight.shape) for weight in network.trainable_weights]
    assert sorted(layer.trainable_shapes(shape) or ()) == sorted(shapes)


@pytest.mark.parametrize("kind", DRAWN)
def test_shapes_and_weights_equal_those_of_keras(kind: str) -> None:
    settings(max_examples=4, deadline=None)(given(layers(kind))(check_against_keras))()


@pytest.mark.slow
@pytest.mark.parametrize("kind", DRAWN)
def test_shapes_and_weights_equal_those_of_keras_for_many_settings(kind: str) -> None:
    settings(max_examples=25, deadline=None)(given(layers(kind))(check_against_keras))()


BLOCKS: list[Any] = [
    [{"conv2d": {"filters": 3, "padding": "same"}}, "batch_normalization"],
    [
        {"conv2d": {"filters": 5, "padding": "same", "strides": 2}},
        {"conv2d": {"filters": 5, "padding": "same"}},
    ],
    [
        {"depthwise_conv2d": {"padding": "same"}},
        {"max_pool2d": {"padding": "same"}},
        "layer_normalization",
    ],
    [{"separable_conv2d": {"filters": 2, "padding": "same"}}, {"dropout": 0.5}],
]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
@pytest.mark.parametrize("normalized", [False, True])
def test_summary_of_a_residual_block_equals_the_built_network(
    network_of: Maker, shape_of: Maker, block: Any, normalized: bool
) -> None:
    residual = {"layers": block, "normalize_shortcut": normalized, "activation": "relu"}
    names: list[Any] = [{"residual": residual}, "global_average_pool"]
    summary = summarize_layers(
        Model.model_validate({"layers": names}), shape_of(0, image=(7, 6, 3))
    )
    network = network_of(names, width=0, image=(7, 6, 3))
    assert [layer.name for layer in summary] == [layer.name for layer in network.layers]
    for expected, layer in zip(summary, network.layers, strict=True):
        assert expected.output_shape == tuple(layer.output.shape[1:])
        assert expected.parameters == layer.count_params()
        shapes = sorted(tuple(variable.shape) for variable in layer.trainable_weights)
        assert sorted(expected.trainable_shapes or ()) == shapes
    values = [layer.output for layer in network.get_layer("residual").layers[1:]]
    assert summary[1].activations == sum(prod(value.shape[1:]) for value in values)


def test_residual_block_adds_its_input(network_of: Maker) -> None:
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    block = {"layers": [{"dense": 6}], "activation": "relu"}
    layer = network_of([{"residual": block}]).get_layer("residual")
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(
        np.asarray(layer(x)), np.maximum(x @ kernel + bias + x, 0), rtol=1e-5
    )


def test_residual_block_projects_its_input(network_of: Maker) -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    block = {"layers": [{"conv2d": {"filters": 2, "kernel_size": 1, "strides": 2}}]}
    network = network_of([{"residual": block}, "flatten"], width=0, image=(5, 4, 3))
    layer = network.get_layer("residual")
    kernel, bias, shortcut = layer.get_weights()
    expected = x[:, ::2, ::2] @ (kernel + shortcut)[0, 0] + bias
    np.testing.assert_allclose(np.asarray(layer(x)), expected, rtol=1e-4, atol=1e-5)


MULTIPLICATIONS = [
    ({"conv2d": {"filters": 4, "kernel_size": [2, 3]}}, 5 * 4 * (2 * 3 * 3 * 4)),
    ({"conv2d_transpose": {"filters": 4, "strides": 2}}, 6 * 6 * (9 * 3 * 4)),
    ({"separable_conv2d": {"filters": 4}}, 4 * 4 * (9 * 3 + 3 * 4)),
    ({"residual": {"layers": [{"conv2d": {"filters": 4, "padding": "same"}}]}}, 36 * (108 + 12)),
]


@pytest.mark.parametrize(("layer", "count"), MULTIPLICATIONS, ids=str)
def test_multiplications_count_each_position(shape_of: Maker, layer: Any, count: int) -> None:
    model = Model.model_validate({"layers": [layer, "flatten"]})
    summary = summarize_layers(model, shape_of(0, image=(6, 6, 3)))
    assert summary[1].multiplications == count


PROBLEMS: list[tuple[list[Any], str, str, str]] = [
    ([{"conv2d": {"filters": 4, "kernel_size": 9}}], "0.conv2d.kernel_size", "9 × 9", "padding: same"),
    ([{"conv2d": 4}, {"dense": 4}], "1.dense", "[6, 6, 4]", "flatten"),
    (["flatten", {"conv2d": 4}], "1.conv2d", "[192]", "before the layer that flattens"),
    ([{"conv1d": 4}], "0.conv1d", "[8, 8, 3]", "ends in 2d"),
    ([{"max_pool2d": 4}, {"max_pool2d": 3}], "1.max_pool2d.pool_size", "3 × 3", "lower pool_size"),
    ([{"group_normalization": 2}], "0.group_normalization.groups", "2", "set groups to 1"),
    (
        [{"residual": {"layers": [{"dropout": 0.1}, {"conv2d": {"filters": 1, "kernel_size": 9}}]}}],
        "0.residual.layers.1.conv2d.kernel_size",
        "9 × 9",
        "kernel_size",
    ),
    ([{"residual": {"layers": [{"conv2d": 4}]}}], "0.residual.layers", "[6, 6, 4]", "padding: same"),
    ([{"conv2d": 4}], "0", "[6, 6, 4]", "global_average_pool"),
    ([{"custom": "user:layer"}, "global_max_pool"], "1.global_max_pool", "custom", "before"),
]  # fmt: skip


@pytest.mark.parametrize(("names", "key", "found", "fix"), PROBLEMS, ids=str)
def test_layers_that_do_not_fit_are_reported_at_their_setting(
    shape_of: Maker, names: list[Any], key: str, found: str, fix: str
) -> None:
    model = Model.model_validate({"layers": names})
    with pytest.raises(ConfigError) as caught:
        summarize_layers(model, shape_of(0, image=(8, 8, 3)))
    (problem,) = caught.value.problems
    assert problem.key == f"model.layers.{key}"
    assert found in problem.found
    assert fix in problem.fix


def test_a_layer_after_an_error_is_not_reported(shape_of: Maker) -> None:
    model = Model.model_validate({"layers": [{"max_pool2d": 9}, "global_max_pool", {"dense": 2}]})
    with pytest.raises(ConfigError) as caught:
        summarize_layers(model, shape_of(0, image=(8, 8, 3)))
    assert [problem.key for problem in caught.value.problems] == [
        "model.layers.0.max_pool2d.pool_size"
    ]


COLUMNS = [(0, []), (3, []), (2, [(4, 2), (5, 3)]), (5, [(4, 2), (5, 3)])]


@pytest.mark.parametrize(("width", "embeddings"), COLUMNS)
def test_network_of_an_image_and_columns_equals_its_summary(
    network_of: Maker, shape_of: Maker, width: int, embeddings: list[tuple[int, int]]
) -> None:
    names: list[Any] = [{"conv2d": 2}, "flatten", {"dense": 4}]
    model = Model.model_validate({"layers": names})
    summary = summarize_layers(model, shape_of(width, embeddings, image=(5, 5, 1)))
    network = network_of(names, width=width, embeddings=embeddings, image=(5, 5, 1))
    built = {layer.name: layer for layer in network.layers}
    for expected in summary:
        layer = built[expected.name]
        assert expected.output_shape == tuple(layer.output.shape[1:])
        assert expected.parameters == layer.count_params()
    columns = width - len(embeddings) + sum(dimension for _, dimension in embeddings)
    assert built["dense"].input.shape == (None, 18 + columns)


def test_images_are_scaled_first(network_of: Maker, shape_of: Maker) -> None:
    from trainer.inputs import ImageScaling

    scaling = ImageScaling((0.5, 2.0), (1.0, -1.0))
    network = network_of(["flatten"], width=0, image=(3, 3, 2), image_scaling=scaling)
    assert type(network) is keras.Sequential
    assert network.inputs[0].dtype == "uint8"
    x = np.arange(36, dtype=np.uint8).reshape(2, 3, 3, 2)
    values = network.get_layer("image_scaling")(x)
    np.testing.assert_allclose(np.asarray(values), x * [0.5, 2.0] + [1.0, -1.0])
    unit = network_of(["flatten"], width=0, image=(3, 3, 2)).get_layer("image_scaling")
    np.testing.assert_allclose(np.asarray(unit(x)), x / 255, rtol=1e-6)
