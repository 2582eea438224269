"""Measure the cost of checkpoints: W1 and W4 with one after each epoch, or only at the end.

    python -m benchmarks.checkpoints [--rows 1000000]

Prints a JSON object: seconds per epoch with `fit.checkpoint.every: 1 epoch` and with a checkpoint at
the end only, medians of alternating rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks import ours
from benchmarks.run import make_table
from benchmarks.workloads import WORKLOADS, Workload

ROUNDS = 3
EPOCHS = {"W1": 200, "W4": 6}
INTERVALS = {"each": "1 epoch", "end": "100000 epochs"}


def measure(workload: Workload, folder: Path) -> dict[str, float]:
    """Return the training seconds per epoch for each checkpoint interval."""
    table = make_table(workload, folder, "npz")
    times: dict[str, list[float]] = {name: [] for name in INTERVALS}
    for _ in range(ROUNDS):
        for name, interval in INTERVALS.items():
            fitted = ours.fit(
                workload, table, folder / "cache", {"checkpoint": {"every": interval}}
            )
            # Includes writing between epochs, but not compilation.
            times[name].append(fitted.timings["train"] / workload.epochs)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int)
    rows = parser.parse_args().rows
    results = {}
    with tempfile.TemporaryDirectory() as name:
        for key, epochs in EPOCHS.items():
            workload = replace(WORKLOADS[key], epochs=epochs)
            if rows is not None:
                workload = replace(workload, table=replace(workload.table, rows=rows), epochs=3)
            results[key] = measure(workload, Path(name))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
