"""The plan of a run of any task, without TensorFlow."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime

from trainer.config.generation import generates
from trainer.config.load import LoadedConfig
from trainer.data.splits import SPLIT_NAMES
from trainer.runs.decisions import Decisions
from trainer.runs.manifest import DataFile, Manifest, new_manifest
from trainer.workflows.generation.plan import GenerationPlan, make_generation_plan
from trainer.workflows.plan import RunPlan, TableCache, make_plan

AnyPlan = RunPlan | GenerationPlan


def plan_run(
    loaded: LoadedConfig,
    tables: TableCache | None = None,
    recorded_decisions: Decisions | None = None,
    *,
    started: bool = False,
) -> AnyPlan:
    """Return the plan of a config; see `make_plan`.

    Raises:
        ConfigError: Settings contradict each other or the data; each problem has its location.
        DataError: The data are invalid.
        RunError: The run to start from does not exist or is damaged.
    """
    if generates(loaded.config.data):
        return make_generation_plan(loaded)
    return make_plan(loaded, tables, recorded_decisions, started=started)


def manifest_of_plan(plan: AnyPlan, command: tuple[str, ...], now: datetime) -> Manifest:
    """Return the manifest of a new run, as far as its plan determines it.

    Args:
        plan: The plan of the run, or of the first of several networks.
        command: The command line.
        now: When the run started.
    """
    config = plan.config
    manifest = new_manifest(
        name=config.name,
        command=command,
        seed=config.seed,
        config_directory=plan.loaded.path.absolute().parent,
        now=now,
    )
    return replace(
        manifest,
        task=plan.task_name,
        parameters=plan.parameters,
        warnings=plan.warnings,
        data=tuple(DataFile(**asdict(file)) for file in plan.dataset.table.files),
        initial_weights=plan.initial_weights,
        splits={name: plan.dataset.rows(name) for name in SPLIT_NAMES},
        dropped=plan.dataset.dropped,
    )
