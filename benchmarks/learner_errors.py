"""The errors of other learners on the folds of a suite of tables, from its baselines.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

CONSTANT = "dummy"
LEARNERS = {
    "linear": "logistic regression or ridge",
    "sk_mlp": "scikit-learn's MLP",
    "sk_mlp_es": "scikit-learn's MLP, early stopping",
    "forest": "random forest",
    "hgb": "HistGradientBoosting",
    "lightgbm": "LightGBM",
    "lightgbm_tuned": "LightGBM, best of 30 random settings",
    "realmlp_td": "RealMLP",
    "tabm_d": "TabM",
}


def complete_errors(
    baselines: Mapping[str, Any], metric: str, folds: Sequence[str]
) -> dict[str, float]:
    """Return the mean errors of the learners that ran all of these folds."""
    errors = {
        name: fold_errors(result[metric]["per_fold"], metric, folds)
        for name, result in baselines.items()
        if name != CONSTANT
    }
    return {name: mean(values.values()) for name, values in errors.items() if values}


def fold_errors(
    per_fold: Mapping[str, float], metric: str, folds: Sequence[str]
) -> dict[str, float]:
    """Return the errors of a learner by fold; empty if it did not run all of them."""
    if any(fold not in per_fold for fold in folds):
        return {}
    return {fold: 1 - per_fold[fold] if metric == "roc_auc" else per_fold[fold] for fold in folds}


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive values."""
    return math.exp(mean(math.log(value) for value in values))
