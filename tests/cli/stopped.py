"""Runs that were stopped, and what is in a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.config.load import load_config
from trainer.engine.events import EpochResult
from trainer.workflows.fit import fit_run

SETTINGS = ("fit.epochs=6", "model.layers=[{dense: 4}, batch_normalization, {dropout: 0.2}]")


def stop(config: str | Path, *overrides: str, after: int = 3) -> Path:
    """A run that was asked to stop with an epoch."""
    epoch = 0
    events = fit_run(
        load_config(Path(config), [*SETTINGS, *overrides]),
        runs=Path("runs"),
        command=("trainer", "fit", str(config)),
        allow_custom=True,
        interrupted=lambda: "stopped by SIGTERM" if epoch >= after - 1 else None,
    )
    for event in events:
        if isinstance(event, EpochResult):
            epoch = event.epoch
    (run,) = {path.parent for path in Path("runs").glob("*/*/metrics.jsonl")}
    assert manifest_of(run)["status"] == "stopped"
    assert manifest_of(run)["epochs"] == after
    return run


def manifest_of(run: Path) -> Any:
    return json.loads((run / "manifest.json").read_text())


def edit_manifest(run: Path, **changes: Any) -> None:
    (run / "manifest.json").write_text(json.dumps({**manifest_of(run), **changes}))


def log_of(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()


def runs_there_are() -> list[Path]:
    return sorted(Path("runs").glob("*/*/"))
