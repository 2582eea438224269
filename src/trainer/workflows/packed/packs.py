"""Train a pack and write a run directory for each member, as `fit` does.

    networks ─► pack ─► epochs, recorded per member ─► best weights ─► evaluations

During training the state of a pack is one checkpoint next to the directories of its members; the
members' checkpoints are written at the end. A stopped or killed pack resumes from there with the same
members. Importing this module does not import TensorFlow; running it does.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from trainer.config.dump import dump_config
from trainer.data.splits import SplitName
from trainer.engine import devices
from trainer.engine.checkpoint_schedule import CheckpointSchedule
from trainer.engine.program_cache import cache_root, index_programs
from trainer.errors import RunError
from trainer.runs.checkpoints import read_newest_checkpoint, write_checkpoint
from trainer.runs.directory import RunDirectory
from trainer.runs.directory_versions import remove_with_previous
from trainer.runs.files import remove_temporary_files, storage_errors
from trainer.runs.log import remove_epochs_after, truncate_log
from trainer.runs.manifest import Manifest, Resumption, Status
from trainer.runs.manifest_differences import (
    data_differences,
    device_differences,
    machine_differences,
)
from trainer.workflows.events import MemberEnded, PackEpochEnded, PackEvent, PackStarted
from trainer.workflows.existing_runs import read_ended_member
from trainer.workflows.packed.pack_schedule import PackRecord, PackSpec, write_pack_record
from trainer.workflows.plan import RunPlan
from trainer.workflows.session import InterruptCheck, Session

if TYPE_CHECKING:
    from trainer.engine.snapshot import Snapshot
    from trainer.engine.training_group import Checkpointable
    from trainer.workflows.building import PackSetup
    from trainer.workflows.recording import FittedData, Recording


def train_pack(
    spec: PackSpec,
    directory: Path,
    session: Session,
    *,
    splits: Sequence[SplitName],
    threads: int | None = None,
) -> Generator[PackEvent, Mapping[int, str] | None, str | None]:
    """Train a pack from the start or from its checkpoint.

    After each `PackEpochEnded` the caller sends the members to end with that epoch, and why. A pack
    that runs out of time is evaluated, and its state is kept to be resumed.

    Args:
        spec: The pack; its members are those in `pack.json`, if that exists.
        directory: The directory of the pack's state.
        session: The session of the calling command, with the time limit of this pack's training.
        splits: The splits that the best weights of each member are evaluated on.
        threads: Maximum number of threads inside one operation; None chooses.

    Returns:
        Why it was stopped; None if all members have ended.

    Raises:
        TrainingError: Training failed.
    """
    start_time = perf_counter()
    device = _start_device(spec, threads)
    from trainer.workflows.building import build_pack

    with devices.resource_errors(), ExitStack() as stack:
        checkpoint = _read_checkpoint(directory)
        setup = build_pack([member.plan for member in spec.members], checkpoint)
        built = perf_counter()
        _prepare_directory(directory, spec)
        records = [
            stack.enter_context(record)
            for record in _open_records(spec, setup, device, session.command, checkpoint)
        ]
        pack = _PackTraining(spec, directory, setup, records)
        first = spec.members[0].plan
        epochs = first.total_steps // first.steps_per_epoch
        yield PackStarted(spec.numbers, setup.group.epoch, epochs, device)
        yield from pack.train_epochs(session.training_stop)
        trained = perf_counter()
        is_out_of_time = session.is_time_over(pack.interrupted_by)
        if pack.interrupted_by is not None:
            pack.write_checkpoint()
            if not is_out_of_time:
                return pack.stop()
        pack.evaluate(splits)
        pack.add_times(built - start_time, trained - built, perf_counter() - trained)
        for index in range(len(records)):
            yield pack.end(index)
    if is_out_of_time:
        return None
    write_pack_record(directory, PackRecord(spec.numbers, is_done=True))
    # Each member has its own checkpoint now.
    remove_with_previous(directory / "last")
    return None


def _prepare_directory(directory: Path, spec: PackSpec) -> None:
    """Make the directory of a pack's state, or clean it up if it exists."""
    with storage_errors(directory, "make a folder for a pack"):
        directory.mkdir(parents=True, exist_ok=True)
    remove_temporary_files(directory)
    write_pack_record(directory, PackRecord(spec.numbers, is_done=False))


