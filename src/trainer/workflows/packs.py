"""Train a pack and write a run directory for each member, as `fit` does.

    networks ─► pack ─► epochs, recorded per member ─► best weights ─► evaluations

During training the state of a pack is one checkpoint next to the directories of its members; the
members' checkpoints are written at the end. A stopped or killed pack resumes from there with the same
members. Importing this module does not import TensorFlow; running it does.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from trainer.config.dump import dump_config
from trainer.data.splits import SplitName
from trainer.engine import devices
from trainer.engine.checkpoint_schedule import CheckpointSchedule
from trainer.engine.program_cache import cache_root, index_programs
from trainer.errors import RunError
from trainer.runs.checkpoints import write_checkpoint
from trainer.runs.directory import RunDirectory
from trainer.runs.files import (
    remove_temporary_files,
    remove_with_previous,
    storage_errors,
)
from trainer.runs.log import remove_epochs_after, truncate_log
from trainer.runs.manifest import Manifest, Resumption
from trainer.workflows.events import MemberEnded, PackEpochEnded, PackEvent, PackStarted
from trainer.workflows.pack_building import (
    PackedMember,
    build_member,
    build_pack_training,
)
from trainer.workflows.pack_schedule import PackRecord, PackSpec, write_pack_record
from trainer.workflows.plan import RunPlan
from trainer.workflows.resume_checks import (
    data_differences,
    device_differences,
    machine_differences,
)
from trainer.workflows.session import Session

if TYPE_CHECKING:
    from trainer.engine.events import EpochEnd
    from trainer.engine.pack_executor import PackExecutor
    from trainer.engine.training_group import TrainingGroup
    from trainer.workflows.recording import Recording


def train_pack(
    planned: PackSpec,
    directory: Path,
    session: Session,
    *,
    splits: Sequence[SplitName],
    threads: int | None = None,
) -> Generator[PackEvent, Mapping[int, str] | None, str | None]:
    """Train a pack from the start or from its checkpoint.

    After each `PackEpochEnded` the caller sends the members to end with that epoch, and why.

    Args:
        planned: The pack; its members are those in `pack.json`, if that exists.
        directory: The directory of the pack's state.
        session: The command that trains.
        splits: The splits that the best weights of each member are evaluated on.
        threads: Maximum number of threads inside one operation; None chooses.

    Returns:
        Why it was stopped; None if all members have ended.

    Raises:
        TrainingError: Training failed.
    """
    start_time, now = perf_counter(), datetime.now(UTC)
    first = planned.members[0].plan
    parameters = first.parameters or 0
    if threads is None:
        batch = first.config.fit.batch_size
        threads = devices.choose_threads(parameters * len(planned.members), batch)
    device = devices.start(first.config.runtime.device, threads)
    from trainer.engine.events import GroupEpochEnd
    from trainer.engine.fit import fit
    from trainer.workflows.building import resource_errors

    with resource_errors(), ExitStack() as stack:
        members = [build_member(planned_run) for planned_run in planned.members]
        built = perf_counter()
        group, executor, resumed = build_pack_training(planned, members, directory)
        with storage_errors(directory, "make a folder for a pack"):
            directory.mkdir(parents=True, exist_ok=True)
        remove_temporary_files(directory)
        write_pack_record(directory, PackRecord(planned.numbers, is_done=False))
        _open_records(members, group, device, session.command, now, stack, resumed=resumed)
        checkpoints = _PackCheckpoints(group, executor, members, directory)
        numbers = planned.numbers
        index_of = {number: index for index, number in enumerate(numbers)}

        epochs = first.total_steps // first.steps_per_epoch
        yield PackStarted(numbers, group.epoch, epochs, device)
        for event in fit(group, session.interrupted):
            if not isinstance(event, GroupEpochEnd):
                continue
            for index, result in event.results.items():
                _write_epoch(members[index], result)
            results = {numbers[index]: result for index, result in event.results.items()}
            to_end = (yield PackEpochEnded(event.epoch, results)) or {}
            reasons = {index_of[number]: reason for number, reason in to_end.items()}
            group.end({index: reasons[index] for index in group.live if index in reasons})
            checkpoints.write_if_due()
        trained = perf_counter()
        index_programs(cache_root())
        if group.is_interrupted:
            checkpoints.write()
            reason = next(m.training.stop_reason for m in members if m.training.interrupted)
            for member in members:
                _record(member).set_stop_reason(reason or "")
                _record(member).write_end("stopped")
            return reason
        metrics = _evaluate(executor, members, splits)
        evaluated = perf_counter()
        share = 1.0 / len(members)
        trace_seconds = sum(program.trace_seconds for program in executor.programs)
        compile_seconds = sum(program.compile_seconds for program in executor.programs)
        for index, member in enumerate(members):
            record = _record(member)
            # Members share the time of the pack in equal parts.
            record.add_time("build", share * (built - start_time))
            record.add_time("trace", share * trace_seconds)
            record.add_time("compile", share * compile_seconds)
            record.add_time("train", share * (trained - built - trace_seconds - compile_seconds))
            record.add_time("evaluate", share * (evaluated - trained))
            yield _end(member, numbers[index], metrics[index])
    write_pack_record(directory, PackRecord(planned.numbers, is_done=True))
    # Each member has its own checkpoint now.
    remove_with_previous(directory / "last")
    return None


def _open_records(
    members: Sequence[PackedMember],
    group: TrainingGroup,
    device: devices.Device,
    command: tuple[str, ...],
    now: datetime,
    stack: ExitStack,
    *,
    resumed: Mapping[str, Any] | None,
) -> None:
    """Create or resume the run directories of the members."""
    from trainer.workflows.building import member_execution, resolved_run_config
    from trainer.workflows.recording import (
        RecordedTraining,
        first_manifest,
        fitted_data,
        recording,
        write_fitted_data,
    )

    fitted_by_table: dict[int, Any] = {}
    for number, member in enumerate(members):
        plan = member.planned_run.plan
        run = RunDirectory.at(member.planned_run.spec.run_path)
        run.remove_leftovers(plan.config.fit.checkpoint.keep)
        execution = member_execution(plan)
        config = resolved_run_config(plan.config, device, execution)
        recorded = RecordedTraining(
            group.checkpointable(number), member.stacked.stack.network, execution
        )
        manifest = first_manifest(plan, recorded, device, command=command, now=now)
        if resumed is None:
            run.write_config(dump_config(config))
            if id(plan.dataset) not in fitted_by_table:
                fitted_by_table[id(plan.dataset)] = fitted_data(plan)
            write_fitted_data(run, fitted_by_table[id(plan.dataset)])
            run.clear_history()
        else:
            member_facts = resumed["members"][number]
            truncate_log(run.metrics, member_facts["log_bytes"])
            remove_epochs_after(run.timing, member.training.epoch)
            former = run.read_manifest()
            if number == 0:
                _check_unchanged(former, manifest, plan, device)
            state = member.training
            resumption = Resumption(
                at=now,
                command=command,
                epoch=state.epoch,
                step=state.step,
                checkpoint="pack",
            )
            manifest = replace(
                manifest,
                started=former.started,
                epochs=state.epoch,
                best_epoch=state.best_epoch or None,
                resumptions=(*former.resumptions, resumption),
            )
        run.write_manifest(manifest)
        member.record = stack.enter_context(recording(run, config, manifest, recorded))


def _check_unchanged(
    former: Manifest, current: Manifest, plan: RunPlan, device: devices.Device
) -> None:
    """Check that data, packages and device have not changed since the pack started.

    Raises:
        RunError: They have changed; each problem has the former and the current value.
    """
    differences = [
        *data_differences(former, plan),
        *machine_differences(former, current),
        *device_differences(former, device),
    ]
    if differences:
        fix = "resume it where it was started, or start a new run"
        raise RunError([*differences[:-1], replace(differences[-1], fix=fix)])


def _write_epoch(member: PackedMember, result: EpochEnd) -> None:
    _record(member).log_epoch(result)
    if member.training.best_epoch == result.epoch:
        member.best = dict(result.metrics)


class _PackCheckpoints:
    """Writes the checkpoints of a pack."""

    def __init__(
        self,
        group: TrainingGroup,
        executor: PackExecutor,
        members: Sequence[PackedMember],
        directory: Path,
    ) -> None:
        self._group, self._executor = group, executor
        self._members, self._directory = members, directory
        # Members can have different intervals: the pack is written when one of them is due.
        intervals = {member.planned_run.plan.config.fit.checkpoint.every for member in members}
        self._schedules = [
            CheckpointSchedule(every, *self._progress()) for every in sorted(intervals)
        ]

    def write_if_due(self) -> None:
        """Write a checkpoint if one is due."""
        if any(schedule.is_due(*self._progress()) for schedule in self._schedules):
            self.write()

    def _progress(self) -> tuple[int, int]:
        """Return epochs and batches of the member that has trained the longest."""
        trainings = [member.training for member in self._members]
        return max(training.epoch for training in trainings), max(
            training.step for training in trainings
        )

    def write(self) -> None:
        """Write a checkpoint."""
        start_time = monotonic()
        arrays: dict[str, Any] = {}
        member_facts = []
        for number, state in enumerate(self._group.states()):
            snapshot = state.snapshot
            prefix = f"{number:04d}/"
            arrays |= {f"{prefix}{name}": value for name, value in snapshot.arrays.items()}
            arrays |= {
                f"{prefix}judged/{index:04d}": value
                for index, value in enumerate(state.evaluation_weights)
            }
            member = self._members[number]
            fact = {
                "facts": dict(snapshot.metadata),
                "log_bytes": _record(member).sync_logs(),
                "best": member.best,
            }
            if member.training.problem is not None:
                fact["problem"] = asdict(member.training.problem)
            member_facts.append(fact)
        content = {"slots": self._executor.slots, "members": member_facts}
        write_checkpoint(self._directory / "last", None, arrays, content, keep=2)
        for schedule in self._schedules:
            schedule.record_write(*self._progress(), start_time)


def _evaluate(
    executor: PackExecutor,
    members: Sequence[PackedMember],
    splits: Sequence[SplitName],
) -> list[dict[str, dict[str, float]]]:
    """Return split → metrics of the best weights of each member, computed in one program."""
    from trainer.engine.batches import run_to_end
    from trainer.workflows.recording import evaluation_order

    metrics_of_members: list[dict[str, dict[str, float]]] = [{} for _ in members]
    trained = [number for number, member in enumerate(members) if member.training.best_epoch]
    if not trained:
        return metrics_of_members
    pack = executor.pack_for(trained)
    pack.set_weights([members[number].training.best_weights for number in trained])
    for split in evaluation_order(splits):
        samples = [members[number].planned_run.plan.encoded_samples(split) for number in trained]
        present = [rows for rows in samples if rows is not None]
        if len(present) != len(samples):
            continue
        outputs = run_to_end(pack.evaluate(present))
        for number, rows, output in zip(trained, present, outputs, strict=True):
            plan, record = members[number].planned_run.plan, _record(members[number])
            metrics_of_members[number][split] = record.write_split(plan, split, rows, output)
    return [
        {split: of_member[split] for split in splits if split in of_member}
        for of_member in metrics_of_members
    ]


def _record(member: PackedMember) -> Recording:
    assert member.record is not None, "records are opened before training"
    return member.record


def _end(
    member: PackedMember, number: int, metrics: Mapping[str, Mapping[str, float]]
) -> MemberEnded:
    """Write the checkpoints of a member and how it ended."""
    training, record = member.training, _record(member)
    start_time = perf_counter()
    failed = training.problem is not None
    if failed:
        record.save_best_checkpoint()
    else:
        record.save_checkpoint()
    record.set_stop_reason(training.stop_reason or "")
    record.add_time("write", perf_counter() - start_time)
    record.write_end(
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
