from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

from tests.models.pretrained.networks import small_network
from trainer.models.pretrained.keras_config import (
    describe_config,
    read_keras_config,
)
from trainer.models.pretrained.weights_error import WeightsError


@pytest.fixture(scope="module", params=["net.keras", "net.h5"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / str(request.param)
    small_network().save(path)
    return path


def test_the_output_layer_is_left_out(saved: Path) -> None:
    found = describe_config(read_keras_config(saved), None)
    assert (found.layer, found.channels, found.image) == ("dropout", 8, (12, 12, 3))


@pytest.mark.parametrize(
    ("layer", "channels"), [("conv", 4), ("add", 4), ("both", 8), ("classes", 3)]
)
def test_another_layer(saved: Path, layer: str, channels: int) -> None:
    assert describe_config(read_keras_config(saved), layer).channels == channels


def test_a_layer_that_is_not_there(saved: Path) -> None:
    with pytest.raises(WeightsError, match="'block5'") as caught:
        describe_config(read_keras_config(saved), "block5")
    assert "dropout, classes" in caught.value.expected


def test_a_sequential_network(tmp_path: Path) -> None:
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            layers.Conv2D(5, 3),
            layers.MaxPooling2D(),
            layers.GlobalMaxPooling2D(),
            layers.Dense(2),
            layers.Activation("softmax"),
        ]
    )
    network.save(tmp_path / "net.keras")
    found = describe_config(read_keras_config(tmp_path / "net.keras"), None)
    assert (found.layer, found.channels) == (network.layers[2].name, 5)
    assert found.image == (None, None, 1)


def test_a_network_in_a_network(tmp_path: Path) -> None:
    inner = small_network()
    start = keras.Input((12, 12, 3))
    keras.Model(start, inner(start)).save(tmp_path / "net.keras")
    config = read_keras_config(tmp_path / "net.keras", inner.name)
    assert describe_config(config, None).channels == 8


def test_channels_that_do_not_follow(tmp_path: Path) -> None:
    layers = [keras.Input((4, 4, 3)), keras.layers.Flatten(name="flat"), keras.layers.Dense(2)]
    keras.Sequential(layers).save(tmp_path / "net.keras")
    with pytest.raises(WeightsError, match="Flatten 'flat'"):
        describe_config(read_keras_config(tmp_path / "net.keras"), None)


def _hostile(config: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    change(config["config"]["layers"][1])
    return config


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "Lambda": lambda layer: layer.update(class_name="Lambda"),
    "TFSMLayer": lambda layer: layer.update(class_name="TFSMLayer"),
    "another module": lambda layer: layer.update(module="os"),
    "a registered class": lambda layer: layer.update(registered_name="package>Conv2D"),
    "a function": lambda layer: layer["config"].update(
        activation={"class_name": "function", "config": "system", "module": "os"}
    ),
    "a lambda": lambda layer: layer["config"].update(
        activation={"class_name": "__lambda__", "config": {"value": "abc"}}
    ),
    "a name that is not text": lambda layer: layer.update(class_name=["Conv2D"]),
    "an initializer": lambda layer: layer["config"].update(
        kernel_initializer={"class_name": "Popen", "module": "subprocess", "config": {}}
    ),
}


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archived") / "net.keras"
    small_network().save(path)
    return path


@pytest.mark.parametrize("name", CHANGES)
def test_classes_and_functions_that_are_not_layers(
    name: str, archived: Path, tmp_path: Path
) -> None:
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(archived) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    config = _hostile(json.loads(members["config.json"]), CHANGES[name])
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    with pytest.raises(WeightsError) as caught:
        read_keras_config(path)
    assert "Keras's own" in caught.value.expected


def test_unsafe_and_damaged_archives(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    for content in (b"", b"\x89HDF\r\n\x1a\n", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(WeightsError):
            read_keras_config(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", " " * 100_000)
    with pytest.raises(WeightsError):
        read_keras_config(path)
    for text in ("[" * 100_000, "{", "3"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", text)
        with pytest.raises(WeightsError):
            describe_config(read_keras_config(path), None)


def test_weights_without_a_network(tmp_path: Path) -> None:
    small_network().save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(WeightsError) as caught:
        read_keras_config(tmp_path / "net.weights.h5")
    assert "model.pretrained.architecture" in caught.value.fix
