"""Resume a run from its directory alone, with the same bytes as if it had never stopped.

    checkpoint ─► config with changes ─► same data, packages, device? ─► network ─► state ─► train

Differences that would make it a different run are rejected, each by name, unless they are accepted.
Importing this module does not import TensorFlow; running it does after the run has been checked.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from trainer.config.dump import dump_config, resolved_settings
from trainer.config.load import LoadedConfig
from trainer.config.locations import locate_problems
from trainer.config.schema import Fit
from trainer.config.setting_changes import (
    EXTENDING_SETTINGS,
    changed_settings,
    keeps_training_state,
    resolve_additions,
)
from trainer.data.sources import is_large
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.engine import devices
from trainer.errors import Problem, RunError, command_text
from trainer.prediction.trained_runs import read_run_config
from trainer.runs.checkpoints import Checkpoint, read_newest_checkpoint
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.files import to_jsonable
from trainer.runs.lock import RunLock
from trainer.runs.log import read_log, remove_epochs_after, truncate_log
from trainer.runs.manifest import Manifest, Resumption
from trainer.runs.manifest_differences import (
    data_differences,
    device_differences,
    machine_differences,
)
from trainer.runs.opening import check_links, open_run
from trainer.runs.process import this_process
from trainer.workflows.events import RunEvent, RunStarted
from trainer.workflows.fit import start_device, train_and_evaluate
from trainer.workflows.plans import AnyPlan, manifest_of_plan, plan_run
from trainer.workflows.resuming.checks import (
    check_fitted_data,
    check_key,
    check_state_arrays,
    config_differences,
    read_resume_state,
    with_current_environment,
)
from trainer.workflows.session import Session

if TYPE_CHECKING:
    from trainer.engine.training import Training
    from trainer.engine.training_group import TrainingGroup
    from trainer.workflows.building import TrainingSetup
    from trainer.workflows.recording import Recording

_CALLBACKS = "these callbacks restart without their state, which is not numbers, strings or arrays"
_ACCEPT = "resume anyway with --accept-differences, which is recorded"


@dataclass(frozen=True, slots=True)
class _SavedRun:
    """A run and the checkpoint that it resumes from.

    Attributes:
        run: The run directory.
        manifest: Its manifest.
        checkpoint: The newest intact checkpoint.
        damaged: Problems of newer checkpoints.
        metadata: The metadata of the checkpoint.
        loaded: The config with the overrides.
        changed: Setting → "was → now", for the settings that differ from those of the checkpoint.
    """

    run: RunDirectory
    manifest: Manifest
    checkpoint: Checkpoint
    damaged: tuple[Problem, ...]
    metadata: Mapping[str, Any]
    loaded: LoadedConfig
    changed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The plan of a resumed run on this machine, compared with the run so far.

    Attributes:
        plan: The current plan.
        device: The current device.
        manifest: A manifest of the current plan, machine and device.
        differences: What has changed; accepted by the user.
    """

    plan: AnyPlan
    device: devices.Device
    manifest: Manifest
    differences: tuple[Problem, ...]


def resume_run(
    path: Path,
    overrides: Sequence[str],
    session: Session,
    *,
    accept_differences: bool = False,
    is_member: bool = False,
    splits: Sequence[SplitName] = SPLIT_NAMES,
) -> Generator[RunEvent, None, None]:
    """Resume a run.

    Args:
        path: The run directory.
        overrides: Changed settings: `fit.epochs=30`, or `fit.epochs=+20` to add to the current value.
        session: The session of the calling command.
        accept_differences: Resume despite differences; the manifest lists them.
        is_member: Whether the run is a member of a run with one report.
        splits: The splits that the best weights are evaluated on.

    Raises:
        RunError: There is nothing to resume from or nothing to do, or something has changed.
        InputError: The config or data is invalid.
        TrainingError: Training failed; the manifest records why.
    """
    start_time, now = perf_counter(), datetime.now(UTC)
    run = _open(path)
    with RunLock(run.lock):
        saved = _read_saved(run, overrides)
        plan = _plan(saved)
        planned_at = perf_counter()
        comparison = _compare(saved, plan, session.command, now, accepted=accept_differences)
        imported_at = perf_counter()
        with devices.resource_errors():
            built = _restore(saved, comparison.plan, start_time, allow_custom=session.allow_custom)
            # The arrays of the checkpoint can take most of the memory.
            saved = replace(saved, checkpoint=replace(saved.checkpoint, state={}))
            warnings = _warnings(saved, built.training)
            with _resumed_recording(saved, comparison, built, warnings) as record:
                record.add_time("read", planned_at - start_time)
                record.add_time("import", imported_at - planned_at)
                record.add_time("encode", built.encode_seconds)
                record.add_time("build", perf_counter() - imported_at - built.encode_seconds)
                notes = (_position(saved.checkpoint, built.group), *warnings)
                yield RunStarted(run.path, comparison.plan, comparison.device, notes)
                finished = yield from train_and_evaluate(
                    comparison.plan,
                    built,
                    record,
                    session,
                    start_time=start_time,
                    is_member=is_member,
                    splits=splits,
                )
            yield finished