def _start_device(spec: PackSpec, threads: int | None) -> devices.Device:
    plan = spec.members[0].plan
    if threads is None:
        parameters = (plan.parameters or 0) * len(spec.members)
        threads = devices.choose_threads(parameters, plan.config.fit.batch_size)
    return devices.start(plan.config.runtime.device, threads)


def _read_checkpoint(directory: Path) -> Snapshot | None:
    """Return the state of the pack in its directory; None at the start."""
    from trainer.engine.snapshot import Snapshot

    if not (directory / "last").exists():
        return None
    checkpoint, _ = read_newest_checkpoint(directory / "last", with_model=False)
    return Snapshot(checkpoint.state, checkpoint.metadata)


def _open_records(
    spec: PackSpec,
    setup: PackSetup,
    device: devices.Device,
    command: tuple[str, ...],
    checkpoint: Snapshot | None,
) -> Iterator[AbstractContextManager[Recording]]:
    """Create or resume the run directory of each member.

    Args:
        spec: The pack.
        setup: Its networks and their training.
        device: The device.
        command: The command line.
        checkpoint: The state of the pack; None at the start.
    """
    from trainer.workflows.building import member_execution, resolved_run_config
    from trainer.workflows.recorded_training import RecordedTraining
    from trainer.workflows.recording import first_manifest, open_recording

    now = datetime.now(UTC)
    fitted_by_table: dict[int, FittedData] = {}
    for number, member in enumerate(spec.members):
        plan = member.plan
        run = RunDirectory.open_or_create(member.spec.run_path)
        run.remove_leftovers(plan.config.fit.checkpoint.keep)
        execution = member_execution(plan)
        config = resolved_run_config(plan.config, device, execution)
        training = setup.group.checkpointable(number)
        network = setup.networks[number]
        recorded = RecordedTraining(training, network, network, execution)
        manifest = first_manifest(plan, recorded, device, command=command, now=now)
        if checkpoint is None:
            run.write_config(dump_config(config))
            _write_fitted_data(run, plan, fitted_by_table)
            run.clear_logs()
        else:
            previous = run.read_manifest()
            if number == 0:
                _check_unchanged(previous, manifest)
            truncate_log(run.metrics, checkpoint.metadata["members"][number]["log_bytes"])
            remove_epochs_after(run.timing, training.epoch)
            manifest = _resumed_manifest(previous, manifest, training)
        run.write_manifest(manifest)
        yield open_recording(run, config, manifest, recorded)


def _write_fitted_data(
    run: RunDirectory, plan: RunPlan, fitted_by_table: dict[int, FittedData]
) -> None:
    """Write preprocessing and splits, which members with the same table share."""
    from trainer.workflows.recording import fitted_data, write_fitted_data

    table = id(plan.dataset)
    if table not in fitted_by_table:
        fitted_by_table[table] = fitted_data(plan)
    write_fitted_data(run, fitted_by_table[table])


def _resumed_manifest(previous: Manifest, current: Manifest, training: Checkpointable) -> Manifest:
    resumption = Resumption(
        at=current.started,
        command=current.command,
        epoch=training.epoch,
        step=training.trained_steps,
        checkpoint="pack",
    )
    return replace(
        current,
        started=previous.started,
        initial_weights=previous.initial_weights,
        epochs=training.epoch,
        best_epoch=training.best_epoch or None,
        resumptions=(*previous.resumptions, resumption),
    )


def _check_unchanged(previous: Manifest, current: Manifest) -> None:
    """Check that data, packages and device have not changed since the pack started.

    Raises:
        RunError: They have changed; each problem has the previous and the current value.
    """
    differences = [
        *data_differences(previous, current),
        *machine_differences(previous, current),
        *device_differences(previous, current),
    ]
    if differences:
        fix = "resume it where it was started, or start a new run"
        raise RunError([*differences[:-1], replace(differences[-1], fix=fix)])


