"""Disks that fill up, vanish or become read-only while a run is written.

The command ends with exit code 3 and a message that names the path and the fix. What was saved before
can be used, and once there is space again the resumed run writes the same bytes as an uninterrupted one.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.runs import SETTINGS, log_lines
from tests.kill.comparison import comparable_files
from trainer.engine import checkpoint_schedule

EACH_EPOCH = "fit.checkpoint.every=1 epochs"
FIT = ("fit", "good.yaml", *SETTINGS, EACH_EPOCH, "--quiet")
DISK = Path("disk")
RUNS = DISK / "runs"
MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def checkpoint_at_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are not postponed, however long writing one takes."""
    monkeypatch.setattr(checkpoint_schedule, "MAX_WRITING_FRACTION", 1e9)


@pytest.fixture
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of eight megabytes, mounted at `disk`."""
    DISK.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(DISK))
    yield
    subprocess.run(["umount", "--lazy", str(folder / DISK)], check=True)


def mount(*arguments: str) -> None:
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not permitted here")


def fill() -> Path:
    """Write a file that takes all the space of the disk."""
    path = DISK / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (MEGABYTE, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


def the_run() -> Path:
    (run,) = (RUNS / "good").iterdir()
    return run


def check_message(err: str, *expected: str) -> None:
    """Check that there is no traceback, and that each error names a fix."""
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert errors, err
    for text in expected:
        assert text in err
    assert all("; " in line for line in errors), errors


def check_usable(run: Path, trainer: Callable) -> None:
    """Check that what was saved before can be read."""
    assert trainer("show", run).code == 0
    (listed,) = map(json.loads, trainer("ls", run.parent, "--json").out.splitlines())
    # "running" if not even the manifest could be written: its process (this one) is still alive.
    assert listed["status"] in ("failed", "running")
    result = trainer("eval", run, "--split", "test")
    assert result.code == 0, result.err
    assert trainer("predict", run, "table.csv", "-o", "out.csv").code == 0


def check_resumes(run: Path, trainer: Callable, uninterrupted: Path) -> None:
    """Check that the resumed run equals an uninterrupted one."""
    result = trainer("resume", run, "--quiet")
    assert result.code == 0, result.err
    assert comparable_files(run) == comparable_files(uninterrupted)


@pytest.mark.slow
def test_disk_fills_up(
    small_disk: None, trainer: Callable, whole_run: Callable, after_epoch: Callable
) -> None:
    uninterrupted = whole_run(EACH_EPOCH)
    after_epoch(4, fill)
    result = trainer(*FIT, "--runs", RUNS)
    assert (result.code, result.out) == (3, "")
    run = the_run()
    check_message(result.err, f"error: {run}", "no space left on device (ENOSPC)", "free up space")
    check_usable(run, trainer)
    # Resuming fails too while the disk is full, and changes nothing.
    before = comparable_files(run)
    result = trainer("resume", run)
    assert result.code == 3, result
    check_message(result.err, "no space left on device (ENOSPC)")
    assert comparable_files(run) == before
    (DISK / "filler").unlink()
    check_resumes(run, trainer, uninterrupted)


@pytest.mark.slow
def test_disk_is_full_from_the_start(small_disk: None, trainer: Callable) -> None:
    filler = fill()
    result = trainer(*FIT, "--runs", RUNS)
    assert result.code == 3, result
    check_message(result.err, f"error: {RUNS}", "no space left on device (ENOSPC)")
    filler.unlink()
    assert trainer("ls", RUNS).code == 0
    assert trainer(*FIT, "--runs", RUNS, "fit.epochs=1").code == 0


@pytest.mark.slow
def test_file_size_limit(
    folder: Path, trainer: Callable, whole_run: Callable, after_epoch: Callable
) -> None:
    """A limit on the size of files, like a quota, that the log exceeds and a checkpoint does not."""
    long = ("fit.epochs=300", "fit.checkpoint.every=100 epochs")
    uninterrupted = whole_run(*long)
    _, hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit_files() -> None:
        sizes = [path.stat().st_size for path in the_run().rglob("*") if path.is_file()]
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes), hard_limit))

    after_epoch(100, limit_files)
    try:
        result = trainer(*FIT, *long, "--runs", RUNS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard_limit, hard_limit))
    assert result.code == 3, result
    run = the_run()
    check_message(result.err, f"error: {run}/metrics.jsonl", "file too large (EFBIG)")
    assert 100 <= len(log_lines(run)) < 300
    check_usable(run, trainer)
    check_resumes(run, trainer, uninterrupted)


def test_run_is_removed(folder: Path, trainer: Callable, after_epoch: Callable) -> None:
    after_epoch(4, lambda: shutil.rmtree(the_run()))
    result = trainer(*FIT, "--runs", RUNS)
    assert (result.code, result.out) == (3, "")
    check_message(
        result.err, f"error: {RUNS}/good/", "no such file or directory (ENOENT)", "it was deleted"
    )
    assert list((RUNS / "good").iterdir()) == []


@pytest.mark.slow
def test_run_becomes_read_only(
    folder: Path, trainer: Callable, whole_run: Callable, after_epoch: Callable
) -> None:
    uninterrupted = whole_run(EACH_EPOCH)
    is_root = os.geteuid() == 0
    if is_root:
        # Root ignores permission bits, but not a read-only file system.
        expected = "read-only file system (EROFS)", "this file system is read-only"
    else:
        expected = "permission denied (EACCES)", "give yourself write permission there"

    def make_read_only() -> None:
        run = the_run()
        if is_root:
            mount("--bind", str(run), str(run))
            mount("-o", "remount,bind,ro", str(run))
        else:
            (run / "checkpoints").chmod(0o500)
            run.chmod(0o500)

    def make_writable() -> None:
        run = the_run()
        if is_root:
            subprocess.run(["umount", "--lazy", str(run)], check=False, capture_output=True)
        else:
            run.chmod(0o700)
            (run / "checkpoints").chmod(0o700)

    after_epoch(4, make_read_only)
    try:
        result = trainer(*FIT, "--runs", RUNS)
        assert (result.code, result.out) == (3, "")
        run = the_run()
        check_message(result.err, f"error: {run}", *expected)
        check_usable(run, trainer)
        make_writable()
        # The run could not remove its lock, and the process of the lock (this one) is alive.
        (run / "lock").unlink()
        make_read_only()
        result = trainer("resume", run)
        assert result.code == 3, result
        check_message(result.err, f"error: {run}", *expected)
    finally:
        make_writable()
    check_resumes(run, trainer, uninterrupted)
