"""Disks that fill up, vanish or refuse while a run is written.

It ends in words, what was saved is whole, and with room again it ends as if nothing had happened.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from tests.cli.processes import COMMAND, Process
from tests.cli.stopped import log_of
from tests.kill.comparison import compared
from trainer.engine import devices

SETTINGS = (
    "fit.epochs=999",
    "fit.checkpoint.every=1 seconds",
    "model.layers=[{dense: 16}, batch_normalization, {dropout: 0.2}]",
)
MEGABYTE = 1 << 20


@pytest.fixture
def fit(folder: Path) -> tuple[str, ...]:
    """A training on the disk, with as many threads as this process happens to have."""
    threads = f"runtime.threads={devices.start('cpu', 1).threads}"
    tf.zeros(1)  # from now on they are what they are
    return ("fit", "good.yaml", *SETTINGS, threads, "--quiet", "--runs", "disk/runs")


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A disk of eight megabytes, mounted at `disk`."""
    place = folder / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place))
    yield Path("disk")
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def mount(*words: str) -> None:
    try:
        subprocess.run(["mount", *words], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing may be mounted here")


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (MEGABYTE, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


def half_way(training: Process) -> Path:
    """The run, once its best epoch so far is saved and more has been trained."""
    place = Path("disk/runs/good")
    training.wait_until(lambda: any(place.glob("*/checkpoints/best/checkpoint.json")))
    (run,) = place.iterdir()
    saved = len(log_of(run))
    training.wait_until(lambda: len(log_of(run)) > saved)
    return run


def check_words(err: str, *says: str) -> None:
    """What a person reads who has never seen an errno."""
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert errors, err
    for words in says:
        assert words in err
    assert all("; " in line for line in errors), errors


def check_whole(run: Path, trainer: Callable) -> None:
    """What was saved before can be read and used."""
    assert trainer("show", run).code == 0
    (listed,) = map(json.loads, trainer("ls", run.parent, "--json").out.splitlines())
    assert listed["status"] in ("failed", "dead")
    answer = trainer("eval", run, "--split", "test")
    assert answer.code == 0, answer.err
    assert trainer("predict", run, "table.csv", "-o", "out.csv").code == 0


def check_goes_on(run: Path, fit: tuple[str, ...], trainer: Callable) -> None:
    """With room again it ends as one that never lacked it."""
    answer = trainer("resume", run, "--quiet")
    assert answer.code == 0, answer.err
    whole = trainer(*fit[:-1], "whole")
    assert whole.code == 0, whole.err
    assert compared(run) == compared(Path(whole.out.strip()))


def test_a_disk_that_fills_up(
    disk: Path, fit: tuple[str, ...], start: Callable, trainer: Callable
) -> None:
    training = start(*fit)
    run = half_way(training)
    filler = fill(disk)
    code, out, err = training.end()
    assert (code, out) == (3, "")
    check_words(err, f"error: {run}", "no space left on device (ENOSPC)", "free space there")
    check_whole(run, trainer)
    # Nor can it go on yet, which leaves it as it was.
    before = compared(run)
    answer = trainer("resume", run)
    assert answer.code == 3, answer
    check_words(answer.err, "no space left on device (ENOSPC)")
    assert compared(run) == before
    filler.unlink()
    check_goes_on(run, fit, trainer)


def test_a_disk_that_is_full_from_the_start(
    disk: Path, fit: tuple[str, ...], trainer: Callable
) -> None:
    filler = fill(disk)
    answer = trainer(*fit)
    assert answer.code == 3, answer
    check_words(answer.err, "error: disk/runs", "no space left on device (ENOSPC)")
    filler.unlink()
    assert trainer("ls", "disk/runs").code == 0
    assert trainer(*fit, "fit.epochs=1").code == 0


def test_a_file_that_may_not_grow(folder: Path, fit: tuple[str, ...], trainer: Callable) -> None:
    """As with a quota: the log meets the limit after some hundred epochs, the checkpoints do not."""
    words = ["bash", "-c", 'ulimit -f 60; exec "$@"', "bash", *COMMAND, *fit]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done
    (run,) = Path("disk/runs/good").iterdir()
    check_words(done.stderr, f"error: {run}/metrics.jsonl", "file too large (EFBIG)")
    assert 0 < len(log_of(run)) < 999
    check_whole(run, trainer)
    check_goes_on(run, fit, trainer)


def test_a_run_that_is_removed(folder: Path, fit: tuple[str, ...], start: Callable) -> None:
    training = start(*fit)
    run = half_way(training)
    while run.exists():
        shutil.rmtree(run, ignore_errors=True)
    code, out, err = training.end()
    assert (code, out) == (3, "")
    check_words(err, f"error: {run}", "no such file or directory (ENOENT)", "it was removed")
    assert not run.exists()


def test_a_run_that_becomes_read_only(
    folder: Path, fit: tuple[str, ...], start: Callable, trainer: Callable
) -> None:
    training = start(*fit)
    run = half_way(training)
    places = [run, run / "checkpoints"]
    if os.geteuid() == 0:
        # Nothing holds root up but a file system.
        mount("--bind", str(run), str(run))
        mount("-o", "remount,bind,ro", str(run))
        says, fix = "read-only file system (EROFS)", "this file system is read-only"
    else:
        for place in places:
            place.chmod(0o500)
        says, fix = "permission denied (EACCES)", "give yourself the right to write there"
    try:
        code, out, err = training.end()
        assert (code, out) == (3, "")
        check_words(err, f"error: {run}", says, fix)
        check_whole(run, trainer)
        answer = trainer("resume", run)
        assert answer.code == 3, answer
        check_words(answer.err, f"error: {run}", says, fix)
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", "--lazy", str(run)], check=True)
        for place in places:
            place.chmod(0o700)
    check_goes_on(run, fit, trainer)
