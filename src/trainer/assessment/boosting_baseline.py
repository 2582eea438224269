"""The gradient boosting baseline of a run: scikit-learn's HistGradientBoosting with its defaults.

It is fitted on the network's training rows, with the same sample weights, on the same columns of the
table (`data.raw_features`), in a separate process (`boosting_process`), so that scikit-learn and Keras
are never imported in the same process. One thread makes it deterministic. The size of the data alone
bounds its time: with more than 100,000 training rows or 20,000,000 cells a fixed sample is used; if 100
rounds still take longer than about 20 seconds, there are fewer rounds with a larger learning rate.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from math import inf
from pathlib import Path
from threading import Thread, Timer
from typing import IO, Any

import numpy as np

from trainer.assessment import boosting_process
from trainer.assessment.fold_baselines import COMPARED_SPLITS, Baseline, FoldData, fit_baseline
from trainer.config.losses import LossName
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES, TaskRules
from trainer.data.arrays import Float64Array, RowIndex
from trainer.data.dataset import Dataset
from trainer.data.opening import gather_rows
from trainer.data.raw_features import raw_features, raw_width
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.errors import pluralize
from trainer.metrics.arrays import FloatArray
from trainer.metrics.labels import class_indices
from trainer.metrics.predictions import Predictions
from trainer.packages import install_command

MAX_ROWS, MAX_CELLS = 100_000, 20_000_000
ROUNDS, MIN_ROUNDS = 100, 10
LEARNING_RATE, MAX_LEARNING_RATE = 0.1, 0.3
START_SECONDS = 1.5
"""Time to start the process and import scikit-learn."""
MAX_SECONDS = 20.0
"""Approximate time of all fits."""
KILLED_AFTER = 300.0
"""Seconds after which the process is killed: the estimate was wrong, or the machine is busy."""
PREDICT_ROWS = 65_536

_LOSSES: Mapping[LossName, str] = {
    "mean_absolute_error": "absolute_error",
    "poisson": "poisson",
    "quantile": "absolute_error",
}
"""Losses of the network that boosting minimizes too; otherwise the squared error."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class BoostingResult:
    """Gradient boosting, if it was fitted, and notes.

    Attributes:
        baseline: The baseline; None if it is turned off, missing or failed.
        note: How it was fitted, or how to install it; otherwise empty.
        warning: Why it failed; empty if it did not.
    """

    baseline: Baseline | None = None
    note: str = ""
    warning: str = ""


class _ProcessError(Exception):
    """The process ended before it replied."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a model is fitted: the number of training rows used, and of boosting rounds."""

    rows: int
    rounds: int

    @property
    def learning_rate(self) -> float:
        """The learning rate, larger with fewer rounds."""
        return min(MAX_LEARNING_RATE, LEARNING_RATE * ROUNDS / self.rounds)


def start_boosting_baseline(
    config: Config, folds: Sequence[FoldData], max_seconds: float = inf
) -> Future[BoostingResult]:
    """Start `fit_boosting_baseline` in a thread."""
    future: Future[BoostingResult] = Future()

    def fit() -> None:
        try:
            future.set_result(fit_boosting_baseline(config, folds, max_seconds))
        except BaseException as error:
            future.set_exception(error)

    # A pool would wait for the thread when the command is interrupted.
    Thread(target=fit, daemon=True).start()
    return future


