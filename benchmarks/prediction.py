"""How long predicting and evaluating a large table takes, as whole processes less their start-up.

    python benchmarks/prediction.py [--rows 1000000]

Makes a Parquet table of 30 numbers and a target of two classes in a temporary folder, trains S1's
network on its first rows, and runs `trainer predict` and `trainer eval --data` on all of it and, for the
start-up, on ten rows, in turn. Prints one JSON object: medians of five runs, in seconds.
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
    """The table, its first rows to train on, and a few of them."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((COLUMNS, rows), dtype=np.float32)
    y = (x[0] + x[1] * x[2] > 0).astype(np.int64)
    table = pl.DataFrame({f"x{index}": x[index] for index in range(COLUMNS)} | {"y": y})
    table.write_parquet(folder / "all.parquet")
    table[:TRAINING_ROWS].write_parquet(folder / "training.parquet")
    table[:FEW_ROWS].write_parquet(folder / "few.parquet")


def run(folder: Path, *words: str) -> tuple[float, str]:
    """Seconds of a command, and what it prints."""
    began = perf_counter()
    done = subprocess.run(
        [TRAINER, *words], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return perf_counter() - began, done.stdout.strip()


def measured(folder: Path, before: list[str], after: list[str]) -> dict[str, float]:
    """Medians of a command, which takes a table's name between the words."""
    taken: dict[str, list[float]] = {"few": [], "all": []}
    for _ in range(ROUNDS):
        for name, seconds in taken.items():
            seconds.append(run(folder, *before, f"{name}.parquet", *after)[0])
    few, every = (statistics.median(seconds) for seconds in taken.values())
    return {"seconds": round(every, 3), "start_up_seconds": round(few, 3)}


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
                    "predict": measured(folder, ["predict", trained], ["-o", "out.parquet"]),
                    "eval": measured(folder, ["eval", trained, "--data"], []),
                }
            )
        )


if __name__ == "__main__":
    main()
