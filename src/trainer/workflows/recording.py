"""Write the directory of a run during training: manifest, logs, checkpoints and evaluation.

Decides when each is written; `trainer.runs` defines the formats.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from trainer.assessment.decisions import choose_decisions
from trainer.config.dump import dump_config, resolved_settings
from trainer.config.schema import Config
from trainer.data.recorded_splits import split_frame
from trainer.data.samples import Samples
from trainer.data.splits import SplitName
from trainer.engine.batches import EpochOutput
from trainer.engine.checkpoint_schedule import CheckpointSchedule
from trainer.engine.devices import Device
from trainer.engine.events import EpochEnd, RolledBack, StepCheckpoint
from trainer.errors import Problem
from trainer.metrics.predictions import Predictions
from trainer.models.saving import save_network
from trainer.models.weights import replaced_weights, values_sha256
from trainer.runs.checkpoints import write_checkpoint
from trainer.runs.decisions import write_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.lock import RunLock
from trainer.runs.log import MetricsLog
from trainer.runs.manifest import Manifest, RollbackRecord, Status
from trainer.runs.run_record import RunRecord, record_errors
from trainer.tasks.task import Task
from trainer.tracking.trackers import Trackers, make_trackers
from trainer.workflows.building import resolved_run_config
from trainer.workflows.plan import RunPlan
from trainer.workflows.plans import AnyPlan, manifest_of_plan
from trainer.workflows.recorded_training import RecordedTraining
from trainer.workflows.reporting.splits import write_split

_HEARTBEAT_SECONDS = 15.0


def evaluation_order(splits: Iterable[SplitName]) -> list[SplitName]:
    """Return splits with the validation rows first, on which the decisions for all are made."""
    return sorted(splits, key=lambda split: split != "validation")


@dataclass(slots=True)
class Recording(RunRecord):
    """A run directory that is being written during the training of its network.

    Attributes:
        config: The config of the run.
        recorded: The recorded training.
        log: The metrics, one line per epoch.
        timing: The seconds, one line per epoch.
        trackers: Trackers that are notified.
        schedule: When a checkpoint is due.
        best_sha256: SHA-256 of the best weights, once this process has written them.
    """

    config: Config
    recorded: RecordedTraining
    log: MetricsLog
    timing: MetricsLog
    trackers: Trackers
    schedule: CheckpointSchedule
    best_sha256: str | None = None
    _task: Task | None = None
    _saved_best_epoch: int = 0
    _epochs: int = 0
    _heartbeat_at: float = field(default_factory=monotonic)

    def record_epoch(self, result: EpochEnd) -> None:
        """Record an epoch; write a checkpoint if one is due."""
        self.log_epoch(result)
        self._after_step(result.epoch, result.step, result.stop)

    def log_epoch(self, result: EpochEnd) -> None:
        """Record an epoch in the logs."""
        self.log.append(
            {
                "epoch": result.epoch,
                "step": result.step,
                **result.metrics,
                "learning_rate": result.learning_rate,
            }
        )
        self.timing.append({"epoch": result.epoch, "seconds": round(result.seconds, 6)})
        self._epochs = result.epoch
        self.trackers.on_epoch_end(
            result.epoch, result.learning_rate, result.metrics, self.recorded.weights
        )

    def sync_logs(self) -> int:
        """Flush the logs to disk and return the length of the metrics log."""
        self.log.sync()
        self.timing.sync()
        return self.log.offset

    def record_step(self, event: StepCheckpoint) -> None:
        """Write a checkpoint within an epoch if one is due."""
        self._after_step(event.epoch - 1, event.step, event.stop)

    def record_rollback(self, event: RolledBack) -> None:
        """Record that training was rolled back."""
        self._count_epochs()
        rollback = RollbackRecord(event.epoch, event.step, event.learning_rate)
        self.manifest = replace(self.manifest, rollbacks=(*self.manifest.rollbacks, rollback))
        self.run.write_manifest(self.manifest)

    def save_checkpoint(self) -> None:
        """Write the last state, and the best weights if they are new.

        A state with non-finite weights is not written: training is about to report them.
        """
        start_time = monotonic()
        training = self.recorded.training
        snapshot = training.snapshot()
        if not snapshot.is_finite:
            return
        weights = training.evaluation_weights()
        # The log must be on disk before the checkpoint that refers to it.
        metadata = {
            **snapshot.metadata,
            "log_bytes": self.sync_logs(),
            "form": self.recorded.execution.state(),
            "config": resolved_settings(self.config),
        }
        keep = self.config.fit.checkpoint.keep
        self._write(self.run.last, weights, snapshot.arrays, metadata, keep)
        self.save_best_checkpoint()
        self.schedule.record_write(training.epoch, training.trained_steps, start_time)

    def save_best_checkpoint(self) -> None:
        """Write the best weights if there are any and they are new."""
        training = self.recorded.training
        if training.best_epoch != self._saved_best_epoch:
            metadata = {"epoch": training.best_epoch}
            self.best_sha256 = self._write(self.run.best, training.best_weights, {}, metadata, 1)
            self._saved_best_epoch = training.best_epoch

    def _write(
        self,
        directory: Path,
        weights: list[Any],
        arrays: Mapping[str, np.ndarray[Any, Any]],
        metadata: dict[str, Any],
        keep: int,
    ) -> str:
        """Write a checkpoint and return the SHA-256 of its weights."""
        saved, weights = self.recorded.saved, self.recorded.all_weights(weights)
        digest = values_sha256(weights)
        metadata = {**metadata, "weights_sha256": digest}

        def write_model(path: Path) -> None:
            with replaced_weights(saved, weights):
                save_network(saved, path)

        write_checkpoint(directory, write_model, arrays, metadata, keep=keep)
        return digest

    def add_time(self, phase: str, seconds: float) -> None:
        """Add to the seconds spent in a phase; they are written with the next manifest."""
        self.manifest = self.manifest.with_timing(phase, seconds)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Context manager that adds the duration of its block to a phase."""
        start_time = monotonic()
        yield
        self.add_time(phase, monotonic() - start_time)

    def write_split(
        self, plan: RunPlan, split: SplitName, samples: Samples, output: EpochOutput
    ) -> dict[str, float]:
        """Write metrics and predictions of the best weights for a split; return the metrics.

        The first call also makes the decisions, on the validation rows if they are its split; see
        `evaluation_order`.

        Args:
            plan: The plan of the run.
            split: The split.
            samples: Its samples, encoded for the head.
            output: Output of the best weights on all of them.
        """
        if self._task is None:
            validation = None
            if split == "validation" and plan.task.text is None:
                decoded = plan.task.decode_outputs(output.predictions)
                validation = plan.task.make_predictions(samples, decoded)
            self._task = self._choose_decisions(plan, validation)
        task = self._task
        metrics = {
            "loss": output.loss,
            **task.compute_metrics(output.predictions, samples, output.rows),
        }
        evaluated = task.evaluated(samples, task.decode_outputs(output.predictions), metrics)
        write_split(self.run, plan, split, evaluated, self.recorded.training.best_epoch)
        return metrics

    def _choose_decisions(self, plan: RunPlan, validation: Predictions | None) -> Task:
        """Make the decisions, write them, and return the task of the plan with them."""
        decisions = choose_decisions(plan.config.evaluate, plan.task, validation, plan.inherited)
        write_decisions(self.run, decisions)
        if decisions.note:
            self.manifest = self.manifest.with_warnings(decisions.note)
        return plan.task.with_decisions(decisions)

    def write_end(
        self,
        status: Status,
        problems: tuple[Problem, ...] = (),
        weights_sha256: str | None = None,
    ) -> None:
        """Write how the run ended, and notify the trackers."""
        self._count_epochs()
        # `super()` does not work in a dataclass with slots before Python 3.14.
        RunRecord.write_end(self, status, problems, weights_sha256)
        if self.trackers or self.trackers.warnings:
            start_time = monotonic()
            self.trackers.on_run_end(self.run, self.manifest)
            self.add_time("track", monotonic() - start_time)
            self.manifest = self.manifest.with_warnings(*self.trackers.warnings)
            self.run.write_manifest(self.manifest)

    def _count_epochs(self) -> None:
        """Enter the epochs so far in the manifest; doing so in each short epoch would take time."""
        if self._epochs:
            best_epoch = self.recorded.training.best_epoch
            self.manifest = replace(self.manifest, epochs=self._epochs, best_epoch=best_epoch)

    def _after_step(self, epoch: int, step: int, stop: str | None) -> None:
        if stop is not None:
            self._count_epochs()
            self.set_stop_reason(stop)
        elif self.schedule.is_due(epoch, step):
            self.save_checkpoint()
        now = monotonic()
        if now - self._heartbeat_at >= _HEARTBEAT_SECONDS:
            self._heartbeat_at = now
            self._count_epochs()
            self.manifest = self.manifest.with_heartbeat(datetime.now(UTC))
            self.run.write_manifest(self.manifest)