def _read_saved(run: RunDirectory, overrides: Sequence[str]) -> _SavedRun:
    """Read the newest checkpoint and the config with overrides.

    Raises:
        RunError: There is no checkpoint, it is damaged, or the run has finished and nothing changes.
        ConfigError: An override is invalid.
    """
    manifest = run.read_manifest()
    checkpoint, damaged = read_newest_checkpoint(run.last)
    metadata = read_resume_state(checkpoint)
    previous_settings = metadata["config"]
    loaded = read_run_config(run, resolve_additions(overrides, previous_settings))
    changed = changed_settings(previous_settings, to_jsonable(resolved_settings(loaded.config)))
    _check_unfinished(run, manifest, changed, loaded.config.fit)
    return _SavedRun(run, manifest, checkpoint, tuple(damaged), metadata, loaded, changed)


def _plan(saved: _SavedRun) -> AnyPlan:
    with devices.tensorflow_import(in_background=is_large(saved.loaded.config.data)):
        check_key(saved.run, saved.loaded.config.data)
        return plan_run(saved.loaded, recorded_decisions=read_decisions(saved.run), started=True)


def _compare(
    saved: _SavedRun, plan: AnyPlan, command: tuple[str, ...], now: datetime, *, accepted: bool
) -> _Comparison:
    """Compare the run with its plan on this machine, and start the device.

    Raises:
        RunError: Something has changed that was not accepted.
    """
    manifest, changed = saved.manifest, saved.changed
    forbidden = {key: text for key, text in changed.items() if not keeps_training_state(key)}
    current = manifest_of_plan(plan, command, now)
    differences = [
        *config_differences(saved.run, forbidden),
        *data_differences(manifest, current),
        *machine_differences(manifest, current),
    ]
    if not differences:
        check_fitted_data(saved.run, plan)
    _reject(differences, accepted)
    with locate_problems(saved.loaded):
        plan, device = start_device(plan, saved.loaded.config)
    current = replace(current, device=device.name, threads=device.threads)
    device_problems = list(device_differences(manifest, current))
    _reject(device_problems, accepted)
    return _Comparison(plan, device, current, (*differences, *device_problems))


def _restore(
    saved: _SavedRun, plan: AnyPlan, start_time: float, *, allow_custom: bool
) -> TrainingSetup:
    """Build the training, restore its state, and remove what the run wrote after its checkpoint."""
    from trainer.engine.snapshot import Snapshot
    from trainer.workflows.building import ExecutionConfig
    from trainer.workflows.setups import build_setup

    run, checkpoint, metadata = saved.run, saved.checkpoint, saved.metadata
    config = saved.loaded.config
    with locate_problems(saved.loaded):
        execution = ExecutionConfig.from_state(metadata["form"])
        built = build_setup(plan, allow_custom=allow_custom, execution=execution)
    training, group = built.training, built.group
    check_state_arrays(checkpoint, metadata, plan, built)
    group.restore([Snapshot(checkpoint.state, metadata)])
    run.remove_leftovers(config.fit.checkpoint.keep)
    truncate_log(run.metrics, metadata["log_bytes"])
    remove_epochs_after(run.timing, training.epoch)
    group.start_time = start_time - _epoch_seconds(run)
    if saved.changed:
        # The new settings determine whether training has ended.
        training.stop_reason = group.check_stop(0)
    if "optimizer.learning_rate" in saved.changed:
        group.executor.set_learning_rate(0, config.optimizer.learning_rate)
    return built


@contextmanager
def _resumed_recording(
    saved: _SavedRun, comparison: _Comparison, built: TrainingSetup, warnings: Sequence[str]
) -> Iterator[Recording]:
    """Context manager that records the resumed training, after what has changed."""
    from trainer.workflows.recording import (
        fitted_data,
        open_recording,
        write_fitted_data,
    )
    from trainer.workflows.setups import recorded_training

    run, config = saved.run, saved.loaded.config
    manifest = _manifest(saved, comparison, built.group, warnings)
    recorded = recorded_training(built)
    with open_recording(run, config, manifest, recorded) as record:
        if saved.changed:
            run.write_config(dump_config(config))
        if comparison.differences:
            write_fitted_data(run, fitted_data(comparison.plan))
        run.write_manifest(manifest)
        yield record


