"""Packs from plans to run directories: every member gets one of its own, as `fit` writes it.

    networks ─► pack ─► epochs, each member's recorded ─► best weights of all ─► evaluations

While a pack trains, its state is one checkpoint, beside its members' directories; a member's own
checkpoints are written when the pack is done. A pack that was stopped or killed goes on from there with
the members it had. Importing this module does not import TensorFlow; running it does.

Owns: a pack's training and its files. Does not own: which networks make a pack (`pack_plans`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from trainer.config.dump import dump_config
from trainer.data.splits import SplitName
from trainer.engine import devices
from trainer.engine.program_cache import cache_root, index_programs
from trainer.errors import Problem, RunError
from trainer.evaluation.predictions import Predictions
from trainer.runs.checkpoints import write_checkpoint
from trainer.runs.directory import RunDirectory
from trainer.runs.files import (
    json_bytes,
    read_json,
    remove_temporaries,
    remove_with_previous,
    storage_errors,
    write_atomically,
)
from trainer.runs.log import remove_epochs_after, truncate_log
from trainer.runs.manifest import Manifest, Resumption
from trainer.workflows.checkpoint_schedule import CheckpointSchedule
from trainer.workflows.decisions import choose_decisions, with_decisions
from trainer.workflows.pack_building import (
    PackedMember,
    SampleCache,
    build_member,
    build_pack_training,
)
from trainer.workflows.pack_events import MemberEnded, PackEpochEnded, PackEvent, PackStarted
from trainer.workflows.pack_schedule import PackSpec
from trainer.workflows.plan import RunPlan
from trainer.workflows.run_differences import (
    data_differences,
    device_differences,
    machine_differences,
)
from trainer.workflows.task import Task

if TYPE_CHECKING:
    from trainer.engine.events import EpochEnd
    from trainer.engine.pack_fit import PackTraining

_NOTE = "pack.json"


def train_pack(
    planned: PackSpec,
    directory: Path,
    *,
    command: tuple[str, ...],
    splits: Sequence[SplitName],
    interrupted: Callable[[], str | None],
    threads: int | None = None,
) -> Generator[PackEvent, Mapping[int, str] | None, str | None]:
    """Train a pack, from its start or from where it was stopped.

    After each `PackEpochEnded` it takes the members that are to be ended with that epoch, and why.

    Args:
        planned: Its members; those that its `pack.json` names, where it has one.
        directory: Of the pack's own state.
        command: The command line, for the manifests.
        splits: What the best weights of each member are evaluated on.
        interrupted: Asked about once a second and at the end of each epoch.
        threads: At most so many inside one operation; None chooses.

    Returns:
        Why it was stopped; None when all of its members have ended.

    Raises:
        TrainingError: It could not go on.
    """
    began, now = perf_counter(), datetime.now(UTC)
    first = planned.members[0].plan
    parameters = first.parameters or 0
    if threads is None:
        batch = first.config.fit.batch_size
        threads = devices.choose_threads(parameters * len(planned.members), batch)
    device = devices.start(first.config.runtime.device, threads)
    from trainer.engine.pack_fit import PackEpochEnd, fit_pack
    from trainer.workflows.building import resource_errors

    with resource_errors(), ExitStack() as stack:
        cache = SampleCache()
        members = [build_member(planned_run, cache) for planned_run in planned.members]
        built = perf_counter()
        training, resumed = build_pack_training(planned, members, directory)
        with storage_errors(directory, "make a folder for a pack"):
            directory.mkdir(parents=True, exist_ok=True)
        remove_temporaries(directory)
        _note(directory, PackRecord(planned.numbers, is_done=False))
        _record(members, training, device, command, now, stack, resumed=resumed)
        keeper = _Keeper(training, members, directory)
        start = max((member.training.epoch for member in members), default=0)
        numbers = planned.numbers
        place = {number: index for index, number in enumerate(numbers)}

        epochs = first.total_steps // first.steps_per_epoch
        yield PackStarted(numbers, start, epochs, device)
        for event in fit_pack(training, interrupted):
            assert isinstance(event, PackEpochEnd)
            for index, result in event.results.items():
                _write_epoch(members[index], result)
            told = {numbers[index]: result for index, result in event.results.items()}
            ends = (yield PackEpochEnded(event.epoch, told)) or {}
            ending = {place[number]: reason for number, reason in ends.items()}
            training.end_members({own: ending[own] for own in training.live if own in ending})
            keeper.keep_if_due()
        trained = perf_counter()
        index_programs(cache_root())
        if training.interrupted:
            keeper.keep()
            reason = next(m.training.stop_reason for m in members if m.training.interrupted)
            for member in members:
                assert member.record is not None
                member.record.stopped(reason or "")
                member.record.end("stopped")
            return reason
        metrics = _evaluate(training, members, cache, splits)
        evaluated = perf_counter()
        share = 1.0 / len(members)
        trace = sum(program.trace_seconds for program in training.programs)
        compiling = sum(program.compile_seconds for program in training.programs)
        for index, member in enumerate(members):
            assert member.record is not None
            # What all of them took together is told of each in equal parts.
            member.record.time("build", share * (built - began))
            member.record.time("trace", share * trace)
            member.record.time("compile", share * compiling)
            member.record.time("train", share * (trained - built - trace - compiling))
            member.record.time("evaluate", share * (evaluated - trained))
            yield _end(member, numbers[index], metrics[index])
    _note(directory, PackRecord(planned.numbers, is_done=True))
    # Each member has its own state now.
    remove_with_previous(directory / "last")
    return None


@dataclass(frozen=True, slots=True)
class PackRecord:
    """A pack that was begun: its members, and whether all of their run directories are complete."""

    numbers: tuple[int, ...]
    is_done: bool


def read_pack_record(directory: Path) -> PackRecord | None:
    """The pack that was begun in a directory; None where none was.

    Raises:
        RunError: What is there is damaged.
    """
    path = directory / _NOTE
    if not path.exists():
        return None
    match read_json(path):
        case {"members": list(numbers), "done": bool(done)} if all(
            type(number) is int for number in numbers
        ):
            return PackRecord(tuple(numbers), done)
        case found:
            fix = "remove the folder: its networks are then trained from their start"
            raise RunError(Problem(str(path), "the numbers of a pack's members", str(found), fix))


def _note(directory: Path, begun: PackRecord) -> None:
    facts = {"members": list(begun.numbers), "done": begun.is_done}
    write_atomically(directory / _NOTE, json_bytes(facts))


def _record(
    members: Sequence[PackedMember],
    training: PackTraining,
    device: devices.Device,
    command: tuple[str, ...],
    now: datetime,
    stack: ExitStack,
    *,
    resumed: Mapping[str, Any] | None,
) -> None:
    """The members' run directories, made or gone on with."""
    from trainer.workflows.building import member_execution
    from trainer.workflows.recording import (
        RecordedTraining,
        first_manifest,
        fitted_data,
        recording,
        resolved_run_config,
        write_fitted_data,
    )

    kept: dict[int, Any] = {}
    for number, member in enumerate(members):
        plan = member.planned_run.plan
        run = RunDirectory.at(member.planned_run.spec.place)
        run.remove_leftovers(plan.config.fit.checkpoint.keep)
        form = member_execution(plan)
        config = resolved_run_config(plan.config, device, form)
        recorded = RecordedTraining(
            training.checkpointable(number), member.stacked.stack.network, form
        )
        manifest = first_manifest(plan, recorded, device, command=command, now=now)
        if resumed is None:
            run.write_config(dump_config(config))
            if id(plan.dataset) not in kept:
                kept[id(plan.dataset)] = fitted_data(plan)
            write_fitted_data(run, kept[id(plan.dataset)])
            run.clear_history()
        else:
            own = resumed["members"][number]
            truncate_log(run.metrics, own["log_bytes"])
            remove_epochs_after(run.timing, member.training.epoch)
            former = run.read_manifest()
            if number == 0:
                _check_as_it_was(former, manifest, plan, device)
            own_training = member.training
            resumption = Resumption(
                at=now,
                command=command,
                epoch=own_training.epoch,
                step=own_training.step,
                checkpoint="that of its pack",
            )
            manifest = replace(
                manifest,
                started=former.started,
                epochs=own_training.epoch,
                best_epoch=own_training.best_epoch or None,
                resumptions=(*former.resumptions, resumption),
            )
        run.write_manifest(manifest)
        member.record = stack.enter_context(recording(run, config, manifest, recorded))


