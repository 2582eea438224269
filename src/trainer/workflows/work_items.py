"""Many networks, each with a run directory of its own: in packs where they can be, alone where not.

    networks ─► packs, those that were begun first ─► worker processes, or this one ─► events

What is done of them is found in their directories: called again with the same networks it goes on. No
TensorFlow where there are workers; without, it is imported once a pack begins.

Owns: which packs there are in a folder, and who trains them. Does not own: a pack (`packs`), the
processes (`workers`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainer.data.splits import SplitName
from trainer.engine import devices
from trainer.errors import Problem, RunError, TrainerError
from trainer.runs.directory import RunDirectory
from trainer.runs.listing import summarize
from trainer.runs.log import read_log
from trainer.runs.process import this_process
from trainer.workflows.fit import fit_run
from trainer.workflows.pack_events import MemberEnded, PackEpochEnded, PackStarted
from trainer.workflows.pack_schedule import (
    LARGEST_PACK,
    PackSchedule,
    PackSpec,
    PlannedRun,
    RunSpec,
    schedule_packs,
)
from trainer.workflows.packs import PackRecord, read_pack_record, train_pack
from trainer.workflows.plan import RunPlan, TableCache, make_plan
from trainer.workflows.resume import resume_run
from trainer.workflows.training import RunFinished, RunStarted

if TYPE_CHECKING:
    from trainer.workflows.pack_events import PackEvent

EndReasons = Mapping[int, str]
"""Members that are to be ended after an epoch, and why."""


@dataclass(frozen=True, slots=True)
class PacksScheduled:
    """What is going to be trained: so many networks in so many programs."""

    plan: PackSchedule


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One pack, or one network alone, to be trained.

    Attributes:
        specs: Its networks, in the order of the pack.
        directory: Of the pack's own state.
        alone: It is one network that no pack can hold.
        command: The command line, for the manifests.
        splits: What the best weights are evaluated on.
        allow_custom: Whether functions of the user's own may be imported.
        threads: At most so many inside one operation.
    """

    specs: tuple[RunSpec, ...]
    directory: Path
    alone: bool
    command: tuple[str, ...]
    splits: tuple[SplitName, ...]
    allow_custom: bool
    threads: int


def worker_threads(plan: RunPlan, networks: int, jobs: int) -> int:
    """Threads inside one operation: the same for all tasks, whichever of them a process begins with, as
    weights depend on it in their last digits.

    Args:
        plan: Of one of the networks.
        networks: How many there are.
        jobs: So many tasks run at a time.
    """
    wanted = plan.config.runtime.threads
    if wanted != "auto":
        return wanted
    if jobs > 1:
        return 1
    if plan.parameters is None:
        return devices.usable_cores()
    largest = plan.parameters * min(networks, LARGEST_PACK)
    return devices.choose_threads(largest, plan.config.fit.batch_size)


def plan_work_items(
    specs: Sequence[RunSpec],
    directory: Path,
    tables: TableCache,
    *,
    spec_of: Callable[[int], RunSpec | None],
    jobs: int,
    threads: int,
    command: tuple[str, ...],
    splits: tuple[SplitName, ...],
    allow_custom: bool,
) -> tuple[PackSchedule, list[WorkItem], list[MemberEnded]]:
    """What there is to be done for these networks.

    Args:
        specs: The networks.
        directory: The folder of packs.
        tables: Those read so far.
        spec_of: The network of a number, for members of packs that were begun; None where there is
            none.
        jobs: So many tasks run at a time.
        threads: Of each task.
        command: The command line, for the manifests.
        splits: What the best weights are evaluated on.
        allow_custom: Whether functions of the user's own may be imported.

    Returns:
        The plan, the tasks, and the networks that have ended already or cannot be trained.

    Raises:
        RunError: What is there of a pack is damaged.
    """
    waiting = {spec.number: spec for spec in specs}
    ended: list[MemberEnded] = []
    items: list[WorkItem] = []
    packs: list[PackSpec] = []
    taken = 0
    for path in sorted(path for path in directory.iterdir() if path.name.isdecimal()):
        taken = max(taken, int(path.name))
        begun = read_pack_record(path)
        if begun is None or not set(begun.numbers) & set(waiting):
            continue
        members = _members(path, begun, waiting, spec_of)
        own = [waiting.pop(number) for number in begun.numbers if number in waiting]
        if begun.is_done:
            ended += [read_ended_member(spec) for spec in own]
            continue
        packs.append(
            PackSpec(tuple(PlannedRun(one, make_plan(one.loaded, tables)) for one in members))
        )
        items.append(WorkItem(members, path, False, command, splits, allow_custom, threads))
    plan = schedule_packs(list(waiting.values()), tables, jobs)
    for number, problems in plan.failed.items():
        ended.append(_failed(waiting[number], problems))
    for pack in plan.packs:
        members = tuple(member.spec for member in pack.members)
        alone = pack.single_reason is not None
        if alone and RunDirectory(members[0].place).has_ended():
            ended.append(read_ended_member(members[0]))
            continue
        taken += 1
        path = directory / f"{taken:04d}"
        items.append(WorkItem(members, path, alone, command, splits, allow_custom, threads))
    return replace(plan, packs=(*packs, *plan.packs)), items, ended


