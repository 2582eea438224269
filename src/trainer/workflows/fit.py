"""One run from config to evaluation, as a stream of what happens.

    plan ─► network ─► run directory ─► epochs, each recorded ─► best weights ─► evaluation

The consumer sees `Started`, an `EpochResult` for each epoch and `Finished`, and says what a person
reads. Importing this module does not import TensorFlow; running it does, once the data are found good.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from trainer.config.load import LoadedConfig
from trainer.data.sources import is_large
from trainer.data.splits import SPLIT_NAMES
from trainer.engine import devices
from trainer.engine.program_cache import cache_root, keep_programs
from trainer.errors import DivergedError
from trainer.runs.manifest import Status
from trainer.workflows.drawing import draw_predictions
from trainer.workflows.plan import Plan, located, make_plan

if TYPE_CHECKING:
    from trainer.engine.fit import EpochResult
    from trainer.workflows.building import Built
    from trainer.workflows.recording import Recording


@dataclass(frozen=True, slots=True)
class Started:
    """Training begins.

    Attributes:
        run: The run directory.
        plan: What is going to happen.
        device: What it happens on.
        warm_start: What became of each layer's weights of the former run, in words.
    """

    run: Path
    plan: Plan
    device: devices.Device
    warm_start: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The run has ended.

    Attributes:
        run: The run directory.
        status: "stopped" when it was interrupted.
        epochs: Epochs trained.
        best_epoch: The epoch whose weights are in `checkpoints/best` and were evaluated.
        stopped_because: Why training ended.
        metrics: Split → metric → value; empty when it was interrupted.
        weights_sha256: Of the best weights.
        seconds: Wall-clock time of the whole run.
        timings: Phase → seconds.
    """

    run: Path
    status: Status
    epochs: int
    best_epoch: int
    stopped_because: str
    metrics: dict[str, dict[str, float]]
    weights_sha256: str
    seconds: float
    timings: dict[str, float]


def fit_run(
    loaded: LoadedConfig,
    *,
    runs: Path,
    command: tuple[str, ...],
    allow_custom: bool,
    interrupted: Callable[[], str | None],
) -> Generator[Started | EpochResult | Finished, None, None]:
    """Train and evaluate one config.

    Args:
        loaded: The config.
        runs: The folder that run directories are kept in.
        command: The command line, for the manifest.
        allow_custom: Whether functions of the user's own may be imported.
        interrupted: Asked once an epoch; a reason ends training with a checkpoint.

    Raises:
        InputError: Config or data are wrong; no run directory is left behind.
        TrainingError: Training could not go on; the run directory says why.
    """
    began, started_at = perf_counter(), datetime.now(UTC)
    with devices.importing(worthwhile=is_large(loaded.config.data)):
        plan = make_plan(loaded)
    planned = perf_counter()
    threads = _threads(plan)
    with located(loaded):
        device = devices.start(plan.config.runtime.device, threads)
    if device.threads != threads:
        text = (
            f"this run has {device.threads} threads, as the first of the command, where {threads} "
            "would be chosen for it alone: its weights may differ in the last digits"
        )
        plan = replace(plan, warnings=(*plan.warnings, text))
    from trainer.engine.fit import fit
    from trainer.models.weights import weights_sha256
    from trainer.workflows.building import build_training, resource_errors
    from trainer.workflows.recording import recording

    imported = perf_counter()
    with resource_errors():
        with located(loaded):
            built = build_training(plan, allow_custom=allow_custom)
        timings = {
            "read": planned - began,
            "import": imported - planned,
            "encode": built.encode_seconds,
            "build": perf_counter() - imported - built.encode_seconds,
        }
        training = built.training
        with recording(
            plan,
            built,
            device,
            runs=runs,
            command=command,
            timings=timings,
            now=started_at,
        ) as record:
            yield Started(record.run.path, plan, device, built.warm_start)
            started = perf_counter()
            try:
                for result in fit(training, interrupted):
                    record.epoch(result)
                    yield result
            except DivergedError:
                record.best_checkpoint()
                raise
            trained = perf_counter()
            trace = sum(program.trace_seconds for program in built.programs)
            compilation = sum(program.compile_seconds for program in built.programs)
            keep_programs(cache_root())
            record.checkpoint()
            written = perf_counter()
            training.network.set_weights(training.best_weights)
            metrics = {} if training.interrupted else _evaluate(plan, built, record)
            digest = weights_sha256(training.network)
            record.time("trace", trace)
            record.time("compile", compilation)
            record.time("train", trained - started - trace - compilation)
            record.time("evaluate", perf_counter() - written)
            record.time("write", written - trained)
            status: Status = "stopped" if training.interrupted else "finished"
            record.end(status, weights_sha256=digest)
        yield Finished(
            run=record.run.path,
            status=status,
            epochs=training.epoch,
            best_epoch=training.best_epoch,
            stopped_because=record.manifest.stopped_because or "",
            metrics=metrics,
            weights_sha256=digest,
            seconds=perf_counter() - began,
            timings=dict(record.manifest.timings),
        )


def _threads(plan: Plan) -> int:
    wanted = plan.config.runtime.threads
    if wanted != "auto":
        return wanted
    if plan.parameters is None:
        return devices.usable_cores()
    return devices.choose_threads(plan.parameters, plan.config.fit.batch_size)


def _evaluate(plan: Plan, built: Built, record: Recording) -> dict[str, dict[str, float]]:
    """Evaluate the best weights on each split; the test rows are encoded here for the first time."""
    training = built.training
    metrics: dict[str, dict[str, float]] = {}
    for split in SPLIT_NAMES:
        samples = plan.prepared.samples(split)
        if samples is None:
            continue
        laid_out = plan.question.head_targets(samples)
        done = built.runner.evaluate(laid_out)
        measures = {"loss": done.loss, **training.measure(done, laid_out)}
        record.evaluation(split, len(samples.x), measures)
        metrics[split] = measures
        # The last split there is: the test rows, or where none are held back the training rows.
        if plan.config.evaluate.scatter:
            picture = record.run.evaluation / "scatter.png"
            draw_predictions(picture, plan.prepared, plan.question, laid_out, done.predictions)
    return metrics
