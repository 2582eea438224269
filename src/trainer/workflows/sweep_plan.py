"""What a sweep is going to be: its base plan and objective, how many trials, in what batches, on how
many processes.

Owns: what of a sweep is known before anything is trained. Does not own: carrying it out (`sweep`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.config.load import LoadedConfig
from trainer.config.members import member_count
from trainer.config.objectives import better_direction
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
from trainer.sweep.trial_count import too_few_combinations, trial_count
from trainer.workflows.pack_schedule import (
    LARGEST_PACK,
    SMALLEST_PACK,
    RunSpec,
    pack_size,
    schedule_packs,
)
from trainer.workflows.plan import RunPlan, TableCache, locate_problems, make_plan
from trainer.workflows.ray_connection import Cluster

_ADAPTIVE_BATCH = 8
"""Trials a job in a batch of a search that learns from the batch before."""
_JOB_BYTES = 2 << 30
"""What a worker may take: TensorFlow some 600 MB, and a table and its pack."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep is going to be.

    Attributes:
        search: How it is searched.
        trials: How many there are; None where only time ends it.
        first: The programs of the first batch, as text.
        combinations: How many different settings there are, where that is fewer than the trials that
            were asked for.
    """

    search: SearchName
    trials: int | None
    first: str
    combinations: int | None


def plan_sweep(loaded: LoadedConfig) -> SweepPlan:
    """What a sweep is going to be, without training.

    Raises:
        InputError: Config or data are wrong.
    """
    tables = TableCache()
    plan = base_plan(loaded, tables)
    config = loaded.config
    assert config.sweep is not None, "a sweep has a sweep section"
    search, trials = resolved_search(config.sweep), trial_count(config)
    jobs = choose_jobs(plan, trials, None)
    seed = config.seed if config.sweep.seed is None else config.sweep.seed
    size = batch_size(plan, search, jobs)
    suggesting = new_search(
        search, Space(config), seed, better_direction(sweep_objective(loaded, plan))
    )
    settings = suggesting.ask(size if trials is None else min(size, trials))
    specs = [
        RunSpec(number, replace(loaded, config=trial_config(loaded, one)), Path())
        for number, one in enumerate(settings)
    ]
    first = str(schedule_packs(specs, tables, jobs))
    is_short = bool(too_few_combinations(config))
    return SweepPlan(search, trials, first, trials if is_short else None)


def base_plan(loaded: LoadedConfig, tables: TableCache) -> RunPlan:
    """The plan of a sweep's config without its space, which says how the objective is measured.

    Raises:
        InputError: Config or data are wrong, or the objective cannot be measured.
    """
    base = replace(loaded, config=loaded.config.model_copy(update={"sweep": None}))
    if member_count(base.config) > 1:
        with locate_problems(loaded):
            raise ConfigError(_several(base.config))
    assert loaded.config.sweep is not None, "a sweep has a sweep section"
    stated = loaded.config.sweep.objective
    with locate_problems(loaded), _as_objective(stated):
        plan = make_plan(base if stated is None else _watching(base, stated), tables)
    objective = sweep_objective(loaded, plan)
    if objective.startswith("val_") and not plan.dataset.rows("validation"):
        with locate_problems(loaded):
            raise ConfigError(
                Problem(
                    "",
                    "validation rows to measure it on",
                    "none",
                    validation_fix(loaded.config),
                    "sweep.objective",
                )
            )
    return plan


def sweep_objective(loaded: LoadedConfig, plan: RunPlan) -> str:
    """The measure that trials are compared by: stated, or what says which epoch is best."""
    assert loaded.config.sweep is not None, "a sweep has a sweep section"
    stated = loaded.config.sweep.objective
    return stated or resolved_monitor(loaded.config.fit, plan.dataset.rows("validation") > 0)


def batch_size(plan: RunPlan, search: SearchName, jobs: int) -> int:
    """Trials that are asked for at a time: full packs, few where each batch learns from the last."""
    if search == "tpe":
        return _ADAPTIVE_BATCH * jobs
    return jobs * pack_size(plan, LARGEST_PACK * jobs, jobs)


def choose_jobs(plan: RunPlan, trials: int | None, cluster: Cluster | None) -> int:
    """One for each core where a network keeps one busy, as memory allows and as there are trials to do;
    else one, which has all cores. As many as a cluster has room for.
    """
    room = (
        None if cluster is None else cluster.capacity(wants_gpu=plan.config.runtime.device != "cpu")
    )
    if room is not None:
        return room if trials is None else max(1, min(room, trials // SMALLEST_PACK))
    parameters = plan.parameters or 0
    if devices.choose_threads(parameters, plan.config.fit.batch_size) > 1:
        return 1
    most = [devices.usable_cores()]
    free = available_memory()
    if free is not None:
        most.append(free // _JOB_BYTES)
    if trials is not None:
        most.append(trials // SMALLEST_PACK)
    return max(1, min(most))


def _watching(loaded: LoadedConfig, measure: str) -> LoadedConfig:
    """The config as its trials have it: the objective says which epoch is best."""
    fit = loaded.config.fit
    checkpoint = fit.checkpoint.model_copy(update={"monitor": measure})
    fit = fit.model_copy(update={"checkpoint": checkpoint})
    return replace(loaded, config=loaded.config.model_copy(update={"fit": fit}))


@contextmanager
def _as_objective(stated: str | None) -> Iterator[None]:
    """Within it, a problem of the measure that says which epoch is best is one of the objective."""
    try:
        yield
    except ConfigError as wrong:
        if stated is None:
            raise
        raise ConfigError(
            replace(problem, where="", key="sweep.objective")
            if problem.key == "fit.checkpoint.monitor"
            else problem
            for problem in wrong.problems
        ) from wrong


def _several(config: Config) -> Problem:
    key = "fit.folds" if config.fit.folds is not None else "fit.repeats"
    found = str(config.fit.folds if config.fit.folds is not None else config.fit.repeats)
    fix = f"sweep without it, then: trainer fit $(trainer best SWEEP)/config.yaml {key}={found}"
    return Problem("", "one network a trial", found, fix, key)
