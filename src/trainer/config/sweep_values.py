"""Values that do not fit the settings they are searched for.

It is tried: every value of a list and both ends of a range are put in the base config, the other
searched settings at their first value, conditions fulfilled.

Owns: the trials that are made to see, the words for what was seen. Does not own: what is wrong with a
`sweep` section by itself (`sweep_contradictions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.config.conditions import active_settings
from trainer.config.conflict import Conflict
from trainer.config.domains import Choices, Dimension, Domain, Floats
from trainer.config.nodes import Node, Place, Source, join_key, parse_key, to_node
from trainer.config.schema import Config
from trainer.config.sweeps import Sweep, sweep_conditions, sweep_dimensions
from trainer.config.trials import apply_settings
from trainer.config.validation import MAX_PROBLEMS
from trainer.config.value_fixes import format_value
from trainer.errors import Problem

FindConflicts = Callable[[Config], list[Conflict]]
"""Finds contradictions in a config."""


def without_sweep(config: Config) -> Node:
    """What a config states, but for its `sweep` section."""
    settings = config.model_dump(exclude_unset=True, exclude={"sweep"})
    return to_node(settings, Place(Source("", Path(), override="")), written=True)


def value_at(config: Config, key: str) -> Any:
    """The value of a setting in a config; None where it has none there."""
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
    """Each searched setting and where it stands, as keys."""
    for key in sweep.space:
        yield key, join_key(("sweep", "space", key))
    for index, group in enumerate(sweep.pairs):
        for key in group:
            yield key, join_key(("sweep", "pairs", index, key))


def format_typed(value: Any) -> str:
    """A value as it would be typed."""
    return value if isinstance(value, str) else format_value(value)


class _Trials:
    """Trials of a valid sweep, made to see what is wrong with them."""

    def __init__(self, config: Config, sweep: Sweep, find: FindConflicts) -> None:
        self.dimensions = sweep_dimensions(sweep)
        self.first = {
            key: value
            for dimension in self.dimensions
            for key, value in dimension.settings(_tried(dimension.domain)[0]).items()
        }
        self._conditions = sweep_conditions(sweep)
        others = {condition.key for condition in self._conditions.values()}
        self._base = {other: value_at(config, other) for other in others}
        self._root = without_sweep(config)
        self._find = find
        alone = config.model_copy(update={"sweep": None})
        self._known = {each.problem for each in find(alone)}

    def problems(self, chosen: Mapping[str, Any]) -> list[Problem]:
        """What is wrong with a trial that is not wrong with the base config."""
        active = active_settings(chosen, self._conditions, self._base)
        made = apply_settings(self._root, active, self._find)
        return (
            [] if isinstance(made, Config) else [each for each in made if each not in self._known]
        )

    def put(self, chosen: Mapping[str, Any], dimension: Dimension, value: Any) -> dict[str, Any]:
        """The trial with one value, and with others that fulfil its conditions."""
        changed = {**chosen, **dimension.settings(value)}
        for key in dimension.keys:
            self._fulfil(key, changed, dimension)
        return changed

    def _fulfil(self, key: str, chosen: dict[str, Any], tried: Dimension) -> None:
        if key not in self._conditions:
            return
        condition = self._conditions[key]
        for dimension in self.dimensions:
            if condition.key in dimension.keys and dimension is not tried:
                for value in _tried(dimension.domain):
                    settings = dimension.settings(value)
                    if condition.holds(settings[condition.key]):
                        chosen.update(settings)
                        break
                self._fulfil(condition.key, chosen, tried)


def _tried(domain: Domain) -> tuple[Any, ...]:
    return domain.values if isinstance(domain, Choices) else (domain.low, domain.high)


def value_conflicts(config: Config, sweep: Sweep, find: FindConflicts) -> list[Conflict]:
    """Values that do not fit their settings, and settings that there are not."""
    attempts = _Trials(config, sweep, find)
    places = dict(searched_keys(sweep))
    shared = attempts.problems(attempts.first)
    found: dict[tuple[str, ...], Conflict] = {}
    for dimension in attempts.dimensions:
        for index, value in enumerate(_tried(dimension.domain)):
            trial = attempts.put(attempts.first, dimension, value)
            problems = [each for each in attempts.problems(trial) if each not in shared]
            if shared and index == 0:
                problems += attempts.problems(attempts.put({}, dimension, value))
            problems += _strangers(dimension, value)
            for problem in problems:
                told = _told(problem, dimension, index, value, places, sweep)
                words = (dimension.keys[0], told.expected, told.found)
                others = [problem.key] if problem.key else []
                found.setdefault(words, Conflict(told, (told.key, *others)))
            if len(found) >= MAX_PROBLEMS:
                return list(found.values())
    if shared and not found:
        settings = ", ".join(
            f"{key} {format_typed(value)}" for key, value in attempts.first.items()
        )
        for problem in shared:
            what = f"{problem.found} at {problem.key}, in a trial with {settings}"
            told = Problem("", problem.expected, what, problem.fix, "sweep.space")
            found[(str(problem),)] = Conflict(told, ("sweep.space", problem.key))
    return list(found.values())


def _strangers(dimension: Dimension, value: Any) -> Iterator[Problem]:
    """Custom layers among the values: where their module lies would depend on who reads the config."""
    for key, setting in dimension.settings(value).items():
        if _has_custom(setting):
            expected = "a value without functions of the user's own"
            yield Problem("", expected, "'custom'", "put the layer in the config itself", key)


def _has_custom(value: Any) -> bool:
    match value:
        case dict():
            return "custom" in value or any(_has_custom(item) for item in value.values())
        case list():
            return any(_has_custom(item) for item in value)
        case _:
            return False


def _told(
    problem: Problem,
    dimension: Dimension,
    index: int,
    value: Any,
    places: Mapping[str, str],
    sweep: Sweep,
) -> Problem:
    """The problem with one value as one of the sweep's section."""
    settings = dimension.settings(value)
    own = [key for key in settings if _touches(problem.key, key)]
    key = own[0] if own else dimension.keys[0]
    place = places[key]
    written = sweep.space[key] if key in sweep.space else None
    if not isinstance(written, str):
        place = f"{place}.{index}"
    found, fix = problem.found, problem.fix
    domain = dimension.domain
    others = [other for other in places if other not in settings]
    if isinstance(domain, Floats) and problem.expected.startswith("a whole number"):
        found = f"'{written}'"
        fix = f"write int({domain.low:g}, {domain.high:g}{', log' if domain.log else ''})"
    elif not own:
        found = f"{format_value(settings[key])}, and with it {found} at {problem.key}"
        other = next((other for other in others if _touches(problem.key, other)), None)
        if other is not None:
            fix = f"say when {other} is set, as in `when: {{{other}: {key} == …}}`"
    elif fix == f"did you mean '{key}'?":  # there is such a setting, but not of this kind
        parent = key.rpartition(".")[0]
        kind = next((other for other in others if other in (parent, f"{parent}.name")), None)
        fix = f"{parent} of another kind has it; set that"
        if kind is not None:
            fix = f"say when it is set, as in `when: {{{key}: {kind} == …}}`"
    return Problem("", problem.expected, found, fix, place)


def _touches(key: str, other: str) -> bool:
    return is_inside(key, other) or is_inside(other, key)


def is_inside(key: str, section: str) -> bool:
    """Whether a setting is another one or a part of it."""
    steps = parse_key(section) or ()
    name = join_key(steps)
    return key == name or key.startswith(f"{name}.")
