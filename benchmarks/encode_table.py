"""Measure the time and memory of reading, splitting and encoding a table.

    python benchmarks/encode_table.py [--rows 1000000]

Creates a table of 20 columns (10 numeric, 10 categorical with 3 to 12 categories, 2% of the cells
missing) and a yes/no target, as Parquet and CSV, in a temporary folder; prepares each in a new process
and prints a JSON object. `memory` is the growth of peak resident memory during preparation, divided by
the bytes of the encoded matrix of all rows, which it includes. Limits for 1,000,000 rows: 10 seconds,
3×.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

MEASURE = """
import json, resource, sys, time
from trainer.config.schema import Config
from trainer.data.prepare import prepare

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

config = Config.model_validate({"data": {"source": sys.argv[1], "target": "target"}})
import polars as pl
pl.DataFrame({"warm": ["up"]}).select(pl.col("warm").cast(pl.Float64, strict=False))
before, start = peak_bytes(), time.perf_counter()
prepared = prepare(config)
prepared_at = time.perf_counter()
samples = [prepared.samples(split) for split in ("train", "validation", "test")]
seconds = time.perf_counter() - start
matrix_bytes = sum(array.nbytes for part in samples for array in part.inputs.values())
print(json.dumps({
    "seconds": round(seconds, 2),
    "prepare_seconds": round(prepared_at - start, 2),
    "memory": round((peak_bytes() - before) / matrix_bytes, 2),
    "matrix_megabytes": round(matrix_bytes / 2**20),
    "features": prepared.preprocessing.width,
}))
"""


def write_table(folder: Path, rows: int) -> tuple[Path, Path]:
    """Write the table as Parquet and CSV."""
    generator = np.random.default_rng(0)
    columns: dict[str, pl.Series] = {}
    score = np.zeros(rows)
    for index in range(10):
        values = generator.normal(loc=index, scale=1 + index, size=rows).round(4)
        score += values / (1 + index)
        columns[f"number_{index}"] = _with_missing(generator, pl.Series(values))
    for index in range(10):
        levels = pl.Series([f"level_{code}" for code in range(3 + index)])
        codes = generator.integers(len(levels), size=rows)
        score += codes % 2
        columns[f"category_{index}"] = _with_missing(generator, levels.gather(codes))
    noisy = score + generator.normal(size=rows)
    columns["target"] = pl.Series(np.where(noisy > np.median(noisy), "yes", "no"))
    frame = pl.DataFrame(columns)
    parquet, csv = folder / "table.parquet", folder / "table.csv"
    frame.write_parquet(parquet)
    frame.write_csv(csv)
    return parquet, csv


def _with_missing(generator: np.random.Generator, series: pl.Series) -> pl.Series:
    missing = pl.Series(generator.random(len(series)) < 0.02)
    return pl.select(pl.when(~missing).then(series)).to_series()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    result: dict[str, object] = {"rows": rows, "columns": 20, "categorical": 10}
    with tempfile.TemporaryDirectory() as folder:
        for path in write_table(Path(folder), rows):
            run = subprocess.run(
                [sys.executable, "-c", MEASURE, str(path)],
                check=True,
                capture_output=True,
                text=True,
            )
            result[path.suffix[1:]] = {
                "file_megabytes": round(path.stat().st_size / 2**20),
                **json.loads(run.stdout),
            }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
