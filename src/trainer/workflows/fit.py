"""One run from config to evaluation, as a stream of what happens.

    plan ─► network ─► run directory ─► epochs, each recorded ─► best weights ─► evaluation

Importing this module does not import TensorFlow; running it does, once the data are found good.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from trainer.config.load import LoadedConfig
from trainer.data.sources import is_large
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.engine import devices
from trainer.workflows.plan import RunPlan, TableCache, locate_problems, make_plan
from trainer.workflows.training import InterruptCheck, RunStarted, start_device, train

if TYPE_CHECKING:
    from trainer.workflows.training import Event


def fit_run(
    loaded: LoadedConfig,
    *,
    runs: Path,
    command: tuple[str, ...],
    allow_custom: bool,
    interrupted: InterruptCheck,
    place: Path | None = None,
    tables: TableCache | None = None,
    splits: Sequence[SplitName] = SPLIT_NAMES,
) -> Generator[Event, None, None]:
    """Train and evaluate one config.

    Args:
        loaded: The config.
        runs: The folder that run directories are kept in.
        command: The command line, for the manifest.
        allow_custom: Whether functions of the user's own may be imported.
        interrupted: Whether training should end.
        place: The run directory, where it is one of several; None makes one in `runs`.
        tables: Those that other plans have read.
        splits: What the best weights are evaluated on.

    Raises:
        InputError: Config or data are wrong; no run directory is left behind.
        TrainingError: Training could not go on; the run directory says why.
    """
    began, started_at = perf_counter(), datetime.now(UTC)
    with devices.tensorflow_import(in_background=is_large(loaded.config.data)):
        plan = make_plan(loaded, tables)
    planned = perf_counter()
    with locate_problems(loaded):
        plan, device = start_device(plan, loaded.config)
    from trainer.engine.snapshot import CheckpointableTraining
    from trainer.workflows.building import build_training, resource_errors
    from trainer.workflows.recording import RecordedTraining, new_recording

    imported = perf_counter()
    with resource_errors():
        with locate_problems(loaded):
            built = build_training(plan, allow_custom=allow_custom)
        built.training.start_time = began
        encode_seconds = built.encode_seconds
        build_seconds = perf_counter() - imported - encode_seconds
        recorded = RecordedTraining(CheckpointableTraining(built.training), built.saved, built.form)
        with new_recording(
            plan, recorded, device, runs=runs, command=command, now=started_at, place=place
        ) as record:
            record.time("read", planned - began)
            record.time("import", imported - planned)
            record.time("encode", encode_seconds)
            record.time("build", build_seconds)
            notes = (*_warm(built.warm_start), *_decided_elsewhere(plan))
            yield RunStarted(record.run.path, plan, device, notes)
            finished = yield from train(
                plan,
                built,
                record,
                interrupted,
                began=began,
                is_member=place is not None,
                splits=splits,
            )
        yield finished


def _warm(layers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"warm start: {layer}" for layer in layers)


def _decided_elsewhere(plan: RunPlan) -> tuple[str, ...]:
    summary = "" if plan.inherited is None else plan.inherited.summary()
    if plan.inherited is None or not summary:
        return ()
    source = Path(plan.inherited.source or "")
    here = Path.cwd()
    shown = source.relative_to(here) if source.is_relative_to(here) else source
    return (f"{summary}: taken from {shown}",)
