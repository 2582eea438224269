"""Train several networks, each with its own run directory: in packs if possible, otherwise
individually.

    networks ─► packs, started ones first ─► worker processes, or this one ─► events

Progress is read from the directories, so a second call with the same networks resumes. With workers,
TensorFlow is not imported in this process; without them, it is imported when a pack starts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.config.generation import generates
from trainer.data.splits import SplitName
from trainer.engine import devices
from trainer.errors import Problem, RunError, TrainerError
from trainer.runs.directory import RunDirectory
from trainer.tracking.trackers import warn_once
from trainer.workers.messages import EndReasons
from trainer.workflows.events import (
    MemberEnded,
    PackEpochEnded,
    PackEvent,
    PackStarted,
    RunFinished,
    RunStarted,
)
from trainer.workflows.existing_runs import failed_member, read_ended_member
from trainer.workflows.fit import fit_run
from trainer.workflows.packed.pack_schedule import (
    LARGEST_PACK,
    PackRecord,
    PackSchedule,
    PackSpec,
    PlannedRun,
    RunSpec,
    read_pack_record,
    schedule_packs,
)
from trainer.workflows.packed.packs import train_pack
from trainer.workflows.plan import SharedTable, TableCache, make_plan
from trainer.workflows.plans import AnyPlan
from trainer.workflows.resuming.resume import resume_run
from trainer.workflows.session import Session, TimeLimit
from trainer.workflows.shared_programs import SharedPrograms


@dataclass(frozen=True, slots=True)
class ItemSettings:
    """What all work items of a command have in common; sent to workers.

    Attributes:
        command: The command line, for the manifests.
        splits: The splits that the best weights are evaluated on.
        allow_custom: Whether custom functions may be imported.
        threads: Maximum number of threads inside one operation.
    """

    command: tuple[str, ...]
    splits: tuple[SplitName, ...]
    allow_custom: bool
    threads: int


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A pack, or a single network, to be trained by one worker.

    Attributes:
        specs: The networks in the order of the pack.
        directory: The directory of the pack's state.
        is_single: Whether it is a single network that cannot be part of a pack.
        settings: What all items of the command have in common.
    """

    specs: tuple[RunSpec, ...]
    directory: Path
    is_single: bool
    settings: ItemSettings

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the networks."""
        return tuple(spec.number for spec in self.specs)

    @property
    def locks(self) -> tuple[Path, ...]:
        """The lock files of their run directories."""
        return tuple(RunDirectory(spec.run_path).lock for spec in self.specs)


class ItemRunner:
    """Runs work items in a worker (`trainer.workers.messages.Runner`).

    Args:
        cache: Tables that have already been read.
    """

    def __init__(self, cache: TableCache | None = None) -> None:
        self._cache, self._programs = cache or TableCache(), SharedPrograms()

    def prepare(self) -> None:
        """Load TensorFlow."""
        with devices.tensorflow_import(in_background=True):
            pass
        warn_once()

    def run(
        self, item: WorkItem, interrupted: Callable[[], str | None]
    ) -> Generator[PackEvent, EndReasons | None, str | None]:
        """Train in this process; see `run_work_item`."""
        return run_work_item(item, self._cache, self._programs, interrupted)

    def tables(self, item: WorkItem) -> dict[str, SharedTable]:
        """Return the tables of an item by key, except those that do not fit in memory.

        Generators read theirs themselves.
        """
        configs = [spec.loaded.config for spec in item.specs]
        shared = (self._cache.share(one) for one in configs if not generates(one.data))
        return {key: table for key, table in shared if table is not None}

    def has_table(self, key: str) -> bool:
        """Return whether a table is in the cache."""
        return self._cache.has(key)

    def add_table(self, key: str, table: SharedTable) -> None:
        """Add a table that another process has read."""
        self._cache.add(key, table)


def run_in_process(
    items: Iterable[WorkItem], tables: TableCache, interrupted: Callable[[], str | None]
) -> Generator[PackEvent, EndReasons | None, str | None]:
    """Run the work items one by one in this process; see `WorkerPool.run`."""
    programs = SharedPrograms()
    for item in items:
        # Check before TensorFlow is loaded or the next pack is compiled.
        reason = interrupted() or (yield from run_work_item(item, tables, programs, interrupted))
        if reason is not None:
            return reason
    return None


def run_within_limit(
    items: Sequence[WorkItem],
    tables: TableCache,
    interrupted: Callable[[], str | None],
    limit: TimeLimit,
) -> Generator[PackEvent, EndReasons | None, str | None]:
    """Run the work items in this process until the time for training runs out.

    Each network has an equal share of the time, so that no fold is left without one; time that a
    network does not need is left to the others. The first item is trained for at least an epoch.
    """
    networks, programs = sum(len(item.specs) for item in items), SharedPrograms()
    for index, item in enumerate(items):
        if index and limit.is_over:
            break
        share = limit.share(len(item.specs), networks)
        networks -= len(item.specs)
        reason = interrupted() or (
            yield from run_work_item(item, tables, programs, interrupted, share)
        )
        if reason is not None:
            return reason
    return None


def worker_threads(plan: AnyPlan, networks: int, jobs: int) -> int:
    """Return the number of threads inside one operation.

    It is the same for all networks, because the last digits of weights depend on it.

    Args:
        plan: The plan of one of the networks.
        networks: The number of networks.
        jobs: The number of workers.
    """
    threads = plan.config.runtime.threads
    if threads != "auto":
        return threads
    if jobs > 1:
        return 1
    if plan.multiplications is None:
        return devices.usable_cores()
    largest = plan.multiplications * min(networks, LARGEST_PACK)
    return devices.choose_threads(largest, plan.config.fit.batch_size)


def plan_work_items(
    specs: Sequence[RunSpec],
    directory: Path,
    tables: TableCache,
    settings: ItemSettings,
    *,
    spec_of: Callable[[int], RunSpec | None],
    jobs: int = 1,
) -> tuple[PackSchedule, list[WorkItem], list[MemberEnded]]:
    """Return the work that is left for these networks.

    Args:
        specs: The networks.
        directory: The folder of packs.
        tables: A cache of tables.
        settings: The settings of all work items.
        spec_of: Returns the network with a number, for members of started packs; None if there is
            none.
        jobs: The number of workers.

    Returns:
        The packs, the work items, and the networks that have ended or cannot be trained.

    Raises:
        RunError: Files of a pack are damaged.
    """
    waiting = {spec.number: spec for spec in specs}
    directories = [path for path in directory.iterdir() if path.name.isdecimal()]
    last_number = max((int(path.name) for path in directories), default=0)
    ended: list[MemberEnded] = []
    items: list[WorkItem] = []
    for started in _started_packs(directories, waiting, spec_of):
        if started.is_done:
            ended += [_read_ended(spec) for spec in started.waiting]
        else:
            items.append(WorkItem(started.members, started.directory, False, settings))
    started_packs = [_pack_spec(item, tables) for item in items]
    schedule = schedule_packs(list(waiting.values()), tables, jobs)
    for number, problems in schedule.failed.items():
        ended.append(failed_member(number, waiting[number].run_path, problems))
    trained = [
        (tuple(member.spec for member in pack.members), pack.single_reason is not None)
        for pack in schedule.packs
    ]
    trained += [((spec,), True) for spec in schedule.generators]
    for members, is_single in trained:
        if is_single and RunDirectory(members[0].run_path).has_ended():
            ended.append(_read_ended(members[0]))
            continue
        last_number += 1
        path = directory / f"{last_number:04d}"
        items.append(WorkItem(members, path, is_single, settings))
    return replace(schedule, packs=(*started_packs, *schedule.packs)), items, ended


@dataclass(frozen=True, slots=True)
class _StartedPack:
    """A pack of an earlier process.

    Attributes:
        directory: The directory of its state.
        members: Its members.
        waiting: Those that are to be trained now.
        is_done: Whether all their run directories are complete.
    """

    directory: Path
    members: tuple[RunSpec, ...]
    waiting: tuple[RunSpec, ...]
    is_done: bool


def _started_packs(
    directories: Iterable[Path],
    waiting: dict[int, RunSpec],
    spec_of: Callable[[int], RunSpec | None],
) -> Iterator[_StartedPack]:
    """Yield the packs with members that are waiting, and remove those from `waiting`."""
    for path in sorted(directories):
        record = read_pack_record(path)
        if record is None or not set(record.numbers) & set(waiting):
            continue
        members = _members(path, record, waiting, spec_of)
        waiting_members = tuple(
            waiting.pop(number) for number in record.numbers if number in waiting
        )
        yield _StartedPack(path, members, waiting_members, record.is_done)


def _pack_spec(item: WorkItem, tables: TableCache) -> PackSpec:
    started = (item.directory / "last").exists()
    plans = [make_plan(spec.loaded, tables, started=started) for spec in item.specs]
    return PackSpec(tuple(map(PlannedRun, item.specs, plans)))


def _members(
    directory: Path,
    record: PackRecord,
    waiting: Mapping[int, RunSpec],
    spec_of: Callable[[int], RunSpec | None],
) -> tuple[RunSpec, ...]:
    members_or_none = [waiting.get(number) or spec_of(number) for number in record.numbers]
    members = tuple(member for member in members_or_none if member is not None)
    if len({member.number for member in members}) < len(members_or_none):
        fix = "remove the folder to train its networks from the start"
        expected, numbers = "distinct networks of this run", str(list(record.numbers))
        raise RunError(Problem(str(directory / "pack.json"), expected, numbers, fix))
    return members


def run_work_item(
    item: WorkItem,
    tables: TableCache,
    programs: SharedPrograms,
    interrupted: Callable[[], str | None],
    limit: TimeLimit | None = None,
) -> Generator[PackEvent, EndReasons | None, str | None]:
    """Train in this process; the caller sends the members to end after each `PackEpochEnded`.

    Args:
        item: The networks.
        tables: A cache of tables.
        programs: Those of the network that was trained before.
        interrupted: Returns the reason to end training, if there is one.
        limit: The time limit of the training.

    Returns:
        Why it was stopped; None if all members have ended.

    Raises:
        TrainerError: Training failed.
    """
    if item.is_single:
        return (yield from _train_single(item, tables, programs, interrupted, limit))
    settings = item.settings
    session = Session(settings.command, settings.allow_custom, interrupted, limit)
    pack = _pack_spec(item, tables)
    return (
        yield from train_pack(
            pack, item.directory, session, splits=settings.splits, threads=settings.threads
        )
    )


def _train_single(
    item: WorkItem,
    tables: TableCache,
    programs: SharedPrograms,
    interrupted: Callable[[], str | None],
    limit: TimeLimit | None,
) -> Generator[PackEvent, EndReasons | None, str | None]:
    from trainer.engine.events import EpochEnd

    (spec,) = item.specs
    loaded, settings = spec.loaded, item.settings
    if loaded.config.runtime.threads == "auto":
        runtime = loaded.config.runtime.model_copy(update={"threads": settings.threads})
        config = loaded.config.model_copy(update={"runtime": runtime})
        loaded = replace(loaded, config=config)
    run = RunDirectory(spec.run_path)
    eliminated: list[str] = []

    def stopped() -> str | None:
        return eliminated[0] if eliminated else interrupted()

    session = Session(settings.command, settings.allow_custom, stopped, limit)
    if run.has_checkpoint("last"):
        events = resume_run(run.path, (), session, is_member=True, splits=settings.splits)
    else:
        events = fit_run(
            loaded,
            session,
            run.path,
            run_path=run.path,
            tables=tables,
            programs=programs,
            splits=settings.splits,
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
                ended = _read_ended(spec)
                if eliminated:
                    ended = replace(ended, status="finished", stopped_because=eliminated[0])
                yield ended
            elif isinstance(event, EpochEnd):
                ends = yield PackEpochEnded(event.epoch, {number: event})
                if ends and number in ends:
                    eliminated.append(ends[number])
    except TrainerError as error:
        yield failed_member(number, spec.run_path, error.problems)
    return None


def _read_ended(spec: RunSpec) -> MemberEnded:
    return read_ended_member(spec.number, RunDirectory(spec.run_path))
