"""Measure the time of predicting and evaluating a large table, as whole processes minus start-up.

    python benchmarks/prediction.py [--rows 1000000]

Creates a Parquet table of 30 numeric columns and a binary target in a temporary folder, trains a
64-64-1 network on its first rows, and runs `trainer predict` and `trainer eval --data` alternately on
the whole table and, for the start-up time, on ten rows. Prints a JSON object: the medians of five runs
in seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl

ROUNDS = 5
COLUMNS = 30
TRAINING_ROWS = 20_000
FEW_ROWS = 10
CONFIG = """
name: prediction
data: {source: training.parquet, target: y}
model: {layers: [dense: {units: 64, activation: relu}, dense: {units: 64, activation: relu}]}
fit: {epochs: 2}
"""
TRAINER = str(Path(sys.executable).with_name("trainer"))


def write_tables(folder: Path, rows: int) -> None:
    """Write the table, its first rows for training, and a few rows."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((COLUMNS, rows), dtype=np.float32)
    y = (x[0] + x[1] * x[2] > 0).astype(np.int64)
    table = pl.DataFrame({f"x{index}": x[index] for index in range(COLUMNS)} | {"y": y})
    table.write_parquet(folder / "all.parquet")
    table[:TRAINING_ROWS].write_parquet(folder / "training.parquet")
    table[:FEW_ROWS].write_parquet(folder / "few.parquet")


def run(folder: Path, *arguments: str) -> tuple[float, str]:
    """Return the seconds of a command and its output."""
    start_time = perf_counter()
    completed = subprocess.run(
        [TRAINER, *arguments], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return perf_counter() - start_time, completed.stdout.strip()


def measure(folder: Path, before: list[str], after: list[str]) -> dict[str, float]:
    """Return the medians of a command, which takes a table between two groups of arguments."""
    times: dict[str, list[float]] = {"few": [], "all": []}
    for _ in range(ROUNDS):
        for name, seconds in times.items():
            seconds.append(run(folder, *before, f"{name}.parquet", *after)[0])
    ten_rows, all_rows = (statistics.median(seconds) for seconds in times.values())
    return {"seconds": round(all_rows, 3), "start_up_seconds": round(ten_rows, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, rows)
        (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
        _, trained = run(folder, "fit", "config.yaml", "--quiet")
        print(
            json.dumps(
                {
                    "rows": rows,
                    "columns": COLUMNS,
                    "predict": measure(folder, ["predict", trained], ["-o", "out.parquet"]),
                    "eval": measure(folder, ["eval", trained, "--data"], []),
                }
            )
        )


if __name__ == "__main__":
    main()
