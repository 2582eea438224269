"""`trainer archive` and `trainer restore` at the command line."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.processes import Process

KEY = bytes(range(32)).hex()


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture
def key(folder: Path) -> Path:
    path = folder / "archive.key"
    path.write_text(KEY)
    path.chmod(0o600)
    return path


def test_restored_run_predicts_the_same(finished: Path, trainer: Callable, key: Path) -> None:
    trainer("predict", finished, "table.csv", "-o", "before.csv")
    before = files(finished)
    archived = trainer("archive", finished, "-o", "run.tar.zst", "--encrypt", key, "--json")
    assert archived.code == 0, archived.err
    assert archived.json["archive"] == "run.tar.zst"
    assert archived.json["encrypted"] is True
    assert archived.json["files"] == len(before)
    shutil.rmtree("whole")
    restored = trainer("restore", "run.tar.zst", "--key", key, "--runs", "other")
    assert restored.code == 0, restored.err
    run = Path(restored.out.strip())
    assert run == Path("other") / finished.parent.name / finished.name
    assert files(run) == before
    assert trainer("predict", run, "table.csv", "-o", "after.csv").code == 0
    assert Path("after.csv").read_bytes() == Path("before.csv").read_bytes()
    assert trainer("ls", "other").code == 0


def test_errors(
    finished: Path, refused: Callable, trainer: Callable, key: Path, folder: Path
) -> None:
    assert trainer("archive", finished, "-o", "plain.tar.zst", "-q").err == ""
    assert trainer("archive", finished, "-o", "secret.tar.zst", "--encrypt", key).code == 0
    (folder / "other.key").write_text("0" * 64)
    (folder / "bad.key").write_text("swordfish")
    before = sorted(folder.rglob("*"))
    for arguments, mentions in (
        (["archive", "runs/none", "-o", "x"], ["runs/none", "a run directory"]),
        (["archive", finished], ["trainer archive --output"]),
        (["archive", finished, "-o", "-"], ["--output", "read back"]),
        (["archive", finished, "-o", "no/x"], ["--output", "mkdir -p no"]),
        (["archive", finished, "-o", "plain.tar.zst"], ["plain.tar.zst", "does not exist yet"]),
        (
            ["archive", finished, "-o", "x", "--encrypt", "no.key"],
            ["--encrypt no.key", "no such file", "python3 -c"],
        ),
        (["archive", finished, "-o", "x", "--encrypt", "bad.key"], ["bad.key", "9 characters"]),
        (["restore", "no.tar.zst"], ["no.tar.zst", "no such file"]),
        (["restore", "table.csv"], ["table.csv", "begins with"]),
        (["restore", "secret.tar.zst"], ["a key for an encrypted archive", "--key KEYFILE"]),
        (["restore", "secret.tar.zst", "--key", "other.key"], ["found another key"]),
        (["restore", "plain.tar.zst", "--key", key], ["one without encryption"]),
        (["restore", "plain.tar.zst", "-o", finished], [str(finished), "does not exist yet"]),
    ):
        result = refused(*arguments, mentions=mentions)
        assert "swordfish" not in result.err + result.out
        assert sorted(folder.rglob("*")) == before


def test_warning_about_a_readable_key(finished: Path, trainer: Callable, key: Path) -> None:
    key.chmod(0o644)
    result = trainer("archive", finished, "-o", "x.tar.zst", "--encrypt", key)
    assert result.code == 0
    assert "chmod 600" in result.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["archive", "restore"])
def test_killed_process_leaves_nothing_wrong(
    finished: Path, trainer: Callable, start: Callable[..., Process], command: str
) -> None:
    """Killed at any moment, the command can be repeated; there is never an incomplete result."""
    for number in range(6):
        with (finished / f"{number}.bin").open("wb") as file:
            file.write(os.urandom(8 << 20))
    assert trainer("archive", finished, "-o", "whole.tar.zst").code == 0
    before = files(finished)
    for delay in (0.3, 0.5, 0.6, 0.7, 0.8, 1.0):
        if command == "archive":
            process = start("archive", str(finished), "-o", "x.tar.zst")
        else:
            process = start("restore", "whole.tar.zst", "-o", "copy")
        time.sleep(delay)
        process.end(signal.SIGKILL)
        if Path("x.tar.zst").exists():
            assert Path("x.tar.zst").read_bytes() == Path("whole.tar.zst").read_bytes()
            Path("x.tar.zst").unlink()
        if Path("copy").exists():
            assert files(Path("copy")) == before
            shutil.rmtree("copy")
    if command == "archive":
        assert trainer("archive", finished, "-o", "x.tar.zst").code == 0
    else:
        assert trainer("restore", "whole.tar.zst", "-o", "copy").code == 0
        assert files(Path("copy")) == before
    assert not list(Path().glob(".*.new"))
