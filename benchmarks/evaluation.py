"""Measure the time of bootstrap intervals and the linear baseline on one core.

    python -m benchmarks.evaluation [--rows 100000] [--resamples 1000]

Draws random predictions for two classes, ten classes and a regression. Prints a JSON object: CPU
seconds on one core of a `bootstrap` of all metrics, including preparation; of a loop that draws rows
and calls scikit-learn's function for each metric (for ten classes only the averages), extrapolated from
a few resamples; of `fit_linear` for as many rows × 30, and for scikit-learn's digits (1,797 × 64).
Medians of three; the loop runs once.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from time import process_time
from typing import Any

import numpy as np
from sklearn import datasets, metrics
from threadpoolctl import threadpool_limits

from trainer.assessment.baselines import fit_linear
from trainer.assessment.bootstrap import bootstrap
from trainer.assessment.resampling import Resampling
from trainer.metrics.predictions import Predictions
from trainer.task_names import TaskName

LOOPED = 5
LABEL: tuple[Callable[..., Any], ...] = (
    metrics.accuracy_score,
    metrics.balanced_accuracy_score,
    metrics.matthews_corrcoef,
)
AVERAGED: tuple[Callable[..., Any], ...] = (
    metrics.precision_score,
    metrics.recall_score,
    metrics.f1_score,
)
REGRESSION: tuple[Callable[..., Any], ...] = (
    metrics.mean_absolute_error,
    metrics.mean_squared_error,
    metrics.root_mean_squared_error,
    metrics.r2_score,
    metrics.median_absolute_error,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--resamples", type=int, default=1_000)
    args = parser.parse_args()
    # Restrict all libraries to one core.
    threadpool_limits(1)
    intervals = {
        name: measure(predictions, args.resamples)
        for name, predictions in {
            "binary": draw("binary", 1, args.rows),
            "multiclass": draw("multiclass", 10, args.rows),
            "regression": draw("regression", 1, args.rows),
        }.items()
    }
    linear = {"rows": linear_seconds(args.rows), "digits": digits_seconds()}
    print(
        json.dumps(
            {
                "rows": args.rows,
                "resamples": args.resamples,
                "intervals": intervals,
                "linear": linear,
            }
        )
    )


def draw(task: TaskName, columns: int, rows: int) -> Predictions:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((rows, columns))
    if task == "regression":
        y = 10 + rng.standard_normal((rows, columns))
        return Predictions(task, ("y",), y, y + noise, np.arange(rows))
    if task == "binary":
        y = (rng.random((rows, 1)) < 0.3).astype(float)
        p = 1 / (1 + np.exp(-(2 * y - 1 + 1.5 * noise)))
        return Predictions(task, ("no", "yes"), y, p, np.arange(rows))
    y = np.eye(columns)[rng.integers(0, columns, rows)]
    powers = np.exp(2 * y + noise)
    p = powers / powers.sum(axis=1, keepdims=True)
    return Predictions(task, tuple(map(str, range(columns))), y, p, np.arange(rows))


def measure(predictions: Predictions, resamples: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    start_time = process_time()
    for _ in range(LOOPED):
        index = rng.integers(0, len(predictions), len(predictions))
        sklearn_metrics(predictions.task, predictions.y[index], predictions.p[index])
    looped = (process_time() - start_time) / LOOPED * resamples
    return {
        "seconds": median_of(lambda: bootstrap(predictions, resampling=Resampling(resamples))),
        "metrics": len(bootstrap(predictions, resampling=Resampling(1))),
        "loop_seconds": looped,
        "looped": LOOPED,
    }


def sklearn_metrics(task: TaskName, y: Any, p: Any) -> None:
    """Compute each metric with scikit-learn."""
    if task == "regression":
        for metric in (*REGRESSION, metrics.mean_absolute_percentage_error):
            metric(y, p)
        return
    if task == "binary":
        target, predicted, p = y[:, 0].astype(int), (p[:, 0] >= 0.5).astype(int), p[:, 0]
        for metric in (*LABEL, *AVERAGED):
            metric(target, predicted)
        metrics.recall_score(target, predicted, pos_label=0)
        metrics.roc_auc_score(target, p)
        metrics.average_precision_score(target, p)
        metrics.brier_score_loss(target, p)
        metrics.log_loss(target, p)
        return
    target, predicted = y.argmax(axis=1), p.argmax(axis=1)
    for metric in LABEL:
        metric(target, predicted)
    for average in ("macro", "micro", "weighted"):
        for metric in AVERAGED:
            metric(target, predicted, average=average)
    for average in ("macro", "weighted"):
        metrics.roc_auc_score(target, p, multi_class="ovr", average=average)
        metrics.average_precision_score(y, p, average=average)
    metrics.log_loss(target, p)
    metrics.brier_score_loss(target, p)
    for k in (3, 5):
        metrics.top_k_accuracy_score(target, p, k=k)


def linear_seconds(rows: int) -> float:
    rng = np.random.default_rng(0)
    # Correlated columns, as in real tables.
    x = rng.standard_normal((rows, 30)) @ rng.standard_normal((30, 30))
    y = x @ rng.standard_normal((30, 1)) + 10 * rng.standard_normal((rows, 1)) > 0
    single = x.astype(np.float32)
    return median_of(lambda: fit_linear("binary", single, y.astype(float)))


def digits_seconds() -> float:
    x, y = datasets.load_digits(return_X_y=True)
    single = x.astype(np.float32)
    return median_of(lambda: fit_linear("multiclass", single, np.eye(10)[y]))


def median_of(call: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        start_time = process_time()
        call()
        times.append(process_time() - start_time)
    return statistics.median(times)


if __name__ == "__main__":
    main()
