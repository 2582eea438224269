from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trainer.models.warm_start import LayerTransfer, transfer_weights
from trainer.models.weights import weights_sha256

Maker = Callable[..., Any]


def sources(report: tuple[LayerTransfer, ...]) -> dict[str, str | None]:
    return {layer.name: layer.source for layer in report}


def test_same_network_copies_all_weights(network_of: Maker) -> None:
    layers = [{"dense": 4}, "batch_normalization", {"dropout": 0.1}, {"dense": 3}]
    source = network_of(layers, embeddings=[(5, 2)], seed=1)
    source.get_layer("batch_normalization").moving_mean.assign(np.arange(4.0, dtype=np.float32))
    network = network_of(layers, embeddings=[(5, 2)], seed=2)
    report = transfer_weights(network, source)
    assert weights_sha256(network) == weights_sha256(source)
    names = ["embedding_0", "dense", "batch_normalization", "dense_1", "head"]
    assert sources(report) == {name: name for name in names}
    assert str(report[1]) == "dense: copied"


def test_head_with_other_shapes_is_not_copied(network_of: Maker) -> None:
    source = network_of([{"dense": 4}], seed=1)
    network = network_of([{"dense": 4}], head="softmax", outputs=3, prior=[0.2, 0.3, 0.5], seed=2)
    weights = network.get_layer("head").get_weights()
    report = transfer_weights(network, source)
    assert sources(report) == {"dense": "dense", "head": None}
    assert str(report[1]) == (
        "head: not copied, its weight shapes are (4, 3), (3,), in the source (4, 1), (1,)"
    )
    np.testing.assert_array_equal(network.get_layer("head").kernel.numpy(), weights[0])


def test_layers_match_after_an_inserted_layer(network_of: Maker) -> None:
    source = network_of([{"dense": 8}, {"dense": 5}], seed=1)
    network = network_of([{"dense": 7}, {"dense": 8}, {"dense": 5}], seed=2)
    report = transfer_weights(network, source)
    assert sources(report) == {"dense": None, "dense_1": None, "dense_2": "dense_1", "head": "head"}
    assert str(report[2]) == "dense_2: copied from dense_1"
    np.testing.assert_array_equal(
        network.get_layer("dense_2").kernel.numpy(), source.get_layer("dense_1").kernel.numpy()
    )


def test_layer_is_copied_only_once(network_of: Maker) -> None:
    source = network_of([{"dense": 6}], seed=1)
    network = network_of([{"dense": 6}, {"dense": 6}], seed=2)
    report = transfer_weights(network, source)
    assert sources(report) == {"dense": "dense", "dense_1": None, "head": "head"}
    assert "no other Dense layer" in report[1].reason


def test_layers_of_different_kinds_do_not_match(network_of: Maker) -> None:
    # Both have two weights of shape (6,).
    source = network_of(["layer_normalization"], seed=1)
    network = network_of([{"batch_normalization": {"center": False}}], seed=2)
    assert sources(transfer_weights(network, source)) == {
        "batch_normalization": None,
        "head": "head",
    }
