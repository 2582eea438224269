"""Measure the time of evaluating a large run in depth, as whole processes including start-up.

    python -m benchmarks.report [--rows 100000]

Creates a Parquet table of 30 numeric columns and a binary target with this many test rows, as many
validation rows and half as many training rows, trains a small network on it without a report, and runs
`trainer report` (once including the findings, once from existing findings), `trainer explain` on the
test rows (five shuffles per column, partial dependence of ten columns) and `trainer check --data`.
Prints a JSON object: the medians of three runs in seconds, and the size of the page in bytes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from benchmarks.prediction import run

ROUNDS = 3
COLUMNS = 30
CONFIG = """
name: report
data: {source: table.parquet, target: y, split: {test: 0.4, validation: 0.4, by: stratified}}
model: {layers: [dense: {units: 64, activation: relu}, dense: {units: 64, activation: relu}]}
fit: {epochs: 2, batch_size: 1024}
evaluate: {report: false}
"""


def write_table(folder: Path, rows: int) -> None:
    """Write the table; the target depends on three columns and noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((COLUMNS, rows), dtype=np.float32)
    y = x[0] + x[1] * x[2] + rng.standard_normal(rows) > 0
    columns = {f"x{index}": x[index] for index in range(COLUMNS)}
    pl.DataFrame(columns | {"y": np.where(y, "yes", "no")}).write_parquet(folder / "table.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder, rows * 5 // 2)
        (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
        _, trained = run(folder, "fit", "config.yaml", "--quiet")
        directory = Path(folder / trained)
        times: dict[str, list[float]] = {"report": [], "page": [], "explain": [], "audit": []}
        for _ in range(ROUNDS):
            (directory / "findings.json").unlink(missing_ok=True)
            times["report"].append(run(folder, "report", trained)[0])
            times["page"].append(run(folder, "report", trained)[0])
            times["explain"].append(
                run(folder, "explain", trained, "--split", "test", "--quiet")[0]
            )
            times["audit"].append(run(folder, "check", "--data", "config.yaml", "--quiet")[0])
        seconds = {name: round(statistics.median(values), 3) for name, values in times.items()}
        size = (directory / "report.html").stat().st_size
    print(json.dumps({"rows": rows, "columns": COLUMNS, "page_bytes": size, "seconds": seconds}))


if __name__ == "__main__":
    main()