class _PackTraining:
    """Trains the members of a pack, evaluates them, and writes their run directories."""

    def __init__(
        self, spec: PackSpec, directory: Path, setup: PackSetup, records: Sequence[Recording]
    ) -> None:
        """Start, or continue a restored training.

        Args:
            spec: The pack.
            directory: The directory of its state.
            setup: Its networks and their training.
            records: Write the run directories of the members.
        """
        self._numbers, self._directory = spec.numbers, directory
        self._plans = [member.plan for member in spec.members]
        self._group, self._executor = setup.group, setup.executor
        self._records = records
        # Members can have different intervals: the pack is written when one of them is due.
        intervals = {plan.config.fit.checkpoint.every for plan in self._plans}
        self._schedules = [
            CheckpointSchedule(every, *self._progress()) for every in sorted(intervals)
        ]

    def train_epochs(
        self, interrupted: InterruptCheck
    ) -> Generator[PackEvent, Mapping[int, str] | None, None]:
        """Train until all members have ended or training is interrupted; see `train_pack`."""
        from trainer.engine.events import GroupEpochEnd
        from trainer.engine.fit import fit

        group = self._group
        for event in fit(group, interrupted):
            if not isinstance(event, GroupEpochEnd):
                continue
            for index, result in event.results.items():
                self._records[index].log_epoch(result)
            results = {self._numbers[index]: result for index, result in event.results.items()}
            to_end = (yield PackEpochEnded(event.epoch, results)) or {}
            reasons = {self._numbers.index(number): reason for number, reason in to_end.items()}
            group.end({index: reasons[index] for index in group.live if index in reasons})
            if any(schedule.is_due(*self._progress()) for schedule in self._schedules):
                self.write_checkpoint()
        index_programs(cache_root())

    def _progress(self) -> tuple[int, int]:
        """Return epochs and batches of the member that has trained the longest."""
        trainings = self._group.members
        return self._group.epoch, max(training.step for training in trainings)

    @property
    def interrupted_by(self) -> str | None:
        """Why training was interrupted; None if all members have ended."""
        members = self._group.members
        return next((member.stop_reason for member in members if member.is_interrupted), None)

    def write_checkpoint(self) -> None:
        """Write the state of the pack."""
        from trainer.engine.pack_checkpoint import pack_snapshot

        start_time = monotonic()
        snapshot = pack_snapshot(self._group, self._executor)
        for record, metadata in zip(self._records, snapshot.metadata["members"], strict=True):
            metadata["log_bytes"] = record.sync_logs()
        path = self._directory / "last"
        write_checkpoint(path, None, snapshot.arrays, snapshot.metadata, keep=2)
        for schedule in self._schedules:
            schedule.record_write(*self._progress(), start_time)

    def stop(self) -> str:
        """Write that the members are stopped; return why."""
        reason = self.interrupted_by or ""
        for record in self._records:
            record.set_stop_reason(reason)
            record.write_end("stopped")
        return reason

    def evaluate(self, splits: Sequence[SplitName]) -> None:
        """Evaluate the best weights of each member on each split, in one program."""
        from trainer.engine.batches import run_to_end
        from trainer.workflows.recording import evaluation_order

        members = self._group.members
        trained = [index for index, member in enumerate(members) if member.best_epoch]
        if not trained:
            return
        pack = self._executor.pack_for(trained)
        pack.set_weights([members[index].best_weights for index in trained])
        for split in evaluation_order(splits):
            samples = [self._plans[index].encoded_samples(split) for index in trained]
            present = [rows for rows in samples if rows is not None]
            if len(present) != len(samples):
                continue
            outputs = run_to_end(pack.evaluate(present))
            for index, rows, output in zip(trained, present, outputs, strict=True):
                self._records[index].write_split(self._plans[index], split, rows, output)

    def add_times(self, build: float, train: float, evaluate: float) -> None:
        """Add the seconds of each phase; members share the time of the pack in equal parts."""
        programs = self._executor.programs
        trace = sum(program.trace_seconds for program in programs)
        compilation = sum(program.compile_seconds for program in programs)
        seconds = {
            "build": build,
            "trace": trace,
            "compile": compilation,
            "train": train - trace - compilation,
            "evaluate": evaluate,
        }
        for record in self._records:
            for phase, duration in seconds.items():
                record.add_time(phase, duration / len(self._records))

    def end(self, index: int) -> MemberEnded:
        """Write the checkpoints of a member and how it ended."""
        training, record = self._group.members[index], self._records[index]
        with record.timed("write"):
            if training.problem is None and self.interrupted_by is None:
                record.save_checkpoint()
            else:
                # An interrupted pack is resumed from its own state.
                record.save_best_checkpoint()
                record.sync_logs()
        record.set_stop_reason(training.stop_reason or "")
        status: Status = "finished" if training.best_epoch else "stopped"
        if training.problem is not None:
            status = "failed"
        problems = () if training.problem is None else (training.problem,)
        record.write_end(status, problems, weights_sha256=record.best_sha256)
        return read_ended_member(self._numbers[index], record.run)
