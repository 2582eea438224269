from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.models.pretrained import torch_writer
from tests.models.pretrained.networks import small_network
from trainer.config.pretrained import Pretrained
from trainer.errors import ConfigError
from trainer.models.pretrained.applications import application_shapes
from trainer.models.pretrained.architectures import ARCHITECTURES
from trainer.models.pretrained.contents import check_weights
from trainer.models.pretrained.description import describe_base
from trainer.models.pretrained.lite_layout import lite_modules

LITE = "efficientnet_lite0"
IMAGE = (32, 32, 3)


def checked(file: Path, architecture: str | None, image: tuple[int, ...] = IMAGE) -> None:
    settings = Pretrained.model_validate({"file": str(file), "architecture": architecture})
    check_weights(describe_base(settings, image))


def found(file: Path, architecture: str | None, image: tuple[int, ...] = IMAGE) -> str:
    """Return what is found instead of weights that can be used."""
    with pytest.raises(ConfigError) as caught:
        checked(file, architecture, image)
    (problem,) = caught.value.problems
    assert problem.key == "model.pretrained"
    return problem.found


def lite_arrays(*, timm: bool = False) -> dict[str, np.ndarray]:
    scale = ARCHITECTURES[LITE].lite
    return {
        f"{module.name}.{part}": np.zeros(module.shape, np.float16)
        for module in lite_modules(scale, timm=timm)
        for part in module.parts
    }


def write_torch(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    torch_writer.write_zip(path, torch_writer.state_dict(arrays))


@pytest.mark.parametrize("timm", [False, True])
def test_weights_of_an_architecture(timm: bool, tmp_path: Path) -> None:
    file = tmp_path / "lite.pth"
    write_torch(file, lite_arrays(timm=timm))
    checked(file, LITE)
    # Lite1 has more blocks: names are missing, or blocks of one number have other shapes.
    expected = "none named 'blocks.1.2.conv_pw" if timm else "shape (144, 1, 5, 5)"
    assert expected in found(file, "efficientnet_lite1")


@pytest.mark.parametrize(
    ("change", "mentions"),
    [
        (lambda arrays: arrays.pop("_bn0.bias"), "none named '_bn0.bias'"),
        (lambda arrays: arrays.update(more=np.zeros(3, np.float32)), "'more'"),
        (
            lambda arrays: arrays.update({"_conv_stem.weight": np.zeros((32, 1, 3, 3), "f2")}),
            "shape (32, 1, 3, 3) of '_conv_stem'",
        ),
    ],
)
def test_weights_of_another_network(
    change: Callable[[Any], Any], mentions: str, tmp_path: Path
) -> None:
    arrays = lite_arrays()
    change(arrays)
    write_torch(tmp_path / "lite.pth", arrays)
    assert mentions in found(tmp_path / "lite.pth", LITE)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.99, 0.99999])
def test_a_truncated_file_of_pytorch(share: float, tmp_path: Path) -> None:
    file = tmp_path / "lite.pth"
    write_torch(file, lite_arrays())
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert found(file, LITE)


def write_application(path: Path, shapes: Mapping[str, list[tuple[int, ...]]]) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = list(shapes)
        for name, weights in shapes.items():
            group = file.create_group(name)
            names = [f"{name}/{index}" for index in range(len(weights))]
            group.attrs["weight_names"] = names
            for weight, shape in zip(names, weights, strict=True):
                group.create_dataset(weight, shape, "f2")


def test_weights_of_keras_applications(tmp_path: Path) -> None:
    file = tmp_path / "net.h5"
    shapes = application_shapes("MobileNetV2")
    write_application(file, shapes)
    checked(file, "mobilenet_v2")
    assert found(file, "resnet50_v2") == f"no layer 'conv1_conv' in {file}"
    write_application(file, {**shapes, "Conv_1": [(1, 1, 320, 640)]})
    assert "other shapes in 'Conv_1'" in found(file, "mobilenet_v2")
    with h5py.File(file, "a") as opened:
        del opened["Conv1"]
        opened["Conv1"] = h5py.ExternalLink("other.h5", "/a")
    assert "a link 'Conv1'" in found(file, "mobilenet_v2")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert "a damaged HDF5 file" in found(file, "mobilenet_v2")


def test_the_wrong_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "net.h5").write_bytes(b"weights")
    (tmp_path / "net.pth").write_bytes(b"weights")
    assert "a .h5 file" in found(tmp_path / "net.h5", LITE)
    assert "a .pth file" in found(tmp_path / "net.pth", "mobilenet_v2")


def test_a_whole_network_whose_weights_are_damaged(tmp_path: Path) -> None:
    file = tmp_path / "net.keras"
    small_network().save(file)
    checked(file, None, (12, 12, 3))
    with zipfile.ZipFile(file) as archive:
        member = archive.getinfo("model.weights.h5")
        others = {
            name: archive.read(name) for name in archive.namelist() if name != member.filename
        }
    content = bytearray(file.read_bytes())
    content[member.header_offset + member.file_size // 2] ^= 0xFF
    file.write_bytes(content)
    assert "a damaged model.weights.h5" in found(file, None, (12, 12, 3))
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in others.items():
            archive.writestr(name, text)
    assert "without model.weights.h5" in found(file, None, (12, 12, 3))
