"""Apply the settings of a trial to the base config.

They are applied like overrides: shorthands are expanded, list items are set by index, and errors
have the same messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer.config.conflict import Conflict
from trainer.config.implied import with_implied_settings
from trainer.config.merging import with_value
from trainer.config.nodes import Location, Node, Source, parse_key, to_node, to_python
from trainer.config.override_errors import OverrideError
from trainer.config.schema import Config
from trainer.config.validation import issues_from_pydantic, validation_issues
from trainer.errors import Problem

_NOWHERE = Location(Source("", Path(), override=""))


def apply_settings(
    root: Node,
    settings: Mapping[str, Any],
    find: Callable[[Config], list[Conflict]],
) -> Config | list[Problem]:
    """Return the config with these settings, or its problems, which have keys but no locations.

    Args:
        root: The base config, without its `sweep` section.
        settings: Setting → value, with valid keys. A section is set before its parts.
        find: Finds conflicts.
    """
    problems: list[Problem] = []
    for key, value in sorted(settings.items(), key=lambda item: len(parse_key(item[0]) or ())):
        steps = parse_key(key)
        assert steps is not None, key
        try:
            root = with_value(root, steps, to_node(value, _NOWHERE, explicit=True))
        except OverrideError as error:
            problems.append(error.sweep_problem)
    try:
        config = with_implied_settings(Config.model_validate(to_python(root)))
    except ValidationError as error:
        issues = validation_issues(root) or issues_from_pydantic(error, "")
        return [*problems, *(issue.problem.at("") for issue in issues)]
    return [*problems, *(conflict.problem for conflict in find(config))] or config
