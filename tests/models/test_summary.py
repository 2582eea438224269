from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config.model import Model
from trainer.errors import ConfigError
from trainer.models.memory import estimate_memory
from trainer.models.summary import layer_names, summarize_layers

Maker = Callable[..., Any]


@st.composite
def architectures(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], list[Any]]:
    """Draw a valid (width, embeddings, layers)."""
    numbers = draw(st.integers(0, 6))
    embeddings = draw(
        st.lists(
            st.tuples(st.integers(1, 9), st.integers(1, 5)),
            min_size=0 if numbers else 1,
            max_size=3,
        )
    )
    shape: tuple[int, ...] = (numbers + sum(dimension for _, dimension in embeddings),)
    layers: list[Any] = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(
            st.sampled_from(
                [
                    "dense",
                    "activation",
                    "dropout",
                    "noise",
                    "batch",
                    "layer",
                    "unit",
                    "scale",
                    "flatten",
                    "reshape",
                ]
            )
        )
        match kind:
            case "dense":
                units = draw(st.integers(1, 7))
                layers.append({"dense": {"units": units, "use_bias": draw(st.booleans())}})
                shape = (*shape[:-1], units)
            case "activation":
                layers.append({"activation": draw(st.sampled_from(["relu", "softmax", "gelu"]))})
            case "dropout":
                layers.append({"dropout": 0.25})
            case "noise":
                layers.append({"gaussian_noise": 0.25})
            case "batch" | "layer":
                settings_ = {"center": draw(st.booleans()), "scale": draw(st.booleans())}
                layers.append({f"{kind}_normalization": settings_})
            case "scale":
                layers.append("learned_scale")
            case "unit":
                layers.append("unit_normalization")
            case "flatten":
                layers.append("flatten")
                shape = (prod(shape),)
            case _:
                size = prod(shape)
                first = draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
                last = draw(st.sampled_from([-1, size // first]))
                layers.append({"reshape": [first, last]})
                shape = (first, size // first)
    if len(shape) > 1:
        layers.append("flatten")
    return numbers + len(embeddings), embeddings, layers


@settings(max_examples=40, deadline=None)
@given(architectures(), st.integers(1, 4))
def test_summary_equals_the_built_network(
    network_of: Maker,
    shape_of: Maker,
    architecture: tuple[int, list[tuple[int, int]], list[Any]],
    outputs: int,
) -> None:
    width, embeddings, layers = architecture
    model = Model.model_validate({"layers": layers})
    summary = summarize_layers(model, shape_of(width, embeddings, "linear", outputs))
    network = network_of(
        layers,
        width=width,
        embeddings=embeddings,
        head="linear",
        outputs=outputs,
        prior=[0.0] * outputs,
    )
    built = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    assert [layer.name for layer in summary] == [layer.name for layer in built]
    for expected, layer in zip(summary, built, strict=True):
        assert expected.output_shape == tuple(layer.output.shape[1:])
        assert expected.parameters == layer.count_params()
        assert expected.trainable == sum(prod(v.shape) for v in layer.trainable_weights)
        shapes = sorted(tuple(variable.shape) for variable in layer.trainable_weights)
        assert sorted(expected.trainable_shapes or ()) == shapes


def test_layer_names_are_numbered_by_kind() -> None:
    model = Model.model_validate(
        {"layers": [{"dense": 2}, {"dropout": 0.1}, {"dense": 3}, {"dense": 4}, "flatten"]}
    )
    assert layer_names(model.layers) == ("dense", "dropout", "dense_1", "dense_2", "flatten")


def test_shapes_after_a_custom_layer_are_unknown(config_of: Maker, shape_of: Maker) -> None:
    model = Model.model_validate(
        {"layers": [{"dense": 2}, {"custom": "user:layer"}, {"dense": 3}, "batch_normalization"]}
    )
    dense, *unknown, head = summarize_layers(model, shape_of(4, head="softmax", outputs=3))
    assert (dense.output_shape, dense.parameters) == ((2,), 10)
    assert all(layer.output_shape is None and layer.parameters is None for layer in unknown)
    assert (head.output_shape, head.parameters) == ((3,), None)
    assert estimate_memory([dense, *unknown, head], config_of().optimizer, 32) is None


def test_shapes_that_do_not_fit_are_reported_at_their_layer(shape_of: Maker) -> None:
    model = Model.model_validate({"layers": [{"dense": 6}, {"reshape": [4, -1]}, {"dense": 3}]})
    with pytest.raises(ConfigError) as caught:
        summarize_layers(model, shape_of(4, head="linear"))
    (problem,) = caught.value.problems
    assert problem.key == "model.layers.1.reshape.shape"
    assert "6 elements" in problem.expected
    assert problem.found == "[4, -1]"


def test_head_requires_one_axis(shape_of: Maker) -> None:
    model = Model.model_validate({"layers": [{"reshape": [2, 2]}, {"dense": 3}]})
    with pytest.raises(ConfigError) as caught:
        summarize_layers(model, shape_of(4, head="linear"))
    (problem,) = caught.value.problems
    assert problem.key == "model.layers.1"
    assert "[2, 3]" in problem.found
    assert "flatten" in problem.fix
