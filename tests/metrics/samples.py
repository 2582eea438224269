"""Random predictions, with ties, missing classes, and optional weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from trainer.metrics.predictions import Predictions


def make_predictions(task: str, y: Any, p: Any, weight: Any = None, **more: Any) -> Predictions:
    y, p = np.asarray(y, float), np.asarray(p, float)
    y, p = (item[:, None] if item.ndim == 1 else item for item in (y, p))
    names = ("no", "yes") if task == "binary" else tuple(f"c{i}" for i in range(y.shape[1]))
    rows = more.pop("rows", np.arange(len(y)))
    return Predictions(task, names, y, p, rows, weight, **more)  # type: ignore[arg-type]


def random_predictions(
    task: str, rows: int, seed: int, columns: int = 3, skill: float = 1.0, **more: Any
) -> Predictions:
    """Make random predictions that are better than chance."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        y = rng.normal(5, 2, (rows, columns))
        return make_predictions(task, y, y + rng.normal(0, 1 / skill, y.shape), **more)
    if task == "multiclass":
        y = np.eye(columns)[rng.integers(0, columns, rows)]
        exp_logits = np.exp(skill * y + rng.normal(size=y.shape))
        return make_predictions(task, y, exp_logits / exp_logits.sum(axis=1, keepdims=True), **more)
    k = 1 if task == "binary" else columns
    y = (rng.random((rows, k)) < 0.4).astype(float)
    logits = skill * (2 * y - 1) + rng.normal(size=y.shape)
    return make_predictions(task, y, 1 / (1 + np.exp(-logits)), **more)


@st.composite
def samples(draw: st.DrawFn, task: str, *, integer_weights: bool = False) -> Predictions:
    n = draw(st.integers(2, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k = draw(st.integers(3, 7)) if task == "multiclass" else draw(st.integers(1, 3))
    grid = draw(st.sampled_from([1, 3, 10, 10**6]))
    if task == "multiclass":
        y = np.eye(k)[rng.integers(0, draw(st.integers(1, k)), n)]
        p = rng.integers(0, grid + 1, (n, k)) / grid + 0.01
        p /= p.sum(axis=1, keepdims=True)
    elif task == "regression":
        y, p = (rng.integers(-grid, grid + 1, (n, k)) / grid for _ in range(2))
    else:
        k = 1 if task == "binary" else k
        positive_rates = rng.choice([0.0, 0.5, 1.0], k, p=[0.15, 0.7, 0.15])
        y = (rng.random((n, k)) < positive_rates).astype(float)
        p = rng.integers(0, grid + 1, (n, k)) / grid
    kind = (
        "integer"
        if integer_weights
        else draw(st.sampled_from(["none", "integer", "real", "zeros"]))
    )
    weight = None
    if kind != "none":
        weight = rng.uniform(0.1, 5, n) if kind == "real" else rng.integers(0, 4, n) * 1.0
        weight += kind == "integer"
        weight[0] = 1
    return make_predictions(task, y, p, weight)
