"""Tools of an attacker: content that leaves a mark when it is run, and checksums that match."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SETTINGS = ("fit.epochs=2", "model.layers=[{dense: 4}]")
HANGING_CPU_SECONDS = 600
"""Far more than any command here needs, on any machine; only a command that hangs exceeds it."""


class Mark:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


READERS: dict[str, tuple[str, ...]] = {
    "eval": ("eval", "run"),
    "eval last": ("eval", "run/checkpoints/last"),
    "predict": ("predict", "run", "table.csv", "-o", "out.csv"),
    "show": ("show", "run"),
    "ls": ("ls", "."),
    "warm start": ("fit", "good.yaml", *SETTINGS, "evaluate.report=false", "fit.warm_start=run"),
    # Last, as it rewrites the run where it is not refused.
    "resume": ("resume", "run", "fit.epochs=+1", "evaluate.report=false"),
}
LISTED = {"show": {0}, "ls": {0}}
"""`show` and `ls` list a run, damaged or not."""


@contextmanager
def hang_guard() -> Iterator[None]:
    """Fail a test whose code hangs; counts CPU time, so other processes do not matter."""

    def fail(*_: object) -> None:
        pytest.fail(f"still running after {HANGING_CPU_SECONDS} CPU seconds")

    previous = signal.signal(signal.SIGVTALRM, fail)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANGING_CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)


def check_readers(
    trainer: Callable, allowed: Mapping[str, set[int]], *, only: tuple[str, ...] = ()
) -> None:
    """Check that each command that reads a run ends with a message and exit code 2, or as `allowed`."""
    for name, arguments in READERS.items():
        if only and name not in only:
            continue
        shutil.rmtree("runs", ignore_errors=True)
        with hang_guard():
            result = trainer(*arguments)
        assert result.code in allowed.get(name, {2}), (name, result)
        assert "Traceback" not in result.err + result.out, (name, result)
        if result.code == 2:
            assert "error: " in result.err.splitlines(True)[-1], (name, result)
            assert ": expected " in result.err, (name, result)


def reseal(
    checkpoint: Path, change: Callable[[dict[str, Any]], None] = lambda metadata: None
) -> None:
    """Make the checksums of a checkpoint match its files, as an attacker would."""
    path = checkpoint / "checkpoint.json"
    metadata = json.loads(path.read_text())
    del metadata["sha256"]
    for name in metadata["files"]:
        content = (checkpoint / name).read_bytes()
        metadata["files"][name] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
        }
    change(metadata)
    text = json.dumps(metadata, ensure_ascii=False, indent=2).removesuffix("\n}")
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_bytes(f'{text},\n  "sha256": "{digest}"\n}}\n'.encode())


def checkpoints(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").iterdir())


def zip_of(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression, compresslevel=1) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()