def _check_as_it_was(
    former: Manifest, here: Manifest, plan: RunPlan, device: devices.Device
) -> None:
    """Checks that data, packages and device are those that a pack was begun with.

    Raises:
        RunError: They are not, each with what it was and is.
    """
    differences = [
        *data_differences(former, plan),
        *machine_differences(former, here),
        *device_differences(former, device),
    ]
    if differences:
        fix = "go on where it was begun, or begin anew"
        raise RunError([*differences[:-1], replace(differences[-1], fix=fix)])


def _write_epoch(member: PackedMember, result: EpochEnd) -> None:
    assert member.record is not None
    member.record.log_epoch(result)
    if member.training.best_epoch == result.epoch:
        member.best = dict(result.metrics)


class _Keeper:
    """Keeps the state of a pack."""

    def __init__(
        self, training: PackTraining, members: Sequence[PackedMember], directory: Path
    ) -> None:
        self._training, self._members, self._directory = training, members, directory
        # Members may differ in how often they are written: the pack is when one of them is due.
        intervals = {one.planned_run.plan.config.fit.checkpoint.every for one in members}
        self._cadences = [CheckpointSchedule(every, *self._done()) for every in sorted(intervals)]

    def keep_if_due(self) -> None:
        """Write a checkpoint when it is due."""
        if any(schedule.is_due(*self._done()) for schedule in self._cadences):
            self.keep()

    def _done(self) -> tuple[int, int]:
        """Epochs and batches of the member that was trained the longest."""
        trainings = [member.training for member in self._members]
        return max(one.epoch for one in trainings), max(one.step for one in trainings)

    def keep(self) -> None:
        """Write a checkpoint."""
        began = monotonic()
        arrays: dict[str, Any] = {}
        facts = []
        for number, state in enumerate(self._training.states()):
            snapshot = state.snapshot()
            begin = f"{number:04d}/"
            arrays |= {f"{begin}{name}": value for name, value in snapshot.arrays.items()}
            arrays |= {
                f"{begin}judged/{place:04d}": value
                for place, value in enumerate(state.evaluation_weights)
            }
            member = self._members[number]
            assert member.record is not None
            facts.append(
                {
                    "facts": dict(snapshot.metadata),
                    "log_bytes": member.record.sync_logs(),
                    "best": member.best,
                }
            )
        told = {"slots": self._training.slots, "members": facts}
        write_checkpoint(self._directory / "last", None, arrays, told, keep=2)
        for schedule in self._cadences:
            schedule.written(*self._done(), began)


