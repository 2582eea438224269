from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import StorageError
from trainer.models.saving import save_network
from trainer.runs.archives import check_archive
from trainer.runs.directory_versions import replace_directory

Maker = Callable[..., Any]
LAYERS = [{"dense": {"units": 8, "activation": "relu"}}, {"dropout": 0.5}, "batch_normalization"]


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"embeddings": [(3, 2), (4, 2)]},
        {"head": "softmax", "outputs": 3, "prior": [0.2, 0.3, 0.5]},
        {"runtime": {"precision": "mixed_bfloat16"}},
    ],
    ids=["plain", "embeddings", "softmax", "mixed"],
)
def test_equal_networks_give_equal_bytes(
    network_of: Maker, tmp_path: Path, sections: dict[str, Any]
) -> None:
    save_network(network_of(LAYERS, **sections), tmp_path / "a.keras")
    save_network(network_of(LAYERS, **sections), tmp_path / "b.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    network = network_of(LAYERS, **sections)
    network.weights[0].assign(network.weights[0] + 1)
    save_network(network, tmp_path / "b.keras")
    assert (tmp_path / "a.keras").read_bytes() != (tmp_path / "b.keras").read_bytes()


@pytest.mark.slow
@pytest.mark.slow
def test_another_process_writes_the_same_bytes(network_of: Maker, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from trainer.config.schema import Config
from trainer.inputs import InputSpec
from trainer.models.network import build_network
from trainer.models.saving import save_network
from trainer.models.summary import NetworkShape
data = {"source": "rows.csv", "target": "y"}
layers = [{"dense": {"units": 8, "activation": "relu"}}, {"dropout": 0.5}, "batch_normalization"]
config = Config.model_validate({"data": data, "model": {"layers": layers}, "seed": 0})
shape = NetworkShape((InputSpec("features", (6,), "float32"),), (), "sigmoid", 1)
build_network(config, shape, [0.5], allow_custom=False, base=Path())
network = build_network(config, shape, [0.5], allow_custom=False, base=Path())
save_network(network, Path(sys.argv[1]))
"""
    save_network(network_of(LAYERS), tmp_path / "this.keras")
    # At a later time, in another time zone and with another order of sets.
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tthis.keras")],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": "1", "TZ": "UTC-7"},
    )
    assert (tmp_path / "this.keras").read_bytes() == (tmp_path / "tthis.keras").read_bytes()


def test_file_is_an_archive_without_dates(network_of: Maker, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    save_network(network_of(LAYERS), path)
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["config.json", "metadata.json", "model.weights.h5"]
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert list(json.loads(archive.read("metadata.json"))) == ["keras_version"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_a_storage_error(network_of: Maker, tmp_path: Path) -> None:
    def write(directory: Path) -> None:
        (directory / "model.keras").symlink_to("/dev/full")
        save_network(network_of(LAYERS), directory / "model.keras")

    with pytest.raises(StorageError, match=errno.errorcode[errno.ENOSPC]):
        replace_directory(tmp_path / "best", write)
