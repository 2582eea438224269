"""A run of several networks: repeats and folds of one config, and what they score together.

    config ─► members ─► packs ─► each one's run directory ─► means, intervals, out-of-fold predictions

    members/0001 …     run directories, each as `fit` makes it
    packs/             state while they train
    evaluation/        each metric's mean, spread and interval over the members
    predictions/out_of_fold.parquet

Importing this module does not import TensorFlow; running it does.

Owns: the directory of such a run. Does not own: the members' training (`many`), the arithmetic
(`trainer.report.aggregates`, `trainer.data.out_of_fold`).
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
from trainer.report.page import write_page
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Intervals
from trainer.runs.files import to_jsonable
from trainer.runs.listing import summarize
from trainer.runs.lock import RunLock
from trainer.runs.manifest import DataFile, Manifest, Resumption, new_manifest
from trainer.runs.process import this_process
from trainer.runs.search import find_runs
from trainer.workflows.member_aggregation import aggregate_members
from trainer.workflows.pack_events import MemberEnded
from trainer.workflows.pack_schedule import RunSpec
from trainer.workflows.plan import RunPlan, TableCache, make_plan
from trainer.workflows.reporting import read_sentence, write_ensemble_findings
from trainer.workflows.resume_checks import check_unchanged
from trainer.workflows.trained_runs import read_run_config
from trainer.workflows.work_items import (
    PacksScheduled,
    plan_work_items,
    read_ended_member,
    worker_threads,
)
from trainer.workflows.worker_processes import run_in_process

if TYPE_CHECKING:
    from trainer.workflows.pack_events import PackEvent


@dataclass(frozen=True, slots=True)
class MembersStarted:
    """A run of several networks begins.

    Attributes:
        run: Its directory.
        plan: Of its first member.
        members: How many.
        repeats: Networks a fold.
        folds: None where the validation rows are the same for all.
    """

    run: Path
    plan: RunPlan
    members: int
    repeats: int
    folds: int | None


@dataclass(frozen=True, slots=True)
class MembersFinished:
    """It has ended.

    Attributes:
        run: Its directory.
        status: "stopped" when it was interrupted.
        stopped_because: Why, where it was.
        members: How each of them ended.
        aggregates: What they score.
        sentence: What its report says in a sentence; empty where there is none.
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
        runs: The folder that run directories are kept in.
        command: The command line, for the manifest.
        allow_custom: Whether functions of the user's own may be imported.
        interrupted: Whether training should end.

    Raises:
        InputError: Config or data are wrong; no run directory is left behind.
        TrainingError: No network could be trained; the run directory says why.
    """
    began, now = perf_counter(), datetime.now(UTC)
    tables = TableCache()
    plan = make_plan(_entry(loaded, member_configs(loaded.config)[0]), tables)
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
            task=plan.task.target.task,
            parameters=plan.parameters,
            data=tuple(DataFile(**asdict(file)) for file in plan.dataset.table.files),
            splits={name: plan.dataset.rows(name) for name in SPLIT_NAMES},
            dropped=plan.dataset.dropped,
            warnings=plan.warnings,
        )
        run.write_manifest(manifest)
        yield from _train(
            run, loaded, manifest, plan, tables, began, command, allow_custom, interrupted
        )


def resume_members(
    path: Path,
    *,
    command: tuple[str, ...],
    allow_custom: bool,
    interrupted: Callable[[], str | None],
) -> Generator[Event, None, None]:
    """Go on with a run of several networks.

    Raises:
        RunError: It has finished, another process writes it, or something is not as it was.
        TrainingError: As `fit_members`.
    """
    began, now = perf_counter(), datetime.now(UTC)
    run = RunDirectory(path)
    with RunLock(run.lock):
        manifest = run.read_manifest()
        if manifest.status == "finished":
            fix = f"extend one of its members: {command_text('resume', run.member(1), 'fit.epochs=+20')}"
            raise RunError(
                Problem(
                    str(path), "a run that has something left to do", "one that has finished", fix
                )
            )
        loaded = read_run_config(run)
        tables = TableCache()
        plan = make_plan(_entry(loaded, member_configs(loaded.config)[0]), tables)
        check_unchanged(_specs(run, loaded), plan, command)
        resumption = Resumption(at=now, command=command, epoch=0, step=0, checkpoint="packs")
        manifest = manifest.with_resumption(resumption, this_process())
        run.write_manifest(manifest)
        yield from _train(
            run, loaded, manifest, plan, tables, began, command, allow_custom, interrupted
        )


def has_members(path: Path) -> bool:
    """Whether a run of several networks is there."""
    run = RunDirectory(path)
    return run.packs.is_dir() and run.manifest.exists()


def find_members(loaded: LoadedConfig, runs: Path) -> Path | None:
    """The newest run of this config, with its repeats or folds; None without."""
    wanted = to_jsonable(resolved_settings(loaded.config))
    for path in sorted(find_runs(runs / loaded.config.name), reverse=True):
        try:
            found = to_jsonable(resolved_settings(read_run_config(RunDirectory(path)).config))
        except InputError:
            continue
        if has_members(path) and found == wanted:
            return path
    return None


def finished_members(path: Path) -> MembersFinished | None:
    """How a run of several networks ended that has finished; None for one that can go on.

    Raises:
        RunError: It is damaged.
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
        members=tuple(read_ended_member(one) for one in specs if one.place.is_dir()),
        aggregates=summary.intervals,
        sentence=read_sentence(run),
        seconds=0.0,
    )


