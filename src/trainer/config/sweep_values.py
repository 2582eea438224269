"""Check that the values of a sweep are valid for their settings.

Each value of a list and both bounds of a range are set in the base config, with the first value of
the other searched settings and with all conditions met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.config.conditions import active_settings
from trainer.config.conflict import Conflict
from trainer.config.domains import Choices, Dimension, Domain, Floats
from trainer.config.nodes import Location, Node, Source, join_key, parse_key, to_node
from trainer.config.schema import Config
from trainer.config.sweeps import Sweep, sweep_conditions, sweep_dimensions
from trainer.config.trials import apply_settings
from trainer.config.validation import MAX_PROBLEMS
from trainer.config.value_fixes import format_value
from trainer.errors import Problem

FindConflicts = Callable[[Config], list[Conflict]]
"""Finds conflicts in a config."""


def without_sweep(config: Config) -> Node:
    """Return the explicit settings of a config, except its `sweep` section."""
    settings = config.model_dump(exclude_unset=True, exclude={"sweep"})
    return to_node(settings, Location(Source("", Path(), override="")), explicit=True)


def value_at(config: Config, key: str) -> Any:
    """Return the value of a setting in a config; None if the config has no such setting."""
    value: Any = config.model_dump()
    for step in parse_key(key) or ():
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def searched_keys(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """Yield each searched setting and its key in the `sweep` section."""
    for key in sweep.space:
        yield key, join_key(("sweep", "space", key))
    for index, group in enumerate(sweep.pairs):
        for key in group:
            yield key, join_key(("sweep", "pairs", index, key))


def format_typed(value: Any) -> str:
    """Return a value as the user would type it."""
    return value if isinstance(value, str) else format_value(value)


class _TrialValidator:
    """Builds the configs of trials to find their problems."""

    def __init__(self, config: Config, sweep: Sweep, find: FindConflicts) -> None:
        self.dimensions = sweep_dimensions(sweep)
        self.first = {
            key: value
            for dimension in self.dimensions
            for key, value in dimension.settings(_values_to_try(dimension.domain)[0]).items()
        }
        self._conditions = sweep_conditions(sweep)
        keys = {condition.key for condition in self._conditions.values()}
        self._base = {key: value_at(config, key) for key in keys}
        self._root = without_sweep(config)
        self._find = find
        base = config.model_copy(update={"sweep": None})
        self._known = {conflict.problem for conflict in find(base)}

    def problems(self, chosen: Mapping[str, Any]) -> list[Problem]:
        """Return the problems of a trial that the base config does not have."""
        active = active_settings(chosen, self._conditions, self._base)
        result = apply_settings(self._root, active, self._find)
        if isinstance(result, Config):
            return []
        return [problem for problem in result if problem not in self._known]

    def with_value(
        self, chosen: Mapping[str, Any], dimension: Dimension, value: Any
    ) -> dict[str, Any]:
        """Return the trial with one value changed, and others changed to meet its conditions."""
        changed = {**chosen, **dimension.settings(value)}
        for key in dimension.keys:
            self._meet_conditions(key, changed, dimension)
        return changed

    def _meet_conditions(self, key: str, chosen: dict[str, Any], tried: Dimension) -> None:
        if key not in self._conditions:
            return
        condition = self._conditions[key]
        for dimension in self.dimensions:
            if condition.key in dimension.keys and dimension is not tried:
                for value in _values_to_try(dimension.domain):
                    settings = dimension.settings(value)
                    if condition.holds(settings[condition.key]):
                        chosen.update(settings)
                        break
                self._meet_conditions(condition.key, chosen, tried)


def _values_to_try(domain: Domain) -> tuple[Any, ...]:
    return domain.values if isinstance(domain, Choices) else (domain.low, domain.high)


def value_conflicts(config: Config, sweep: Sweep, find: FindConflicts) -> list[Conflict]:
    """Return conflicts of values that are invalid for their settings, and of unknown settings."""
    trials = _TrialValidator(config, sweep, find)
    sweep_keys = dict(searched_keys(sweep))
    shared = trials.problems(trials.first)
    conflicts: dict[tuple[str, ...], Conflict] = {}
    for dimension in trials.dimensions:
        for index, value in enumerate(_values_to_try(dimension.domain)):
            trial = trials.with_value(trials.first, dimension, value)
            problems = [item for item in trials.problems(trial) if item not in shared]
            if shared and index == 0:
                problems += trials.problems(trials.with_value({}, dimension, value))
            problems += _custom_values(dimension, value)
            for problem in problems:
                sweep_problem = _in_sweep(problem, dimension, index, value, sweep_keys, sweep)
                kind = (dimension.keys[0], sweep_problem.expected, sweep_problem.found)
                keys = (sweep_problem.key, problem.key) if problem.key else (sweep_problem.key,)
                conflicts.setdefault(kind, Conflict(sweep_problem, keys))
            if len(conflicts) >= MAX_PROBLEMS:
                return list(conflicts.values())
    if shared and not conflicts:
        settings = ", ".join(f"{key} {format_typed(value)}" for key, value in trials.first.items())
        for problem in shared:
            found = f"{problem.found} at {problem.key}, in a trial with {settings}"
            sweep_problem = Problem("", problem.expected, found, problem.fix, "sweep.space")
            keys = ("sweep.space", problem.key)
            conflicts[(str(problem),)] = Conflict(sweep_problem, keys)
    return list(conflicts.values())


def _custom_values(dimension: Dimension, value: Any) -> Iterator[Problem]:
    """Yield a problem for each custom layer, as its module is only found if `model.layers` has it."""
    for key, setting in dimension.settings(value).items():
        if _has_custom(setting):
            expected = "a value without custom layers"
            fix = "define it in model.layers, and search another setting"
            yield Problem("", expected, "'custom'", fix, key)


def _has_custom(value: Any) -> bool:
    match value:
        case dict():
            return "custom" in value or any(_has_custom(item) for item in value.values())
        case list():
            return any(_has_custom(item) for item in value)
        case _:
            return False


def _in_sweep(
    problem: Problem,
    dimension: Dimension,
    index: int,
    value: Any,
    sweep_keys: Mapping[str, str],
    sweep: Sweep,
) -> Problem:
    """Return the problem of a value as a problem of the `sweep` section."""
    settings = dimension.settings(value)
    involved = [key for key in settings if _overlap(problem.key, key)]
    key = involved[0] if involved else dimension.keys[0]
    sweep_key = sweep_keys[key]
    explicit = sweep.space[key] if key in sweep.space else None
    if not isinstance(explicit, str):
        sweep_key = f"{sweep_key}.{index}"
    found, fix = problem.found, problem.fix
    domain = dimension.domain
    others = [other for other in sweep_keys if other not in settings]
    if isinstance(domain, Floats) and problem.expected.startswith("an integer"):
        found = f"'{explicit}'"
        fix = f"write int({domain.low:g}, {domain.high:g}{', log' if domain.log else ''})"
    elif not involved:
        found = f"{found} at {problem.key} when {key} is {format_value(settings[key])}"
        other = next((other for other in others if _overlap(problem.key, other)), None)
        if other is not None:
            fix = f"set a condition for {other}: `when: {{{other}: {key} == …}}`"
    else:
        parent = key.rpartition(".")[0]
        kind = next((other for other in others if other in (parent, f"{parent}.name")), None)
        # The setting exists, but not for this type.
        if kind is not None and fix.startswith(f"set {parent}.name to "):
            fix = f"set a condition for {key}: `when: {{{key}: {kind} == …}}`"
    return Problem("", problem.expected, found, fix, sweep_key)


def _overlap(key: str, other: str) -> bool:
    return is_inside(key, other) or is_inside(other, key)


def is_inside(key: str, section: str) -> bool:
    """Return whether a setting is a section, or is inside it."""
    steps = parse_key(section) or ()
    name = join_key(steps)
    return key == name or key.startswith(f"{name}.")
