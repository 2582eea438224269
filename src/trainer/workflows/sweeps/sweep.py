"""Run a sweep from its config to its best trial: trials train in packs, in one or more processes.

    config ─► study ─ batch of trials ─► packs ─► objectives ─► study … ─► best trial, test rows

Everything is stored in the directory of the sweep, so an interrupted sweep resumes there. Importing
this module does not import TensorFlow.

`trainer.sweep` suggests the trials; `packed.work_items` and `trainer.workers` train them.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from trainer.config.load import LoadedConfig, load_config
from trainer.config.sweep_loading import sweep_text
from trainer.config.sweeps import (
    kept_trials,
    resolved_search,
    sweep_dimensions,
)
from trainer.data.splits import SPLIT_NAMES
from trainer.errors import InputError
from trainer.prediction.evaluation import evaluate
from trainer.prediction.predictor import open_predictor
from trainer.report.page import write_page, write_sweep_page
from trainer.report.sweeps.text import SettingLabels
from trainer.runs.directory import RunDirectory
from trainer.runs.lock import RunLock
from trainer.runs.sweeps import SweepDirectory, find_sweeps
from trainer.sweep.best_trial import best_trial_run
from trainer.sweep.journal import header_of, read_journal
from trainer.sweep.leaderboard import Leaderboard, TrialRow, trials_to_delete
from trainer.sweep.study import BatchStarted, Study, StudyEnded, run_study
from trainer.sweep.trial_count import combinations_warning, trial_count
from trainer.sweep.trials import BatchPlanned, TrialEnded, TrialPackEpoch, TrialPackStarted
from trainer.workers.leases import leases_in, lock_files, revoke
from trainer.workers.pool import WorkerPool
from trainer.workers.processes import ProcessWorkerPool
from trainer.workers.ray_connection import Cluster
from trainer.workflows.events import PhaseStarted, SweepEvent, SweepFinished, SweepStarted
from trainer.workflows.existing_runs import read_metrics
from trainer.workflows.generation.best_trial import evaluate_best_trial
from trainer.workflows.packed.pack_schedule import LARGEST_PACK
from trainer.workflows.packed.work_items import ItemRunner, worker_threads
from trainer.workflows.plan import RunPlan, TableCache
from trainer.workflows.plans import AnyPlan
from trainer.workflows.reporting.findings import write_missing_findings
from trainer.workflows.reporting.splits import write_split
from trainer.workflows.resuming.checks import check_unchanged
from trainer.workflows.session import Session
from trainer.workflows.sweeps.sweep_plan import base_plan, batch_size, choose_jobs, sweep_objective
from trainer.workflows.sweeps.trials import TrialTrainer


def sweep(
    loaded: LoadedConfig,
    session: Session,
    sweeps: Path,
    *,
    jobs: int | None = None,
    cluster: Cluster | None = None,
) -> Generator[SweepEvent, None, None]:
    """Start a sweep and run it.

    Args:
        loaded: The config with its `sweep` section.
        session: The session of the calling command.
        sweeps: The folder of sweeps.
        jobs: Number of training processes; None to choose it automatically, or to keep that of a resumed
            sweep.
        cluster: The Ray cluster that trains; None for processes on this machine.

    Raises:
        InputError: The config, data or cluster is invalid; no directory is left behind.
        TrainingError: No trial can be compared, or training failed.
    """
    start_time = perf_counter()
    with nullcontext() if cluster is None else cluster:
        tables = TableCache()
        yield _reading_phase(loaded)
        plan = base_plan(loaded, tables)
        now = datetime.now(UTC)
        text, mode = sweep_text(loaded), loaded.config.runs.permissions
        directory = SweepDirectory.create(sweeps, loaded.config.name, text, now, mode)
        if cluster is not None:
            try:
                cluster.check_nodes(directory.path)
            except InputError:
                shutil.rmtree(directory.path)
                with suppress(OSError):  # not empty: other sweeps
                    directory.path.parent.rmdir()
                raise
        with RunLock(directory.lock):
            training = _SweepTraining(directory, plan, tables, session, cluster, start_time)
            yield from training.run(jobs)


def resume_sweep(
    path: Path,
    session: Session,
    *,
    jobs: int | None = None,
    cluster: Cluster | None = None,
) -> Generator[SweepEvent, None, None]:
    """Resume a sweep; a sweep that has ended only reports its result.

    Raises:
        RunError: The sweep does not exist, is damaged, or is being written by another process.
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
        training = _SweepTraining(directory, plan, tables, session, cluster, start_time)
        yield from training.run(jobs)


def find_sweep(loaded: LoadedConfig, sweeps: Path) -> Path | None:
    """Return the newest sweep of exactly this config, or None."""
    text = sweep_text(loaded)
    for path in sorted(find_sweeps(sweeps / loaded.config.name), reverse=True):
        with suppress(OSError, ValueError):
            if SweepDirectory(path).config.read_text(encoding="utf-8") == text:
                return path
    return None


