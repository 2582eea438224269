"""Differences between the manifest of a run and that of its resumption."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainer.runs.manifest import DataFile, Manifest, new_manifest
from trainer.runs.manifest_differences import (
    data_differences,
    device_differences,
    machine_differences,
)

FILE = DataFile("x.csv", 10, 3, "aa")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    new = new_manifest(name="x", command=[], seed=1, config_directory=tmp_path, now=now)
    packages = {"keras": "3.1", "numpy": "2.0"}
    return replace(new, data=(FILE,), packages=packages, device="CPU", threads=1)


def test_equal_manifests_have_no_differences(manifest: Manifest) -> None:
    for differences in (data_differences, machine_differences, device_differences):
        assert list(differences(manifest, replace(manifest, epochs=3))) == []


def test_changed_data_files(manifest: Manifest) -> None:
    changed = replace(manifest, data=(replace(FILE, rows=4, sha256="bb"),))
    (problem,) = data_differences(manifest, changed)
    assert (problem.where, problem.found) == ("x.csv", "4 rows, bb…")
    assert problem.expected == "unchanged content: 3 rows, SHA-256 aa…"
    other = replace(manifest, data=(replace(FILE, path="y.csv"),))
    removed, added = data_differences(manifest, other)
    assert (removed.where, removed.found) == ("x.csv", "it is no longer used")
    assert (added.where, added.found) == ("y.csv", "an additional file")


def test_changed_packages(manifest: Manifest) -> None:
    packages = {"keras": "3.2", "scipy": "1.0"}
    problems = machine_differences(manifest, replace(manifest, packages=packages, python="3.9"))
    assert [(problem.where, problem.found) for problem in problems] == [
        ("keras", "3.2"),
        ("numpy", "none"),
        ("python", "3.9"),
        ("scipy", "1.0"),
    ]


def test_changed_device(manifest: Manifest) -> None:
    (problem,) = device_differences(manifest, replace(manifest, threads=2))
    assert (problem.where, problem.found) == ("device", "CPU, 2 threads")
    assert problem.expected == "CPU, 1 thread, as in the run so far"
