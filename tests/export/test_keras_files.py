"""Files of networks that were not written by Keras are refused, whatever is in them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from trainer.errors import RunError
from trainer.export.keras_files import read_network

INPUT = {"class_name": "InputLayer", "config": {"batch_shape": [None, 2], "dtype": "float32",
                                                "name": "input"}}  # fmt: skip
DENSE = {"class_name": "Dense", "config": {"name": "head", "activation": "linear"}}
NETWORK = {"class_name": "Sequential", "config": {"layers": [INPUT, DENSE]}}


def write(path: Path, config: Any, fill: Callable[[Any], None]) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        fill(file.create_group("layers/dense/vars"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.write(path.with_suffix(".h5"), "model.weights.h5")
    return path


def good(group: Any) -> None:
    group["0"], group["1"] = np.ones((2, 1), np.float32), np.zeros(1, np.float32)


def external_link(group: Any) -> None:
    group["0"] = h5py.ExternalLink("/etc/passwd", "/")


def sparse(group: Any) -> None:
    group.create_dataset("0", (1 << 20, 1 << 20), np.float32, chunks=(1 << 10, 1 << 10))


def group_of_groups(group: Any) -> None:
    group.create_group("0")


def test_weights_and_inputs(tmp_path: Path) -> None:
    network = read_network(write(tmp_path / "model.keras", NETWORK, good))
    assert network.inputs == {"input": ((2,), "float32")}
    assert [weight.shape for weight in network.calls[0].layer.weights] == [(2, 1), (1,)]


@pytest.mark.parametrize("fill", [external_link, sparse, group_of_groups])
def test_weights_that_are_not_in_the_file(fill: Callable[[Any], None], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a network written by Keras, found a damaged one"):
        read_network(write(tmp_path / "model.keras", NETWORK, fill))


@pytest.mark.parametrize(
    "config",
    [
        [],
        {"class_name": "Lambda", "config": {"layers": []}},
        {"class_name": "Sequential", "config": {"layers": [DENSE]}},
        {"class_name": "Sequential", "config": {"layers": [INPUT, DENSE, DENSE]}},
        {"class_name": "Functional", "config": {"layers": [INPUT, {**DENSE, "inbound_nodes": [{}]}],
                                                "input_layers": [["input", 0, 0]]}},
    ],
)  # fmt: skip
def test_configs_of_another_form(config: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a network written by Keras, found a damaged one"):
        read_network(write(tmp_path / "model.keras", config, good))
