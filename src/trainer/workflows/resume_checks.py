"""Whether many networks are gone on with as they were begun: settings, data, packages, machine.

A pack that was begun says so itself (`packs`); here it is seen before another one begins, which would
have networks of one table that are not alike.

Owns: looking at those that were begun. Does not own: the differences (`comparison`). No TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

from trainer.config.dump import resolved_settings
from trainer.errors import InputError, Problem, RunError
from trainer.runs.directory import RunDirectory
from trainer.runs.files import to_jsonable
from trainer.runs.manifest import Manifest, new_manifest
from trainer.workflows.pack_schedule import RunSpec
from trainer.workflows.plan import RunPlan
from trainer.workflows.run_differences import (
    config_differences,
    data_differences,
    machine_differences,
)
from trainer.workflows.setting_changes import changed_settings
from trainer.workflows.trained_runs import read_run_config

_LOOKED_AT = 10
_CHOSEN = ("runtime.threads", "runtime.jit_compile")
"""What a run chose for itself stands in its config."""


def check_unchanged(
    specs: Iterable[RunSpec], plan: RunPlan, command: tuple[str, ...], *, machine: bool = True
) -> None:
    """Checks that networks are those that were begun, on the same rows and the same machine.

    One that agrees is enough: others may have been extended by themselves.

    Args:
        specs: The networks; those that were not begun are passed over.
        plan: What is read now.
        command: The command line.
        machine: They are trained on this one, which is then to be the one it was.

    Raises:
        RunError: None agrees; what differs of the first.
    """
    begun = [spec for spec in specs if RunDirectory(spec.place).manifest.exists()]
    told: list[Problem] = []
    for spec in islice(begun, _LOOKED_AT):
        run = RunDirectory(spec.place)
        here = new_manifest(
            name=plan.config.name,
            command=command,
            seed=plan.config.seed,
            config_directory=run.path,
            now=datetime.now(UTC),
        )
        try:
            differences = list(_differences(spec, run, plan, here if machine else None))
        except InputError:
            continue  # It is damaged, which those who read it tell.
        if not differences:
            return
        told = told or differences
    if told:
        fix = "undo the change, or begin anew"
        raise RunError([*told[:-1], replace(told[-1], fix=fix)])


def _differences(
    spec: RunSpec, run: RunDirectory, plan: RunPlan, here: Manifest | None
) -> Iterator[Problem]:
    was, now = (
        to_jsonable(resolved_settings(loaded.config))
        for loaded in (read_run_config(run), spec.loaded)
    )
    changed = {key: text for key, text in changed_settings(was, now).items() if key not in _CHOSEN}
    former = run.read_manifest()
    yield from config_differences(run, changed)
    yield from data_differences(former, plan)
    if here is not None:
        yield from machine_differences(former, here)
