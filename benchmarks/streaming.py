"""W7: train on a table of Parquet shards from memory and from disk, each in a separate process.

    python benchmarks/streaming.py [--rows 20000000] [--epochs 2] [--folder DIR] [--engines streaming]

Prints a JSON object. For each engine: the training rows per second (including validation, from the
epochs after the first, which compiles), and the peak resident memory minus that of a process that has
only started, with and without the page cache, which the system frees when necessary.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

COLUMNS = 20
SHARD_ROWS = 1_000_000
CONFIG = """
name: w7
data: {{source: "{folder}/*.parquet", target: y}}
model: {{layers: [dense: 64, dense: 64]}}
fit: {{epochs: {epochs}, batch_size: 1024}}
metrics: [accuracy]
runtime: {{device: cpu}}
"""
START = """
from trainer.engine import devices
devices.start("cpu", 2)
import trainer.workflows.building, trainer.workflows.recording, trainer.workflows.fit
import keras
keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
"""


def write_table(folder: Path, rows: int) -> None:
    """Write shards of normal numbers and a target that depends on four of them."""
    for number, first in enumerate(range(0, rows, SHARD_ROWS)):
        rng = np.random.default_rng(number)
        count = min(SHARD_ROWS, rows - first)
        x = rng.standard_normal((COLUMNS, count), dtype=np.float32)
        y = (x[0] + x[1] * x[2] - 0.5 * x[3] + rng.normal(size=count) > 0).astype(np.int64)
        columns = {f"x{index}": x[index] for index in range(COLUMNS)}
        pl.DataFrame(columns | {"y": y}).write_parquet(folder / f"shard-{number:03d}.parquet")


def run(command: list[str], folder: Path) -> dict[str, float]:
    """Run a command; return its peak memory in bytes and its seconds."""
    start_time = time.perf_counter()
    peaks = {"VmHWM": 0, "RssAnon": 0}
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            try:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            except OSError:
                break
            for line in lines:
                name = line.partition(":")[0]
                if name in peaks:
                    peaks[name] = max(peaks[name], int(line.split()[1]) * 1024)
            time.sleep(0.02)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    seconds = time.perf_counter() - start_time
    return {"peak": peaks["VmHWM"], "anonymous": peaks["RssAnon"], "seconds": seconds}


def measure(folder: Path, engine: str, start: dict[str, float]) -> dict[str, object]:
    """Measure one `trainer fit`."""
    trainer = str(Path(sys.executable).with_name("trainer"))
    command = [trainer, "fit", "w7.yaml", f"runtime.engine={engine}", "--runs", f"runs-{engine}"]
    usage = run([*command, "--quiet"], folder)
    (path,) = (folder / f"runs-{engine}" / "w7").iterdir()
    manifest = json.loads((path / "manifest.json").read_text())
    epochs, timing = (
        [json.loads(line) for line in (path / name).read_text().splitlines()]
        for name in ("metrics.jsonl", "timing.jsonl")
    )
    seconds = [epoch["seconds"] for epoch in timing]
    return {
        "engine": manifest["engine"],
        "rows_per_second": round(manifest["splits"]["train"] / min(seconds[1:] or seconds)),
        "epoch_seconds": seconds,
        "loss": epochs[-1]["loss"],
        "val_accuracy": epochs[-1]["val_accuracy"],
        "peak_above_start_gb": round((usage["peak"] - start["peak"]) / 1e9, 3),
        "anonymous_above_start_gb": round((usage["anonymous"] - start["anonymous"]) / 1e9, 3),
        "whole_seconds": round(usage["seconds"], 1),
        "timings": manifest["timings"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the table in this folder, and reuse it")
    parser.add_argument("--engines", nargs="+", default=["resident", "streaming"])
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not list(folder.glob("*.parquet")):
            write_table(folder, args.rows)
        (folder / "w7.yaml").write_text(CONFIG.format(folder=folder, epochs=args.epochs))
        start = run([sys.executable, "-c", START], folder)
        results: dict[str, object] = {
            "rows": args.rows,
            "columns": COLUMNS,
            "cores": os.cpu_count(),
            "start_gb": round(start["peak"] / 1e9, 3),
        }
        for engine in args.engines:
            shutil.rmtree(folder / f"runs-{engine}", ignore_errors=True)
            results[engine] = measure(folder, engine, start)
        print(json.dumps(results, indent=2))
    finally:
        if args.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
