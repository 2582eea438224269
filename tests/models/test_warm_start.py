from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trainer.models.warm_start import LayerTransfer, transfer_weights
from trainer.models.weights import weights_sha256

Maker = Callable[..., Any]


def taken(report: tuple[LayerTransfer, ...]) -> dict[str, str | None]:
    return {layer.name: layer.source for layer in report}


def test_the_same_network_takes_everything(network_of: Maker) -> None:
    layers = [{"dense": 4}, "batch_normalization", {"dropout": 0.1}, {"dense": 3}]
    source = network_of(layers, embeddings=[(5, 2)], seed=1)
    source.get_layer("batch_normalization").moving_mean.assign(np.arange(4.0, dtype=np.float32))
    network = network_of(layers, embeddings=[(5, 2)], seed=2)
    report = transfer_weights(network, source)
    assert weights_sha256(network) == weights_sha256(source)
    names = ["embedding_0", "dense", "batch_normalization", "dense_1", "head"]
    assert taken(report) == {name: name for name in names}
    assert str(report[1]) == "dense: copied"


def test_another_target_keeps_its_head(network_of: Maker) -> None:
    source = network_of([{"dense": 4}], seed=1)
    network = network_of([{"dense": 4}], head="softmax", outputs=3, prior=[0.2, 0.3, 0.5], seed=2)
    own = network.get_layer("head").get_weights()
    report = transfer_weights(network, source)
    assert taken(report) == {"dense": "dense", "head": None}
    assert (
        str(report[1]) == "head: not copied, its weights are 4×3 and 3, but 4×1 and 1 in the source"
    )
    np.testing.assert_array_equal(network.get_layer("head").kernel.numpy(), own[0])


def test_a_layer_put_before_moves_the_others_on(network_of: Maker) -> None:
    source = network_of([{"dense": 8}, {"dense": 5}], seed=1)
    network = network_of([{"dense": 7}, {"dense": 8}, {"dense": 5}], seed=2)
    report = transfer_weights(network, source)
    assert taken(report) == {"dense": None, "dense_1": None, "dense_2": "dense_1", "head": "head"}
    assert str(report[2]) == "dense_2: copied from dense_1"
    np.testing.assert_array_equal(
        network.get_layer("dense_2").kernel.numpy(), source.get_layer("dense_1").kernel.numpy()
    )


def test_weights_are_taken_once_and_in_order(network_of: Maker) -> None:
    source = network_of([{"dense": 6}], seed=1)
    network = network_of([{"dense": 6}, {"dense": 6}], seed=2)
    report = transfer_weights(network, source)
    assert taken(report) == {"dense": "dense", "dense_1": None, "head": "head"}
    assert "no Dense layer left" in report[1].reason


def test_kinds_are_not_mixed(network_of: Maker) -> None:
    # Both have two weights of 6.
    source = network_of(["layer_normalization"], seed=1)
    network = network_of([{"batch_normalization": {"center": False}}], seed=2)
    assert taken(transfer_weights(network, source)) == {"batch_normalization": None, "head": "head"}
