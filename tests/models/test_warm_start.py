from __future__ import annotations

from typing import Any

from trainer.config.model import Model
from trainer.inputs import CATEGORIES, FEATURES, InputSpec
from trainer.models.summary import NetworkShape, summarize_layers
from trainer.models.warm_start import LayerMatch, match_layers


def layers(*kinds: Any, features: int = 5, outputs: int = 1, levels: int = 0) -> Any:
    inputs = [InputSpec(FEATURES, (features,), "float32")]
    inputs += [InputSpec(CATEGORIES, (1,), "int32")] if levels else []
    shape = NetworkShape(tuple(inputs), ((levels, 2),) if levels else (), "sigmoid", outputs)
    return summarize_layers(Model.model_validate({"layers": list(kinds)}), shape)


def names(matches: tuple[LayerMatch, ...], *, fitting: bool) -> list[str]:
    return [match.name for match in matches if match.fits is fitting]


def test_same_network_fits() -> None:
    network = layers({"dense": 4}, "batch_normalization", {"dropout": 0.1}, {"dense": 3}, levels=4)
    matches = match_layers(network, network)
    expected = ["embeddings", "dense", "batch_normalization", "dense_1", "head"]
    assert names(matches, fitting=True) == expected
    assert str(matches[1]) == "dense: copied"


def test_only_the_output_layer_may_differ() -> None:
    matches = match_layers(layers({"dense": 4}, outputs=3), layers({"dense": 4}))
    assert names(matches, fitting=False) == ["head"]
    assert matches[-1].may_differ
    assert str(matches[-1]) == ("head: not copied, expected weights [4, 1], [1], found [4, 3], [3]")


def test_layers_that_do_not_fit() -> None:
    matches = match_layers(
        layers({"dense": 4}, {"dense": 6}, "batch_normalization", features=7),
        layers({"dense": 4}, {"dense": 6}, "layer_normalization"),
    )
    assert names(matches, fitting=True) == ["dense_1", "head"]
    assert not any(match.may_differ for match in matches if not match.fits)
    assert [match.found for match in matches if not match.fits] == ["[7, 4], [4]", "none"]


def test_layers_after_a_custom_layer_are_compared_later() -> None:
    custom = {"custom": "package.module:function"}
    network = layers(custom, {"dense": 4})
    assert names(match_layers(network, network), fitting=True) == ["custom", "dense", "head"]
