"""Create a benchmark table in a separate process, whose memory is not counted.

    python -m benchmarks.tables FILE ROWS FEATURES CLASSES [--exclusive-or]

FILE is .npz (`x` (rows, features) float32 and `y` (rows,) integers) or .csv (`x0`, …, `y`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl


def make_table(rows: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return normal features, and a label that a network can learn only in part."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, features), dtype=np.float32)
    informative = x[:, : min(features, 32)]
    scores = informative @ rng.standard_normal((informative.shape[1], classes), dtype=np.float32)
    scores += 3 * np.sin(3 * x[:, :1]) * np.linspace(-1, 1, classes, dtype=np.float32)
    return x, scores.argmax(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path)
    for name in ("rows", "features", "classes"):
        parser.add_argument(name, type=int)
    parser.add_argument("--exclusive-or", action="store_true")
    args = parser.parse_args()
    if args.exclusive_or:
        x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0])
    else:
        x, y = make_table(args.rows, args.features, args.classes)
    if args.file.suffix == ".npz":
        np.savez(args.file, x=x, y=y)
    else:
        columns = {f"x{number}": x[:, number] for number in range(x.shape[1])}
        pl.DataFrame({**columns, "y": y}).write_csv(args.file)


if __name__ == "__main__":
    main()
