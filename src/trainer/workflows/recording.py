"""What a run leaves on disk while it trains: manifest, log, checkpoints, evaluation.

Owns: when each is written. Their form is in `trainer.runs`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import keras

from trainer.config.dump import dump_config
from trainer.config.sections import interval_parts
from trainer.data.prepare import split_table
from trainer.data.splits import SPLIT_NAMES
from trainer.engine import state
from trainer.engine.averages import averaged
from trainer.engine.devices import Device
from trainer.engine.fit import EpochResult, Training
from trainer.errors import Problem, StorageError, TrainerError
from trainer.models.weights import weights_sha256
from trainer.runs.checkpoints import write_checkpoint
from trainer.runs.directory import RunDirectory
from trainer.runs.lock import RunLock
from trainer.runs.log import MetricsLog
from trainer.runs.manifest import DataFile, Manifest, Status, new_manifest
from trainer.workflows.building import Built
from trainer.workflows.plan import Plan

_HEARTBEAT_SECONDS = 15.0


@dataclass(slots=True)
class Recording:
    """A run directory that is being written.

    Attributes:
        run: The directory.
        manifest: As last written, or newer.
        training: What is recorded.
        saved: The network that takes the weights that are saved.
        every: Checkpoint interval as (count, unit).
        log: The metrics log; open within `open`.
    """

    run: RunDirectory
    manifest: Manifest
    training: Training
    saved: keras.Sequential
    every: tuple[int, str]
    log: MetricsLog
    _saved_best: int = 0
    _saved_epoch: int = 0
    _saved_step: int = 0
    _saved_at: float = 0.0
    _beat_at: float = 0.0

    def epoch(self, result: EpochResult) -> None:
        """Record an epoch; write a checkpoint when it is time."""
        self.log.append(
            {
                "epoch": result.epoch,
                "step": result.step,
                **result.measures,
                "learning_rate": result.learning_rate,
                "seconds": round(result.seconds, 6),
            }
        )
        self.manifest = replace(
            self.manifest, epochs=result.epoch, best_epoch=self.training.best_epoch
        )
        if result.stop is not None:
            self.manifest = replace(self.manifest, stopped_because=result.stop)
        if result.stop is None and self._is_time(result):
            self.checkpoint()
        now = monotonic()
        if now - self._beat_at >= _HEARTBEAT_SECONDS:
            self._beat_at = now
            self.manifest = self.manifest.with_heartbeat(_now())
            self.run.write_manifest(self.manifest)

    def checkpoint(self) -> None:
        """Write the best state, if it is new, then the last, whose state speaks of the best."""
        training = self.training
        training.settle()
        self.best_checkpoint()
        with averaged(training.network, training.optimizer):
            judged = state.weights_of(training.network)
        self._write(
            self.run.last,
            judged,
            state.capture(training.network, training.optimizer),
            {
                "epoch": training.epoch,
                "step": training.step,
                "best_epoch": training.best_epoch,
                "monitors": training.monitors.state(),
            },
        )
        self.log.sync()
        self._saved_epoch, self._saved_step = training.epoch, training.step
        self._saved_at = monotonic()

    def best_checkpoint(self) -> None:
        """Write the best state, if there is one and it is new."""
        training = self.training
        if training.best_epoch != self._saved_best:
            facts = {"epoch": training.best_epoch}
            self._write(self.run.best, training.best_weights, {}, facts)
            self._saved_best = training.best_epoch

    def _write(
        self, place: Path, weights: list[Any], arrays: state.State, facts: dict[str, Any]
    ) -> None:
        self.saved.set_weights(weights)
        facts = {**facts, "weights_sha256": weights_sha256(self.saved)}
        write_checkpoint(place, self.saved.save, arrays, facts)

    def time(self, phase: str, seconds: float) -> None:
        """Add to the seconds spent in a phase; written with what comes next."""
        self.manifest = self.manifest.with_timing(phase, seconds)

    def evaluation(self, split: str, rows: int, measures: dict[str, float]) -> None:
        """Write the evaluation of one split."""
        self.run.write_evaluation(
            split,
            {
                "split": split,
                "checkpoint": "best",
                "epoch": self.training.best_epoch,
                "rows": rows,
                "metrics": measures,
            },
        )

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

    def _is_time(self, result: EpochResult) -> bool:
        count, unit = self.every
        match unit:
            case "epoch":
                return result.epoch - self._saved_epoch >= count
            case "step":
                return result.step - self._saved_step >= count
            case "minute":
                return monotonic() - self._saved_at >= 60 * count
            case _:
                return monotonic() - self._saved_at >= count


@contextmanager
def recording(
    plan: Plan,
    built: Built,
    device: Device,
    *,
    runs: Path,
    command: tuple[str, ...],
    timings: dict[str, float],
    now: datetime,
) -> Iterator[Recording]:
    """A new run directory, locked while it is written.

    What ends the block with an exception is written to the manifest first: `failed` with its problems,
    or `stopped` when a person or the system stopped it.

    Raises:
        RunError: A run directory cannot be made.
        StorageError: It cannot be written.
    """
    # What was chosen for it becomes part of the config, which then repeats the run anywhere.
    runtime = plan.config.runtime.model_copy(update={"threads": device.threads})
    text = dump_config(plan.config.model_copy(update={"runtime": runtime}))
    run = RunDirectory.create(runs, plan.config.name, text, now)
    manifest = replace(
        new_manifest(
            name=plan.config.name,
            command=command,
            seed=plan.config.seed,
            config_directory=plan.loaded.path.absolute().parent,
            now=now,
        ),
        device=device.name,
        threads=device.threads,
        engine=plan.engine.engine + (", XLA" if built.compiled else ""),
        task=plan.question.target.task,
        parameters=int(built.saved.count_params()),
        data=tuple(DataFile(**asdict(file)) for file in plan.prepared.table.files),
        splits={name: plan.prepared.rows(name) for name in SPLIT_NAMES},
        dropped=plan.prepared.dropped,
        warnings=plan.warnings,
        timings=timings,
    )
    with RunLock(run.lock):
        run.write_manifest(manifest)
        run.write_config(text)
        run.write_preprocessing(plan.prepared.preprocessing.to_json())
        buffer = io.BytesIO()
        split_table(plan.prepared).write_parquet(buffer)
        run.write_splits(buffer.getvalue())
        with MetricsLog(run.metrics) as log:
            every = interval_parts(plan.config.fit.checkpoint.every)
            record = Recording(run, manifest, built.training, built.saved, every, log)
            record._saved_at = record._beat_at = monotonic()
            try:
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
