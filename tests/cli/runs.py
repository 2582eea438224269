"""Settings of the runs that tests stop and resume, and what is in a run directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SETTINGS = ("fit.epochs=6", "model.layers=[{dense: 4}, {dropout: 0.2}]")


def read_manifest(run: Path) -> Any:
    return json.loads((run / "manifest.json").read_text())


def edit_manifest(run: Path, **changes: Any) -> None:
    (run / "manifest.json").write_text(json.dumps({**read_manifest(run), **changes}))


def log_lines(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()


def run_directories() -> list[Path]:
    return sorted(Path("runs").glob("*/*/"))
