"""Run directories as `fit` leaves them, without training."""

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
    """SETTINGS with other values: optimizer__name="sgd"."""
    whole = {**SETTINGS}
    for path, value in changed.items():
        *above, last = path.split("__")
        below = whole
        for step in above:
            below[step] = {**below[step]}
            below = below[step]
        below[last] = value
    return whole


def make_run(
    root: Path,
    name: str = "wine",
    *,
    minutes: float = 0,
    config: Mapping[str, Any] | None = None,
    evaluations: Mapping[str, Mapping[str, Any]] | None = None,
    **facts: Any,
) -> RunDirectory:
    """A finished run that began `minutes` after NOW and took 90 seconds."""
    began = NOW + timedelta(minutes=minutes)
    run = RunDirectory.create(root, name, "", began)
    run.write_config(block_text(SETTINGS if config is None else config))
    begun = new_manifest(name=name, command=["fit"], seed=7, config_directory=root, now=began)
    manifest = replace(
        begun,
        git=None,
        data=(DataFile("wine.csv", 100, 10, "f" * 64),),
        splits={"train": 6, "validation": 2, "test": 2},
        epochs=20,
        best_epoch=12,
        device="CPU",
        **facts,
    )
    run.write_manifest(manifest.with_end("finished", began + timedelta(seconds=90)))
    for split, evaluation in (evaluations or {}).items():
        run.write_evaluation(split, evaluation)
    return run


def scores(**metrics: float | None) -> dict[str, dict[str, Any]]:
    """Evaluations of the validation rows alone."""
    return {"validation": {"rows": 2, "metrics": metrics}}