def _evaluate(
    training: PackTraining,
    members: Sequence[PackedMember],
    cache: SampleCache,
    splits: Sequence[SplitName],
) -> list[dict[str, dict[str, float]]]:
    """Split → metrics of each member's best weights; all of them in one program."""
    from trainer.engine.batches import run_to_end

    found: list[dict[str, dict[str, float]]] = [{} for _ in members]
    able = [number for number, member in enumerate(members) if member.training.best_epoch]
    if not able:
        return found
    pack = training.pack_for(able)
    pack.set_weights([members[number].training.best_weights for number in able])
    tasks = {number: members[number].planned_run.plan.task for number in able}
    # What is chosen on the validation rows is so before any row is judged by it.
    for split in sorted(splits, key=lambda name: name != "validation"):
        samples = [cache.samples(members[number].planned_run, split) for number in able]
        there = [one for one in samples if one is not None]
        if len(there) != len(samples):
            if split == "validation":
                for number in able:
                    _decide(members[number], None)
            continue
        for number, rows, done in zip(able, there, run_to_end(pack.evaluate(there)), strict=True):
            plan, record = members[number].planned_run.plan, members[number].record
            assert record is not None
            if split == "validation":
                answers = plan.task.said(rows, done.predictions)
                tasks[number] = _decide(members[number], answers)
            task = tasks[number]
            metrics = {"loss": done.loss, **task.compute_metrics(done.predictions, rows, done.rows)}
            record.evaluation(split, len(rows.x), metrics)
            record.answers(split, task.said(rows, done.predictions), plan)
            found[number][split] = metrics
    return [{split: one[split] for split in splits if split in one} for one in found]


def _decide(member: PackedMember, validation: Predictions | None) -> Task:
    plan = member.planned_run.plan
    decisions = choose_decisions(plan.config.evaluate, plan.task, validation, plan.inherited)
    assert member.record is not None
    member.record.decisions(decisions)
    return with_decisions(plan.task, decisions)


def _end(
    member: PackedMember, number: int, metrics: Mapping[str, Mapping[str, float]]
) -> MemberEnded:
    """Write a member's own checkpoints, and how it ended."""
    training, record = member.training, member.record
    assert record is not None
    began = perf_counter()
    failed = training.problem is not None
    if failed:
        record.best_checkpoint()
    else:
        record.checkpoint()
    record.stopped(training.stop_reason or "")
    record.time("write", perf_counter() - began)
    record.end(
        "failed" if failed else "finished",
        () if training.problem is None else (training.problem,),
        weights_sha256=record.best_sha256,
    )
    return MemberEnded(
        number=number,
        run=record.run.path,
        status="failed" if failed else "finished",
        epochs=training.epoch,
        best_epoch=training.best_epoch,
        best=member.best,
        stopped_because=training.stop_reason or "",
        metrics=metrics,
        problems=() if training.problem is None else (training.problem,),
    )