@dataclass(frozen=True, slots=True)
class _SweepTraining:
    """The part of a sweep that one process runs.

    Attributes:
        directory: The locked directory of the sweep.
        plan: The plan of the base config.
        tables: A cache of tables.
        session: The session of the calling command.
        cluster: The Ray cluster that trains; None for processes on this machine.
        start_time: Start of this process by `perf_counter`.
    """

    directory: SweepDirectory
    plan: AnyPlan
    tables: TableCache
    session: Session
    cluster: Cluster | None
    start_time: float

    def run(self, jobs: int | None) -> Generator[SweepEvent, None, None]:
        """Train the trials that are left and evaluate the best one."""
        directory = self.directory
        reason, leaderboard = yield from self._train(jobs)
        winner = None
        metrics: Mapping[str, Mapping[str, float]] = {}
        if reason != "interrupted":
            yield PhaseStarted("evaluating the best trial")
            allow_custom = self.session.allow_custom
            winner, metrics = _finish(directory, self.plan, allow_custom=allow_custom)
        seconds = perf_counter() - self.start_time
        yield SweepFinished(directory.path, reason, leaderboard, winner, metrics, seconds)

    def _train(self, jobs: int | None) -> Generator[SweepEvent, None, tuple[str, Leaderboard]]:
        """Train the trials that are left; return why training ended, and the ranking."""
        loaded = load_config(self.directory.config)
        assert loaded.config.sweep is not None, "a sweep has a sweep section"
        settings = loaded.config.sweep
        trials = trial_count(loaded.config)
        header = header_of(read_journal(self.directory.journal))
        job_count = jobs or (
            choose_jobs(self.plan, trials, self.cluster) if header is None else header.jobs
        )
        search = resolved_search(settings)
        with ExitStack() as stack:
            workers = self._make_pool(job_count)
            if workers is not None:
                stack.enter_context(workers)
            size = batch_size(self.plan, search, job_count)
            objective = sweep_objective(loaded, self.plan)
            study = stack.enter_context(Study(self.directory, objective, size, job_count))
            yield SweepStarted(
                self.directory.path,
                self.plan,
                search,
                trials,
                job_count,
                study.leaderboard(),
                combinations_warning(loaded.config),
                SettingLabels(sweep_dimensions(settings)),
            )
            # Packs keep the thread count of the first start, even if the number of jobs changes.
            networks = LARGEST_PACK if trials is None else trials
            threads = worker_threads(self.plan, networks, study.header.jobs)
            trainer = TrialTrainer(study, self.tables, workers, threads, self.session)
            # Packs on a cluster check their own machine, which may differ from this one.
            is_local = self.cluster is None or self.cluster.address is None
            check_unchanged(
                trainer.trial_specs(), self.plan, self.session.command, machine=is_local
            )
            reason = yield from self._run_study(study, trainer, kept_trials(settings.keep))
            return reason, study.leaderboard()

    def _run_study(
        self, study: Study, trainer: TrialTrainer, kept: int | None
    ) -> Generator[SweepEvent, None, str]:
        """Train all batches, and delete the trials that are not kept; return why training ended."""
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
                    _delete_trials(self.directory, study.leaderboard(), kept)
        return reason

    def _make_pool(self, count: int) -> WorkerPool[Any] | None:
        """Return the pool of workers, or None if this process trains."""
        if self.cluster is None:
            return ProcessWorkerPool(count, ItemRunner) if count > 1 else None
        from trainer.workers.ray_workers import RayWorkerPool

        self.cluster.start(count)
        runner = ItemRunner(self.tables)
        return RayWorkerPool(count, self.directory, runner, self.plan.config.runtime.device)


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


def _delete_trials(directory: SweepDirectory, leaderboard: Leaderboard, kept: int | None) -> None:
    """Delete run directories that are not kept; those that cannot be deleted stay."""
    for row in trials_to_delete(leaderboard, kept):
        shutil.rmtree(directory.trial(row.trial.number), ignore_errors=True)


def _finish(
    directory: SweepDirectory, plan: AnyPlan, *, allow_custom: bool
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
    run: RunDirectory, plan: AnyPlan, *, allow_custom: bool
) -> dict[str, dict[str, float]]:
    """Return the metrics of the best trial.

    Its test rows are evaluated here for the first time, as are splits that were not evaluated because
    training was stopped early.
    """
    missing = tuple(
        split
        for split in SPLIT_NAMES
        if plan.dataset.rows(split) and not (run.evaluation / f"{split}.json").exists()
    )
    if not isinstance(plan, RunPlan):
        evaluate_best_trial(run, missing)
    elif missing:
        device = plan.config.runtime.device
        predictor = open_predictor(run.path, device=device, allow_custom=allow_custom)
        evaluations = evaluate(predictor, splits=missing, data=None)
        for result in evaluations.results:
            assert result.split is not None
            epoch = run.read_manifest().best_epoch
            write_split(run, plan, result.split, result, epoch)
    if plan.config.evaluate.report:
        if isinstance(plan, RunPlan):
            write_missing_findings(run.path)
        write_page(run, datetime.now(UTC))
    return read_metrics(run)
