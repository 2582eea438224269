"""From a network that is built and recorded to one that is evaluated: what `fit` and `resume` share.

    epochs, each recorded ─► last checkpoint ─► best weights ─► evaluation

The consumer sees `RunStarted`, what `trainer.engine.fit` yields and `RunFinished`, and says
what a person reads. Importing this module does not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal, assert_never

import numpy as np

from trainer.config.schema import Config
from trainer.data.samples import Samples
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.engine import devices
from trainer.engine.program_cache import cache_root, index_programs
from trainer.errors import DivergedError, Problem, TrainingError, command_text
from trainer.report.page import write_page
from trainer.runs.files import json_bytes
from trainer.runs.manifest import Status
from trainer.workflows.decisions import choose_decisions, with_decisions
from trainer.workflows.dependence import surface_json
from trainer.workflows.importance import (
    compute_importance,
    prediction_function,
    should_compute_importance,
)
from trainer.workflows.plan import RunPlan
from trainer.workflows.reporting import write_run_findings

if TYPE_CHECKING:
    from trainer.engine.batches import EpochOutput
    from trainer.engine.events import EpochEnd, RolledBack, StepCheckpoint
    from trainer.workflows.building import TrainingSetup
    from trainer.workflows.recording import Recording

_SHOWN_POINTS = 1_000
"""Rows that are drawn on a surface, evenly spaced."""
InterruptCheck = Callable[[], str | None]
"""Asked about once a second and at the end of each epoch; a reason ends training with a checkpoint."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Training begins.

    Attributes:
        run: The run directory.
        plan: What is going to happen.
        device: What it happens on.
        notes: What became of each layer's weights of a former run, or where training goes on.
    """

    run: Path
    plan: RunPlan
    device: devices.Device
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run has ended.

    Attributes:
        run: The run directory.
        status: "stopped" when it was interrupted.
        epochs: Epochs trained.
        best_epoch: The epoch whose weights are in `checkpoints/best` and were evaluated; 0 for none.
        stopped_because: Why training ended.
        metrics: Split → metric → value; empty when it was interrupted.
        sentence: What its report says in a sentence; empty where there is none.
        weights_sha256: Of the best weights; None where no epoch was done.
        seconds: Wall-clock time of this process.
        timings: Phase → seconds, of all processes.
    """

    run: Path
    status: Status
    epochs: int
    best_epoch: int
    stopped_because: str
    metrics: dict[str, dict[str, float]]
    sentence: str
    weights_sha256: str | None
    seconds: float
    timings: dict[str, float]


if TYPE_CHECKING:
    Event = RunStarted | EpochEnd | StepCheckpoint | RolledBack | RunFinished


def start_device(plan: RunPlan, config: Config) -> tuple[RunPlan, devices.Device]:
    """Import TensorFlow and choose device and threads; the plan says what could not be had.

    Raises:
        ConfigError: The device is not there.
    """
    threads = _threads(plan, config.runtime.threads)
    device = devices.start(config.runtime.device, threads)
    if device.threads != threads:
        text = (
            f"this run has {device.threads} threads, as the first of the command, where {threads} "
            "would be chosen for it alone: its weights may differ in the last digits"
        )
        plan = replace(plan, warnings=(*plan.warnings, text))
    return plan, device


def train(
    plan: RunPlan,
    built: TrainingSetup,
    record: Recording,
    interrupted: InterruptCheck,
    *,
    began: float,
    is_member: bool = False,
    splits: Sequence[SplitName] = SPLIT_NAMES,
) -> Generator[EpochEnd | StepCheckpoint | RolledBack, None, RunFinished]:
    """Train what is left of a training, then evaluate it.

    Args:
        plan: What it was built from.
        built: Network, optimizer and decisions, where training begins or goes on.
        record: The run directory.
        interrupted: Whether training should end.
        began: When the process began, by `perf_counter`.
        is_member: Whether it is one of several, which are reported on together.
        splits: What the best weights are evaluated on.

    Raises:
        TrainingError: Training could not go on; the run directory says why.
    """
    from trainer.engine.events import EpochEnd, RolledBack, StepCheckpoint
    from trainer.engine.fit import fit
    from trainer.models.weights import weights_sha256

    training, started = built.training, perf_counter()
    try:
        for event in fit(training, interrupted):
            match event:
                case EpochEnd():
                    record.epoch(event)
                case StepCheckpoint():
                    record.partway(event)
                case RolledBack():
                    record.rewound(event)
                case _:
                    assert_never(event)
            yield event
    except DivergedError:
        record.best_checkpoint()
        raise
    trained = perf_counter()
    trace = sum(program.trace_seconds for program in built.programs)
    compilation = sum(program.compile_seconds for program in built.programs)
    index_programs(cache_root())
    record.checkpoint()
    written = perf_counter()
    metrics: dict[str, dict[str, float]] = {}
    digest, evaluated, sentence = None, None, ""
    if training.best_epoch:
        training.network.set_weights(training.best_weights)
        digest = weights_sha256(training.network)
        if not training.interrupted:
            metrics = _evaluate(plan, built, record, interrupted, splits)
            evaluated = perf_counter()
            if not training.interrupted and not is_member:
                _explain(plan, built, record)
                if plan.config.evaluate.report:
                    sentence = write_run_findings(record.run, plan)
    elif not training.interrupted:
        raise TrainingError(_no_epoch(plan, record.run.path))
    record.time("trace", trace)
    record.time("compile", compilation)
    record.time("train", trained - started - trace - compilation)
    record.time("evaluate", (evaluated or perf_counter()) - written)
    if evaluated is not None:
        record.time("report", perf_counter() - evaluated)
    record.time("write", written - trained)
    status: Literal["stopped", "finished"] = "stopped" if training.interrupted else "finished"
    record.end(status, weights_sha256=digest)
    ended = perf_counter()
    if sentence:
        # Not before: it tells how the run ended.
        write_page(record.run, datetime.now(UTC))
        record.time("page", perf_counter() - ended)
        record.run.write_manifest(record.manifest)
    return RunFinished(
        run=record.run.path,
        status=status,
        epochs=training.epoch,
        best_epoch=training.best_epoch,
        stopped_because=record.manifest.stopped_because or "",
        metrics=metrics,
        sentence=sentence,
        weights_sha256=digest,
        seconds=perf_counter() - began,
        timings=dict(record.manifest.timings),
    )