def fit_boosting_baseline(
    config: Config, folds: Sequence[FoldData], max_seconds: float = inf
) -> BoostingResult:
    """Fit gradient boosting for each fold, if it is installed and not turned off.

    Args:
        config: The config of the run; its class weights apply to boosting too.
        folds: The table with its splits, for each fold.
        max_seconds: The time that it may take, unless the config requires it.
    """
    settings = config.evaluate.baselines
    if settings != "auto" and "boosting" not in settings:
        return BoostingResult()
    if not raw_width(folds[0].dataset.preprocessing):
        return BoostingResult()  # Trees cannot use images as features.
    if not is_installed():
        text = (
            "No comparison with gradient boosting, as scikit-learn is not installed: "
            f"{install_command('boosting')}"
        )
        if settings == "auto":
            return BoostingResult(note=f"{text}.")
        return BoostingResult(warning=f"{text}; evaluate.baselines requires it.")
    plan, seconds = _plan(folds[0], len(folds))
    if plan.rounds < MIN_ROUNDS:
        return BoostingResult(
            note="No comparison with gradient boosting: for a table of this size it would take "
            f"about {max(1, round(seconds / 60)):,} min."
        )
    if settings == "auto" and estimated_seconds(config, folds[0], len(folds)) > max_seconds:
        return BoostingResult(
            note="No comparison with gradient boosting: it would take too much of the time limit."
        )
    try:
        with _process() as process:
            baseline = fit_baseline(
                config, folds, lambda fold: _predictions(config, fold, plan, process)
            )
    except _ProcessError as error:
        return BoostingResult(
            warning=f"No comparison with gradient boosting: its process failed ({error})."
        )
    return BoostingResult(baseline, note=_plan_note(plan, folds))


def is_installed() -> bool:
    """Return whether scikit-learn is installed, without importing it."""
    return find_spec("sklearn") is not None


def estimated_seconds(config: Config, fold: FoldData, folds: int) -> float:
    """Estimate the CPU seconds of `fit_boosting_baseline`.

    Args:
        config: The config of the run.
        fold: The table of one of the folds.
        folds: The number of folds.
    """
    settings, width = config.evaluate.baselines, raw_width(fold.dataset.preprocessing)
    is_on = settings == "auto" or "boosting" in settings
    if not is_on or not width or not is_installed():
        return 0.0
    plan, seconds = _plan(fold, folds)
    return 0.0 if plan.rounds < MIN_ROUNDS else START_SECONDS + min(seconds, MAX_SECONDS)


