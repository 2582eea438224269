"""A run of several networks: the repeats and folds of one config, and their common evaluation.

    config ─► members ─► packs ─► their run directories ─► means, intervals, out-of-fold predictions

    members/0001 …     run directories, each as `fit` writes it
    packs/             state during training
    evaluation/        mean, standard deviation and interval of each metric over the members
    predictions/out_of_fold.parquet

Importing this module does not import TensorFlow; running it does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from trainer.config.dump import dump_config, resolved_settings
from trainer.config.load import LoadedConfig
from trainer.config.members import Member, member_configs
from trainer.data.splits import SPLIT_NAMES
from trainer.errors import (
    InputError,
    Problem,
    RunError,
    StorageError,
    TrainerError,
    TrainingError,
    command_text,
)
from trainer.prediction.trained_runs import read_run_config
from trainer.report.page import write_page
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Intervals
from trainer.runs.files import to_jsonable
from trainer.runs.listing import summarize
from trainer.runs.lock import RunLock
from trainer.runs.manifest import DataFile, Manifest, Resumption, new_manifest
from trainer.runs.process import this_process
from trainer.runs.search import find_runs
from trainer.workflows.pack_events import MemberEnded
from trainer.workflows.pack_schedule import RunSpec
from trainer.workflows.plan import RunPlan, TableCache, make_plan
from trainer.workflows.reporting import aggregate_members, read_sentence, write_ensemble_findings
from trainer.workflows.resume_checks import check_unchanged
from trainer.workflows.work_items import (
    PacksScheduled,
    plan_work_items,
    read_ended_member,
    run_in_process,
    worker_threads,
)

if TYPE_CHECKING:
    from trainer.workflows.pack_events import PackEvent


@dataclass(frozen=True, slots=True)
class MembersStarted:
    """A run of several networks starts.

    Attributes:
        run: Its directory.
        plan: The plan of its first member.
        members: The number of members.
        repeats: Networks per fold.
        folds: The number of folds; None if all members share the validation rows.
    """

    run: Path
    plan: RunPlan
    members: int
    repeats: int
    folds: int | None


@dataclass(frozen=True, slots=True)
class MembersFinished:
    """A run of several networks has ended.

    Attributes:
        run: Its directory.
        status: "stopped" if it was interrupted.
        stopped_because: The reason why it ended.
        members: How each member ended.
        aggregates: Metrics over the members.
        sentence: The summary of the report; empty without a report.
        seconds: Wall-clock time of this process.
    """

    run: Path
    status: Literal["finished", "stopped"]
    stopped_because: str
    members: tuple[MemberEnded, ...]
    aggregates: Intervals
    sentence: str
    seconds: float


if TYPE_CHECKING:
    Event = MembersStarted | PacksScheduled | PackEvent | MembersFinished


def fit_members(
    loaded: LoadedConfig,
    *,
    runs: Path,
    command: tuple[str, ...],
    allow_custom: bool,
    interrupted: Callable[[], str | None],
) -> Generator[Event, None, None]:
    """Train and evaluate the networks of a config with repeats or folds.

    Args:
        loaded: The config.
        runs: The folder of run directories.
        command: The command line, for the manifest.
        allow_custom: Whether custom functions may be imported.
        interrupted: Returns the reason to end training, if there is one.

    Raises:
        InputError: Config or data are invalid; no run directory is left.
        TrainingError: No network could be trained; the manifest records why.
    """
    start_time, now = perf_counter(), datetime.now(UTC)
    tables = TableCache()
    plan = make_plan(_member_config(loaded, member_configs(loaded.config)[0]), tables)
    text = dump_config(loaded.config)
    run = RunDirectory.create(runs, loaded.config.name, text, now)
    with RunLock(run.lock):
        run.write_config(text)
        manifest = replace(
            new_manifest(
                name=loaded.config.name,
                command=command,
                seed=loaded.config.seed,
                config_directory=loaded.path.absolute().parent,
                now=now,
            ),
            task=plan.task.name,
            parameters=plan.parameters,
            data=tuple(DataFile(**asdict(file)) for file in plan.dataset.table.files),
            splits={name: plan.dataset.rows(name) for name in SPLIT_NAMES},
            dropped=plan.dataset.dropped,
            warnings=plan.warnings,
        )
        run.write_manifest(manifest)
        yield from _train(
            run, loaded, manifest, plan, tables, start_time, command, allow_custom, interrupted
        )


def resume_members(
    path: Path,
    *,
    command: tuple[str, ...],
    allow_custom: bool,
    interrupted: Callable[[], str | None],
) -> Generator[Event, None, None]:
    """Resume a run of several networks.

    Raises:
        RunError: The run has finished, another process writes it, or something has changed.
        TrainingError: See `fit_members`.
    """
    start_time, now = perf_counter(), datetime.now(UTC)
    run = RunDirectory(path)
    with RunLock(run.lock):
        manifest = run.read_manifest()
        if manifest.status == "finished":
            fix = f"extend one of its members: {command_text('resume', run.member(1), 'fit.epochs=+20')}"
            raise RunError(
                Problem(str(path), "a run with training left to do", "a finished run", fix)
            )
        loaded = read_run_config(run)
        tables = TableCache()
        plan = make_plan(_member_config(loaded, member_configs(loaded.config)[0]), tables)
        check_unchanged(_specs(run, loaded), plan, command)
        resumption = Resumption(at=now, command=command, epoch=0, step=0, checkpoint="packs")
        manifest = manifest.with_resumption(resumption, this_process())
        run.write_manifest(manifest)
        yield from _train(
            run, loaded, manifest, plan, tables, start_time, command, allow_custom, interrupted
        )


def has_members(path: Path) -> bool:
    """Return whether the directory contains a run of several networks."""
    run = RunDirectory(path)
    return run.packs.is_dir() and run.manifest.exists()


def find_members(loaded: LoadedConfig, runs: Path) -> Path | None:
    """Return the newest run of this config with its repeats or folds, or None."""
    expected = to_jsonable(resolved_settings(loaded.config))
    for path in sorted(find_runs(runs / loaded.config.name), reverse=True):
        try:
            settings = to_jsonable(resolved_settings(read_run_config(RunDirectory(path)).config))
        except InputError:
            continue
        if has_members(path) and settings == expected:
            return path
    return None


def finished_members(path: Path) -> MembersFinished | None:
    """Return how a finished run of several networks ended; None for a run that can be resumed.

    Raises:
        RunError: The run is damaged.
    """
    run = RunDirectory(path)
    manifest = run.read_manifest()
    if manifest.status != "finished":
        return None
    loaded = read_run_config(run)
    specs = _specs(run, loaded)
    summary = summarize(run, datetime.now(UTC), this_process())
    if summary.problems:
        raise RunError(summary.problems)
    return MembersFinished(
        run=path,
        status="finished",
        stopped_because=manifest.stopped_because or "",
        members=tuple(read_ended_member(spec) for spec in specs if spec.run_path.is_dir()),
        aggregates=summary.intervals,
        sentence=read_sentence(run),
        seconds=0.0,
    )


def _member_config(loaded: LoadedConfig, member: Member) -> LoadedConfig:
    return replace(loaded, config=member.config)


def _specs(run: RunDirectory, loaded: LoadedConfig) -> list[RunSpec]:
    return [
        RunSpec(member.number, _member_config(loaded, member), run.member(member.number))
        for member in member_configs(loaded.config)
    ]


def _train(
    run: RunDirectory,
    loaded: LoadedConfig,
    manifest: Manifest,
    plan: RunPlan,
    tables: TableCache,
    start_time: float,
    command: tuple[str, ...],
    allow_custom: bool,
    interrupted: Callable[[], str | None],
) -> Generator[Event, None, None]:
    members = member_configs(loaded.config)
    specs = {member.number: member for member in _specs(run, loaded)}
    with _manifest_at_end(run, manifest) as record:
        run.packs.mkdir(exist_ok=True)
        yield MembersStarted(
            run.path, plan, len(members), loaded.config.fit.repeats, loaded.config.fit.folds
        )
        planned, items, ended_before = plan_work_items(
            list(specs.values()),
            run.packs,
            tables,
            spec_of=specs.get,
            jobs=1,
            threads=worker_threads(plan, len(members), 1),
            command=command,
            splits=SPLIT_NAMES,
            allow_custom=allow_custom,
        )
        yield PacksScheduled(planned)
        ended = {member.number: member for member in ended_before}
        reason = None
        working = run_in_process(items, tables, interrupted)
        while True:
            try:
                event = next(working)
            except StopIteration as stop:
                reason = stop.value
                break
            if isinstance(event, MemberEnded):
                ended[event.number] = event
            yield event
        ended_members = tuple(ended[number] for number in sorted(ended))
        aggregates: Intervals = {}
        sentence = ""
        if reason is None:
            _check_some_finished(run, ended_members)
            aggregates = aggregate_members(run, members, ended_members, plan)
            if plan.config.evaluate.report:
                of_members = [member.loaded for member in specs.values()]
                sentence = write_ensemble_findings(run, of_members, tables)
        record.manifest = replace(
            record.manifest,
            epochs=max((member.epochs for member in ended_members), default=0),
            stopped_because=reason or "all members done",
        )
        record.status = "finished" if reason is None else "stopped"
    if sentence:
        # The page shows how the run ended, so it comes last.
        write_page(run, datetime.now(UTC))
    yield MembersFinished(
        run=run.path,
        status="finished" if reason is None else "stopped",
        stopped_because=reason or "all members done",
        members=ended_members,
        aggregates=aggregates,
        sentence=sentence,
        seconds=perf_counter() - start_time,
    )


@dataclass(slots=True)
class _EndRecord:
    manifest: Manifest
    status: Literal["finished", "stopped", "failed"] = "stopped"


@contextmanager
def _manifest_at_end(run: RunDirectory, manifest: Manifest) -> Iterator[_EndRecord]:
    """Context manager that writes to the manifest how the run ended."""
    record = _EndRecord(manifest)
    problems: tuple[Problem, ...] = ()
    try:
        yield record
    except TrainerError as error:
        record.status, problems = "failed", error.problems
        raise
    except Exception as bug:
        record.status, problems = "failed", (Problem("trainer", "no bug", repr(bug)),)
        raise
    finally:
        with suppress(StorageError):
            run.write_manifest(record.manifest.with_end(record.status, datetime.now(UTC), problems))


def _check_some_finished(run: RunDirectory, ended: Sequence[MemberEnded]) -> None:
    if any(member.status == "finished" for member in ended):
        return
    problems = [
        replace(problem, where=f"{member.run}: {problem.where}")
        for member in ended[:3]
        for problem in member.problems[:1]
    ]
    raise TrainingError(problems or [Problem(str(run.path), "a member that finishes", "none")])