def _explain(plan: RunPlan, built: TrainingSetup, record: Recording) -> None:
    """Write what each column is worth to the best weights, and of two numbers the answers over both,
    where the config asks for it.
    """
    settings, dataset = plan.config.evaluate, plan.dataset
    split: SplitName = "validation" if dataset.rows("validation") else "train"
    samples = dataset.samples(split)
    if samples is None or (settings.importance == "auto" and not settings.report):
        return
    preprocessing, evaluator = dataset.preprocessing, built.runner.evaluator
    rows = dataset.rows("validation")
    if should_compute_importance(settings.importance, rows, len(preprocessing.columns)):
        facts = compute_importance(
            evaluator,
            samples,
            preprocessing,
            plan.task,
            split=split,
            seed=plan.config.seed,
            level=settings.confidence_level,
        )
        record.run.write_explanation("importance.json", json_bytes(facts))
    names = [column.name for column in preprocessing.columns]
    if set(names) <= set(dataset.table.frame.columns):
        shown = np.unique(np.linspace(0, len(samples.rows) - 1, _SHOWN_POINTS).astype(np.int64))
        surface = surface_json(
            [preprocessing],
            dataset.table.frame.select(names)[samples.rows[shown]],
            plan.task.in_words(plan.task.actual(plan.task.encode_targets(samples))[shown]),
            prediction_function(evaluator, plan.task),
            plan.task.prediction_names,
            split,
        )
        if surface is not None:
            record.run.write_explanation("surface.json", json_bytes(surface))


def _threads(plan: RunPlan, wanted: int | Literal["auto"]) -> int:
    if wanted != "auto":
        return wanted
    if plan.parameters is None:
        return devices.usable_cores()
    return devices.choose_threads(plan.parameters, plan.config.fit.batch_size)


def _no_epoch(plan: RunPlan, run: Path) -> Problem:
    return Problem(
        str(run),
        f"at least one epoch within fit.max_seconds ({plan.config.fit.max_seconds:g})",
        "less than one",
        f"give it more time: {command_text('resume', run, 'fit.max_seconds=+60')}",
    )


def _evaluate(
    plan: RunPlan,
    built: TrainingSetup,
    record: Recording,
    interrupted: InterruptCheck,
    splits: Sequence[SplitName],
) -> dict[str, dict[str, float]]:
    """Judge the best weights on each split; the test rows are encoded here for the first time.

    What is chosen on the validation rows is so before any row is judged by it. Empty where it was
    interrupted.
    """
    training = built.training
    passes: dict[SplitName, tuple[Samples, EpochOutput]] = {}
    for split in splits:
        samples = plan.dataset.samples(split)
        if samples is None:
            continue
        laid_out = plan.task.encode_targets(samples)
        evaluating = built.runner.evaluate(laid_out)
        while True:
            try:
                next(evaluating)
            except StopIteration as ended:
                passes[split] = (laid_out, ended.value)
                break
            if (reason := interrupted()) is not None:
                training.interrupted = True
                record.stopped(reason)
                return {}
    validation = None
    if "validation" in passes:
        laid_out, done = passes["validation"]
        validation = plan.task.said(laid_out, done.predictions)
    decisions = choose_decisions(plan.config.evaluate, plan.task, validation, plan.inherited)
    task = with_decisions(plan.task, decisions)
    record.decisions(decisions)
    metrics: dict[str, dict[str, float]] = {}
    for split, (laid_out, done) in passes.items():
        measures = {
            "loss": done.loss,
            **task.compute_metrics(done.predictions, laid_out, done.rows),
        }
        record.evaluation(split, len(laid_out.x), measures)
        record.answers(split, task.said(laid_out, done.predictions), plan)
        metrics[split] = measures
    return metrics
