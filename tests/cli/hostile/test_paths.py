"""Run directories whose files point outside, and pipes in place of files."""

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
    LISTED,
    READERS,
    check_readers,
    checkpoints,
    reseal,
    zip_of,
)
from tests.cli.processes import HANGING_SECONDS

PATHS_OUTSIDE = (
    "../../../escaped",
    "/tmp/escaped-from-a-run",
    "a/../../escaped",
    "..\\escaped",
    "C:escaped",
)


@pytest.mark.parametrize("file", ["model.keras", "state.npz"])
def test_archive_members_outside(file: str, run: Path, trainer: Callable) -> None:
    for checkpoint in checkpoints(run):
        with zipfile.ZipFile(checkpoint / file) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        members |= dict.fromkeys(PATHS_OUTSIDE, b"x")
        (checkpoint / file).write_bytes(zip_of(members))
        reseal(checkpoint)
    before = set(run.parent.rglob("*"))
    check_readers(trainer, LISTED)
    assert set(run.parent.rglob("*")) == before
    assert not Path("/tmp/escaped-from-a-run").exists()


@pytest.mark.parametrize("name", ["../../../table.csv", ""])
def test_names_of_files_outside(name: str, run: Path, trainer: Callable) -> None:
    def add_name(metadata: dict[str, Any]) -> None:
        metadata["files"][name] = {"sha256": "0" * 64, "bytes": 1}

    for checkpoint in checkpoints(run):
        reseal(checkpoint, add_name)
    check_readers(trainer, LISTED)


def each_name(names: str, slow: str) -> pytest.MarkDecorator:
    """Run a test with each name; those of `slow` are slow."""
    return pytest.mark.parametrize(
        "name",
        [*names.split(), *(pytest.param(name, marks=pytest.mark.slow) for name in slow.split())],
    )


@each_name(
    "manifest.json checkpoints/last",
    "metrics.jsonl evaluation lock config.yaml timing.jsonl preprocessing.json splits.parquet "
    "checkpoints/last/state.npz checkpoints/best/model.keras checkpoints/best checkpoints "
    "evaluation/test.json predictions predictions/test.parquet decisions.json findings.json report.html",
)
def test_links_to_outside_are_not_written_through(name: str, run: Path, trainer: Callable) -> None:
    """Whether such a run is refused or not, the target of the link does not change."""
    outside = run.parent.absolute() / "outside"
    if not (run / name).exists():
        outside.write_text("{}")
    else:
        shutil.move(run / name, outside)
    (run / name).symlink_to(outside)
    before = {path: path.read_bytes() for path in (outside, *outside.rglob("*")) if path.is_file()}
    any_code = {0, 2, 3}
    check_readers(trainer, {"eval": any_code, "resume": any_code}, only=("eval", "resume"))
    if name in ("decisions.json", "findings.json", "report.html"):
        trainer("report", "run")
        trainer("resume", "run", "fit.epochs=+1", "evaluate.report=true")
    after = {path: path.read_bytes() for path in (outside, *outside.rglob("*")) if path.is_file()}
    assert after == before


def test_link_to_a_run_is_a_run(run: Path, trainer: Callable) -> None:
    outside = run.parent.absolute() / "outside"
    run.rename(outside)
    run.symlink_to(outside)
    assert trainer("eval", "run").code == 0


@each_name(
    "manifest.json checkpoints/last/state.npz",
    "metrics.jsonl evaluation/test.json lock config.yaml preprocessing.json splits.parquet "
    "timing.jsonl checkpoints/last/checkpoint.json decisions.json findings.json "
    "predictions/test.parquet",
)
def test_pipe_in_place_of_a_file_does_not_block(name: str, run: Path, trainer: Callable) -> None:
    path = run / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    for command in ("show", "ls", "eval", "resume"):
        with fail_if_blocked():
            result = trainer(*READERS[command])
        assert result.code in (0, 2, 3), (command, result)
        assert "Traceback" not in result.err, (command, result)


@contextmanager
def fail_if_blocked() -> Iterator[None]:
    """Fail the test, rather than wait forever, where a pipe is opened."""

    def fail(number: int, frame: object) -> None:
        pytest.fail("the command is blocked")

    former = signal.signal(signal.SIGALRM, fail)
    signal.alarm(HANGING_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
