"""Networks on sequences of tokens, compared with plain Keras and NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from trainer.config.model import Model
from trainer.models.masks import TOKEN_MASK, masked_layers
from trainer.models.summary import summarize_layers

LAYERS: list[list[Any]] = [
    [{"conv1d": {"filters": 3, "activation": "relu"}}, "global_max_pool"],
    [{"gru": {"units": 3, "bidirectional": True, "return_sequences": True}}, {"lstm": 2}],
    [{"transformer": {"heads": 2, "units": 5, "positions": True}}, "global_average_pool"],
]


@pytest.mark.parametrize("layers", LAYERS, ids=lambda layers: next(iter(layers[0])))
@pytest.mark.parametrize("width", [0, 2])
def test_networks_equal_their_summaries(
    network_of: Callable[..., Any], shape_of: Callable[..., Any], layers: list[Any], width: int
) -> None:
    shape = {"width": width, "tokens": (6, 9, 4)}
    network = network_of(layers, **shape)
    summary = summarize_layers(Model.model_validate({"layers": layers}), shape_of(**shape))
    assert network.count_params() == sum(layer.parameters or 0 for layer in summary)
    names = [
        layer.name
        for layer in network.layers
        if not isinstance(layer, keras.layers.InputLayer) and layer.name != TOKEN_MASK
    ]
    assert names == [layer.name for layer in summary]
    ids = np.random.default_rng(0).integers(0, 9, (3, 6)).astype(np.int32)
    inputs = {"tokens": ids, "features": np.ones((3, width), np.float32)} if width else ids
    assert network(inputs).shape == (3, 1)


def test_a_transformer_attends_with_softmax(network_of: Callable[..., Any]) -> None:
    layers = [{"transformer": {"heads": 2, "units": 5, "dropout": 0.0}}, "flatten"]
    block = network_of(layers, width=0, tokens=(3, 9, 4)).get_layer("transformer")
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    attention = block.get_layer("transformer_attention")
    query, key, value = (
        np.einsum("nld,dhk->nhlk", x, getattr(attention, f"{role}_dense").kernel.numpy())
        for role in ("query", "key", "value")
    )
    assert not np.allclose(query, key)
    scores = np.exp(query @ key.transpose(0, 1, 3, 2) / np.sqrt(2))
    mixed = scores / scores.sum(axis=-1, keepdims=True) @ value
    attended = np.einsum("nhlk,hkd->nld", mixed, attention.output_dense.kernel.numpy())
    np.testing.assert_allclose(np.asarray(attention(x, x)), attended, rtol=1e-4, atol=1e-5)

    def normalized(values: Any) -> Any:
        centered = values - values.mean(axis=-1, keepdims=True)
        return centered / np.sqrt(values.var(axis=-1, keepdims=True) + 1e-3)

    first = normalized(x + attended)
    hidden, outputs = (block.get_layer(f"transformer_{role}") for role in ("hidden", "outputs"))
    dense = np.asarray(outputs(hidden(first)))
    np.testing.assert_allclose(
        np.asarray(block([x, np.ones((2, 3), np.float32)])),
        normalized(first + dense),
        rtol=1e-3,
        atol=1e-4,
    )


BLOCK = {"transformer": {"heads": 2, "units": 5, "positions": True, "dropout": 0.0}}
POOLED: list[list[Any]] = [
    [{"dense": 4}, BLOCK, {"transformer": 2}, "layer_normalization", "global_average_pool"],
    [BLOCK, {"dense": 3}, "global_max_pool"],
]


@pytest.mark.parametrize("layers", POOLED, ids=["average", "max"])
@pytest.mark.parametrize("width", [0, 2])
def test_predictions_do_not_depend_on_the_padding(
    network_of: Callable[..., Any], layers: list[Any], width: int
) -> None:
    short, long = (network_of(layers, width=width, tokens=(length, 9, 4)) for length in (5, 8))
    for weight, target in zip(short.weights, long.weights, strict=True):
        value = weight.numpy()
        if value.shape != tuple(target.shape):
            # The vectors of the positions end with that of the last token.
            value = np.concatenate([np.full((3, 4), 7, np.float32), value])
        target.assign(value)
    ids = np.random.default_rng(0).integers(1, 9, (6, 5)).astype(np.int32)
    for row in range(6):
        ids[row, :row] = 0
    padded = np.pad(ids, ((0, 0), (3, 0)))
    features = {"features": np.ones((6, width), np.float32)}
    given = (
        [{"tokens": ids, **features}, {"tokens": padded, **features}] if width else [ids, padded]
    )
    outputs, expected = (
        np.asarray(network(x)) for network, x in zip((long, short), reversed(given), strict=True)
    )
    np.testing.assert_allclose(outputs, expected, rtol=1e-4)
    # A text without tokens has a prediction, too, and texts have different ones.
    assert np.isfinite(outputs).all()
    assert len(np.unique(outputs)) == 6


def test_layers_that_take_the_mask(shape_of: Callable[..., Any]) -> None:
    def taking(*layers: Any, **shape: Any) -> tuple[bool, ...]:
        model = Model.model_validate({"layers": list(layers)})
        return masked_layers(model, shape_of(**{"width": 0, "tokens": (6, 9, 4), **shape}))

    assert taking({"dropout": 0.1}, BLOCK, "global_average_pool", {"dense": 2}) == (
        False, True, True, False,
    )  # fmt: skip
    assert taking("global_average_pool") == (False,)
    assert taking({"conv1d": 3}, {"transformer": 1}, "global_max_pool") == (False,) * 3
    assert taking(BLOCK, {"gru": {"units": 2, "return_sequences": True}}, "flatten")[0]
    assert taking(BLOCK, {"lstm": {"units": 2, "return_sequences": True}}, "global_max_pool") == (
        True, False, False,
    )  # fmt: skip
    assert taking({"dense": 3}, tokens=None, width=2) == (False,)