def _members(
    directory: Path,
    begun: PackRecord,
    waiting: Mapping[int, RunSpec],
    spec_of: Callable[[int], RunSpec | None],
) -> tuple[RunSpec, ...]:
    found = [waiting.get(number) or spec_of(number) for number in begun.numbers]
    members = tuple(member for member in found if member is not None)
    if len({member.number for member in members}) < len(found):
        fix = "remove the folder: its networks are then trained from their start"
        expected, numbers = "networks of this run, each once", str(list(begun.numbers))
        raise RunError(Problem(str(directory / "pack.json"), expected, numbers, fix))
    return members


def run_work_item(
    item: WorkItem, tables: TableCache, interrupted: Callable[[], str | None]
) -> Generator[PackEvent, EndReasons | None, str | None]:
    """Do a task in this process; takes the members that are to be ended after each `PackEpochEnded`.

    Returns:
        Why it was stopped; None when all of its members have ended.

    Raises:
        TrainerError: It could not go on.
    """
    if item.alone:
        return (yield from _alone(item, tables, interrupted))
    members = [PlannedRun(one, make_plan(one.loaded, tables)) for one in item.specs]
    return (
        yield from train_pack(
            PackSpec(tuple(members)),
            item.directory,
            command=item.command,
            splits=item.splits,
            threads=item.threads,
            interrupted=interrupted,
        )
    )


def _alone(
    item: WorkItem, tables: TableCache, interrupted: Callable[[], str | None]
) -> Generator[PackEvent, EndReasons | None, str | None]:
    from trainer.engine.events import EpochEnd

    (spec,) = item.specs
    loaded = spec.loaded
    if loaded.config.runtime.threads == "auto":
        runtime = loaded.config.runtime.model_copy(update={"threads": item.threads})
        config = loaded.config.model_copy(update={"runtime": runtime})
        loaded = replace(loaded, config=config)
    run = RunDirectory(spec.place)
    eliminated: list[str] = []

    def stopped() -> str | None:
        return eliminated[0] if eliminated else interrupted()

    if run.has_checkpoint("last"):
        events = resume_run(
            run.path,
            (),
            command=item.command,
            accept_differences=False,
            allow_custom=item.allow_custom,
            interrupted=stopped,
            is_member=True,
            splits=item.splits,
        )
    else:
        events = fit_run(
            loaded,
            runs=run.path,
            place=run.path,
            tables=tables,
            splits=item.splits,
            command=item.command,
            allow_custom=item.allow_custom,
            interrupted=stopped,
        )
    number = spec.number
    try:
        for event in events:
            if isinstance(event, RunStarted):
                epochs = event.plan.total_steps // event.plan.steps_per_epoch
                yield PackStarted((number,), 0, epochs, event.device)
            elif isinstance(event, RunFinished):
                if event.status == "stopped" and not eliminated:
                    return event.stopped_because
                ended = read_ended_member(spec)
                if eliminated:
                    ended = replace(ended, status="finished", stopped_because=eliminated[0])
                yield ended
            elif isinstance(event, EpochEnd):
                ends = yield PackEpochEnded(event.epoch, {number: event})
                if ends and number in ends:
                    eliminated.append(ends[number])
    except TrainerError as wrong:
        yield _failed(spec, wrong.problems)
    return None


def read_ended_member(spec: RunSpec) -> MemberEnded:
    """How a network ended, from its run directory.

    Raises:
        RunError: It is damaged.
    """
    run = RunDirectory(spec.place)
    manifest = run.read_manifest()
    summary = summarize(run, datetime.now(UTC), this_process())
    best = next(
        (one for one in read_log(run.metrics) if one.get("epoch") == manifest.best_epoch), {}
    )
    status: Literal["finished", "failed"] = "failed" if manifest.status == "failed" else "finished"
    return MemberEnded(
        number=spec.number,
        run=run.path,
        status=status,
        epochs=manifest.epochs,
        best_epoch=manifest.best_epoch or 0,
        best={
            name: float("nan") if value is None else float(value)
            for name, value in best.items()
            if name not in {"epoch", "step", "learning_rate"}
        },
        stopped_because=manifest.stopped_because or "",
        metrics={
            split: {name: float("nan") if value is None else value for name, value in of.items()}
            for split, of in summary.metrics.items()
        },
        problems=manifest.problems,
    )


def _failed(spec: RunSpec, problems: Sequence[Problem]) -> MemberEnded:
    return MemberEnded(
        number=spec.number,
        run=spec.place,
        status="failed",
        epochs=0,
        best_epoch=0,
        best={},
        stopped_because="it failed",
        metrics={},
        problems=tuple(problems),
    )