@contextmanager
def new_recording(
    plan: AnyPlan,
    recorded: RecordedTraining,
    device: Device,
    manifest: Manifest,
    runs: Path,
    run_path: Path | None,
) -> Iterator[Recording]:
    """Context manager that creates a run directory, locks it and writes a checkpoint of the initial
    state.

    Args:
        plan: The plan of the run.
        recorded: Its training.
        device: Its device.
        manifest: Its first manifest.
        runs: The folder of run directories.
        run_path: The run directory of a member; None creates one in `runs`.

    Raises:
        RunError: The run directory cannot be created.
        StorageError: The run directory cannot be written.
    """
    config = resolved_run_config(plan.config, device, recorded.execution)
    text = dump_config(config)
    run = (
        RunDirectory.create(runs, config.name, text, manifest.started, config.runs.permissions)
        if run_path is None
        else RunDirectory.open_or_create(run_path)
    )
    with RunLock(run.lock):
        run.write_manifest(manifest)
        run.write_config(text)
        if plan.loaded.text is not None and run_path is None:
            run.write_proposed_config(plan.loaded.text)
        write_fitted_data(run, fitted_data(plan))
        if plan.inherited is not None:
            # The run keeps them in case the run they come from is deleted.
            write_decisions(run, plan.inherited)
        with open_recording(run, config, manifest, recorded) as record:
            record.save_checkpoint()
            yield record


