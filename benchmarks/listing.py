"""Measure the time of listing and comparing many runs, as whole processes.

    python -m benchmarks.listing [--runs 1000]

Creates run directories like those of a sweep (configs of a hundred lines with different learning rates,
widths, dropout rates and seeds; manifests, logs of thirty epochs, evaluations of three splits) in a
temporary folder. Prints a JSON object: the medians in seconds of five runs of `trainer ls`, of `ls`
sorted by a metric, of `ls` filtered, sorted and shown by settings and metrics, and of `trainer compare`
on twenty runs; and whether any of them imports TensorFlow.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.start_up import imports_tensorflow, seconds

from trainer.config.dump import dump_config
from trainer.config.schema import Config
from trainer.runs.directory import RunDirectory
from trainer.runs.log import MetricsLog
from trainer.runs.manifest import DataFile, new_manifest

START = datetime(2026, 1, 1, tzinfo=UTC)
COMPARED = 20
EPOCHS = 30
METRICS = ("accuracy", "auc", "precision", "recall", "f1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=1_000)
    count = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        paths = make_runs(Path(folder), count)
        commands: dict[str, tuple[str, ...]] = {
            "ls": ("ls", folder),
            "sorted": ("ls", folder, "--sort", "val_auc"),
            "filtered": (
                *("ls", folder, "--sort", "val_auc"),
                *("--where", "optimizer.learning_rate < 1e-2", "--where", "val_loss < 2"),
                *("--columns", "run,val_auc,optimizer.learning_rate,model.layers.0.dense.units"),
            ),
            "compare": ("compare", *map(str, paths[:COMPARED])),
        }
        times: dict[str, Any] = {
            f"{name}_seconds": round(seconds(*arguments), 3) for name, arguments in commands.items()
        }
        heavy = any(imports_tensorflow(*arguments) for arguments in commands.values())
    print(json.dumps({"runs": count, "compared": COMPARED, **times, "imports_tensorflow": heavy}))


def make_runs(root: Path, count: int) -> list[Path]:
    """Create finished run directories in ten folders."""
    rng = np.random.default_rng(0)
    manifest = new_manifest(
        name="", command=("fit", "config.yaml"), seed=0, config_directory=root, now=START
    )
    return [make_run(root, manifest, number, rng) for number in range(count)]


def make_run(root: Path, started: Any, number: int, rng: np.random.Generator) -> Path:
    name, now = f"sweep-{number % 10}", START + timedelta(minutes=number)
    text = dump_config(config_of(name, number, rng))
    run = RunDirectory.create(root, name, text, now)
    run.write_config(text)
    manifest = replace(
        started,
        name=name,
        seed=number,
        started=now,
        device="CPU",
        engine="resident, XLA, 1 thread",
        task="binary",
        parameters=4_000 + number,
        data=(DataFile("table.csv", 1_000_000, 20_000, "0" * 64),),
        splits={"train": 12_000, "validation": 4_000, "test": 4_000},
        epochs=EPOCHS,
        best_epoch=int(rng.integers(1, EPOCHS + 1)),
        stopped_because="all epochs are done",
        weights_sha256=f"{number:064x}",
        timings={"read": 0.5, "train": 3.0, "evaluate": 0.1},
    )
    run.write_manifest(manifest.with_end("finished", now + timedelta(seconds=5)))
    with MetricsLog(run.metrics, flush_seconds=60) as log:
        for epoch in range(1, EPOCHS + 1):
            record = {f"{part}{name}": rng.random() for part in ("", "val_") for name in METRICS}
            log.append({"epoch": epoch, "loss": rng.random(), "val_loss": rng.random(), **record})
    for split, rows in manifest.splits.items():
        metrics = {name: rng.random() for name in ("loss", *METRICS)}
        fields = {"split": split, "checkpoint": "best", "epoch": manifest.best_epoch}
        run.write_evaluation(split, {**fields, "rows": rows, "metrics": metrics})
    return run.path


def config_of(name: str, number: int, rng: np.random.Generator) -> Config:
    layers = []
    for _ in range(2):
        layers += [
            {"dense": {"units": int(rng.integers(8, 257)), "activation": "relu"}},
            {"dropout": {"rate": float(rng.uniform(0, 0.5))}},
        ]
    return Config.model_validate(
        {
            "name": name,
            "seed": number,
            "data": {"source": "table.csv", "target": "label"},
            "model": {"layers": layers},
            "optimizer": {"name": "adam", "learning_rate": float(10 ** rng.uniform(-4, -1))},
            "fit": {"epochs": EPOCHS},
        }
    )


if __name__ == "__main__":
    main()
