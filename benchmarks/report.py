"""How long it takes to say what a large run is worth: whole processes, start-up included.

    python -m benchmarks.report [--rows 100000]

Makes a Parquet table of 30 numbers and a target of two classes with so many test rows, as many
validation rows and half as many training rows, trains a small network on it without a report, and runs
`trainer report` (once with the findings, which it makes first, once the page alone), `trainer explain`
on the test rows (five shuffles of each column, the curves of ten columns) and `trainer check --data`.
Prints one JSON object: medians of three runs, in seconds, and the bytes of the page.
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
    """The table: the target follows three of its columns, and chance."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((COLUMNS, rows), dtype=np.float32)
    y = x[0] + x[1] * x[2] + draw.standard_normal(rows) > 0
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
        place = Path(folder / trained)
        taken: dict[str, list[float]] = {"report": [], "page": [], "explain": [], "audit": []}
        for _ in range(ROUNDS):
            (place / "findings.json").unlink(missing_ok=True)
            taken["report"].append(run(folder, "report", trained)[0])
            taken["page"].append(run(folder, "report", trained)[0])
            taken["explain"].append(
                run(folder, "explain", trained, "--split", "test", "--quiet")[0]
            )
            taken["audit"].append(run(folder, "check", "--data", "config.yaml", "--quiet")[0])
        seconds = {name: round(statistics.median(each), 3) for name, each in taken.items()}
        size = (place / "report.html").stat().st_size
    print(json.dumps({"rows": rows, "columns": COLUMNS, "page_bytes": size, "seconds": seconds}))


if __name__ == "__main__":
    main()
