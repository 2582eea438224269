"""Every kind of layer, with every setting, computes in ONNX Runtime what it computes in Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import onnxruntime
import pytest

from tests.export.untrained import randomize
from tests.marks import slow_except
from tests.models.test_layers import BEFORE, OTHER, START
from trainer.config.layers.settings import Activation
from trainer.config.schema import Config
from trainer.export.keras_files import read_network
from trainer.export.onnx_activations import ACTIVATIONS, activate
from trainer.export.onnx_graph import Graph, Tensor
from trainer.export.onnx_network import add_layers
from trainer.inputs import FEATURES, IMAGE, InputSpec
from trainer.models.network import build_network
from trainer.models.saving import save_network
from trainer.models.summary import NetworkShape

SHAPE = (6, 6, 4)
QUICK = ("conv2d", "residual", "group_normalization")


def build(layers: list[Any], shape: tuple[int, ...]) -> Any:
    name, dtype = (IMAGE, "uint8") if len(shape) == 3 else (FEATURES, "float32")
    config = Config.model_validate(
        {"data": {"source": "x.csv", "target": "y"}, "model": {"layers": layers}}
    )
    network_shape = NetworkShape((InputSpec(name, shape, dtype),), (), "linear", 3)  # type: ignore[arg-type]
    network = build_network(config, network_shape, (0.0, 0.0, 0.0), allow_custom=False, base=Path())
    randomize(network, 1)
    return network


def run_onnx(network: Any, x: np.ndarray[Any, Any], folder: Path) -> np.ndarray[Any, Any]:
    save_network(network, folder / "model.keras")
    graph = Graph([])
    shape = x.shape[1:]
    graph.input("x", str(x.dtype), shape)
    start = Tensor(graph.cast("x", "float32"), shape)
    output = add_layers(graph, read_network(folder / "model.keras"), {"input": lambda: start})
    graph.output(output.name, "y", "float32", output.shape, "")
    content = graph.model("test", "", "0", {}).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert output.shape == (3,)
    return session.run(None, {"x": x})[0]


def assert_same(layers: list[Any], folder: Path, shape: tuple[int, ...] = SHAPE) -> None:
    network = build(layers, shape)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (5, *shape), np.uint8)
    if len(shape) == 1:
        x = rng.normal(size=(5, *shape)).astype(np.float32)
    expected = np.asarray(network(x))
    np.testing.assert_allclose(run_onnx(network, x, folder), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", slow_except(QUICK, OTHER))
def test_every_kind_of_layer(kind: str, tmp_path: Path) -> None:
    before = BEFORE.get(kind, [])
    for settings in (OTHER[kind], START.get(kind, {})):
        # Keras has no strides with dilation.
        used = {name: value for name, value in settings.items() if name != "dilation_rate"}
        assert_same([*before, {kind: used}, "flatten"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layer",
    [
        {"conv2d_transpose": {"filters": 3, "kernel_size": 2, "strides": 3}},
        {"conv2d_transpose": {"filters": 3, "kernel_size": 4, "strides": 2, "padding": "same"}},
        {"conv2d_transpose": {"filters": 3, "kernel_size": 5, "strides": 2}},
        {"conv2d": {"filters": 3, "kernel_size": 3, "padding": "same", "dilation_rate": 2}},
        {"conv2d": {"filters": 3, "kernel_size": 2, "padding": "same", "strides": 2,
                    "activation": "softmax"}},
        {"max_pool2d": {"pool_size": 2, "strides": 3, "padding": "same"}},
        {"up_sampling2d": {"size": 2, "interpolation": "nearest"}},
    ],
)  # fmt: skip
def test_windows(layer: Any, tmp_path: Path) -> None:
    assert_same([layer, "flatten"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_recurrent_layers(kind: str, bidirectional: bool, sequences: bool, tmp_path: Path) -> None:
    layer = {kind: {"units": 3, "bidirectional": bidirectional, "return_sequences": sequences}}
    assert_same([{"reshape": [-1, 4]}, layer, "flatten"], tmp_path)


def test_every_activation(tmp_path: Path) -> None:
    x = np.linspace(-9, 9, 40, dtype=np.float32).reshape(5, 8)
    graph = Graph([])
    graph.input("x", "float32", [8])
    names = [*get_args(Activation)]
    for name in names:
        graph.output(activate(graph, name, "x"), name, "float32", [8], "")
    content = graph.model("test", "", "0", {}).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for name, values in zip(names, session.run(None, {"x": x}), strict=True):
        expected = np.asarray(keras.activations.get(name)(keras.ops.convert_to_tensor(x)))
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=2e-6, err_msg=name)
    assert set(names) <= set(ACTIVATIONS)


def test_weights_are_those_of_keras(tmp_path: Path) -> None:
    layers = [
        "batch_normalization",
        {"reshape": [-1, 4]},
        {"gru": {"units": 3, "bidirectional": True}},
    ]
    network = build(["learned_scale", {"conv2d": 2}, {"separable_conv2d": 4}, *layers], SHAPE)
    save_network(network, tmp_path / "model.keras")
    read = read_network(tmp_path / "model.keras")
    arrays = [array for layer in read.layers() for array in layer.weights]
    expected = {weight.tobytes() for weight in network.get_weights()}
    assert {array.tobytes() for array in arrays} == expected