def _plan(first: FoldData, folds: int) -> tuple[_Plan, float]:
    """Return how each model is fitted, and about how many seconds all rounds would take."""
    width = raw_width(first.dataset.preprocessing)
    rows = min(first.dataset.rows("train"), MAX_ROWS, max(1, MAX_CELLS // width))
    predicted = sum(first.dataset.rows(split) for split in COMPARED_SPLITS)
    # Measured with one thread of scikit-learn 1.9: building histograms, finding splits, predicting.
    tree = 5e-4 + width * (rows * 5e-9 + 1.1e-4) + predicted * 5e-8
    trees = folds * len(first.task.prediction_names)
    seconds = ROUNDS * trees * tree
    return _Plan(rows, min(ROUNDS, int(ROUNDS * MAX_SECONDS / seconds))), seconds


def _plan_note(plan: _Plan, folds: Sequence[FoldData]) -> str:
    rows = folds[0].dataset.rows("train")
    parts = []
    if plan.rows < rows:
        parts.append(f"on a sample of {plan.rows:,} of {pluralize(rows, 'training row')}")
    if plan.rounds < ROUNDS:
        parts.append(f"with {plan.rounds} rounds instead of {ROUNDS}")
    return f"Gradient boosting was fitted {' '.join(parts)}, to save time." if parts else ""


def _targets(rules: TaskRules) -> str:
    """Return what the process fits; see `boosting_process.fit`."""
    if rules.predicts_most_likely:
        return "classes"
    return "labels" if rules.has_classes else "numbers"


def _predictions(
    config: Config, fold: FoldData, plan: _Plan, process: _Process
) -> dict[SplitName, Predictions]:
    """Fit a model on the training rows of a fold, and predict its validation and test rows."""
    dataset, task = fold.dataset, fold.task
    train = np.flatnonzero(dataset.assignment == SPLIT_NAMES.index("train"))
    if plan.rows < len(train):
        train = np.sort(np.random.default_rng(0).choice(train, plan.rows, replace=False))
    names = [column.name for column in dataset.preprocessing.columns]
    x, is_category = raw_features(dataset.preprocessing, gather_rows(dataset.source, names, train))
    process.request(
        {
            "fit": {
                "targets": _targets(task.kind.rules),
                "x": x,
                "y": _fitted_targets(dataset, train),
                "weight": _weights(config, fold, train),
                "is_category": is_category,
                "loss": _LOSSES.get(task.loss.name, "squared_error"),
                "arguments": {"max_iter": plan.rounds, "learning_rate": plan.learning_rate},
            }
        }
    )
    splits = {
        split: np.flatnonzero(dataset.assignment == SPLIT_NAMES.index(split))
        for split in COMPARED_SPLITS
        if dataset.rows(split)
    }
    parts: dict[SplitName, list[FloatArray]] = {split: [] for split in splits}
    for start, frame in dataset.source.batches(names):
        for split, rows in splits.items():
            inside = rows[slice(*np.searchsorted(rows, (start, start + frame.height)))]
            for first in range(0, len(inside), PREDICT_ROWS):
                part = frame[inside[first : first + PREDICT_ROWS] - start]
                features, _ = raw_features(dataset.preprocessing, part)
                parts[split].append(process.request({"predict": features})["predictions"])
    return {
        split: _with_targets(fold, rows, np.concatenate(parts[split]))
        for split, rows in splits.items()
    }


def _fitted_targets(dataset: Dataset, rows: RowIndex) -> FloatArray:
    """Return the targets to fit: transformed if the network's are, otherwise as in the table."""
    encoded, values = dataset.targets(rows)[0], dataset.target_values(rows)
    return encoded if values is None or dataset.preprocessing.target.transforms else values


def _weights(config: Config, fold: FoldData, rows: RowIndex) -> Float64Array | None:
    weight = None if fold.dataset.weight is None else fold.dataset.weight[rows].astype(np.float64)
    by_class = fold.task.class_weights(config.fit.class_weight)
    if by_class is None:
        return weight
    weights = by_class[class_indices(fold.dataset.targets(rows)[0])].astype(np.float64)
    return weights if weight is None else weights * weight


def _with_targets(fold: FoldData, rows: RowIndex, p: FloatArray) -> Predictions:
    dataset, target = fold.dataset, fold.task.target
    values = dataset.target_values(rows)
    if target.transforms:
        p = target.inverse_transform(p)
    if TASK_RULES[target.task].has_classes:
        # The same precision as the network's probabilities: it bounds the log loss near 0 and 1.
        p = p.astype(np.float32)
    return Predictions(
        task=target.task,
        names=target.names,
        y=dataset.targets(rows)[0] if values is None else values,
        p=p,
        rows=rows,
        weight=None if dataset.weight is None else dataset.weight[rows].astype(np.float64),
    )


@dataclass(frozen=True, slots=True)
class _Process:
    """The running process, and a file with its output."""

    popen: subprocess.Popen[bytes]
    printed: IO[bytes]

    def request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return the reply.

        Raises:
            _ProcessError: The process has ended.
        """
        stdin, stdout = self.popen.stdin, self.popen.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            pickle.dump(request, stdin, protocol=5)
            stdin.flush()
            reply: dict[str, Any] = pickle.load(stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise _ProcessError(self._reason()) from error
        return reply

    def _reason(self) -> str:
        """Return how the process was killed, or the last line that it printed."""
        code = self.popen.wait()
        if code < 0:
            return f"ended by {signal.Signals(-code).name}"
        self.printed.seek(0)
        lines = self.printed.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {code}"


@contextmanager
def _process() -> Iterator[_Process]:
    """Context manager of the process, which is killed at the end and after `KILLED_AFTER` seconds.

    Raises:
        _ProcessError: It cannot be started.
    """
    environment = {**os.environ, **dict.fromkeys(_THREADS, "1")}
    with tempfile.TemporaryFile() as printed:
        try:
            popen = subprocess.Popen(
                # The directory of the script is not on the path of modules.
                [sys.executable, "-P", str(Path(boosting_process.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=printed,
                env=environment,
                start_new_session=True,  # Ctrl-C is for its parent
            )
        except OSError as error:
            raise _ProcessError(error.strerror or str(error)) from error
        timer = Timer(KILLED_AFTER, popen.kill)
        timer.daemon = True
        timer.start()
        try:
            yield _Process(popen, printed)
        finally:
            timer.cancel()
            popen.kill()
            for pipe in (popen.stdin, popen.stdout):
                assert pipe is not None
                with suppress(OSError):
                    pipe.close()
            popen.wait()
