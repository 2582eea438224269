"""Measure `trainer fit` as users run it, from its run directory."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.workloads import Workload


@dataclass(frozen=True, slots=True)
class Fitted:
    """Measurements of one `trainer fit`.

    Attributes:
        epoch_seconds: Time per epoch after compilation, including validation, metrics and log.
        process_seconds: Time of the whole process.
        peak_bytes: Peak resident memory.
        engine: Execution engine and number of threads.
        timings: Phase → seconds.
    """

    epoch_seconds: float
    process_seconds: float
    peak_bytes: int
    engine: str
    timings: dict[str, float]


def fit(
    workload: Workload, table: Path, cache: Path, settings: dict[str, Any] | None = None
) -> Fitted:
    """Train once in a separate process.

    Args:
        workload: The workload.
        table: The file of its table.
        cache: Folder of the compilation cache.
        settings: Additional settings of the `fit` section.
    """
    config = table.with_suffix(".yaml")
    text = config_of(workload, table)
    text["fit"] |= settings or {}
    config.write_text(json.dumps(text), encoding="utf-8")
    command = [
        processes.OURS / "trainer",
        "fit",
        config,
        "--quiet",
        "--runs",
        table.parent / "runs",
    ]
    ended = processes.run(command, {"XDG_CACHE_HOME": str(cache)})
    run = Path(ended.output.strip())
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    timings = manifest["timings"]
    train = sum(timings[phase] for phase in ("trace", "compile", "train"))
    lines = (run / "timing.jsonl").read_text(encoding="utf-8").splitlines()
    return Fitted(
        epoch_seconds=steady_seconds([json.loads(line)["seconds"] for line in lines], train),
        process_seconds=ended.seconds,
        peak_bytes=ended.peak_bytes,
        engine=f"{manifest['engine']}, {_pluralize(manifest['threads'], 'thread')}",
        timings=timings,
    )


def steady_seconds(epochs: list[float], train_seconds: float) -> float:
    """Return the seconds per epoch after compilation, including work between epochs.

    This is the mean of the second half. If several epochs are run per call, the time of a call is
    recorded with its first epoch; then it is the mean of all calls except the first.

    Args:
        epochs: Seconds of each epoch, without the work between epochs.
        train_seconds: Total time of training.
    """
    first = len(epochs) // 2
    later = epochs[1:] or epochs
    call = statistics.mean(later) / 3
    if statistics.median(later) < call:
        first = next(number for number, seconds in enumerate(later, start=1) if seconds > call)
    between = max(0.0, train_seconds - sum(epochs)) / len(epochs)
    return statistics.mean(epochs[first:]) + between


def config_of(workload: Workload, table: Path) -> dict[str, Any]:
    """Return the config of a workload."""
    network = workload.network
    dense: dict[str, Any] = {"activation": network.activation}
    if network.with_everything:
        dense["kernel_regularizer"] = {"l2": 1e-4}
    layers: list[dict[str, Any]] = []
    for width in network.widths:
        layers.append({"dense": {"units": width, **dense}})
        if network.with_everything:
            layers += [{"batch_normalization": {}}, {"dropout": 0.2}]
    optimizer: dict[str, Any] = {"name": "adam", "learning_rate": 1e-3}
    if network.with_everything:
        optimizer |= {"global_clip_norm": 1.0, "schedule": {"cosine": {}}}
    return {
        "name": "benchmark",
        "data": {
            "source": table.name,
            "target": "y",
            "task": "binary" if workload.table.classes == 2 else "multiclass",
            "split": {"test": 0.0, "validation": workload.validation, "by": "random"},
            "numeric": {"scale": "none"},
        },
        "model": {"layers": layers},
        "optimizer": optimizer,
        "metrics": ["accuracy", "auc"] if network.with_everything else ["accuracy"],
        "fit": {"epochs": workload.epochs, "batch_size": network.batch},
    }


def _pluralize(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
