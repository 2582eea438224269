from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer.errors import ConfigError
from trainer.models.network import prior_bias
from trainer.models.saving import save_network
from trainer.models.weights import weights_sha256

Maker = Callable[..., Any]

EVERY_KIND: dict[str, list[Any]] = {
    "none": [],
    "dense": [
        {
            "dense": {
                "units": 5,
                "activation": "gelu",
                "kernel_initializer": {"variance_scaling": {"distribution": "normal"}},
                "bias_initializer": {"constant": 0.1},
                "kernel_regularizer": {"l2": 0.01},
                "bias_regularizer": {"l1": 0.01},
                "activity_regularizer": {"l1": 0.01},
                "kernel_constraint": {"min_max_norm": [0.1, 2.0]},
                "bias_constraint": "non_negative",
            }
        }
    ],
    "activation": [{"dense": 4}, {"activation": "leaky_relu"}, {"activation": "hard_tanh"}],
    "dropout": [{"dense": 4}, {"dropout": 0.3}],
    "gaussian_noise": [{"gaussian_noise": 0.2}],
    "batch_normalization": [{"dense": 4}, "batch_normalization"],
    "layer_normalization": [{"dense": 4}, {"layer_normalization": {"epsilon": 0.01}}],
    "learned_scale": [{"learned_scale": 4}, {"dense": 4}],
    "principal_components": [{"principal_components": 3}, "learned_scale"],
    "reshape_and_flatten": [{"reshape": [3, -1]}, {"dense": 3}, "flatten"],
}
IMAGE_KINDS: dict[str, list[Any]] = {
    "convolutions": [
        {"zero_padding2d": 1},
        {"conv2d": {"filters": 4, "activation": "relu"}},
        {"spatial_dropout": 0.2},
        {"max_pool2d": {"padding": "same"}},
        {"separable_conv2d": {"filters": 4, "depth_multiplier": 2}},
        {"conv2d_transpose": {"filters": 4, "strides": 2}},
        "global_average_pool",
    ],
    "residual": [
        {
            "residual": {
                "layers": [
                    {"conv2d": {"filters": 4, "padding": "same", "strides": 2}},
                    "batch_normalization",
                    {"activation": "relu"},
                    {"depthwise_conv2d": {"padding": "same"}},
                    {"dropout": 0.1},
                ],
                "normalize_shortcut": True,
                "activation": "relu",
            }
        },
        {"group_normalization": 2},
        {"up_sampling2d": {"interpolation": "bilinear"}},
        {"rescaling": {"scale": 0.5, "offset": 1.0}},
        "flatten",
        {"dense": 3},
    ],
    "sequence": [
        {"reshape": [-1, 8]},
        {"conv1d": 4},
        {"average_pool1d": 2},
        {"residual": {"layers": [{"conv1d": {"filters": 6, "padding": "same"}}]}},
        "global_max_pool",
    ],
}
"""Layers of an image (8, 8, 3)."""
PRECISIONS = ["float32", "mixed_float16", "mixed_bfloat16"]
EMBEDDINGS = [(4, 2), (70_000, 3)]

LOADER = """
import json, sys
from pathlib import Path
import keras, numpy as np
assert not any(name.split(".")[0] == "trainer" for name in sys.modules)
folder = Path(sys.argv[1])
x = dict(np.load(folder / "x.npz"))
predictions = {}
for file in sorted(folder.glob("*.keras")):
    network = keras.models.load_model(file, safe_mode=True)
    if isinstance(network, keras.Sequential):
        given = x["image" if network.inputs[0].dtype == "uint8" else "features"]
    else:
        given = {name: x[name] for name in network.input}
    predictions[file.stem] = np.asarray(network(given), dtype="float64").tolist()
assert not any(name.split(".")[0] == "trainer" for name in sys.modules)
(folder / "predictions.json").write_text(json.dumps(predictions))
"""


def inputs() -> dict[str, np.ndarray[Any, Any]]:
    """Return four features and two columns of ids, too large for float16."""
    rng = np.random.default_rng(0)
    ids = np.stack([rng.integers(0, 4, 20), rng.integers(60_000, 70_000, 20)], axis=1)
    features = rng.normal(size=(20, 4)).astype(np.float32)
    return {"features": features, "categories": ids.astype(np.int32)}


