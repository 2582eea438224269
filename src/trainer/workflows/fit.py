"""Train and evaluate one config, reported as a stream of events.

    plan ─► network ─► run directory ─► epochs, each recorded ─► best weights ─► evaluation

Importing this module does not import TensorFlow; running it does after the data have been checked.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from trainer.config.load import LoadedConfig
from trainer.config.locations import locate_problems
from trainer.data.sources import is_large
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.engine import devices
from trainer.workflows.plan import RunPlan, TableCache, make_plan
from trainer.workflows.session import Session
from trainer.workflows.training import RunStarted, start_device, train

if TYPE_CHECKING:
    from trainer.workflows.training import Event


def fit_run(
    loaded: LoadedConfig,
    session: Session,
    runs: Path,
    *,
    run_path: Path | None = None,
    tables: TableCache | None = None,
    splits: Sequence[SplitName] = SPLIT_NAMES,
) -> Generator[Event, None, None]:
    """Train and evaluate one config.

    Args:
        loaded: The config.
        session: Session of the calling command.
        runs: The folder of run directories.
        run_path: The run directory of a member; None creates one in `runs`.
        tables: A cache of tables.
        splits: The splits that the best weights are evaluated on.

    Raises:
        InputError: Config or data are invalid; no run directory is left.
        TrainingError: Training failed; the manifest records why.
    """
    start_time, started_at = perf_counter(), datetime.now(UTC)
    with devices.tensorflow_import(in_background=is_large(loaded.config.data)):
        plan = make_plan(loaded, tables)
    planned = perf_counter()
    with locate_problems(loaded):
        plan, device = start_device(plan, loaded.config)
    from trainer.workflows.building import build_training, resource_errors
    from trainer.workflows.recording import RecordedTraining, first_manifest, new_recording

    imported = perf_counter()
    with resource_errors():
        with locate_problems(loaded):
            built = build_training(plan, allow_custom=session.allow_custom)
        built.group.start_time = start_time
        encode_seconds = built.encode_seconds
        build_seconds = perf_counter() - imported - encode_seconds
        recorded = RecordedTraining(built.group.checkpointable(0), built.saved, built.execution)
        manifest = first_manifest(plan, recorded, device, command=session.command, now=started_at)
        with new_recording(plan, recorded, device, manifest, runs, run_path) as record:
            record.add_time("read", planned - start_time)
            record.add_time("import", imported - planned)
            record.add_time("encode", encode_seconds)
            record.add_time("build", build_seconds)
            notes = (*_warm_start_notes(built.warm_start), *_inherited_notes(plan))
            yield RunStarted(record.run.path, plan, device, notes)
            finished = yield from train(
                plan,
                built,
                record,
                session.interrupted,
                start_time=start_time,
                is_member=run_path is not None,
                splits=splits,
            )
        yield finished


def _warm_start_notes(layers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"warm start: {layer}" for layer in layers)


def _inherited_notes(plan: RunPlan) -> tuple[str, ...]:
    summary = "" if plan.inherited is None else plan.inherited.summary()
    if plan.inherited is None or not summary:
        return ()
    source = Path(plan.inherited.source or "")
    working_directory = Path.cwd()
    shown_path = (
        source.relative_to(working_directory)
        if source.is_relative_to(working_directory)
        else source
    )
    return (f"{summary}: taken from {shown_path}",)
