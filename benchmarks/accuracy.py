"""Measure the accuracy of `trainer init`, `fit` and `predict` on real tables with fixed folds.

    python -m benchmarks.accuracy FOLDER [--suite SUITE] [--tables NAME…] [--folds 0 1 2 3 4]
        [--effort balanced] [--without PART] [--seed N] [--max-seconds N] [--jobs 1] [--page]

SUITE is a folder with tables and their folds (`tasks.json`, `tables/`, `folds/`), and the metrics of
other learners on these folds (`baselines.json`). `benchmarks.held_out` writes one. The config is what
`init` writes, without the PART of an ablation (`benchmarks.ablations`); with a time limit, `trainer fit`
chooses it from the table and the limit. A time limit is one of wall-clock time: measure it on a machine
without other work.

Each table and fold is measured once and kept in FOLDER, so that the command continues where it was
interrupted. Jobs run side by side, each on its own cores. CPU seconds are those of the whole process
with an empty cache of programs. Prints a JSON object with all that FOLDER contains; `--page` also adds
it to benchmarks/RESULTS.md. Without `--suite`, nothing is measured.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import queue
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from benchmarks import processes
from benchmarks.ablations import PARTS, without_part
from benchmarks.accuracy_results import summarize

FOLDS = range(5)
MAX_CORES = 2
"""Cores of a job: more do not make these networks faster."""
CLIP = 1e-7
"""Probabilities are clipped to [CLIP, 1 - CLIP] for the log loss."""
_PINNED = (
    "import os, sys; os.sched_setaffinity(0, map(int, sys.argv[1].split(','))); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)


@dataclass(frozen=True, slots=True)
class Setup:
    """How the networks are trained.

    Attributes:
        effort: The effort of `init`.
        without: A part of its config to remove; empty for none.
        seed: The seed; None for the default.
        max_seconds: The time limit; None for none.
    """

    effort: str = "balanced"
    without: str = ""
    seed: int | None = None
    max_seconds: float | None = None

    @property
    def name(self) -> str:
        """Its folder in the results."""
        parts = [self.effort]
        parts += [f"without_{self.without}"] if self.without else []
        parts += [] if self.seed is None else [f"seed_{self.seed}"]
        parts += [] if self.max_seconds is None else [f"within_{self.max_seconds:g}_s"]
        return "-".join(parts)


@dataclass(frozen=True, slots=True)
class Job:
    """One fold of a table.

    Attributes:
        suite: The folder of the suite.
        task: The table's entry in tasks.json.
        fold: The fold that is predicted.
        setup: How the networks are trained.
        result: The file for the result; the predictions are next to it.
        trainer: The command.
    """

    suite: Path
    task: Mapping[str, Any]
    fold: int
    setup: Setup
    result: Path
    trainer: Path

    def __str__(self) -> str:
        """Return for example `balanced: glass, fold 0`."""
        return f"{self.setup.name}: {self.task['name']}, fold {self.fold}"

    @property
    def cost(self) -> int:
        """A rough measure of the training time, so that long jobs start first."""
        return int(self.task["n_rows"] * (self.task["n_features"] + 50))


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a CSV file, compressed or not."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        return next(reader), [row for row in reader if row]


def write_table(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def measure(job: Job, cores: Sequence[int]) -> None:
    """Train on all rows outside the fold, predict its rows, and write the result."""
    pinned = [sys.executable, "-c", _PINNED, ",".join(map(str, cores)), job.trainer]
    head, rows = read_table(job.suite / job.task["file"])
    folds = [int(row[0]) for row in read_table(job.suite / job.task["folds"])[1]]
    inside = [index for index, fold in enumerate(folds) if fold == job.fold]
    at = head.index(job.task["target"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, test = folder / "train.csv", folder / "test.csv"
        write_table(train, head, (rows[i] for i, fold in enumerate(folds) if fold != job.fold))
        write_table(test, _without(head, at), (_without(rows[i], at) for i in inside))
        environment = {"XDG_CACHE_HOME": str(folder / "cache")}
        arguments = _arguments(job, train, pinned, environment)
        if arguments is None:
            _write(job, {"unchanged": True})
            return
        options = ("--quiet", "--runs", folder / "runs")
        fit = processes.run([*pinned, "fit", *arguments, *options], environment)
        run, predictions = Path(fit.output.strip()), folder / "predictions.csv"
        predict = processes.run([*pinned, "predict", run, test, "-o", predictions], environment)
        manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        names, predicted = read_table(predictions)
        columns = prediction_columns(job.task)
        values = np.array([[float(row[names.index(c)]) for c in columns] for row in predicted])
        targets = [rows[index][at] for index in inside]
    kept = job.result.with_suffix(".csv")
    indices = ([index, *row] for index, row in zip(inside, values.tolist(), strict=True))
    write_table(kept, ["row", *columns], indices)
    _write(
        job,
        {
            "error": error(job.task, targets, values),
            "measured_on": measured_on(len(cores)),
            "epochs": manifest["epochs"],
            "seconds": fit.seconds,
            "cpu_seconds": fit.cpu_seconds,
            "predict_cpu_seconds": predict.cpu_seconds,
        },
    )


def _arguments(
    job: Job, train: Path, pinned: Sequence[str | Path], environment: Mapping[str, str]
) -> list[str | Path] | None:
    """Return the arguments of `trainer fit`: a table with a time limit, or a config.

    None if the config does not have the part to remove.
    """
    setup, target = job.setup, job.task["target"]
    common = ["--target", target, "--effort", setup.effort]
    settings: list[str | Path] = [] if setup.seed is None else [f"seed={setup.seed}"]
    if setup.max_seconds is not None and not setup.without:
        # The limit determines the number of networks, too.
        return [train, *common, "--max-seconds", str(setup.max_seconds), *settings]
    config = train.with_name("config.yaml")
    processes.run([*pinned, "init", train, "-o", config, *common], environment)
    if setup.without:
        proposed = yaml.safe_load(config.read_text(encoding="utf-8"))
        changed = without_part(proposed, setup.without)
        if changed is None:
            return None
        config.write_text(json.dumps(changed), encoding="utf-8")
        settings.append("evaluate.report=false")
    if setup.max_seconds is not None:
        settings += ["--max-seconds", str(setup.max_seconds)]
    return [config, *settings]


def measured_on(cores: int) -> str:
    """Return the date, the processor, the cores of a job, and whether others use them too."""
    from benchmarks.run import machine

    date = datetime.now(UTC).strftime("%Y-%m-%d")
    is_busy = os.getloadavg()[0] > len(os.sched_getaffinity(0)) + 1
    others = ", beside other programs" if is_busy else ""
    return f"{date}, {machine()['processor']}, {cores} of its cores for each{others}"


def _without(row: Sequence[str], at: int) -> list[str]:
    return [value for index, value in enumerate(row) if index != at]


def _write(job: Job, result: Mapping[str, Any]) -> None:
    temporary = job.result.with_suffix(".partial")
    temporary.write_text(json.dumps(result), encoding="utf-8")
    temporary.replace(job.result)


def prediction_columns(task: Mapping[str, Any]) -> list[str]:
    """Return the columns that `trainer predict` writes: the number, or probabilities by class."""
    if task["task"] == "regression":
        return [f"predicted_{task['target']}"]
    return [f"probability_{name}" for name in task["classes"]]


def error(task: Mapping[str, Any], targets: Sequence[str], values: np.ndarray) -> float:
    """Return the error by the metric of the table: RMSE, log loss, or 1 - AUC.

    Args:
        task: The table's entry in tasks.json.
        targets: The target of each row as in the table.
        values: (rows, outputs) the predictions.
    """
    if task["metric"] == "rmse":
        residuals = np.asarray(targets, float) - values[:, 0]
        return float(np.sqrt(np.mean(residuals**2)))
    y = np.array([task["classes"].index(target) for target in targets])
    if task["metric"] == "roc_auc":
        positive = task["classes"].index(task["positive"])
        return 1 - auc(y == positive, values[:, positive])
    p = values / values.sum(axis=1, keepdims=True)
    return float(-np.log(np.clip(p[np.arange(len(y)), y], CLIP, 1 - CLIP)).mean())


def auc(y: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve; equal scores share their mean rank."""
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group]
    positives = int(y.sum())
    above = ranks[y].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(y) - positives)))


