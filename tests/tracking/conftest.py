"""A run to track, without TensorFlow: TensorBoard's reader uses its own stub instead."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from trainer.config.nodes import Source, to_python
from trainer.config.schema import Config
from trainer.config.yaml_reader import parse_yaml
from trainer.runs.directory import RunDirectory
from trainer.runs.log import MetricsLog
from trainer.runs.manifest import new_manifest
from trainer.tracking.tracker import RunStart

sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))

NOW = datetime(2026, 11, 22, 14, 15, 30, tzinfo=UTC)


def config(text: str = "") -> Config:
    root = parse_yaml(f"data: {{source: x.csv, target: y}}\n{text}", Source("c.yaml", Path())).root
    assert root is not None
    return Config.model_validate(to_python(root))


def log_epochs(run: RunDirectory, epochs: range) -> None:
    with MetricsLog(run.metrics) as log:
        for epoch in epochs:
            log.append({"epoch": epoch, "step": epoch, "loss": 1 / epoch, "learning_rate": 0.1})


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., RunStart]:
    """Create the start of a run, or with `epochs` the resume of one after that many epochs."""

    def call(text: str = "", epochs: int = 0) -> RunStart:
        run = RunDirectory.open_or_create(tmp_path / "runs" / "wine" / "20261122-141530-9f3c")
        manifest = new_manifest(
            name="wine", command=["trainer", "fit"], seed=7, config_directory=tmp_path, now=NOW
        )
        object.__setattr__(manifest, "epochs", epochs)
        run.write_config("seed: 7\n")
        run.write_manifest(manifest)
        run.metrics.unlink(missing_ok=True)
        log_epochs(run, range(1, epochs + 1))
        return RunStart(run, config(text), manifest)

    return call
