"""Make run directories like `fit`, without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trainer.config.yaml_writer import block_text
from trainer.runs.directory import RunDirectory
from trainer.runs.manifest import DataFile, new_manifest

NOW = datetime(2026, 11, 22, 14, 15, 30, tzinfo=UTC)

SETTINGS: dict[str, Any] = {
    "name": "wine",
    "seed": 7,
    "data": {"source": "wine.csv", "target": ["a", "b"], "columns": {"a.b": {"scale": "robust"}}},
    "model": {
        "layers": [{"dense": {"units": 64, "activation": "relu"}}, {"dropout": {"rate": 0.1}}]
    },
    "optimizer": {"name": "adam", "learning_rate": 1e-3, "clip_norm": None, "amsgrad": False},
    "metrics": ["accuracy", "auc"],
}


def settings(**changed: Any) -> dict[str, Any]:
    """Return SETTINGS with changes, such as optimizer__name="sgd"."""
    changed_settings = {**SETTINGS}
    for path, value in changed.items():
        *parents, last = path.split("__")
        section = changed_settings
        for step in parents:
            section[step] = {**section[step]}
            section = section[step]
        section[last] = value
    return changed_settings


def make_run(
    root: Path,
    name: str = "wine",
    *,
    minutes: float = 0,
    config: Mapping[str, Any] | None = None,
    evaluations: Mapping[str, Mapping[str, Any]] | None = None,
    **manifest: Any,
) -> RunDirectory:
    """Make a finished run that started `minutes` after NOW and took 90 seconds."""
    start = NOW + timedelta(minutes=minutes)
    run = RunDirectory.create(root, name, "", start)
    run.write_config(block_text(SETTINGS if config is None else config))
    initial = new_manifest(name=name, command=["fit"], seed=7, config_directory=root, now=start)
    manifest = replace(
        initial,
        git=None,
        data=(DataFile("wine.csv", 100, 10, "f" * 64),),
        splits={"train": 6, "validation": 2, "test": 2},
        epochs=20,
        best_epoch=12,
        device="CPU",
        **manifest,
    )
    run.write_manifest(manifest.with_end("finished", start + timedelta(seconds=90)))
    for split, evaluation in (evaluations or {}).items():
        run.write_evaluation(split, evaluation)
    return run


def scores(**metrics: float | None) -> dict[str, dict[str, Any]]:
    """Return an evaluation of the validation rows."""
    return {"validation": {"rows": 2, "metrics": metrics}}
