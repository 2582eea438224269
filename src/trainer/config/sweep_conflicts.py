"""Contradictions in the `sweep` section, and between it and what it searches.

Owns: what is wrong with a sweep, known without data. Does not own: the forms of lists, ranges and
conditions (`domains`, `conditions`), whether a value fits its setting (`sweep_values`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer.config.conditions import (
    SweepCondition,
    parse_condition,
)
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
from trainer.errors import Problem, did_you_mean

_FIXED: dict[KeyPath, str] = {
    ("name",): "all trials belong to one experiment",
    ("sweep",): "the section says how is searched",
    ("extends",): "it is read from the file alone",
    ("data", "source"): "trials are compared on the same rows",
    ("fit", "warm_start"): "it is a path",
    ("evaluate", "decisions_from"): "it is a path",
    ("fit", "repeats"): "a trial is one network",
    ("fit", "folds"): "a trial is one network",
    ("fit", "callbacks"): "they are the user's own functions",
}
"""What cannot differ between trials, and why."""


def sweep_conflicts(config: Config, find: FindConflicts) -> list[Conflict]:
    """What is wrong with the `sweep` section.

    Args:
        config: The config.
        find: What finds contradictions in a config without the section.
    """
    sweep = config.sweep
    if sweep is None:
        return []
    found = [*_form_conflicts(sweep)]
    if not found:
        found = [*_search_conflicts(sweep), *_condition_conflicts(config, sweep, find)]
    found += [*_halving_conflicts(config, sweep), *_objective_conflicts(config, sweep, find)]
    return found or value_conflicts(config, sweep, find)


def _form_conflicts(sweep: Sweep) -> Iterator[Conflict]:
    """What is wrong whatever the rest of the config is."""
    if not sweep.space and not any(sweep.pairs):
        yield conflict(
            "sweep.space",
            "at least one setting to search",
            "none",
            "write for example `space: {optimizer.learning_rate: [1e-3, 1e-2]}`",
            "sweep.pairs",
        )
    seen: dict[KeyPath, str] = {}
    for key, place in searched_keys(sweep):
        steps = parse_key(key)
        if steps is None:
            expected = "a setting such as optimizer.learning_rate"
            yield conflict(place, expected, f"'{key}'", "names with dots in them go in quotes")
            continue
        for fixed, why in _FIXED.items():
            if steps[: len(fixed)] == fixed or fixed[: len(steps)] == steps:
                expected = "a setting that can differ between trials"
                found = (
                    f"'{key}'" if len(steps) >= len(fixed) else f"'{key}', with {join_key(fixed)}"
                )
                yield conflict(place, expected, found, f"take it out: {why}")
                break
        if steps in seen:
            fix = "keep one of the two"
            yield conflict(place, "each setting once", f"'{key}' twice", fix, seen[steps])
        seen[steps] = place
    for key, value in sweep.space.items():
        domain = parse_domain(value)
        if isinstance(domain, Problem):
            place = join_key(("sweep", "space", key))
            yield conflict(place, domain.expected, domain.found, domain.fix)
    for index, group in enumerate(sweep.pairs):
        lengths = {key: len(values) for key, values in group.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{key} {length}" for key, length in lengths.items())
            fix = "a trial takes the first of each, or the second of each, and so on"
            yield conflict(f"sweep.pairs.{index}", "lists of one length", found, fix)
        if not group:
            expected = "settings that change together"
            yield conflict(f"sweep.pairs.{index}", expected, "none", "take the group out")
    for key, text in sweep.when.items():
        condition = parse_condition(text)
        if isinstance(condition, Problem):
            place = join_key(("sweep", "when", key))
            yield conflict(place, condition.expected, condition.found, condition.fix)


def _search_conflicts(sweep: Sweep) -> Iterator[Conflict]:
    """A search that cannot be made of these dimensions."""
    points = grid_points(sweep)
    search = resolved_search(sweep)
    concerned = ("sweep.space", "sweep.pairs", "sweep.trials")
    if search == "grid" and points is None:
        ranges = [key for key, value in sweep.space.items() if not _is_list(value)]
        fix = "write lists, or search: sobol"
        found = f"a range at {', '.join(ranges)}"
        yield conflict("sweep.search", "lists alone with grid", found, fix, *concerned)
    if search == "grid" and points is not None and points > MAX_GRID:
        yield conflict(
            "sweep.search" if sweep.search == "grid" else "sweep.space",
            f"a grid of at most {MAX_GRID:,} points",
            f"{points:,}",
            "take values out, or set sweep.search: sobol and sweep.trials",
            *concerned,
        )
    count = len(sweep_dimensions(sweep))
    if search == "sobol" and count > SOBOL_DIMENSIONS:
        expected = f"at most {SOBOL_DIMENSIONS} settings with sobol"
        yield conflict("sweep.search", expected, str(count), "set search: random", *concerned)


def _is_list(value: list[Any] | str) -> bool:
    return isinstance(parse_domain(value), Choices)


def _condition_conflicts(config: Config, sweep: Sweep, find: FindConflicts) -> Iterator[Conflict]:
    domains: dict[str, Domain] = {}
    for dimension in sweep_dimensions(sweep):
        for index, key in enumerate(dimension.keys):
            domains[key] = _of_one(dimension, index)
    conditions = sweep_conditions(sweep)
    for key, condition in conditions.items():
        place, other = join_key(("sweep", "when", key)), condition.key
        if key not in domains:
            fix = did_you_mean(key, list(domains), f"searched are {', '.join(domains)}")
            yield conflict(place, "a setting that is searched", f"'{key}'", fix, "sweep.space")
        elif _leads_back(key, conditions):
            expected = "a condition on a setting that does not depend on this one"
            yield conflict(place, expected, f"'{other}'", "take one of the conditions out")
        elif other in domains:
            yield from _outcome_conflicts(place, condition, domains[other])
        else:
            changed = apply_settings(without_sweep(config), {other: condition.value}, find)
            fitting = [] if isinstance(changed, Config) else changed
            for problem in fitting:
                if problem.key and is_inside(problem.key, other):
                    yield conflict(place, problem.expected, problem.found, problem.fix, problem.key)
                    break


def _of_one(dimension: Dimension, index: int) -> Domain:
    if len(dimension.keys) == 1:
        return dimension.domain
    assert isinstance(dimension.domain, Choices)
    return Choices(tuple(row[index] for row in dimension.domain.values))


def _outcome_conflicts(place: str, condition: SweepCondition, domain: Domain) -> Iterator[Conflict]:
    """A condition that always or never holds."""
    other = condition.key
    if not isinstance(domain, Choices):
        expected = "a condition on a setting with a list of values"
        yield conflict(place, expected, f"'{other}', a range", "", "sweep.space")
        return
    outcomes = {condition.holds(value) for value in domain.values}
    if len(outcomes) == 1:
        expected = (
            f"a value of {other}: {', '.join(format_typed(value) for value in domain.values)}"
        )
        if outcomes == {True} and condition.equal:
            expected = f"more values of {other} than this one"
        fix = "change it, or take the condition out"
        yield conflict(
            place, expected, format_value(condition.value), fix, "sweep.space", "sweep.pairs"
        )


def _leads_back(key: str, conditions: Mapping[str, SweepCondition]) -> bool:
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
        expected = f"a length below that of training, {epochs} epochs"
        found = f"'{sweep.halving.first}'"
        fix = "shorten it, or raise fit.epochs"
        yield conflict("sweep.halving.first", expected, found, fix, "fit.epochs", "fit.steps")


def _objective_conflicts(config: Config, sweep: Sweep, find: FindConflicts) -> Iterator[Conflict]:
    """What `fit.checkpoint.monitor` would be told, whose place the objective takes."""
    objective = sweep.objective
    if objective is None:
        return
    key, monitor = "sweep.objective", "fit.checkpoint.monitor"
    told = [each for each in find(_watching(config, objective)) if each.problem.key == monitor]
    for each in told:
        fix = each.problem.fix.replace("monitor:", f"{key}:")
        yield conflict(key, each.problem.expected, each.problem.found, fix, *each.keys[1:])
    if objective.startswith("val_"):
        return
    better = f"val_{objective}"
    if all(each.problem.key != monitor for each in find(_watching(config, better))):
        expected = "a measure of the validation rows, as there are some"
        fix = f"write {better}"
        yield conflict(key, expected, f"'{objective}'", fix, "data.split", "metrics", "data.task")


def _watching(config: Config, measure: str) -> Config:
    checkpoint = config.fit.checkpoint.model_copy(update={"monitor": measure})
    fit = config.fit.model_copy(update={"checkpoint": checkpoint})
    return config.model_copy(update={"fit": fit, "sweep": None})
