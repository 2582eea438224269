"""Random configs, decisions and rows, with which exports are compared with `predict`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from tests.export.untrained import write_run, write_table
from trainer.runs.decisions import Decisions

ROWS = 60
IMPUTE = ("mean", "median", "most_frequent", {"impute": "constant", "constant": -3})
SCALES = ("standard", "minmax", "robust", "quantile", "none")
ENCODINGS = ("onehot", "ordinal", "embedding")
TARGETS = ("binary", "multiclass", "multilabel", "lists", "number", "numbers")
LAYERS: tuple[list[Any], ...] = (
    [],
    [{"dense": {"units": 5, "activation": "relu"}}],
    [
        "learned_scale",
        {"dense": 4},
        "batch_normalization",
        {"dropout": 0.2},
        {"activation": "selu"},
    ],
    [{"residual": {"layers": [{"dense": 3}, "layer_normalization"], "activation": "silu"}}],
)


def table(rng: np.random.Generator) -> dict[str, list[Any]]:
    """Return a table with a column of each kind and each kind of target."""
    size = rng.normal(size=ROWS)
    words = [
        ["red", "Red", "blue", "green", "gré", "1", "2.0"][i] for i in rng.integers(0, 7, ROWS)
    ]
    days = rng.integers(0, 900, ROWS)
    start = np.datetime64("2021-11-05T07:30", "m")
    moments = [str(start + np.timedelta64(int(day) * 1_441, "m")) for day in days]
    return {
        "id": list(range(ROWS)),
        "size": [None if i % 9 == 4 else round(float(x) * 40 + 3, 3) for i, x in enumerate(size)],
        "large": [round(1e6 * math.exp(x), 1) for x in size],
        "whole": [int(x) for x in rng.integers(0, 5, ROWS)],
        "colour": [None if i % 13 == 5 else word for i, word in enumerate(words)],
        "many": [f"level {i}" for i in rng.integers(0, 90, ROWS)],
        "open": [None if i % 17 == 3 else ["yes", "no"][int(x > 0)] for i, x in enumerate(size)],
        "when": [None if i % 19 == 7 else moment for i, moment in enumerate(moments)],
        "price": [f"€ {x * 1000:.2f}".replace(".", ";") for x in rng.random(ROWS)],
        "binary": ["good" if x > 0 else "bad" for x in size],
        "multiclass": ["a" if x > 0.4 else "b" if x < -0.4 else "c" for x in size],
        "label_a": [int(x > 0) for x in size],
        "label_b": [int(x > 0.5) for x in size],
        "lists": ["x|y" if x > 0.5 else "x" if x > 0 else "y" for x in size],
        "number": [round(float(math.exp(2 * x)), 4) for x in size],
        "other": [round(float(x) * 3 - 1, 4) for x in size],
    }


@st.composite
def configs(draw: Any) -> dict[str, Any]:
    """Return a config, with the number of members and the decisions."""
    target = draw(st.sampled_from(TARGETS))
    numeric: dict[str, Any] = {
        "scale": draw(st.sampled_from(SCALES)),
        "indicator": draw(st.booleans()),
        "smooth_clip": draw(st.sampled_from([None, 3.0])),
        "piecewise_bins": draw(st.sampled_from([None, 4])),
    }
    impute = draw(st.sampled_from(IMPUTE))
    numeric |= impute if isinstance(impute, dict) else {"impute": impute}
    encode = draw(st.sampled_from(ENCODINGS))
    categorical = {
        "encode": encode,
        "min_count": draw(st.sampled_from([1, 4])),
        "unknown": draw(st.sampled_from(["separate_level", "rare"])),
        "ignore_case": draw(st.booleans()),
        "target_mean": encode != "embedding" and draw(st.booleans()),
        "impute": draw(st.sampled_from(["separate_level", "most_frequent"])),
    }
    parts = ["elapsed", "yearday", "year", "week", "day", "weekday", "month", "hour", "date"]
    chosen = draw(st.lists(st.sampled_from(parts), min_size=1, unique=True))
    data: dict[str, Any] = {
        "source": "table.csv",
        "numeric": numeric,
        "categorical": categorical,
        "datetime": {"parts": chosen},
        "columns": {"whole": {"levels": [0, 1, 2, 3, 4]}} if draw(st.booleans()) else {},
    }
    if draw(st.booleans()):
        data["clean"] = {"outliers": {"method": "iqr", "factor": 1.0, "action": "clip"}}
    targets = {"multilabel": ["label_a", "label_b"], "numbers": ["number", "other"]}
    data["target"] = targets.get(target, target)
    columns = ["size", "large", "whole", "colour", "many", "open", "when"]
    used = draw(st.lists(st.sampled_from(columns), min_size=2, unique=True))
    data["features"] = {"include": used}
    config: dict[str, Any] = {"data": data, "model": {"layers": draw(st.sampled_from(LAYERS))}}
    if target == "lists":
        data["target_separator"] = "|"
    if target == "binary":
        config["model"]["head"] = draw(st.sampled_from(["auto", "softmax"]))
    if target in ("number", "numbers"):
        data["target_scale"] = draw(st.sampled_from(["auto", "power", "none"]))
        if target == "number" and data["target_scale"] == "auto":
            data["target_scale"] = draw(st.sampled_from(["standard", "log"]))
        config["loss"] = draw(
            st.sampled_from(
                [
                    "auto",
                    {"name": "quantile", "quantiles": [0.1, 0.5, 0.9]},
                    {"name": "mean_with_quantiles", "quantiles": [0.2, 0.8]},
                ]
            )
        )
    return config


def decisions_for(target: Any, draw: Any) -> Decisions:
    columns = [target] if isinstance(target, str) else target
    if columns[0] in ("number", "other"):
        widths = dict.fromkeys(columns, 0.7) if draw(st.booleans()) else {}
        return Decisions(coverage=0.9 if widths else None, half_widths=widths)
    threshold = 0.5 if target == "multiclass" else draw(st.sampled_from([0.5, 0.31]))
    return Decisions(threshold=threshold, temperature=draw(st.sampled_from([1.0, 1.7])))


def new_rows(rng: np.random.Generator, columns: dict[str, list[Any]]) -> pl.DataFrame:
    """Return rows of the table, and others with missing, invalid, unseen and extreme cells."""
    rows = {
        name: [None if cell is None else str(cell) for cell in cells]
        for name, cells in columns.items()
    }
    odd = {
        "size": ["", "abc", "inf", "-900", "900", "nan", " 7 "],
        "large": ["1e9", "-0", "", "12,5"],
        "whole": ["9", "1.0", "+2", ""],
        "colour": ["mauve", "RED", "GRÉ", " red ", "1.0", "2", ""],
        "many": ["level 1000", ""],
        "open": ["perhaps", "Y", "0", "TRUE", ""],
        "when": ["1899-12-31", "2024-02-29T23:59:59", "2100-03-01T00:00:01+02:00", "soon", ""],
    }
    for name, cells in odd.items():
        column = rows[name]
        column += [column[i] for i in rng.integers(0, ROWS, 40)]
        for place in rng.integers(ROWS, ROWS + 40, 25):
            column[place] = cells[int(rng.integers(len(cells)))] or None
    return pl.DataFrame({name: rows[name] for name in odd})


@st.composite
def cases(draw: Any) -> tuple[dict[str, Any], int, bool, Decisions, int]:
    config = draw(configs())
    members = draw(st.sampled_from([1, 1, 2, 3]))
    decisions = decisions_for(config["data"]["target"], draw)
    return config, members, draw(st.booleans()), decisions, draw(st.integers(0, 10_000))


def write_case(folder: Path, case: Any) -> tuple[Path, pl.DataFrame]:
    """Write the run of a case, and return it with rows to predict."""
    config, members, folds, decisions, seed = case
    rng = np.random.default_rng(seed)
    columns = table(rng)
    write_table(folder / "table.csv", columns)
    parts = [
        [f"data.split.fold={number + 1}/{members}"] if folds else [f"seed={number}"]
        for number in range(members)
    ]
    parts = parts if members > 1 else []
    run = write_run(folder, config, members=parts, decisions=decisions, seed=seed)
    return run, new_rows(rng, columns)
