import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import Problem, RunError
from trainer.runs.machine import GitState, processor_name
from trainer.runs.manifest import (
    DataFile,
    Manifest,
    Resumption,
    RollbackRecord,
    display_status,
    manifest_from_json,
    manifest_to_json,
    new_manifest,
    read_manifest,
    write_manifest,
)
from trainer.runs.process import this_process

NOW = datetime(2026, 11, 22, 14, 15, 30, 123456, tzinfo=UTC)


RESUMED = Resumption(
    at=NOW + timedelta(seconds=1),
    command=("trainer", "resume", "fit.epochs=+20"),
    epoch=2,
    step=20,
    checkpoint="last-1",
    changes={"fit.epochs": "10 → 30"},
    differences=("numpy 2.0 → 2.1",),
)


def new(tmp_path: Path) -> Manifest:
    return new_manifest(
        name="wine", command=["trainer", "fit"], seed=7, config_directory=tmp_path, now=NOW
    )


def full(tmp_path: Path) -> Manifest:
    manifest = replace(
        new(tmp_path),
        git=GitState("abc", dirty=None),
        device="CPU",
        engine="streaming",
        threads=2,
        task="binary",
        parameters=100,
        data=(DataFile("data/x.csv", 10, 3, "ff"),),
        splits={"train": 2, "test": 1},
        dropped={"missing target": 1},
        epochs=3,
        best_epoch=2,
        stopped_because="all epochs done",
        weights_sha256="ee",
        rollbacks=(RollbackRecord(2, 20, 5e-4),),
    )
    manifest = manifest.with_resumption(RESUMED, manifest.process)
    manifest = manifest.with_timing("read", 0.5).with_timing("train", 2.0).with_timing("read", 0.5)
    manifest = manifest.with_warnings("a", "b").with_warnings("b", "c")
    problem = Problem("epoch 3", "a finite loss", "nan", "lower it", "optimizer.learning_rate")
    return manifest.with_end("failed", NOW + timedelta(seconds=5), [problem])


def test_new_manifest_describes_the_machine(tmp_path: Path) -> None:
    manifest = new(tmp_path)
    assert manifest.status == "running"
    assert manifest.process == this_process()
    assert manifest.packages["numpy"]
    assert manifest.python.startswith("3.")
    assert manifest.processor == processor_name()
    assert manifest.started == manifest.heartbeat == NOW


def test_updated_copies(tmp_path: Path) -> None:
    manifest = full(tmp_path)
    assert manifest.timings == {"read": 1.0, "train": 2.0}
    assert manifest.warnings == ("a", "b", "c")
    assert manifest.ended == NOW + timedelta(seconds=5)
    later = NOW + timedelta(hours=1)
    assert new(tmp_path).with_heartbeat(later).heartbeat == later
    again = Resumption(later, ("trainer", "resume"), 3, 30, "last")
    resumed = manifest.with_resumption(again, this_process())
    assert resumed.status == "running"
    assert resumed.command == ("trainer", "fit")
    assert resumed.resumptions == (RESUMED, again)
    assert (resumed.started, resumed.heartbeat) == (NOW, later)
    assert (resumed.ended, resumed.problems, resumed.stopped_because) == (None, (), None)


def test_written_manifest_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for manifest in (new(tmp_path), full(tmp_path)):
        write_manifest(path, manifest)
        assert read_manifest(path) == manifest
    value = json.loads(path.read_text())
    assert value["status"] == "failed"
    assert value["started"] == "2026-11-22T14:15:30.123456+00:00"
    assert value["problems"][0]["key"] == "optimizer.learning_rate"


def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    value = manifest_to_json(full(tmp_path)) | {"something": "new"}
    assert manifest_from_json(json.loads(json.dumps(value, default=str)), tmp_path)


def test_other_format_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text('{"format": 99}')
    with pytest.raises(RunError, match="the version of trainer that wrote it") as raised:
        read_manifest(path)
    assert raised.value.problems[0].where == str(path)


WRONG: dict[str, Any] = {
    "command": "fit",
    "seed": -1,
    "started": "yesterday",
    "status": "paused",
    "process": {"pid": 1},
    "packages": [],
    "git": {"commit": 1, "dirty": None},
    "data": [{"path": "x", "bytes": 1.5, "rows": 1, "sha256": ""}],
    "initial_weights": [{"setting": "fit.warm_start", "path": 1, "sha256": ""}],
    "splits": {"train": True},
    "best_epoch": "2",
    "problems": [1],
    "timings": {"train": 10**400},
    "processor": 7,
    "resumptions": [{"at": "2026-11-22T14:15:30+00:00"}],
    "rollbacks": [{"epoch": 1, "step": 2, "learning_rate": None}],
}
DEFAULTS: dict[str, Any] = {
    "processor": "",
    "initial_weights": (),
    "resumptions": (),
    "rollbacks": (),
}
"""Values of fields that earlier versions did not write."""


@pytest.mark.parametrize("name", [item.name for item in fields(Manifest)])
def test_damaged_field_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "manifest.json"
    write_manifest(path, full(tmp_path))
    value = json.loads(path.read_text())
    wrong = WRONG.get(name, {"x": [1]})
    without = {key: value[key] for key in value if key != name}
    if name in DEFAULTS:
        assert manifest_from_json(without, path) == replace(
            full(tmp_path), **{name: DEFAULTS[name]}
        )
        without[name] = None
    for damaged in ({**value, name: wrong}, without):
        path.write_text(json.dumps(damaged))
        with pytest.raises(RunError) as raised:
            read_manifest(path)
        (problem,) = raised.value.problems
        assert problem.where == str(path)
        assert f"'{name}'" in problem.expected
        assert problem.fix


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\x00", "[" * 100_000])
def test_file_that_is_not_a_manifest(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(RunError) as raised:
        read_manifest(path)
    assert raised.value.problems[0].where == str(path)
    assert raised.value.exit_code == 2


def test_run_without_a_live_process_is_dead(tmp_path: Path) -> None:
    current = this_process()
    running = new(tmp_path)
    late = NOW + timedelta(days=1)
    assert display_status(running, late, current) == "running"
    gone = replace(running, process=replace(current, pid=2**80))
    assert display_status(gone, NOW, current) == "dead"
    assert display_status(gone.with_end("stopped", NOW), late, current) == "stopped"


def test_run_on_another_host_is_dead_without_heartbeats(tmp_path: Path) -> None:
    current = this_process()
    elsewhere = replace(new(tmp_path), process=replace(current, host="elsewhere"))
    assert display_status(elsewhere, NOW + timedelta(seconds=60), current) == "running"
    late = NOW + timedelta(seconds=61)
    assert display_status(elsewhere, late, current) == "dead"
    assert display_status(elsewhere, late, current, NOW + timedelta(seconds=30)) == "running"
    assert display_status(elsewhere, late, current, NOW - timedelta(days=1)) == "dead"
