"""Run a sweep from its config to its best trial: trials train in packs, in one or more processes.

    config ─► study ─ batch of trials ─► packs ─► objectives ─► study … ─► best trial, test rows

Everything is stored in the directory of the sweep, so an interrupted sweep resumes there. Importing
this module does not import TensorFlow.

`trainer.sweep` suggests the trials; `work_items` and `trainer.workers` train them.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from trainer.config.load import LoadedConfig, load_config
from trainer.config.sweep_loading import sweep_text
from trainer.config.sweeps import (
    kept_trials,
    resolved_search,
    sweep_dimensions,
)
from trainer.data.splits import SPLIT_NAMES
from trainer.errors import InputError
from trainer.prediction.predictor import open_predictor
from trainer.report.page import write_page, write_sweep_page
from trainer.report.predictions import predictions_to_parquet
from trainer.report.sweeps.text import SettingLabels
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation
from trainer.runs.lock import RunLock
from trainer.runs.sweeps import SweepDirectory, find_sweeps
from trainer.sweep.journal import header_of, read_journal
from trainer.sweep.leaderboard import Leaderboard, TrialRow, trials_to_delete
from trainer.sweep.study import BatchStarted, Study, StudyEnded, run_study
from trainer.sweep.trial_count import too_few_combinations, trial_count
from trainer.sweep.trials import BatchPlanned, TrialEnded, TrialPackEpoch, TrialPackStarted
from trainer.workers.leases import leases_in, lock_files, revoke
from trainer.workers.pool import WorkerPool
from trainer.workers.processes import ProcessWorkerPool
from trainer.workers.ray_connection import Cluster
from trainer.workflows.best_trial import best_trial_run
from trainer.workflows.evaluate import evaluate
from trainer.workflows.pack_schedule import (
    LARGEST_PACK,
)
from trainer.workflows.plan import RunPlan, TableCache, row_groups
from trainer.workflows.reporting import write_missing_findings
from trainer.workflows.resume_checks import check_unchanged
from trainer.workflows.sweep_plan import base_plan, batch_size, choose_jobs, sweep_objective
from trainer.workflows.trials import TrialTrainer
from trainer.workflows.work_items import ItemRunner, worker_threads


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """Work starts that may take seconds, named in the form "reading data.csv"."""

    text: str


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """A sweep starts or resumes.

    Attributes:
        sweep: Its directory.
        plan: The plan of the base config.
        search: How trials are chosen.
        trials: Maximum number of trials; None if only time or an exhausted grid ends the sweep.
        jobs: Number of training processes.
        leaderboard: The current ranking.
        warning: A warning if there are fewer trials than configured, else empty.
        labels: Searched values as short text.
    """

    sweep: Path
    plan: RunPlan
    search: str
    trials: int | None
    jobs: int
    leaderboard: Leaderboard
    warning: str
    labels: SettingLabels


@dataclass(frozen=True, slots=True)
class SweepFinished:
    """A sweep, or this process's part of it, has ended.

    Attributes:
        sweep: Its directory.
        reason: "trials", "seconds" or "interrupted".
        leaderboard: The ranking.
        winner: The best trial; None if interrupted.
        metrics: Split → metric → value of the best trial, including test rows.
        seconds: Wall-clock time of this process.
    """

    sweep: Path
    reason: str
    leaderboard: Leaderboard
    winner: TrialRow | None
    metrics: Mapping[str, Mapping[str, float]]
    seconds: float


if TYPE_CHECKING:
    Event = (
        PhaseStarted
        | SweepStarted
        | BatchPlanned
        | TrialPackStarted
        | TrialPackEpoch
        | TrialEnded
        | SweepFinished
    )


def sweep(
    loaded: LoadedConfig,
    *,
    sweeps: Path,
    jobs: int | None,
    command: tuple[str, ...],
    allow_custom: bool,
    interrupted: Callable[[], str | None],
    cluster: Cluster | None = None,
) -> Generator[Event, None, None]:
    """Start a sweep and run it.

    Args:
        loaded: The config with its `sweep` section.
        sweeps: The folder of sweeps.
        jobs: Number of training processes; None chooses, or keeps that of a resumed sweep.
        command: The command line, for the manifests.
        allow_custom: Whether custom functions may be imported.
        interrupted: Returns the reason to stop, if there is one.
        cluster: The Ray cluster that trains; None for processes on this machine.

    Raises:
        InputError: Config, data or cluster are invalid; nothing is left.
        TrainingError: No trial can be compared, or training failed.
    """
    start_time = perf_counter()
    with nullcontext() if cluster is None else cluster:
        tables = TableCache()
        yield _reading_phase(loaded)
        plan = base_plan(loaded, tables)
        now = datetime.now(UTC)
        directory = SweepDirectory.create(sweeps, loaded.config.name, sweep_text(loaded), now)
        if cluster is not None:
            try:
                cluster.check_nodes(directory.path)
            except InputError:
                shutil.rmtree(directory.path)
                with suppress(OSError):  # not empty: other sweeps
                    directory.path.parent.rmdir()
                raise
        with RunLock(directory.lock):
            yield from _run(
                directory,
                plan,
                tables,
                start_time,
                jobs,
                command,
                interrupted,
                cluster,
                allow_custom=allow_custom,
            )


def resume_sweep(
    path: Path,
    *,
    jobs: int | None,
    command: tuple[str, ...],
    allow_custom: bool,
    interrupted: Callable[[], str | None],
    cluster: Cluster | None = None,
) -> Generator[Event, None, None]:
    """Resume a sweep; a sweep that has ended only reports its result.

    Raises:
        RunError: The sweep does not exist, is damaged, or is written by another process.
        InputError: Its data have changed, or the cluster is invalid.
        TrainingError: See `sweep`.
    """
    start_time = perf_counter()
    directory = SweepDirectory.open(path)
    with nullcontext() if cluster is None else cluster, RunLock(directory.lock):
        # Workers of a killed process may still be training.
        revoke(leases_in(directory.workers), lock_files(directory.trials))
        directory.remove_leftovers()
        tables = TableCache()
        loaded = load_config(directory.config)
        yield _reading_phase(loaded)
        plan = base_plan(loaded, tables)
        if cluster is not None:
            cluster.check_nodes(directory.path)
        yield from _run(
            directory,
            plan,
            tables,
            start_time,
            jobs,
            command,
            interrupted,
            cluster,
            allow_custom=allow_custom,
        )


def find_sweep(loaded: LoadedConfig, sweeps: Path) -> Path | None:
    """Return the newest sweep of exactly this config, or None."""
    text = sweep_text(loaded)
    for path in sorted(find_sweeps(sweeps / loaded.config.name), reverse=True):
        with suppress(OSError, ValueError):
            if SweepDirectory(path).config.read_text(encoding="utf-8") == text:
                return path
    return None


def _run(
    directory: SweepDirectory,
    plan: RunPlan,
    tables: TableCache,
    start_time: float,
    jobs: int | None,
    command: tuple[str, ...],
    interrupted: Callable[[], str | None],
    cluster: Cluster | None,
    *,
    allow_custom: bool,
) -> Generator[Event, None, None]:
    loaded = load_config(directory.config)
    assert loaded.config.sweep is not None, "a sweep has a sweep section"
    settings = loaded.config.sweep
    trials = trial_count(loaded.config)
    header = header_of(read_journal(directory.journal))
    job_count = jobs or (choose_jobs(plan, trials, cluster) if header is None else header.jobs)
    search = resolved_search(settings)
    size = batch_size(plan, search, job_count)
    with ExitStack() as stack:
        workers = _make_pool(job_count, cluster, directory, plan, tables)
        if workers is not None:
            stack.enter_context(workers)
        study = stack.enter_context(
            Study(directory, sweep_objective(loaded, plan), size, job_count)
        )
        # Packs keep the thread count of the first start, even if the number of jobs changes.
        threads = worker_threads(
            plan, LARGEST_PACK if trials is None else trials, study.header.jobs
        )
        warning, labels = (
            too_few_combinations(loaded.config),
            SettingLabels(sweep_dimensions(settings)),
        )
        yield SweepStarted(
            directory.path, plan, search, trials, job_count, study.leaderboard(), warning, labels
        )
        trainer = TrialTrainer(
            directory, loaded, study, tables, workers, threads, command, interrupted, allow_custom
        )
        # Packs on a cluster check their own machine, which may differ from this one.
        is_here = cluster is None or cluster.address is None
        check_unchanged(trainer.trial_specs(), plan, command, machine=is_here)
        reason, is_first = "trials", True
        for event in run_study(study, trainer.train):
            match event:
                case BatchStarted():
                    pass
                case StudyEnded():
                    reason = event.reason
                case BatchPlanned():
                    yield event
                    if is_first:
                        yield PhaseStarted("importing TensorFlow")
                    is_first = False
                case TrialPackStarted() | TrialPackEpoch():
                    yield event
                case TrialEnded():
                    yield event
                    _delete_trials(directory, study.leaderboard(), kept_trials(settings.keep))
        leaderboard = study.leaderboard()
    winner = None
    metrics: Mapping[str, Mapping[str, float]] = {}
    if reason != "interrupted":
        yield PhaseStarted("evaluating the best trial")
        winner, metrics = _finish(directory, plan, allow_custom=allow_custom)
    yield SweepFinished(
        directory.path, reason, leaderboard, winner, metrics, perf_counter() - start_time
    )


def _reading_phase(loaded: LoadedConfig) -> PhaseStarted:
    source = loaded.config.data.source
    match source:
        case str():
            paths = [source]
        case list():
            paths = source
        case _:
            paths = [str(path) for path in source.model_dump(exclude_none=True).values()]
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return PhaseStarted(f"reading {paths[0]}{more}")


def _make_pool(
    count: int,
    cluster: Cluster | None,
    directory: SweepDirectory,
    plan: RunPlan,
    tables: TableCache,
) -> WorkerPool[Any] | None:
    """Return the pool of workers, or None if this process trains."""
    if cluster is None:
        return ProcessWorkerPool(count, ItemRunner) if count > 1 else None
    from trainer.workers.ray_workers import RayWorkerPool

    cluster.start(count)
    return RayWorkerPool(count, directory, ItemRunner(tables), plan.config.runtime.device)


def _delete_trials(directory: SweepDirectory, leaderboard: Leaderboard, kept: int | None) -> None:
    """Delete run directories that are not kept; those that cannot be deleted stay."""
    for row in trials_to_delete(leaderboard, kept):
        shutil.rmtree(directory.trial(row.trial.number), ignore_errors=True)


def _finish(
    directory: SweepDirectory, plan: RunPlan, *, allow_custom: bool
) -> tuple[TrialRow, dict[str, dict[str, float]]]:
    """Return the best trial and its metrics, and write the page of the sweep."""
    try:
        run, winner = best_trial_run(directory.path)
        return winner, _best_trial_metrics(run, plan, allow_custom=allow_custom)
    finally:
        # If no trial can be compared, the page shows why.
        if plan.config.evaluate.report:
            write_sweep_page(directory, datetime.now(UTC))


def _best_trial_metrics(
    run: RunDirectory, plan: RunPlan, *, allow_custom: bool
) -> dict[str, dict[str, float]]:
    """Return the metrics of the best trial.

    Its test rows are evaluated here for the first time, and splits that were not evaluated because its
    training was ended early.
    """
    metrics: dict[str, dict[str, float]] = {}
    missing = tuple(
        split
        for split in SPLIT_NAMES
        if plan.dataset.rows(split) and not (run.evaluation / f"{split}.json").exists()
    )
    if missing:
        device = plan.config.runtime.device
        predictor = open_predictor(run.path, device=device, allow_custom=allow_custom)
        evaluations = evaluate(predictor, splits=missing, data=None)
        for result in evaluations.results:
            assert result.split is not None
            run.write_evaluation(
                result.split,
                Evaluation(
                    result.metrics,
                    split=result.split,
                    checkpoint="best",
                    epoch=run.read_manifest().best_epoch,
                    rows=result.rows,
                ),
            )
            groups = row_groups(plan, result.predictions.rows)
            content = predictions_to_parquet(result.predictions, plan.task.prediction_names, groups)
            run.write_predictions(f"{result.split}.parquet", content)
    if plan.config.evaluate.report:
        write_missing_findings(run.path)
        write_page(run, datetime.now(UTC))
    for split, evaluation in run.read_evaluations().items():
        metrics[split] = {
            name: math.nan if value is None else value for name, value in evaluation.metrics.items()
        }
    return metrics
