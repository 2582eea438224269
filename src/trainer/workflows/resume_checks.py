"""Check that the networks of a resumed run match those that were started: settings, data, packages,
machine.

A pack checks this itself (`packs`); here it is checked before another pack starts, whose networks
would differ from the others. No TensorFlow.
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

_MAX_CHECKED = 10
_CHOSEN = ("runtime.threads", "runtime.jit_compile")
"""The config of a run contains the values chosen for `auto`."""


def check_unchanged(
    specs: Iterable[RunSpec], plan: RunPlan, command: tuple[str, ...], *, machine: bool = True
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
    problems: list[Problem] = []
    for spec in islice(started, _MAX_CHECKED):
        run = RunDirectory(spec.run_path)
        current_manifest = new_manifest(
            name=plan.config.name,
            command=command,
            seed=plan.config.seed,
            config_directory=run.path,
            now=datetime.now(UTC),
        )
        try:
            differences = list(_differences(spec, run, plan, current_manifest if machine else None))
        except InputError:
            continue  # Damage is reported when the run is read.
        if not differences:
            return
        problems = problems or differences
    if problems:
        fix = "undo the change, or start a new run"
        raise RunError([*problems[:-1], replace(problems[-1], fix=fix)])


def _differences(
    spec: RunSpec, run: RunDirectory, plan: RunPlan, current_manifest: Manifest | None
) -> Iterator[Problem]:
    was, now = (
        to_jsonable(resolved_settings(loaded.config))
        for loaded in (read_run_config(run), spec.loaded)
    )
    changed = {key: text for key, text in changed_settings(was, now).items() if key not in _CHOSEN}
    former = run.read_manifest()
    yield from config_differences(run, changed)
    yield from data_differences(former, plan)
    if current_manifest is not None:
        yield from machine_differences(former, current_manifest)