@pytest.mark.slow
def test_plain_keras_loads_every_network(network_of: Maker, tmp_path: Path) -> None:
    x = inputs()
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "x.npz", **x, image=images)
    expected = {}
    for precision in PRECISIONS:
        for kind, layers in EVERY_KIND.items():
            network = network_of(
                layers, embeddings=EMBEDDINGS, runtime={"precision": precision}, seed=3
            )
            name = f"{kind}-{precision}"
            save_network(network, tmp_path / f"{name}.keras")
            expected[name] = np.asarray(network(x), dtype=np.float64)
        for kind, layers in IMAGE_KINDS.items():
            for width in (0, 4):
                network = network_of(
                    layers, width=width, image=(8, 8, 3), runtime={"precision": precision}
                )
                name = f"{kind}-{width}-{precision}"
                save_network(network, tmp_path / f"{name}.keras")
                given = {"image": images, "features": x["features"]} if width else images
                expected[name] = np.asarray(network(given), dtype=np.float64)
    network = network_of(
        EVERY_KIND["dense"], width=4, head="softmax", outputs=3, prior=[0.2, 0.3, 0.5]
    )
    assert type(network) is keras.Sequential
    save_network(network, tmp_path / "softmax.keras")
    expected["softmax"] = np.asarray(network(x["features"]), dtype=np.float64)
    subprocess.run([sys.executable, "-c", LOADER, str(tmp_path)], check=True, cwd=tmp_path)
    predictions = json.loads((tmp_path / "predictions.json").read_text())
    assert set(predictions) == set(expected)
    for name, prediction in expected.items():
        np.testing.assert_array_equal(np.array(predictions[name]), prediction, err_msg=name)


def test_ids_select_rows_of_the_embedding_tables(network_of: Maker) -> None:
    x = inputs()
    network = network_of([], embeddings=EMBEDDINGS, runtime={"precision": "mixed_float16"})
    block = network.get_layer("embeddings")
    first, second = (block.get_layer(f"embedding_{i}").get_weights()[0] for i in range(2))
    ids = x["categories"]
    expected = np.hstack([x["features"], first[ids[:, 0]], second[ids[:, 1]]])
    np.testing.assert_array_equal(np.asarray(block(x)), expected)


def test_input_with_only_ids(network_of: Maker) -> None:
    network = network_of([], width=2, embeddings=[(5, 2), (3, 4)])
    assert type(network) is keras.Sequential
    assert network.inputs[0].dtype == "int32"
    assert network.get_layer("embeddings").output.shape == (None, 6)
    network = network_of([], width=1, embeddings=[(5, 2)])
    assert network.get_layer("embeddings").output.shape == (None, 2)


def test_weights_depend_on_the_seed(network_of: Maker) -> None:
    layers = [{"dense": 5}, {"dropout": 0.2}, {"dense": 5}, "batch_normalization"]
    first = network_of(layers, embeddings=EMBEDDINGS, seed=4)
    same = network_of(layers, embeddings=EMBEDDINGS, seed=4)
    other = network_of(layers, embeddings=EMBEDDINGS, seed=5)
    assert weights_sha256(first) == weights_sha256(same)
    assert weights_sha256(first) != weights_sha256(other)
    kernels = [w for w in first.get_weights() if w.ndim == 2]
    others = [w for w in other.get_weights() if w.ndim == 2]
    assert all((a != b).any() for a, b in zip(kernels, others, strict=True))


def test_network_does_not_depend_on_earlier_ones(network_of: Maker) -> None:
    layers = [
        {"dense": 6},
        "layer_normalization",
        {"reshape": [3, 2]},
        "flatten",
        {"dense": 2},
        {"activation": "relu"},
        {"gaussian_noise": 0.1},
    ]
    first = network_of(layers, embeddings=EMBEDDINGS)
    network_of([{"dense": 3}], embeddings=EMBEDDINGS)
    keras.utils.set_random_seed(99)
    same = network_of(layers, embeddings=EMBEDDINGS)
    assert first.get_config() == same.get_config()
    assert [w.path for w in first.weights] == [w.path for w in same.weights]
    assert weights_sha256(first) == weights_sha256(same)


def test_dropout_depends_on_the_seed(network_of: Maker) -> None:
    x = inputs()
    layers = [{"dense": 50}, {"dropout": 0.5}, {"gaussian_noise": 0.5}]
    first, same, other = (
        network_of(layers, embeddings=EMBEDDINGS, seed=seed) for seed in (1, 1, 2)
    )
    drawn = np.asarray(first(x, training=True))
    np.testing.assert_array_equal(drawn, np.asarray(same(x, training=True)))
    assert (drawn != np.asarray(first(x, training=True))).any()
    assert first.get_layer("dropout").seed != other.get_layer("dropout").seed
    assert first.get_layer("dropout").seed != first.get_layer("gaussian_noise").seed


def test_dropout_does_not_change_initial_weights(network_of: Maker) -> None:
    without = network_of([{"dense": 5}, {"dense": 4}])
    with_it = network_of([{"dense": 5}, {"dropout": 0.1}, {"dense": 4}])
    assert weights_sha256(without) == weights_sha256(with_it)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precision_is_the_dtype_policy_of_hidden_layers(network_of: Maker, precision: str) -> None:
    layers = [{"dense": 5}, {"dropout": 0.1}, "batch_normalization", {"activation": "relu"}]
    network = network_of(layers, embeddings=EMBEDDINGS, runtime={"precision": precision})
    for name in ("dense", "dropout", "batch_normalization", "activation"):
        assert network.get_layer(name).dtype_policy.name == precision
    assert network.layers[-1].dtype_policy.name == "float32"
    assert network(inputs()).dtype == "float32"
    assert all(weight.dtype == "float32" for weight in network.weights)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("head", "outputs", "prior", "start"),
    [
        ("sigmoid", 1, [0.3], [0.3]),
        ("sigmoid", 3, [0.3, 0.0, 1.0], [0.3, 0.0, 1.0]),
        ("softmax", 2, [0.3], [0.7, 0.3]),
        ("softmax", 3, [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]),
        ("linear", 2, [-3.0, 40.0], [-3.0, 40.0]),
    ],
)
def test_zero_input_predicts_the_prior(
    network_of: Maker, head: str, outputs: int, prior: list[float], start: list[float]
) -> None:
    network = network_of([{"dense": 4}], head=head, outputs=outputs, prior=prior)
    np.testing.assert_allclose(np.asarray(network(np.zeros((1, 6))))[0], start, atol=2e-6)
    zeros = network_of([], head=head, outputs=outputs, prior=prior, model={"output_bias": "zeros"})
    assert not zeros.layers[-1].bias.numpy().any()


