"""Validate the training state of a checkpoint, which may be untrusted. No TensorFlow.

Checks the metadata and the arrays that are not variables; `trainer.engine.snapshot` compares
variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trainer.config.dump import resolved_settings
from trainer.config.schema import Config
from trainer.errors import Problem, RunError
from trainer.runs import readers
from trainer.runs.checkpoints import Checkpoint
from trainer.runs.files import to_jsonable
from trainer.workflows.plan import RunPlan

if TYPE_CHECKING:
    from trainer.workflows.building import TrainingSetup

_MAX_COUNT = 2**53
_FIX = "restore the directory from a copy of the run, or run trainer fit on its config.yaml"


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
        dict, {"compiled": readers.flag, "steps_in_a_call": _size, "epochs_in_a_block": _size}
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
    checkpoint: Checkpoint, metadata: Mapping[str, Any], plan: RunPlan, built: TrainingSetup
) -> None:
    """Check that all arrays are numeric, and that best weights and partial epoch belong to this run.

    Raises:
        RunError: They belong to another network or other rows.
    """
    state = checkpoint.state
    best = [value.shape for name, value in sorted(state.items()) if name.startswith("best/")]
    weights = [weight.shape for weight in built.training.network.get_weights()]
    found = "other best weights" if best != (weights if metadata["best_epoch"] else []) else ""
    if metadata["steps_begun"]:
        rows = min(metadata["steps_begun"] * plan.config.fit.batch_size, plan.dataset.rows("train"))
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
