"""What a run leaves on disk while it trains: manifest, logs, checkpoints, evaluation.

Owns: when each is written. Their form is in `trainer.runs`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import keras
import numpy as np

from trainer.config.dump import dump_config, resolved_settings
from trainer.config.schema import Config
from trainer.data.prepare import split_frame
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.engine.devices import Device
from trainer.engine.events import EpochEnd, RolledBack, StepCheckpoint
from trainer.engine.snapshot import Checkpointable
from trainer.errors import Problem, StorageError, TrainerError
from trainer.evaluation.predictions import Predictions
from trainer.models.saving import save_network
from trainer.models.weights import weights_sha256
from trainer.report.predictions import predictions_to_parquet
from trainer.runs.checkpoints import write_checkpoint
from trainer.runs.decisions import Decisions, write_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation
from trainer.runs.lock import RunLock
from trainer.runs.log import MetricsLog
from trainer.runs.manifest import DataFile, Manifest, RollbackRecord, Status, new_manifest
from trainer.tracking.trackers import Trackers, make_trackers
from trainer.workflows.building import ExecutionConfig
from trainer.workflows.checkpoint_schedule import CheckpointSchedule
from trainer.workflows.plan import RunPlan, row_groups

_HEARTBEAT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class RecordedTraining:
    """What is recorded.

    Attributes:
        training: Its state.
        saved: The network as it is saved, of Keras's own layers; its weights are set when it is.
        form: How its epochs are cut into calls of the device.
    """

    training: Checkpointable
    saved: keras.Sequential
    form: ExecutionConfig

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """The weights that it would be judged by now, by layer and name: dense/kernel."""
        own = f"{self.saved.name}/"
        names = [variable.path.removeprefix(own) for variable in self.saved.weights]
        return dict(zip(names, self.training.evaluation_weights(), strict=True))


@dataclass(slots=True)
class Recording:
    """A run directory that is being written.

    Attributes:
        run: The directory.
        config: The run's.
        manifest: As last written, or newer.
        recorded: What is trained.
        log: The metrics, a line an epoch.
        timing: The seconds, a line an epoch.
        trackers: Who else is told.
        schedule: When a checkpoint is due.
        best_sha256: Of the best weights, once this process has written them.
    """

    run: RunDirectory
    config: Config
    manifest: Manifest
    recorded: RecordedTraining
    log: MetricsLog
    timing: MetricsLog
    trackers: Trackers
    schedule: CheckpointSchedule
    best_sha256: str | None = None
    _saved_best: int = 0
    _beat_at: float = field(default_factory=monotonic)

    def epoch(self, result: EpochEnd) -> None:
        """Record an epoch; write a checkpoint when it is time."""
        self.log_epoch(result)
        self._go_on(result.epoch, result.step, result.stop)

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
        self.manifest = replace(
            self.manifest, epochs=result.epoch, best_epoch=self.recorded.training.best_epoch
        )
        self.trackers.on_epoch_end(
            result.epoch, result.learning_rate, result.metrics, self.recorded.weights
        )

    def sync_logs(self) -> int:
        """Bring the logs to the disk; the length of the metrics."""
        self.log.sync()
        self.timing.sync()
        return self.log.offset

    def partway(self, place: StepCheckpoint) -> None:
        """Write a checkpoint within an epoch when it is time."""
        self._go_on(place.epoch - 1, place.step, place.stop)

    def rewound(self, rewound: RolledBack) -> None:
        """Record that training went back."""
        rewind = RollbackRecord(rewound.epoch, rewound.step, rewound.learning_rate)
        self.manifest = replace(self.manifest, rollbacks=(*self.manifest.rollbacks, rewind))
        self.run.write_manifest(self.manifest)

    def stopped(self, reason: str) -> None:
        """Note why the run ends."""
        self.manifest = replace(self.manifest, stopped_because=reason)

    def checkpoint(self) -> None:
        """Write the last state, and the best weights where they are new.

        A state whose weights are not finite is not written: training is about to say so.
        """
        began = monotonic()
        training = self.recorded.training
        snapshot = training.snapshot()
        if not snapshot.is_finite:
            return
        judged = training.evaluation_weights()
        # What the checkpoint says of the log must be on the disk before it.
        log_bytes = self.sync_logs()
        facts = {
            **snapshot.metadata,
            "log_bytes": log_bytes,
            "form": asdict(self.recorded.form),
            "config": resolved_settings(self.config),
        }
        keep = self.config.fit.checkpoint.keep
        self._write(self.run.last, judged, snapshot.arrays, facts, keep)
        self.best_checkpoint()
        self.schedule.written(training.epoch, training.trained_steps, began)

    def best_checkpoint(self) -> None:
        """Write the best weights, if there are any and they are new."""
        training = self.recorded.training
        if training.best_epoch != self._saved_best:
            facts = {"epoch": training.best_epoch}
            self.best_sha256 = self._write(self.run.best, training.best_weights, {}, facts, 1)
            self._saved_best = training.best_epoch

    def _write(
        self,
        place: Path,
        weights: list[Any],
        arrays: Mapping[str, np.ndarray[Any, Any]],
        facts: dict[str, Any],
        keep: int,
    ) -> str:
        """A checkpoint; the SHA-256 of its weights."""
        saved = self.recorded.saved
        saved.set_weights(weights)
        digest = weights_sha256(saved)
        facts = {**facts, "weights_sha256": digest}
        write_checkpoint(place, lambda path: save_network(saved, path), arrays, facts, keep=keep)
        return digest

    def time(self, phase: str, seconds: float) -> None:
        """Add to the seconds spent in a phase; written with what comes next."""
        self.manifest = self.manifest.with_timing(phase, seconds)

    def evaluation(self, split: str, rows: int, metrics: dict[str, float]) -> None:
        """Write the evaluation of one split."""
        self.run.write_evaluation(
            split,
            Evaluation(
                metrics,
                split=split,
                checkpoint="best",
                epoch=self.recorded.training.best_epoch,
                rows=rows,
            ),
        )

    def decisions(self, decisions: Decisions) -> None:
        """Write what was chosen on the validation rows."""
        write_decisions(self.run, decisions)
        if decisions.note:
            warnings = (*self.manifest.warnings, decisions.note)
            self.manifest = replace(self.manifest, warnings=tuple(dict.fromkeys(warnings)))

    def answers(self, split: SplitName, answers: Predictions, plan: RunPlan) -> None:
        """Write what the best weights say of the rows of a split."""
        names = plan.task.prediction_names
        content = predictions_to_parquet(answers, names, row_groups(plan, answers.rows))
        self.run.write_predictions(f"{split}.parquet", content)

    def end(
        self,
        status: Status,
        problems: tuple[Problem, ...] = (),
        weights_sha256: str | None = None,
    ) -> None:
        """Write how the run ended."""
        ended = self.manifest.with_end(status, _now(), problems)
        self.manifest = replace(ended, weights_sha256=weights_sha256)
        self.run.write_manifest(self.manifest)
        if self.trackers or self.trackers.warnings:
            began = monotonic()
            self.trackers.on_run_end(self.run, self.manifest)
            self.time("track", monotonic() - began)
            self.manifest = self.manifest.with_warnings(*self.trackers.warnings)
            self.run.write_manifest(self.manifest)

    def _go_on(self, epoch: int, step: int, stop: str | None) -> None:
        if stop is not None:
            self.stopped(stop)
        elif self.schedule.is_due(epoch, step):
            self.checkpoint()
        now = monotonic()
        if now - self._beat_at >= _HEARTBEAT_SECONDS:
            self._beat_at = now
            self.manifest = self.manifest.with_heartbeat(_now())
            self.run.write_manifest(self.manifest)


@contextmanager
def new_recording(
    plan: RunPlan,
    recorded: RecordedTraining,
    device: Device,
    *,
    runs: Path,
    command: tuple[str, ...],
    now: datetime,
    place: Path | None = None,
) -> Iterator[Recording]:
    """A new run directory, locked while it is written, with a checkpoint of the start.

    Raises:
        RunError: A run directory cannot be made.
        StorageError: It cannot be written.
    """
    config = resolved_run_config(plan.config, device, recorded.form)
    text = dump_config(config)
    run = (
        RunDirectory.create(runs, config.name, text, now)
        if place is None
        else RunDirectory.at(place)
    )
    manifest = first_manifest(plan, recorded, device, command=command, now=now)
    with RunLock(run.lock):
        run.write_manifest(manifest)
        run.write_config(text)
        write_fitted_data(run, fitted_data(plan))
        if plan.inherited is not None:
            # The run keeps them where the one they come from is deleted.
            write_decisions(run, plan.inherited)
        with recording(run, config, manifest, recorded) as record:
            record.checkpoint()
            yield record


def resolved_run_config(config: Config, device: Device, form: ExecutionConfig) -> Config:
    """The config with what was chosen for it, which then repeats the run anywhere."""
    chosen = {"threads": device.threads, "jit_compile": form.compiled}
    runtime = config.runtime.model_copy(update=chosen)
    return config.model_copy(update={"runtime": runtime})


def first_manifest(
    plan: RunPlan,
    recorded: RecordedTraining,
    device: Device,
    *,
    command: tuple[str, ...],
    now: datetime,
) -> Manifest:
    """The manifest of a run that begins."""
    config = plan.config
    return replace(
        new_manifest(
            name=config.name,
            command=command,
            seed=config.seed,
            config_directory=plan.loaded.path.absolute().parent,
            now=now,
        ),
        device=device.name,
        threads=device.threads,
        engine=plan.engine.engine + (", XLA" if recorded.form.compiled else ""),
        task=plan.task.target.task,
        parameters=int(recorded.saved.count_params()),
        data=tuple(DataFile(**asdict(file)) for file in plan.dataset.table.files),
        splits={name: plan.dataset.rows(name) for name in SPLIT_NAMES},
        dropped=plan.dataset.dropped,
        warnings=plan.warnings,
    )


@dataclass(frozen=True, slots=True)
class FittedData:
    """What was fitted on the data, as JSON has it, and which row is in which split, as Parquet."""

    preprocessing: Any
    splits: bytes


def fitted_data(plan: RunPlan) -> FittedData:
    """What a run keeps of its data."""
    buffer = io.BytesIO()
    split_frame(plan.dataset).write_parquet(buffer)
    return FittedData(plan.dataset.preprocessing.to_json(), buffer.getvalue())


def write_fitted_data(run: RunDirectory, kept: FittedData) -> None:
    """Write what a run keeps of its data.

    Raises:
        StorageError: It cannot be written.
    """
    run.write_preprocessing(kept.preprocessing)
    run.write_splits(kept.splits)


@contextmanager
def recording(
    run: RunDirectory, config: Config, manifest: Manifest, recorded: RecordedTraining
) -> Iterator[Recording]:
    """A run directory that is there and locked.

    What ends the block with an exception is written to the manifest first: `failed` with its problems,
    or `stopped` when a person or the system stopped it.

    Raises:
        StorageError: It cannot be written.
    """
    with MetricsLog(run.metrics) as log, MetricsLog(run.timing) as timing:
        trackers = make_trackers(config)
        training = recorded.training
        schedule = CheckpointSchedule(
            config.fit.checkpoint.every, training.epoch, training.trained_steps
        )
        record = Recording(run, config, manifest, recorded, log, timing, trackers, schedule)
        try:
            trackers.on_run_start(run, config, manifest)
            yield record
        except TrainerError as wrong:
            with contextlib.suppress(StorageError):
                record.end("failed", wrong.problems)
            raise
        except (KeyboardInterrupt, GeneratorExit):
            with contextlib.suppress(StorageError):
                record.end("stopped")
            raise
        except BaseException as bug:
            with contextlib.suppress(StorageError):
                record.end("failed", (Problem("trainer", "no bug", repr(bug)),))
            raise


def _now() -> datetime:
    return datetime.now(UTC)
