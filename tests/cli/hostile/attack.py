"""What an attacker has: content that leaves a mark, verbs that read it, seals that fit."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SETTINGS = ("fit.epochs=2", "model.layers=[{dense: 4}]")
SECONDS = 60
SPARE_BYTES = 500_000_000
"""What reading a bomb may take above reading the run as it was."""
GIGABYTE = 1 << 30


class Marks:
    """What an attacker would run: it leaves a mark."""

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
    "warm start": ("fit", "good.yaml", *SETTINGS, "fit.warm_start=run"),
    # The last, as it writes the run anew where it is not refused.
    "resume": ("resume", "run", "fit.epochs=+1"),
}
WEIGHTS = ("eval", "predict", "warm start")
"""The verbs that read the best weights."""


def survive(
    trainer: Callable, allowed: Mapping[str, set[int]], *, only: tuple[str, ...] = ()
) -> None:
    """Each verb ends in words; those not in `allowed` with exit 2."""
    for name, arguments in READERS.items():
        if only and name not in only:
            continue
        shutil.rmtree("runs", ignore_errors=True)
        began = time.monotonic()
        result = trainer(*arguments)
        assert result.code in allowed.get(name, {2}), (name, result)
        assert "Traceback" not in result.err + result.out, (name, result)
        assert time.monotonic() - began < SECONDS, name
        if result.code == 2:
            assert "error: " in result.err.splitlines(True)[-1], (name, result)
            assert ": expected " in result.err, (name, result)


LOOKS = {"show": {0}, "ls": {0}}
"""They list what is there, damaged or not."""


def reseal(checkpoint: Path, change: Callable[[dict[str, Any]], None] = lambda facts: None) -> None:
    """Makes hashes and seal of a checkpoint fit its files, as an attacker would."""
    path = checkpoint / "checkpoint.json"
    facts = json.loads(path.read_text())
    del facts["sha256"]
    for name in facts["files"]:
        content = (checkpoint / name).read_bytes()
        facts["files"][name] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
        }
    change(facts)
    text = json.dumps(facts, ensure_ascii=False, indent=2).removesuffix("\n}")
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_bytes(f'{text},\n  "sha256": "{digest}"\n}}\n'.encode())


def checkpoints(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").iterdir())


def zip_of(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()
