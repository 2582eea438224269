"""How long bootstrap intervals and the linear baseline take, on one core.

    python -m benchmarks.evaluation [--rows 100000] [--resamples 1000]

Draws answers at random: two classes, ten classes, one number. Prints one JSON object: seconds of one
`bootstrap` of every measure, preparation included, and of a plain loop that draws rows and calls
scikit-learn's function of each measure (of ten classes the averages alone, not each class), of which
a few resamples are run and multiplied; seconds of `fit_linear` for as many rows × 30, and for
scikit-learn's digits, which have 1,797 × 64. Seconds are the processor's, on one core. Medians of
three; the loop once.
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

from trainer.config.data import TaskName
from trainer.evaluation.baselines import fit_linear
from trainer.evaluation.bootstrap import bootstrap
from trainer.evaluation.predictions import Predictions

LOOPED = 5
LABELLED: tuple[Callable[..., Any], ...] = (
    metrics.accuracy_score,
    metrics.balanced_accuracy_score,
    metrics.matthews_corrcoef,
)
AVERAGED: tuple[Callable[..., Any], ...] = (
    metrics.precision_score,
    metrics.recall_score,
    metrics.f1_score,
)
NUMBERED: tuple[Callable[..., Any], ...] = (
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
    given = parser.parse_args()
    # One core, whatever libraries would take.
    threadpool_limits(1)
    found = {
        name: measure(answers, given.resamples)
        for name, answers in {
            "binary": draw("binary", 1, given.rows),
            "multiclass": draw("multiclass", 10, given.rows),
            "regression": draw("regression", 1, given.rows),
        }.items()
    }
    linear = {"rows": linear_seconds(given.rows), "digits": digits_seconds()}
    print(
        json.dumps(
            {"rows": given.rows, "resamples": given.resamples, "intervals": found, "linear": linear}
        )
    )


def draw(task: TaskName, columns: int, rows: int) -> Predictions:
    random = np.random.default_rng(0)
    noise = random.standard_normal((rows, columns))
    if task == "regression":
        y = 10 + random.standard_normal((rows, columns))
        return Predictions(task, ("y",), y, y + noise, np.arange(rows))
    if task == "binary":
        y = (random.random((rows, 1)) < 0.3).astype(float)
        p = 1 / (1 + np.exp(-(2 * y - 1 + 1.5 * noise)))
        return Predictions(task, ("no", "yes"), y, p, np.arange(rows))
    y = np.eye(columns)[random.integers(0, columns, rows)]
    powers = np.exp(2 * y + noise)
    p = powers / powers.sum(axis=1, keepdims=True)
    return Predictions(task, tuple(map(str, range(columns))), y, p, np.arange(rows))


def measure(answers: Predictions, resamples: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    began = process_time()
    for _ in range(LOOPED):
        index = random.integers(0, len(answers), len(answers))
        measure_plainly(answers.task, answers.y[index], answers.p[index])
    looped = (process_time() - began) / LOOPED * resamples
    return {
        "seconds": median_of(lambda: bootstrap(answers, resamples=resamples)),
        "measures": len(bootstrap(answers, resamples=1)),
        "loop_seconds": looped,
        "looped": LOOPED,
    }


def measure_plainly(task: TaskName, y: Any, p: Any) -> None:
    """Each measure by scikit-learn's function."""
    if task == "regression":
        for each in (*NUMBERED, metrics.mean_absolute_percentage_error):
            each(y, p)
        return
    if task == "binary":
        truth, called, p = y[:, 0].astype(int), (p[:, 0] >= 0.5).astype(int), p[:, 0]
        for each in (*LABELLED, *AVERAGED):
            each(truth, called)
        metrics.recall_score(truth, called, pos_label=0)
        metrics.roc_auc_score(truth, p)
        metrics.average_precision_score(truth, p)
        metrics.brier_score_loss(truth, p)
        metrics.log_loss(truth, p)
        return
    truth, called = y.argmax(axis=1), p.argmax(axis=1)
    for each in LABELLED:
        each(truth, called)
    for average in ("macro", "micro", "weighted"):
        for each in AVERAGED:
            each(truth, called, average=average)
    for average in ("macro", "weighted"):
        metrics.roc_auc_score(truth, p, multi_class="ovr", average=average)
        metrics.average_precision_score(y, p, average=average)
    metrics.log_loss(truth, p)
    metrics.brier_score_loss(truth, p)
    for k in (3, 5):
        metrics.top_k_accuracy_score(truth, p, k=k)


def linear_seconds(rows: int) -> float:
    random = np.random.default_rng(0)
    # Columns that go together, as those of a table do.
    x = random.standard_normal((rows, 30)) @ random.standard_normal((30, 30))
    y = x @ random.standard_normal((30, 1)) + 10 * random.standard_normal((rows, 1)) > 0
    single = x.astype(np.float32)
    return median_of(lambda: fit_linear("binary", single, y.astype(float)))


def digits_seconds() -> float:
    x, y = datasets.load_digits(return_X_y=True)
    single = x.astype(np.float32)
    return median_of(lambda: fit_linear("multiclass", single, np.eye(10)[y]))


def median_of(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(3):
        began = process_time()
        call()
        taken.append(process_time() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