def run_jobs(jobs: Sequence[Job], count: int) -> int:
    """Run the jobs that have no result yet, `count` at a time; return how many failed."""
    available = sorted(os.sched_getaffinity(0))
    size = max(1, min(MAX_CORES, len(available) // count))
    free: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    for number in range(count):
        first = number * size % len(available)
        free.put(available[first : first + size])

    def run(job: Job) -> bool:
        cores = free.get()
        try:
            measure(job, cores)
        except (RuntimeError, OSError, ValueError) as problem:
            print(f"{job}: failed: {problem}", file=sys.stderr, flush=True)
            return False
        finally:
            free.put(cores)
        print(f"{job}: {job.result.read_text(encoding='utf-8')}", file=sys.stderr, flush=True)
        return True

    left = sorted((job for job in jobs if not job.result.exists()), key=lambda job: -job.cost)
    print(f"{len(left)} of {len(jobs)} are left", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(count) as pool:
        return sum(not done for done in pool.map(run, left))


def make_jobs(args: argparse.Namespace) -> list[Job]:
    """Return all jobs, and copy what the summary needs of the suite."""
    suite = args.suite.resolve()
    tasks = json.loads((suite / "tasks.json").read_text(encoding="utf-8"))["tasks"]
    setup = Setup(args.effort, args.without or "", args.seed, args.max_seconds)
    folder = args.folder.resolve() / suite.name
    (folder / setup.name).mkdir(parents=True, exist_ok=True)
    for name in ("tasks.json", "baselines.json"):
        shutil.copyfile(suite / name, folder / name)
    if unknown := set(args.tables or ()) - {task["name"] for task in tasks}:
        raise SystemExit(f"no such table: {', '.join(sorted(unknown))}")
    return [
        Job(
            suite,
            task,
            fold,
            setup,
            folder / setup.name / f"{task['name']}-{fold}.json",
            args.trainer,
        )
        for fold in args.folds
        for task in tasks
        if not args.tables or task["name"] in args.tables
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suite", type=Path)
    parser.add_argument("--tables", nargs="+", metavar="NAME")
    parser.add_argument("--folds", nargs="+", type=int, choices=FOLDS, default=list(FOLDS))
    parser.add_argument("--effort", choices=("quick", "balanced", "best"), default="balanced")
    parser.add_argument("--without", choices=PARTS)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--max-seconds", type=float)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--trainer", type=Path, default=processes.OURS / "trainer")
    parser.add_argument("--page", action="store_true")
    args = parser.parse_args()
    failed = 0 if args.suite is None else run_jobs(make_jobs(args), args.jobs)
    summary = summarize(args.folder)
    print(json.dumps(summary, indent=1))
    if args.page:
        from benchmarks.run import write

        write({"workloads": {}, "accuracy": summary})
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
