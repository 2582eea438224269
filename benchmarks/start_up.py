"""Measure the time of the light commands as whole processes, and check what they import.

    python benchmarks/start_up.py

Prints a JSON object: the medians in seconds of five runs of `trainer --help` and of `trainer check` on
a table of 1 MB, and whether either imports TensorFlow.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

RUNS = 5
TRAINER = str(Path(sys.executable).with_name("trainer"))


def seconds(*arguments: str) -> float:
    """Return the median wall-clock time of a command."""
    times = []
    for _ in range(RUNS):
        start_time = perf_counter()
        subprocess.run([TRAINER, *arguments], check=True, capture_output=True)
        times.append(perf_counter() - start_time)
    return statistics.median(times)


def imports_tensorflow(*arguments: str) -> bool:
    """Return whether a command imports TensorFlow or Keras."""
    code = (
        "import sys; from trainer_cli.main import run; run(sys.argv[1:]); "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True
    )
    return completed.returncode != 0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        table, config = Path(folder, "table.csv"), Path(folder, "config.yaml")
        rng = np.random.default_rng(0)
        rows = 6_200
        columns = [*(f"x{number}" for number in range(18)), "color", "label"]
        with table.open("w", encoding="utf-8") as file:
            file.write(",".join(columns) + "\n")
            for row in rng.normal(size=(rows, 18)):
                cells = [f"{value:.5f}" for value in row]
                file.write(
                    ",".join(
                        [*cells, "red" if row[0] > 0 else "blue", "yes" if row[1] > 0 else "no"]
                    )
                    + "\n"
                )
        config.write_text("data: {source: table.csv, target: label}\n", encoding="utf-8")
        check = ("check", str(config))
        print(
            json.dumps(
                {
                    "help_seconds": round(seconds("--help"), 3),
                    "check_seconds": round(seconds(*check), 3),
                    "check_table_bytes": table.stat().st_size,
                    "imports_tensorflow": imports_tensorflow("--help")
                    or imports_tensorflow(*check),
                }
            )
        )


if __name__ == "__main__":
    main()
