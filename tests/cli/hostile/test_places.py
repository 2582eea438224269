"""Run directories that lead outside, and pipes in place of their files."""

from __future__ import annotations

import os
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.hostile.attack import (
    LOOKS,
    READERS,
    checkpoints,
    reseal,
    survive,
    zip_of,
)

OUTSIDE = (
    "../../../escaped",
    "/tmp/escaped-from-a-run",
    "a/../../escaped",
    "..\\escaped",
    "C:escaped",
)


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("file", ["model.keras", "state.npz"])
def test_members_that_lead_outside(name: str, file: str, run: Path, trainer: Callable) -> None:
    before = set(run.parent.rglob("*"))
    for checkpoint in checkpoints(run):
        with zipfile.ZipFile(checkpoint / file) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        (checkpoint / file).write_bytes(zip_of({**members, name: b"x"}))
        reseal(checkpoint)
    survive(trainer, LOOKS)
    assert set(run.parent.rglob("*")) == before
    assert not Path("/tmp/escaped-from-a-run").exists()


@pytest.mark.parametrize(
    "name", ["../../../table.csv", "/etc/hostname", "..", "", "a/b", "x" * 5000]
)
def test_names_of_files_that_lead_outside(name: str, run: Path, trainer: Callable) -> None:
    def lead_outside(facts: dict[str, Any]) -> None:
        facts["files"][name] = {"sha256": "0" * 64, "bytes": 1}

    for checkpoint in checkpoints(run):
        reseal(checkpoint, lead_outside)
    survive(trainer, LOOKS)


@pytest.mark.parametrize(
    "name",
    [
        "config.yaml",
        "manifest.json",
        "metrics.jsonl",
        "timing.jsonl",
        "preprocessing.json",
        "splits.parquet",
        "checkpoints/last/state.npz",
        "checkpoints/best/model.keras",
        "checkpoints/last",
        "checkpoints/best",
        "checkpoints",
        "evaluation",
        "evaluation/test.json",
        "predictions",
        "predictions/test.parquet",
        "decisions.json",
        "findings.json",
        "report.html",
        "lock",
        ".",
    ],
)
def test_links_that_lead_outside_are_not_written_through(
    name: str, run: Path, trainer: Callable
) -> None:
    """Whether such a run is refused or not: what it points to stays as it is."""
    outside = run.parent.absolute() / "outside"
    if name == ".":
        run.rename(outside)
        run.symlink_to(outside)
        assert trainer("eval", "run").code == 0  # a link that the user made to a run is a run
        return
    if not (run / name).exists():
        outside.write_text("{}")
    else:
        shutil.move(run / name, outside)
    (run / name).symlink_to(outside)
    before = {path: path.read_bytes() for path in (outside, *outside.rglob("*")) if path.is_file()}
    whatever = {0, 2, 3}
    survive(trainer, dict.fromkeys(READERS, whatever))
    after = {path: path.read_bytes() for path in (outside, *outside.rglob("*")) if path.is_file()}
    assert after == before


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "config.yaml", "preprocessing.json", "splits.parquet", "metrics.jsonl",
     "timing.jsonl", "checkpoints/last/state.npz", "checkpoints/last/checkpoint.json",
     "evaluation/test.json", "decisions.json", "findings.json", "predictions/test.parquet", "lock"],
)  # fmt: skip
def test_a_pipe_in_place_of_a_file_holds_nobody_up(name: str, run: Path, trainer: Callable) -> None:
    path = run / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    for verb in ("show", "ls", "eval", "resume"):
        with at_most(20):
            result = trainer(*READERS[verb])
        assert result.code in (0, 2, 3), (verb, result)
        assert "Traceback" not in result.err, (verb, result)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Within it, waiting longer fails the test."""

    def end(number: int, frame: object) -> None:
        pytest.fail(f"it took more than {seconds} s")

    former = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
