"""Train and evaluate one config, reported as a stream of events.

    plan ─► network ─► run directory ─► epochs, each recorded ─► best weights ─► evaluation

`resume` shares everything after the network with `fit`. Importing this module does not import
TensorFlow; running it does after the data have been checked.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal, TypeVar, assert_never

from trainer.assessment.fold_baselines import FoldData
from trainer.config.load import LoadedConfig
from trainer.config.locations import locate_problems
from trainer.config.schema import Config
from trainer.data.samples import Samples
from trainer.data.sources import is_large
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.engine import devices
from trainer.engine.events import EpochEnd, GroupEpochEnd, RolledBack, StepCheckpoint
from trainer.engine.program_cache import cache_root, index_programs
from trainer.errors import DivergedError, Problem, TrainingError, command_text
from trainer.report.page import import_matplotlib, write_page
from trainer.workflows.events import RunEvent, RunFinished, RunStarted
from trainer.workflows.explanations.run_explanations import explain_columns, explain_images
from trainer.workflows.generation.plan import GenerationPlan
from trainer.workflows.plan import RunPlan, TableCache
from trainer.workflows.plans import AnyPlan, plan_run
from trainer.workflows.reporting.findings import (
    Boosting,
    seconds_after_training,
    start_boosting,
    write_run_findings,
)
from trainer.workflows.reporting.translations import explain_translations
from trainer.workflows.session import InterruptCheck, Session, TimeLimit
from trainer.workflows.shared_programs import SharedPrograms

if TYPE_CHECKING:
    from trainer.engine.batches import EpochOutput
    from trainer.workflows.building import TrainingSetup
    from trainer.workflows.recording import Recording


Plan = TypeVar("Plan", bound=AnyPlan)
_MEASURING_SECONDS = 5.0
"""Of the samples of a generator, after training."""


def fit_run(
    loaded: LoadedConfig,
    session: Session,
    runs: Path,
    *,
    run_path: Path | None = None,
    tables: TableCache | None = None,
    programs: SharedPrograms | None = None,
    splits: Sequence[SplitName] = SPLIT_NAMES,
) -> Generator[RunEvent, None, None]:
    """Train and evaluate one config.

    Args:
        loaded: The config.
        session: Session of the calling command.
        runs: The folder of run directories.
        run_path: The run directory of a member; None creates one in `runs`.
        tables: A cache of tables.
        programs: Those of the member that was trained before.
        splits: The splits that the best weights are evaluated on.

    Raises:
        InputError: The config or data is invalid; no run directory is left behind.
        TrainingError: Training failed; the manifest records why.
    """
    start_time, started_at = perf_counter(), datetime.now(UTC)
    with devices.tensorflow_import(in_background=is_large(loaded.config.data)):
        plan = plan_run(loaded, tables)
    planned_at = perf_counter()
    with locate_problems(loaded):
        plan, device = start_device(plan, loaded.config)
    from trainer.workflows.recording import first_manifest, new_recording
    from trainer.workflows.setups import build_setup, recorded_training

    imported_at = perf_counter()
    with devices.resource_errors():
        with locate_problems(loaded):
            built = build_setup(plan, allow_custom=session.allow_custom, programs=programs)
        built.group.start_time = start_time
        build_seconds = perf_counter() - imported_at - built.encode_seconds
        recorded = recorded_training(built)
        manifest = first_manifest(plan, recorded, device, command=session.command, now=started_at)
        with new_recording(plan, recorded, device, manifest, runs, run_path) as record:
            record.add_time("read", planned_at - start_time)
            record.add_time("import", imported_at - planned_at)
            record.add_time("encode", built.encode_seconds)
            record.add_time("build", build_seconds)
            yield RunStarted(record.run.path, plan, device, plan.start_notes)
            finished = yield from train_and_evaluate(
                plan,
                built,
                record,
                session,
                start_time=start_time,
                is_member=run_path is not None,
                splits=splits,
            )
        yield finished


def start_device(plan: Plan, config: Config) -> tuple[Plan, devices.Device]:
    """Import TensorFlow and the modules that need it, and choose device and threads.

    The returned plan warns if the chosen number of threads is not available.

    Raises:
        ConfigError: The device does not exist.
    """
    threads = _threads(plan, config.runtime.threads)
    device = devices.start(config.runtime.device, threads)
    import trainer.workflows.recording  # noqa: F401 — else its time would count as building

    if device.threads != threads:
        text = (
            f"this run uses {device.threads} threads like the first run of the command, but would use "
            f"{threads} alone: its weights may differ in the last digits"
        )
        plan = replace(plan, warnings=(*plan.warnings, text))
    return plan, device


def train_and_evaluate(
    plan: AnyPlan,
    built: TrainingSetup,
    record: Recording,
    session: Session,
    *,
    start_time: float,
    is_member: bool = False,
    splits: Sequence[SplitName] = SPLIT_NAMES,
) -> Generator[EpochEnd | StepCheckpoint | RolledBack, None, RunFinished]:
    """Complete the training and evaluate the best weights.

    A run that runs out of time is evaluated and counts as finished, but its checkpoint can be resumed.

    Args:
        plan: The plan of the run.
        built: Network, optimizer and training state, at the start or restored.
        record: Writes the run directory.
        session: The session of the calling command; the time limit of a member is that of its training.
        start_time: Start of the process by `perf_counter`.
        is_member: Whether the run is a member of a run with one report.
        splits: The splits that the best weights are evaluated on.

    Raises:
        TrainingError: Training failed; the manifest records why.
    """
    from trainer.models.weights import values_sha256

    training = built.training
    boosting = None
    if not is_member:
        boosting = _start_boosting(plan, session)
        session = _with_reserve(session, plan)
    has_report = plan.config.evaluate.report and not is_member
    yield from _train_epochs(built, record, session.training_stop, has_report=has_report)
    with record.timed("write"):
        record.save_checkpoint()
    is_stopped = training.is_interrupted and not session.is_time_over(training.stop_reason)
    metrics: dict[str, dict[str, float]] | None = {}
    digest, sentence = None, ""
    if training.best_epoch:
        built.use_best_weights()
        digest = values_sha256(record.recorded.all_weights(training.best_weights))
        if not is_stopped:
            with record.timed("evaluate"):
                metrics = _evaluate(plan, built, record, session.interrupted, splits)
            is_stopped = metrics is None
        if not (is_stopped or is_member):
            with record.timed("report"):
                sentence = _explain(plan, built, record, session, boosting)
    elif not is_stopped:
        raise TrainingError(_no_epoch(plan, session.time_limit, record.run.path))
    record.write_end("stopped" if is_stopped else "finished", weights_sha256=digest)
    if sentence:
        # The page shows how the run ended, so it comes last.
        with record.timed("page"):
            write_page(record.run, datetime.now(UTC))
        record.run.write_manifest(record.manifest)
    seconds = perf_counter() - start_time
    return RunFinished.from_manifest(
        record.run, record.manifest, metrics or {}, sentence=sentence, seconds=seconds
    )


def _start_boosting(plan: AnyPlan, session: Session) -> Boosting:
    """Start the gradient boosting of the report, if it has any."""
    if isinstance(plan, GenerationPlan):
        return None
    return start_boosting(plan.config, _parts(plan), session.time_limit)


def _parts(plan: RunPlan) -> tuple[FoldData, ...]:
    return (FoldData(plan.dataset, plan.task),)


def _explain(
    plan: AnyPlan,
    built: TrainingSetup,
    record: Recording,
    session: Session,
    boosting: Boosting,
) -> str:
    """Write the explanations and findings; return the summary of the findings, "" without a report."""
    if isinstance(plan, GenerationPlan):
        from trainer.workflows.generation.evaluation import summarize_samples

        return summarize_samples(built, record) if plan.config.evaluate.report else ""
    has_text = plan.task.kind.rules.has_text
    if not has_text:
        explain_columns(plan, built, record)
    if not plan.config.evaluate.report:
        return ""
    parts = _parts(plan)
    summary = write_run_findings(record.run, plan.config, parts, session.time_limit, boosting)
    if has_text:
        explain_translations(plan, built, record.run)
    else:
        explain_images(plan, built, record.run)
    if not plan.config.compress.is_set:
        return summary
    from trainer.workflows.compression import compare_compressed

    has_time = session.time_limit is None
    best_epoch = built.training.best_epoch
    compared = compare_compressed(record.run, plan, best_epoch, measure_exports=has_time)
    return f"{summary} {compared}"


def _with_reserve(session: Session, plan: AnyPlan) -> Session:
    """Return the session with a time limit, if any, that leaves time for what follows training."""
    limit = session.time_limit
    if limit is None:
        return session
    if isinstance(plan, GenerationPlan):
        seconds = _MEASURING_SECONDS
    else:
        seconds = seconds_after_training(plan, limit)
    return replace(session, time_limit=limit.with_reserve(seconds))


def _train_epochs(
    built: TrainingSetup, record: Recording, interrupted: InterruptCheck, *, has_report: bool
) -> Generator[EpochEnd | StepCheckpoint | RolledBack, None, None]:
    """Train until the training ends or is interrupted, and record every event.

    Raises:
        DivergedError: The loss is not finite.
    """
    from trainer.engine.fit import fit

    with record.timed("train"):
        for event in fit(built.group, interrupted):
            match event:
                case GroupEpochEnd():
                    for result in event.results.values():
                        built.after_epoch(record.run, result.epoch)
                        record.record_epoch(result)
                        yield result
                    if has_report:
                        import_matplotlib()
                case StepCheckpoint():
                    record.record_step(event)
                    yield event
                case RolledBack():
                    record.record_rollback(event)
                    yield event
                case _:
                    assert_never(event)
    if built.training.problem is not None:
        record.save_best_checkpoint()
        raise DivergedError(built.training.problem)
    for program in built.group.executor.programs:
        record.add_time("trace", program.trace_seconds)
        record.add_time("compile", program.compile_seconds)
        record.add_time("train", -program.trace_seconds - program.compile_seconds)
    index_programs(cache_root())


def _threads(plan: AnyPlan, setting: int | Literal["auto"]) -> int:
    if setting != "auto":
        return setting
    if plan.multiplications is None:
        return devices.usable_cores()
    return devices.choose_threads(plan.multiplications, plan.config.fit.batch_size)


def _no_epoch(plan: AnyPlan, limit: TimeLimit | None, run: Path) -> Problem:
    if limit is not None:
        return no_epoch_problem(run, limit)
    return Problem(
        str(run),
        f"at least one epoch within fit.max_seconds ({plan.config.fit.max_seconds:g})",
        "less than one",
        f"increase the limit: {command_text('resume', run, 'fit.max_seconds=+60')}",
    )


def no_epoch_problem(run: Path, limit: TimeLimit) -> Problem:
    """Return the problem of a run that has no epoch to evaluate when it runs out of time."""
    return Problem(
        str(run),
        f"at least one epoch within {limit.seconds:g} seconds (--max-seconds), evaluation included",
        "less than one",
        f"resume it: {command_text('resume', run)}",
    )


def _evaluate(
    plan: AnyPlan,
    built: TrainingSetup,
    record: Recording,
    interrupted: InterruptCheck,
    splits: Sequence[SplitName],
) -> dict[str, dict[str, float]] | None:
    """Evaluate the best weights on each split and return split → metric → value; None if interrupted.

    The test rows are encoded here for the first time. Nothing is written if interrupted.
    """
    if isinstance(plan, GenerationPlan):
        from trainer.workflows.generation.evaluation import evaluate_samples

        return evaluate_samples(built, record, interrupted, splits)
    from trainer.workflows.recording import evaluation_order

    outputs: dict[SplitName, tuple[Samples, EpochOutput]] = {}
    for split in splits:
        encoded = plan.encoded_samples(split)
        if encoded is None:
            continue
        evaluating = built.evaluator(split).evaluate_in_parts(encoded)
        while True:
            try:
                next(evaluating)
            except StopIteration as ended:
                outputs[split] = (encoded, ended.value)
                break
            if (reason := interrupted()) is not None:
                record.set_stop_reason(reason)
                return None
    evaluated = list(outputs)
    metrics = {
        split: record.write_split(plan, split, *outputs.pop(split))
        for split in evaluation_order(evaluated)
    }
    return {split: metrics[split] for split in evaluated}
