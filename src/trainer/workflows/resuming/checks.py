"""What must hold for a run to be resumed: its config, data, packages, machine and files are those that
it was started with, and its checkpoint, which may be untrusted, has the state of its training.

Each difference is a problem; `resume` and `packed.packs` decide what follows from them. Before another
pack of a resumed run starts, `check_unchanged` compares its networks with those that were started. The
variables of a checkpoint are compared in `trainer.engine.snapshot`. Does not import TensorFlow.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trainer.config.data import Data
from trainer.config.dump import resolved_settings
from trainer.config.schema import Config
from trainer.config.setting_changes import changed_settings
from trainer.data.pseudonyms import Pseudonyms
from trainer.data.recorded_splits import split_frame
from trainer.errors import InputError, Problem, RunError
from trainer.prediction.trained_runs import read_run_config
from trainer.runs import readers
from trainer.runs.checkpoints import Checkpoint
from trainer.runs.directory import RunDirectory
from trainer.runs.files import to_jsonable
from trainer.runs.manifest import Manifest
from trainer.runs.manifest_differences import data_differences, machine_differences
from trainer.workflows.packed.pack_schedule import RunSpec
from trainer.workflows.plan import RunPlan
from trainer.workflows.plans import AnyPlan, manifest_of_plan

if TYPE_CHECKING:
    from trainer.workflows.building import TrainingSetup

_MAX_COUNT = 2**53
_FIX = "restore the directory from a copy of the run, or run trainer fit on its config.yaml"
_MAX_CHECKED = 10
_CHOSEN = ("runtime.threads", "runtime.jit_compile")
"""The config of a run contains the values chosen for `auto`."""


def check_unchanged(
    specs: Iterable[RunSpec], plan: AnyPlan, command: tuple[str, ...], *, machine: bool = True
) -> None:
    """Check that networks match those that were started, with the same rows on the same machine.

    One match is enough: other networks may have been extended separately.

    Args:
        specs: The networks; those that were not started are skipped.
        plan: The current plan.
        command: The command line.
        machine: Whether they are trained on this machine, which must then match.

    Raises:
        RunError: No network matches; the differences of the first.
    """
    started = [spec for spec in specs if RunDirectory(spec.run_path).manifest.exists()]
    current = manifest_of_plan(plan, command, datetime.now(UTC))
    problems: list[Problem] = []
    for spec in islice(started, _MAX_CHECKED):
        check_key(RunDirectory(spec.run_path), spec.loaded.config.data)
        try:
            differences = list(_differences(spec, current, machine=machine))
        except InputError:
            continue  # Damage is reported when the run is read.
        if not differences:
            return
        problems = problems or differences
    if problems:
        fix = "undo the change, or start a new run"
        raise RunError([*problems[:-1], replace(problems[-1], fix=fix)])


def check_key(run: RunDirectory, data: Data) -> None:
    """Check that pseudonyms would be made with the key of the run.

    Args:
        run: The run.
        data: Its `data` section.

    Raises:
        DataError: There is no key, or it is another one.
        RunError: The preprocessing of the run is damaged.
    """
    if data.pseudonymize and run.preprocessing.exists():
        recorded = run.read_preprocessing()
        known = isinstance(recorded, dict) and "pseudonym_key" in recorded
        Pseudonyms.from_settings(data).check_key(recorded["pseudonym_key"] if known else None)


def config_differences(run: RunDirectory, changed: Mapping[str, str]) -> Iterator[Problem]:
    """Yield a problem for each changed setting, key → "was → now"."""
    for key, text in changed.items():
        was, _, now = text.partition(" → ")
        yield Problem(f"{run.config} {key}", f"{was}, as in the run so far", now)


def with_current_environment(manifest: Manifest, current: Manifest) -> Manifest:
    """Return the manifest with the accepted differences, so that later ones are compared with it."""
    return replace(
        manifest,
        version=current.version,
        python=current.python,
        platform=current.platform,
        processor=current.processor,
        packages=current.packages,
        device=current.device,
        threads=current.threads,
        data=current.data,
        splits=current.splits,
        dropped=current.dropped,
    )


def check_fitted_data(run: RunDirectory, plan: AnyPlan) -> None:
    """Check that the preprocessing and splits of the run are those of its config and data.

    Raises:
        RunError: They differ.
    """
    changed_files = []
    if to_jsonable(plan.dataset.preprocessing.to_json()) != run.read_preprocessing():
        changed_files.append(run.preprocessing)
    # Compare bytes: an untrusted file is not parsed.
    splits = io.BytesIO()
    split_frame(plan.dataset).write_parquet(splits)
    if splits.getvalue() != run.read_splits():
        changed_files.append(run.splits)
    if changed_files:
        raise RunError(
            Problem(
                str(path),
                "the result of its data and config",
                "different content",
                "restore the file from a copy of the run",
            )
            for path in changed_files
        )


def _differences(spec: RunSpec, current: Manifest, *, machine: bool) -> Iterator[Problem]:
    run = RunDirectory(spec.run_path)
    was, now = (
        to_jsonable(resolved_settings(loaded.config))
        for loaded in (read_run_config(run), spec.loaded)
    )
    changed = {key: text for key, text in changed_settings(was, now).items() if key not in _CHOSEN}
    previous = run.read_manifest()
    yield from config_differences(run, changed)
    yield from data_differences(previous, current)
    if machine:
        yield from machine_differences(previous, current)


def _settings(value: Any) -> dict[str, Any]:
    try:
        config = Config.model_validate(value)
    except ValidationError as error:
        count = error.error_count()
        raise readers.DamageError(
            f"the settings of a run, without {count} errors", value
        ) from error
    settings: dict[str, Any] = to_jsonable(resolved_settings(config))
    return settings


def _count(value: Any) -> int:
    if readers.count(value) > _MAX_COUNT:
        raise readers.DamageError("a number of plausible size", value)
    return int(value)


def _size(value: Any) -> int:
    if not _count(value):
        raise readers.DamageError("a positive number", value)
    return int(value)


_PATIENCE = readers.optional(
    readers.object_of(
        dict,
        {
            "best": readers.optional(readers.number),
            "waited": _count,
            "cooldown": _count,
        },
    )
)
_FIELDS: dict[str, readers.Reader] = {
    "epoch": _count,
    "step": _count,
    "callbacks": readers.tuple_of(readers.text),
    "steps_begun": _count,
    "best_epoch": _count,
    "rewound": _count,
    "log_bytes": _count,
    "stopped_because": readers.optional(readers.text),
    "monitors": readers.object_of(
        dict,
        {
            "best": readers.object_of(
                dict, {"value": readers.optional(readers.number), "epoch": _count}
            ),
            "stopper": _PATIENCE,
            "plateau": _PATIENCE,
        },
    ),
    "form": readers.object_of(
        dict, {"compiled": readers.boolean, "steps_in_a_call": _size, "epochs_in_a_block": _size}
    ),
    "config": _settings,
}


def read_resume_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the metadata of a checkpoint; `config` has all settings.

    Raises:
        RunError: It is not a checkpoint of a run.
    """
    try:
        # Checkpoints of an earlier version have no entry for callbacks.
        return readers.read_fields({"callbacks": [], **checkpoint.metadata}, _FIELDS)
    except readers.DamageError as damage:
        where = str(checkpoint.directory / "checkpoint.json")
        raise RunError(Problem(where, damage.expected, damage.found, _FIX)) from damage