def _warnings(saved: _SavedRun, training: Training) -> tuple[str, ...]:
    name = saved.checkpoint.directory.name
    warnings = [f"{problem}: {name} is used" for problem in saved.damaged]
    lost = [] if training.callbacks is None else training.callbacks.unsaved_attributes()
    if lost:
        warnings.append(f"{_CALLBACKS}: {', '.join(lost)}")
    if training.stop_reason is not None and not EXTENDING_SETTINGS.isdisjoint(saved.changed):
        fit = saved.loaded.config.fit
        warnings.append(_nothing_to_train(saved.run, training.stop_reason, fit))
    return tuple(warnings)


def _manifest(
    saved: _SavedRun, comparison: _Comparison, group: TrainingGroup, warnings: Sequence[str]
) -> Manifest:
    """Return the manifest of the run with this resumption."""
    current, manifest, (training,) = comparison.manifest, saved.manifest, group.members
    resumption = Resumption(
        at=current.started,
        command=current.command,
        epoch=training.epoch,
        step=group.trained_steps(0),
        checkpoint=saved.checkpoint.directory.name,
        changes={key: text for key, text in saved.changed.items() if keeps_training_state(key)},
        differences=tuple(str(problem) for problem in comparison.differences),
    )
    if comparison.differences:
        manifest = with_current_environment(manifest, current)
    manifest = manifest.with_resumption(resumption, this_process())
    return replace(
        manifest.with_warnings(*warnings),
        epochs=training.epoch,
        best_epoch=training.best_epoch or None,
        stopped_because=training.stop_reason,
        rollbacks=manifest.rollbacks[: saved.metadata["rewound"]],
    )


def _position(checkpoint: Checkpoint, group: TrainingGroup) -> str:
    """Return where the run resumes, as text."""
    name = checkpoint.directory.name
    return (
        f"resumes after epoch {group.epoch}, step {group.trained_steps(0)}, from checkpoint {name}"
    )


def _open(path: Path) -> RunDirectory:
    """Return the run to be resumed from its last checkpoint.

    Raises:
        RunError: There is no run, another of its checkpoints is named, or a link in it would let files
            be written elsewhere.
    """
    run, checkpoint = open_run(path)
    if checkpoint not in (None, "last"):
        raise RunError(
            Problem(
                str(path),
                "a run, which resumes from its last checkpoint",
                f"its checkpoint '{checkpoint}'",
                f"name the run: {command_text('resume', run.path)}",
            )
        )
    check_links(run)
    return run


def _epoch_seconds(run: RunDirectory) -> float:
    """Return the seconds spent in epochs so far."""
    spent = [epoch.get("seconds") for epoch in read_log(run.timing)]
    return sum(seconds for seconds in spent if isinstance(seconds, int | float))


def _check_unfinished(
    run: RunDirectory, manifest: Manifest, changed: Mapping[str, str], fit: Fit
) -> None:
    if manifest.status == "finished" and not manifest.is_out_of_time and not changed:
        override = _extending_override(manifest.stopped_because, fit)
        raise RunError(
            Problem(
                str(run.path),
                "a run with training left to do",
                f"a finished run ({manifest.stopped_because})",
                f"extend it: {command_text('resume', run.path, override)}",
            )
        )


def _extending_override(stopped_because: str | None, fit: Fit) -> str:
    """Return the override that extends training, depending on why it ended."""
    reason = stopped_because or ""
    if reason.startswith("fit.max_seconds"):
        return "fit.max_seconds=+60"
    if "has not improved" in reason and fit.early_stopping is not None:
        return "fit.early_stopping.patience=+10"
    return "fit.epochs=+20" if fit.steps is None else "fit.steps=+500"


def _nothing_to_train(run: RunDirectory, reason: str, fit: Fit) -> str:
    command = command_text("resume", run.path, _extending_override(reason, fit))
    return f"no epoch is trained: the run has ended ({reason}); to extend it, run {command}"


def _reject(differences: Sequence[Problem], accepted: bool) -> None:
    if differences and not accepted:
        raise RunError(
            replace(problem, fix=problem.fix or (_ACCEPT if problem is differences[-1] else ""))
            for problem in differences
        )
