"""Measures ours as users get it: `trainer fit` on a config, and what the run directory says."""

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
    """One `trainer fit`.

    Attributes:
        epoch_seconds: Time of an epoch when everything is compiled, validation, metrics and log
            included.
        process_seconds: Time of the whole process.
        peak_bytes: Its largest resident size.
        engine: How epochs were run, and with how many threads.
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
    """Train once, in a process of its own.

    Args:
        workload: What.
        table: Its file.
        cache: Where compiled programs are kept.
        settings: More of the `fit` section.
    """
    config = table.with_suffix(".yaml")
    text = config_of(workload, table)
    text["fit"] |= settings or {}
    config.write_text(json.dumps(text), encoding="utf-8")
    words = [processes.OURS / "trainer", "fit", config, "--quiet", "--runs", table.parent / "runs"]
    ended = processes.run(words, {"XDG_CACHE_HOME": str(cache)})
    run = Path(ended.output.strip())
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    timings = manifest["timings"]
    train = sum(timings[phase] for phase in ("trace", "compile", "train"))
    lines = (run / "timing.jsonl").read_text(encoding="utf-8").splitlines()
    return Fitted(
        epoch_seconds=steady_seconds([json.loads(line)["seconds"] for line in lines], train),
        process_seconds=ended.seconds,
        peak_bytes=ended.peak_bytes,
        engine=f"{manifest['engine']}, {_counted(manifest['threads'], 'thread')}",
        timings=timings,
    )


def steady_seconds(epochs: list[float], train_seconds: float) -> float:
    """Seconds an epoch when everything is compiled, with its part of what is done between epochs.

    The mean of the second half. Where several epochs are one call, whose time stands with the first of
    them: the mean of all calls but the first.

    Args:
        epochs: Seconds of each, without what is done between them.
        train_seconds: Time of all of training.
    """
    first = len(epochs) // 2
    later = epochs[1:] or epochs
    call = statistics.mean(later) / 3
    if statistics.median(later) < call:
        first = next(number for number, seconds in enumerate(later, start=1) if seconds > call)
    between = max(0.0, train_seconds - sum(epochs)) / len(epochs)
    return statistics.mean(epochs[first:]) + between


def config_of(workload: Workload, table: Path) -> dict[str, Any]:
    """The workload as a config."""
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


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