def check_state_arrays(
    checkpoint: Checkpoint, metadata: Mapping[str, Any], plan: AnyPlan, built: TrainingSetup
) -> None:
    """Check that all arrays are numeric, and that best weights and partial epoch belong to this run.

    Raises:
        RunError: They belong to another network or other rows.
    """
    state = checkpoint.state
    best = [value.shape for name, value in sorted(state.items()) if name.startswith("best/")]
    weights = [tuple(weight.shape) for weight in built.trained_weights]
    found = "other best weights" if best != (weights if metadata["best_epoch"] else []) else ""
    if metadata["steps_begun"]:
        rows = _begun_rows(plan, metadata["epoch"] + 1, metadata["steps_begun"])
        predictions, losses = state.get("begun/predictions"), state.get("begun/losses")
        if (
            predictions is None
            or losses is None
            or predictions.shape[:1] != (rows,)
            or losses.shape != (metadata["steps_begun"],)
        ):
            found = "part of another epoch"
    if any(value.dtype.kind not in "biuf" for value in state.values()):
        found = "non-numeric arrays"
    if found:
        where = str(checkpoint.directory / "state.npz")
        raise RunError(Problem(where, "the state of this network on these rows", found, _FIX))


def _begun_rows(plan: AnyPlan, epoch: int, steps: int) -> int:
    """Return the number of rows of the first steps of an epoch."""
    batches = plan.token_batches if isinstance(plan, RunPlan) else None
    if batches is None:
        return min(steps * plan.rows_per_step, plan.dataset.rows("train"))
    shuffle = plan.config.fit.shuffle
    return batches.row_count(plan.config.seed, epoch, steps, shuffle=shuffle)