def _entry(loaded: LoadedConfig, member: Member) -> LoadedConfig:
    return replace(loaded, config=member.config)


def _specs(run: RunDirectory, loaded: LoadedConfig) -> list[RunSpec]:
    return [
        RunSpec(one.number, _entry(loaded, one), run.member(one.number))
        for one in member_configs(loaded.config)
    ]


def _train(
    run: RunDirectory,
    loaded: LoadedConfig,
    manifest: Manifest,
    plan: RunPlan,
    tables: TableCache,
    began: float,
    command: tuple[str, ...],
    allow_custom: bool,
    interrupted: Callable[[], str | None],
) -> Generator[Event, None, None]:
    members = member_configs(loaded.config)
    specs = {one.number: one for one in _specs(run, loaded)}
    with _recorded(run, manifest) as record:
        run.packs.mkdir(exist_ok=True)
        yield MembersStarted(
            run.path, plan, len(members), loaded.config.fit.repeats, loaded.config.fit.folds
        )
        planned, items, done = plan_work_items(
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
        ended = {one.number: one for one in done}
        reason = None
        working = run_in_process(items, tables, interrupted)
        while True:
            try:
                event = next(working)
            except StopIteration as over:
                reason = over.value
                break
            if isinstance(event, MemberEnded):
                ended[event.number] = event
            yield event
        found = tuple(ended[number] for number in sorted(ended))
        aggregates: Intervals = {}
        sentence = ""
        if reason is None:
            _check_some_finished(run, found)
            aggregates = aggregate_members(run, members, found, plan)
            if plan.config.evaluate.report:
                of_members = [one.loaded for one in specs.values()]
                sentence = write_ensemble_findings(run, of_members, tables)
        record.manifest = replace(
            record.manifest,
            epochs=max((one.epochs for one in found), default=0),
            stopped_because=reason or "all members done",
        )
        record.status = "finished" if reason is None else "stopped"
    if sentence:
        # Not before: it tells how the run ended.
        write_page(run, datetime.now(UTC))
    yield MembersFinished(
        run=run.path,
        status="finished" if reason is None else "stopped",
        stopped_because=reason or "all members done",
        members=found,
        aggregates=aggregates,
        sentence=sentence,
        seconds=perf_counter() - began,
    )


@dataclass(slots=True)
class _Record:
    manifest: Manifest
    status: Literal["finished", "stopped", "failed"] = "stopped"


@contextmanager
def _recorded(run: RunDirectory, manifest: Manifest) -> Iterator[_Record]:
    """Within it the run trains; how it ended is written at its end."""
    record = _Record(manifest)
    problems: tuple[Problem, ...] = ()
    try:
        yield record
    except TrainerError as wrong:
        record.status, problems = "failed", wrong.problems
        raise
    except Exception as bug:
        record.status, problems = "failed", (Problem("trainer", "no bug", repr(bug)),)
        raise
    finally:
        with suppress(StorageError):
            run.write_manifest(record.manifest.with_end(record.status, datetime.now(UTC), problems))


def _check_some_finished(run: RunDirectory, ended: Sequence[MemberEnded]) -> None:
    if any(one.status == "finished" for one in ended):
        return
    kinds = [
        replace(problem, where=f"{one.run}: {problem.where}")
        for one in ended[:3]
        for problem in one.problems[:1]
    ]
    raise TrainingError(kinds or [Problem(str(run.path), "a member that finishes", "none")])
