"""Conflicts in the `sweep` section, and between it and the settings that it searches.

The syntax of lists, ranges and conditions is checked in `domains` and `conditions`; whether a value fits
its setting is checked in `sweep_values`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer.config.conditions import SweepCondition, parse_condition
from trainer.config.conflict import Conflict, conflict
from trainer.config.domains import Choices, Dimension, Domain, parse_domain
from trainer.config.nodes import KeyPath, join_key, parse_key
from trainer.config.resolve import DEFAULT_EPOCHS
from trainer.config.schema import Config
from trainer.config.sweep_values import (
    FindConflicts,
    format_typed,
    is_inside,
    searched_keys,
    value_conflicts,
    without_sweep,
)
from trainer.config.sweeps import (
    MAX_GRID,
    SOBOL_DIMENSIONS,
    Sweep,
    grid_points,
    parse_epochs,
    resolved_search,
    sweep_conditions,
    sweep_dimensions,
)
from trainer.config.trials import apply_settings
from trainer.config.value_fixes import format_value
from trainer.errors import Problem, did_you_mean, pluralize

_FIXED: dict[KeyPath, str] = {
    ("name",): "all trials belong to one experiment",
    ("sweep",): "the section configures the search",
    ("extends",): "it is read from the file only",
    ("data", "source"): "trials are compared on the same rows",
    ("fit", "warm_start"): "all trials use the same warm start",
    ("evaluate", "decisions_from"): "all trials use the same decisions",
    ("fit", "repeats"): "a trial is one model",
    ("fit", "folds"): "a trial is one model",
    ("fit", "callbacks"): "they are custom functions",
}
"""Settings that cannot differ between trials, and why."""


def sweep_conflicts(config: Config, find: FindConflicts) -> list[Conflict]:
    """Return the conflicts of the `sweep` section.

    Args:
        config: The config.
        find: Finds conflicts in a config without the section.
    """
    sweep = config.sweep
    if sweep is None:
        return []
    conflicts = [*_syntax_conflicts(sweep)]
    if not conflicts:
        conflicts = [*_search_conflicts(sweep), *_condition_conflicts(config, sweep, find)]
    conflicts += [*_halving_conflicts(config, sweep), *_objective_conflicts(config, sweep, find)]
    return conflicts or value_conflicts(config, sweep, find)


def _syntax_conflicts(sweep: Sweep) -> Iterator[Conflict]:
    """Yield conflicts that do not depend on the rest of the config."""
    if not sweep.space and not any(sweep.pairs):
        yield conflict(
            "sweep.space",
            "at least one setting to search",
            "none",
            "write, for example, `space: {optimizer.learning_rate: [1e-3, 1e-2]}`",
            "sweep.pairs",
        )
    seen: dict[KeyPath, str] = {}
    for key, sweep_key in searched_keys(sweep):
        steps = parse_key(key)
        if steps is None:
            expected = "a setting such as optimizer.learning_rate"
            found, fix = f"'{key}'", "quote names that contain dots"
            if not key:
                found, fix = "an empty name", "name a setting, or remove it"
            yield conflict(sweep_key, expected, found, fix)
            continue
        for fixed, why in _FIXED.items():
            if steps[: len(fixed)] == fixed or fixed[: len(steps)] == steps:
                expected = "a setting that can differ between trials"
                found = (
                    f"'{key}'"
                    if len(steps) >= len(fixed)
                    else f"'{key}', which contains {join_key(fixed)}"
                )
                yield conflict(sweep_key, expected, found, f"remove it: {why}")
                break
        if steps in seen:
            fix = "keep one of the two"
            yield conflict(sweep_key, "unique settings", f"'{key}' twice", fix, seen[steps])
        seen[steps] = sweep_key
    for key, value in sweep.space.items():
        domain = parse_domain(value)
        if isinstance(domain, Problem):
            sweep_key = join_key(("sweep", "space", key))
            yield conflict(sweep_key, domain.expected, domain.found, domain.fix)
    for index, group in enumerate(sweep.pairs):
        lengths = {key: len(values) for key, values in group.items()}
        if len(set(lengths.values())) > 1:
            counts = [f"{pluralize(length, 'value')} for {key}" for key, length in lengths.items()]
            found = ", ".join(counts)
            fix = "give every list the same length: the Nth values of all lists are used together"
            yield conflict(f"sweep.pairs.{index}", "lists of equal length", found, fix)
        if not group:
            expected = "settings that change together"
            yield conflict(f"sweep.pairs.{index}", expected, "none", "remove the group")
    for key, text in sweep.when.items():
        condition = parse_condition(text)
        if isinstance(condition, Problem):
            sweep_key = join_key(("sweep", "when", key))
            yield conflict(sweep_key, condition.expected, condition.found, condition.fix)


def _search_conflicts(sweep: Sweep) -> Iterator[Conflict]:
    """Yield conflicts between the search method and the dimensions."""
    points = grid_points(sweep)
    search = resolved_search(sweep)
    involved = ("sweep.space", "sweep.pairs", "sweep.trials")
    if search == "grid" and points is None:
        ranges = [key for key, value in sweep.space.items() if not _is_list(value)]
        fix = "use lists, or set search: sobol"
        found = f"a range for {', '.join(ranges)}"
        yield conflict("sweep.search", "only lists with search: grid", found, fix, *involved)
    if search == "grid" and points is not None and points > MAX_GRID:
        yield conflict(
            "sweep.search" if sweep.search == "grid" else "sweep.space",
            f"a grid of at most {MAX_GRID:,} points",
            f"{points:,}",
            "remove values, or set sweep.search: sobol and sweep.trials",
            *involved,
        )
    count = len(sweep_dimensions(sweep))
    if search == "sobol" and count > SOBOL_DIMENSIONS:
        expected = f"at most {SOBOL_DIMENSIONS} settings with sobol"
        yield conflict("sweep.search", expected, str(count), "set search: random", *involved)


def _is_list(value: list[Any] | str) -> bool:
    return isinstance(parse_domain(value), Choices)


def _condition_conflicts(config: Config, sweep: Sweep, find: FindConflicts) -> Iterator[Conflict]:
    domains: dict[str, Domain] = {}
    for dimension in sweep_dimensions(sweep):
        for index, key in enumerate(dimension.keys):
            domains[key] = _domain_of(dimension, index)
    conditions = sweep_conditions(sweep)
    for key, condition in conditions.items():
        sweep_key, other = join_key(("sweep", "when", key)), condition.key
        if key not in domains:
            fix = did_you_mean(key, list(domains), f"searched settings: {', '.join(domains)}")
            yield conflict(sweep_key, "a setting that is searched", f"'{key}'", fix, "sweep.space")
        elif _is_circular(key, conditions):
            expected = "a condition on a setting that does not depend on this one"
            fix = "remove the condition" if other == key else "remove one of the conditions"
            yield conflict(sweep_key, expected, f"'{other}'", fix)
        elif other in domains:
            yield from _constant_condition_conflicts(sweep_key, condition, domains[other])
        else:
            changed = apply_settings(without_sweep(config), {other: condition.value}, find)
            problems = [] if isinstance(changed, Config) else changed
            for problem in problems:
                if problem.key and is_inside(problem.key, other):
                    yield conflict(
                        sweep_key, problem.expected, problem.found, problem.fix, problem.key
                    )
                    break


def _domain_of(dimension: Dimension, index: int) -> Domain:
    if len(dimension.keys) == 1:
        return dimension.domain
    assert isinstance(dimension.domain, Choices)
    return Choices(tuple(values[index] for values in dimension.domain.values))


def _constant_condition_conflicts(
    sweep_key: str, condition: SweepCondition, domain: Domain
) -> Iterator[Conflict]:
    """Yield a conflict if a condition is always or never true."""
    other = condition.key
    if not isinstance(domain, Choices):
        expected = "a condition on a setting with a list of values"
        yield conflict(sweep_key, expected, f"'{other}', a range", "list its values", "sweep.space")
        return
    outcomes = {condition.holds(value) for value in domain.values}
    if len(outcomes) == 1:
        expected = (
            f"a value of {other}: {', '.join(format_typed(value) for value in domain.values)}"
        )
        if outcomes == {True} and condition.equal:
            expected = f"more than one value of {other}"
        fix = "change it, or remove the condition"
        yield conflict(
            sweep_key, expected, format_value(condition.value), fix, "sweep.space", "sweep.pairs"
        )


def _is_circular(key: str, conditions: Mapping[str, SweepCondition]) -> bool:
    seen = {key}
    while key in conditions:
        key = conditions[key].key
        if key in seen:
            return True
        seen.add(key)
    return False


def _halving_conflicts(config: Config, sweep: Sweep) -> Iterator[Conflict]:
    if sweep.halving is None or (config.fit.epochs is None and config.fit.steps is not None):
        return
    epochs = DEFAULT_EPOCHS if config.fit.epochs is None else config.fit.epochs
    if parse_epochs(sweep.halving.first) >= epochs:
        expected = f"less than the length of training, {pluralize(epochs, 'epoch')}"
        found = f"'{sweep.halving.first}'"
        fix = "shorten it, or increase fit.epochs"
        yield conflict("sweep.halving.first", expected, found, fix, "fit.epochs", "fit.steps")


def _objective_conflicts(config: Config, sweep: Sweep, find: FindConflicts) -> Iterator[Conflict]:
    """Yield the conflicts of the objective, which replaces `fit.checkpoint.monitor`."""
    objective = sweep.objective
    if objective is None:
        return
    key, monitor = "sweep.objective", "fit.checkpoint.monitor"
    for found in find(_with_monitor(config, objective)):
        problem = found.problem
        if problem.key == monitor:
            fix = problem.fix.replace("monitor:", f"{key}:")
            yield conflict(key, problem.expected, problem.found, fix, *found.keys[1:])
    if objective.startswith("val_"):
        return
    better = f"val_{objective}"
    if all(found.problem.key != monitor for found in find(_with_monitor(config, better))):
        expected = "a validation metric"
        fix = f"write {better}"
        yield conflict(key, expected, f"'{objective}'", fix, "data.split", "metrics", "data.task")


def _with_monitor(config: Config, metric: str) -> Config:
    checkpoint = config.fit.checkpoint.model_copy(update={"monitor": metric})
    fit = config.fit.model_copy(update={"checkpoint": checkpoint})
    return config.model_copy(update={"fit": fit, "sweep": None})
