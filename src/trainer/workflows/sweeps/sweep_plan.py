"""Plan a sweep before training: its base plan and objective, the number of trials, their batches and
the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.config.load import LoadedConfig
from trainer.config.locations import locate_problems
from trainer.config.members import member_count
from trainer.config.metrics import better_direction
from trainer.config.resolve import resolved_monitor, validation_fix
from trainer.config.schema import Config
from trainer.config.sweep_loading import trial_config
from trainer.config.sweeps import (
    SearchName,
    resolved_search,
)
from trainer.engine import devices
from trainer.errors import ConfigError, Problem
from trainer.runs.machine import available_memory
from trainer.sweep.search import new_search
from trainer.sweep.space import Space
from trainer.sweep.trial_count import combinations_warning, trial_count
from trainer.workers.ray_connection import Cluster
from trainer.workflows.generation.plan import GenerationPlan
from trainer.workflows.packed.pack_schedule import (
    LARGEST_PACK,
    SMALLEST_PACK,
    RunSpec,
    pack_size,
    schedule_packs,
)
from trainer.workflows.plan import TableCache
from trainer.workflows.plans import AnyPlan, plan_run

_ADAPTIVE_BATCH = 8
"""Trials per job in a batch of a search that learns from earlier batches."""
_JOB_BYTES = 2 << 30
"""Memory of a worker: about 600 MB for TensorFlow, plus a table and a pack."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The plan of a sweep.

    Attributes:
        search: How it is searched.
        trials: The number of trials; None if only time ends the sweep.
        first_batch: The packs of the first batch, as text.
        combinations: The number of distinct settings if it is below the requested number of trials.
    """

    search: SearchName
    trials: int | None
    first_batch: str
    combinations: int | None


def plan_sweep(loaded: LoadedConfig) -> SweepPlan:
    """Plan a sweep without training.

    Raises:
        InputError: The config or data is invalid.
    """
    tables = TableCache()
    plan = base_plan(loaded, tables)
    config = loaded.config
    assert config.sweep is not None, "a sweep has a sweep section"
    search, trials = resolved_search(config.sweep), trial_count(config)
    jobs = choose_jobs(plan, trials, None)
    seed = config.seed if config.sweep.seed is None else config.sweep.seed
    size = batch_size(plan, search, jobs)
    searcher = new_search(
        search, Space(config), seed, better_direction(sweep_objective(loaded, plan))
    )
    settings = searcher.ask(size if trials is None else min(size, trials))
    specs = [
        RunSpec(number, replace(loaded, config=trial_config(loaded, trial_settings)), Path())
        for number, trial_settings in enumerate(settings)
    ]
    first_batch = str(schedule_packs(specs, tables, jobs))
    is_short = bool(combinations_warning(config))
    return SweepPlan(search, trials, first_batch, trials if is_short else None)


def base_plan(loaded: LoadedConfig, tables: TableCache) -> AnyPlan:
    """Return the plan of a sweep's config without its search space; it defines the objective.

    Raises:
        InputError: The config or data is invalid, or the objective is undefined.
    """
    base = replace(loaded, config=loaded.config.model_copy(update={"sweep": None}))
    if member_count(base.config) > 1:
        with locate_problems(loaded):
            raise ConfigError(_many_members(base.config))
    assert loaded.config.sweep is not None, "a sweep has a sweep section"
    stated = loaded.config.sweep.objective
    with locate_problems(loaded), _as_objective(stated):
        plan = plan_run(base if stated is None else _with_objective(base, stated), tables)
    objective = sweep_objective(loaded, plan)
    if objective.startswith("val_") and not plan.dataset.rows("validation"):
        with locate_problems(loaded):
            raise ConfigError(
                Problem(
                    "",
                    "validation rows to compute it on",
                    "none",
                    validation_fix(loaded.config),
                    "sweep.objective",
                )
            )
    return plan


def sweep_objective(loaded: LoadedConfig, plan: AnyPlan) -> str:
    """Return the metric that trials are compared by: as set, or the monitor of the best epoch."""
    assert loaded.config.sweep is not None, "a sweep has a sweep section"
    stated = loaded.config.sweep.objective
    return stated or resolved_monitor(loaded.config.fit, plan.dataset.rows("validation") > 0)


def batch_size(plan: AnyPlan, search: SearchName, jobs: int) -> int:
    """Return the number of trials per batch: full packs, or few if the search learns from each batch."""
    if search == "tpe":
        return _ADAPTIVE_BATCH * jobs
    if isinstance(plan, GenerationPlan):
        return LARGEST_PACK * jobs
    return jobs * pack_size(plan, LARGEST_PACK * jobs, jobs)


def choose_jobs(plan: AnyPlan, trials: int | None, cluster: Cluster | None) -> int:
    """Return the number of training processes.

    One per core if a network keeps one core busy, limited by memory and the number of trials; else one
    with all cores. On a cluster, its capacity.
    """
    capacity = (
        None if cluster is None else cluster.capacity(wants_gpu=plan.config.runtime.device != "cpu")
    )
    if capacity is not None:
        return capacity if trials is None else max(1, min(capacity, trials // SMALLEST_PACK))
    if devices.choose_threads(plan.multiplications or 0, plan.config.fit.batch_size) > 1:
        return 1
    limits = [devices.usable_cores()]
    free = available_memory()
    if free is not None:
        limits.append(free // _JOB_BYTES)
    if trials is not None:
        limits.append(trials // SMALLEST_PACK)
    return max(1, min(limits))


def _with_objective(loaded: LoadedConfig, metric: str) -> LoadedConfig:
    """Return the config for trials: the objective selects the best epoch."""
    fit = loaded.config.fit
    checkpoint = fit.checkpoint.model_copy(update={"monitor": metric})
    fit = fit.model_copy(update={"checkpoint": checkpoint})
    return replace(loaded, config=loaded.config.model_copy(update={"fit": fit}))


@contextmanager
def _as_objective(stated: str | None) -> Iterator[None]:
    """Context manager that attributes problems of the checkpoint monitor to the objective."""
    try:
        yield
    except ConfigError as error:
        if stated is None:
            raise
        raise ConfigError(
            replace(problem, where="", key="sweep.objective")
            if problem.key == "fit.checkpoint.monitor"
            else problem
            for problem in error.problems
        ) from error


def _many_members(config: Config) -> Problem:
    key = "fit.folds" if config.fit.folds is not None else "fit.repeats"
    found = str(config.fit.folds if config.fit.folds is not None else config.fit.repeats)
    fix = f"sweep without it, then run trainer fit $(trainer best SWEEP)/config.yaml {key}={found}"
    return Problem("", "one network per trial", found, fix, key)
