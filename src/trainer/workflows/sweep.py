"""A sweep from its config to its winner: trials in packs, on as many processes as there are jobs.

    config ─► study ─ batch of trials ─► packs ─► what each scored ─► study … ─► winner, test rows

A sweep's directory holds all of it; started again it goes on where it was. Importing this module does
not import TensorFlow.

Owns: trials as entrants of packs, what is kept, the winner's evaluation. Does not own: which trials
there are (`trainer.sweep`), their training (`many`, `workers`, `cluster`).
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
from trainer.report.page import write_page, write_sweep_page
from trainer.report.predictions import predictions_to_parquet
from trainer.report.sweeps.text import SettingLabels
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation
from trainer.runs.leases import leases_in, lock_files, revoke
from trainer.runs.lock import RunLock
from trainer.runs.sweeps import SweepDirectory, find_sweeps
from trainer.sweep.journal import header_of, read_journal
from trainer.sweep.leaderboard import Leaderboard, TrialRow, trials_to_delete
from trainer.sweep.study import BatchStarted, Study, StudyEnded, run_study
from trainer.sweep.trial_count import too_few_combinations, trial_count
from trainer.sweep.trials import BatchPlanned, TrialEnded, TrialPackEpoch, TrialPackStarted
from trainer.workflows.best_trial import best_trial_run
from trainer.workflows.evaluate import evaluate
from trainer.workflows.pack_schedule import (
    LARGEST_PACK,
)
from trainer.workflows.plan import RunPlan, TableCache, row_groups
from trainer.workflows.ray_connection import Cluster
from trainer.workflows.reporting import write_missing_findings
from trainer.workflows.resume_checks import check_unchanged
from trainer.workflows.sweep_plan import base_plan, batch_size, choose_jobs, sweep_objective
from trainer.workflows.trials import TrialTrainer
from trainer.workflows.work_items import worker_threads
from trainer.workflows.worker_pool import WorkerPool
from trainer.workflows.worker_processes import ProcessWorkerPool


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """Something begins that may take seconds: what, in the form "reading data.csv"."""

    text: str


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """A sweep begins or goes on.

    Attributes:
        sweep: Its directory.
        plan: Of the base config.
        search: How trials are chosen.
        trials: How many there are at most; None until time is over or the grid is done.
        jobs: Processes that train.
        leaderboard: How it stands.
        warning: A warning that there are fewer trials than configured; else empty.
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
    """A sweep has ended, or this process's part of it.

    Attributes:
        sweep: Its directory.
        reason: "trials", "seconds" or "interrupted".
        leaderboard: How it stands.
        winner: The best trial; None where it was interrupted.
        metrics: The winner's, split → metric → value, the test rows' among them.
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
    """Begin a sweep and carry it through.

    Args:
        loaded: The config, with its `sweep` section.
        sweeps: The folder that sweeps are kept in.
        jobs: Processes that train; None chooses, or takes as many as the sweep was begun with.
        command: The command line, for the manifests.
        allow_custom: Whether functions of the user's own may be imported.
        interrupted: Whether to stop.
        cluster: Where trials are trained; None for processes of this machine.

    Raises:
        InputError: Config, data or the cluster are wrong; nothing is left behind.
        TrainingError: No trial could be compared, or training could not go on.
    """
    began = perf_counter()
    with nullcontext() if cluster is None else cluster:
        tables = TableCache()
        yield _reading(loaded)
        plan = base_plan(loaded, tables)
        now = datetime.now(UTC)
        directory = SweepDirectory.create(sweeps, loaded.config.name, sweep_text(loaded), now)
        if cluster is not None:
            try:
                cluster.check_nodes(directory.path)
            except InputError:
                shutil.rmtree(directory.path)
                with suppress(OSError):  # others' sweeps are there
                    directory.path.parent.rmdir()
                raise
        with RunLock(directory.lock):
            yield from _carry_on(
                directory,
                plan,
                tables,
                began,
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
    """Go on with a sweep; one that has ended only says so.

    Raises:
        RunError: There is none, it is damaged, or another process writes it.
        InputError: Its data are no longer what they were, or the cluster is wrong.
        TrainingError: As `sweep`.
    """
    began = perf_counter()
    directory = SweepDirectory.open(path)
    with nullcontext() if cluster is None else cluster, RunLock(directory.lock):
        # Whoever trained for a process that was killed may not know of that yet.
        revoke(leases_in(directory.workers), lock_files(directory.trials))
        directory.remove_leftovers()
        tables = TableCache()
        loaded = load_config(directory.config)
        yield _reading(loaded)
        plan = base_plan(loaded, tables)
        if cluster is not None:
            cluster.check_nodes(directory.path)
        yield from _carry_on(
            directory,
            plan,
            tables,
            began,
            jobs,
            command,
            interrupted,
            cluster,
            allow_custom=allow_custom,
        )


def find_sweep(loaded: LoadedConfig, sweeps: Path) -> Path | None:
    """The newest sweep of this very config, or None."""
    wanted = sweep_text(loaded)
    for path in sorted(find_sweeps(sweeps / loaded.config.name), reverse=True):
        with suppress(OSError, ValueError):
            if SweepDirectory(path).config.read_text(encoding="utf-8") == wanted:
                return path
    return None


def _carry_on(
    directory: SweepDirectory,
    plan: RunPlan,
    tables: TableCache,
    began: float,
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
    first = header_of(read_journal(directory.journal))
    count = jobs or (choose_jobs(plan, trials, cluster) if first is None else first.jobs)
    search = resolved_search(settings)
    size = batch_size(plan, search, count)
    with ExitStack() as stack:
        workers = _workers(count, cluster, directory, plan, tables)
        if workers is not None:
            stack.enter_context(workers)
        study = stack.enter_context(Study(directory, sweep_objective(loaded, plan), size, count))
        # Other jobs than it was begun with are at work on the same packs.
        threads = worker_threads(
            plan, LARGEST_PACK if trials is None else trials, study.header.jobs
        )
        warning, labels = (
            too_few_combinations(loaded.config),
            SettingLabels(sweep_dimensions(settings)),
        )
        yield SweepStarted(
            directory.path, plan, search, trials, count, study.leaderboard(), warning, labels
        )
        trainer = TrialTrainer(
            directory, loaded, study, tables, workers, threads, command, interrupted, allow_custom
        )
        # Each pack on a cluster checks its own machine: this one may be of another kind.
        is_here = cluster is None or cluster.address is None
        check_unchanged(trainer.begun(), plan, command, machine=is_here)
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
                    _discard(directory, study.leaderboard(), kept_trials(settings.keep))
        leaderboard = study.leaderboard()
    winner = None
    metrics: Mapping[str, Mapping[str, float]] = {}
    if reason != "interrupted":
        yield PhaseStarted("evaluating the best trial")
        winner, metrics = _winner(directory, plan, allow_custom=allow_custom)
    yield SweepFinished(
        directory.path, reason, leaderboard, winner, metrics, perf_counter() - began
    )


def _reading(loaded: LoadedConfig) -> PhaseStarted:
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


def _workers(
    count: int,
    cluster: Cluster | None,
    directory: SweepDirectory,
    plan: RunPlan,
    tables: TableCache,
) -> WorkerPool[Any] | None:
    """Who trains besides this process; None when it trains itself."""
    if cluster is None:
        return ProcessWorkerPool(count) if count > 1 else None
    from trainer.workflows.ray_workers import RayWorkerPool

    cluster.start(count)
    return RayWorkerPool(count, directory, tables, plan.config.runtime.device)


def _discard(directory: SweepDirectory, leaderboard: Leaderboard, kept: int | None) -> None:
    """Remove the run directories that are not kept; what cannot go stays."""
    for row in trials_to_delete(leaderboard, kept):
        shutil.rmtree(directory.trial(row.trial.number), ignore_errors=True)


def _winner(
    directory: SweepDirectory, plan: RunPlan, *, allow_custom: bool
) -> tuple[TrialRow, dict[str, dict[str, float]]]:
    """The best trial and its metrics; the page of the sweep is written."""
    try:
        run, winner = best_trial_run(directory.path)
        return winner, _winner_metrics(run, plan, allow_custom=allow_custom)
    finally:
        # Also where no trial can be compared: the page says why.
        if plan.config.evaluate.report:
            write_sweep_page(directory, datetime.now(UTC))


def _winner_metrics(
    run: RunDirectory, plan: RunPlan, *, allow_custom: bool
) -> dict[str, dict[str, float]]:
    """The winner's metrics; its test rows are evaluated here, for the first time, and what it was not
    evaluated on as its training was ended.
    """
    found: dict[str, dict[str, float]] = {}
    missing = tuple(
        split
        for split in SPLIT_NAMES
        if plan.dataset.rows(split) and not (run.evaluation / f"{split}.json").exists()
    )
    if missing:
        done = evaluate(
            run.path,
            splits=missing,
            data=None,
            device=plan.config.runtime.device,
            allow_custom=allow_custom,
        )
        for one in done.found:
            assert one.split is not None
            run.write_evaluation(
                one.split,
                Evaluation(
                    one.metrics,
                    split=one.split,
                    checkpoint="best",
                    epoch=run.read_manifest().best_epoch,
                    rows=one.rows,
                ),
            )
            groups = row_groups(plan, one.answers.rows)
            content = predictions_to_parquet(one.answers, plan.task.prediction_names, groups)
            run.write_predictions(f"{one.split}.parquet", content)
    if plan.config.evaluate.report:
        write_missing_findings(run.path)
        write_page(run, datetime.now(UTC))
    for split, evaluation in run.read_evaluations().items():
        found[split] = {
            name: math.nan if value is None else value for name, value in evaluation.metrics.items()
        }
    return found
