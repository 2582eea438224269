"""Write the two generated tables to this folder; the output is deterministic.

    python configs/data/generate.py

thousand.csv: 1,000 rows, 10 standard normal features, a yes/no label that depends on a line and a sine.
thousand_dirty.csv: the same with 3% missing values and 1% outliers (multiplied by 100).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

ROWS, FEATURES, SEED = 1000, 10, 20261122


def tables() -> dict[str, list[list[str]]]:
    """Return the rows of each file, header first."""
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=(ROWS, FEATURES))
    line = x @ rng.normal(size=FEATURES)
    label = line + 3 * np.sin(3 * x[:, 0]) + 0.3 * rng.normal(size=ROWS) > 0
    missing = rng.random(x.shape) < 0.03
    outlier = rng.random(x.shape) < 0.01
    header = [*(f"feature_{number}" for number in range(FEATURES)), "label"]
    clean, dirty = [header], [header]
    for row in range(ROWS):
        label_text = "yes" if label[row] else "no"
        clean.append([*(f"{value:.4f}" for value in x[row]), label_text])
        values = np.where(outlier[row], 100 * x[row], x[row])
        cells = [
            "" if is_missing else f"{value:.4f}"
            for value, is_missing in zip(values, missing[row], strict=True)
        ]
        dirty.append([*cells, label_text])
    return {"thousand.csv": clean, "thousand_dirty.csv": dirty}


if __name__ == "__main__":
    for name, rows in tables().items():
        with (Path(__file__).parent / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