def first_manifest(
    plan: AnyPlan,
    recorded: RecordedTraining,
    device: Device,
    *,
    command: tuple[str, ...],
    now: datetime,
) -> Manifest:
    """Return the manifest of a new run."""
    return replace(
        manifest_of_plan(plan, command, now),
        device=device.name,
        threads=device.threads,
        engine=plan.engine.engine + (", XLA" if recorded.execution.compiled else ""),
        parameters=int(recorded.saved.count_params()),
    )


@dataclass(frozen=True, slots=True)
class FittedData:
    """Fitted preprocessing as JSON, and the split of each row as Parquet."""

    preprocessing: Any
    splits: bytes


def fitted_data(plan: AnyPlan) -> FittedData:
    """Return the preprocessing and the splits of a plan."""
    buffer = io.BytesIO()
    split_frame(plan.dataset).write_parquet(buffer)
    return FittedData(plan.dataset.preprocessing.to_json(), buffer.getvalue())


def write_fitted_data(run: RunDirectory, kept: FittedData) -> None:
    """Write preprocessing and splits.

    Raises:
        StorageError: The run directory cannot be written.
    """
    run.write_preprocessing(kept.preprocessing)
    run.write_splits(kept.splits)


@contextmanager
def open_recording(
    run: RunDirectory, config: Config, manifest: Manifest, recorded: RecordedTraining
) -> Iterator[Recording]:
    """Context manager that records training in an existing, locked run directory.

    If the block ends with an exception, the manifest is written first; see `record_errors`.

    Raises:
        StorageError: The run directory cannot be written.
    """
    with MetricsLog(run.metrics) as log, MetricsLog(run.timing) as timing:
        trackers = make_trackers(config)
        training = recorded.training
        schedule = CheckpointSchedule(
            config.fit.checkpoint.every, training.epoch, training.trained_steps
        )
        record = Recording(run, manifest, config, recorded, log, timing, trackers, schedule)
        with record_errors(record):
            trackers.on_run_start(run, config, manifest)
            yield record