def test_prior_of_the_wrong_length_is_rejected() -> None:
    with pytest.raises(AssertionError):
        prior_bias("sigmoid", 2, [0.5])


def test_head_settings(network_of: Maker) -> None:
    network = network_of(
        [],
        model={"head_initializer": {"constant": 0.25}, "head_regularizer": {"l1": 1.0, "l2": 2.0}},
    )
    head = network.layers[-1]
    assert (head.kernel.numpy() == 0.25).all()
    (penalty,) = network.losses
    assert float(penalty) == pytest.approx(6 * (0.25 + 2 * 0.25**2))


def test_network_is_not_compiled(network_of: Maker) -> None:
    network = network_of([])
    assert network.built
    assert not network.compiled
    assert network.name == "network"


def test_shape_mismatch_is_a_config_error(network_of: Maker) -> None:
    with pytest.raises(ConfigError) as caught:
        network_of([{"reshape": [4, 2]}])
    assert caught.value.problems[0].key == "model.layers.0.reshape.shape"


def test_custom_layer_with_two_output_axes(network_of: Maker, tmp_path: Path) -> None:
    (tmp_path / "user_axes.py").write_text(
        "import keras\ndef fold():\n    return keras.layers.Reshape((2, 3))\n"
        "def broken():\n    return keras.layers.Conv2D(3, 2)\n"
    )
    for function, word in [("fold", "output shape"), ("broken", "ValueError")]:
        with pytest.raises(ConfigError) as caught:
            network_of([{"custom": f"user_axes:{function}"}], allow_custom=True, base=tmp_path)
        (problem,) = caught.value.problems
        assert problem.key == "model.layers.0.custom"
        assert word in problem.found
    network = network_of(
        [{"custom": "user_axes:fold"}, "flatten"], allow_custom=True, base=tmp_path
    )
    assert [layer.name for layer in network.layers] == ["custom", "flatten", "head"]


def test_custom_layer_without_seeds_depends_on_the_config_seed(
    network_of: Maker, tmp_path: Path
) -> None:
    (tmp_path / "user_random.py").write_text(
        """
import keras

class Mixed(keras.layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1],), initializer="random_normal")
        self.built = True
    def call(self, x):
        return x * self.kernel

def make():
    return Mixed()

def drop():
    return keras.layers.Dropout(0.5)
"""
    )
    layers = [{"custom": "user_random:make"}, {"custom": "user_random:drop"}, {"dense": 3}]
    state = random.getstate()
    first, same, other = (
        network_of(layers, embeddings=EMBEDDINGS, seed=seed, allow_custom=True, base=tmp_path)
        for seed in (1, 1, 2)
    )
    assert random.getstate() == state
    assert weights_sha256(first) == weights_sha256(same)
    kernels = [network.get_layer("custom").get_weights()[0] for network in (first, other)]
    assert (kernels[0] != kernels[1]).any()
    drawn = [np.asarray(network(inputs(), training=True)) for network in (first, same)]
    np.testing.assert_array_equal(*drawn)


BLOCK = {"residual": {"layers": [{"dense": 4}, {"dropout": 0.5}]}}


@pytest.mark.parametrize(
    "sections",
    [{}, {"embeddings": [(3, 2), (4, 2)]}, {"image": (4, 4, 1)}],
    ids=["one input", "embeddings", "image"],
)
def test_saved_network_shares_layers_with_the_compiled_one(
    network_of: Maker, tmp_path: Path, sections: dict[str, Any]
) -> None:
    layers = ["flatten"] * ("image" in sections) + [{"dense": 4}, {"dropout": 0.5}, BLOCK]
    trained = network_of(layers, compiled=True, **sections)
    saved = network_of(layers, shared=trained, **sections)
    assert saved.get_layer("dense") is trained.get_layer("dense")
    assert saved.get_layer("head") is trained.get_layer("head")
    assert type(saved.get_layer("dropout")) is keras.layers.Dropout
    save_network(saved, tmp_path / "shared.keras")
    save_network(network_of(layers, **sections), tmp_path / "own.keras")
    assert (tmp_path / "shared.keras").read_bytes() == (tmp_path / "own.keras").read_bytes()
