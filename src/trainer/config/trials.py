"""One trial's settings put into the base config.

They are put in like overrides: shorthands are written out, items of lists set by index, and what does
not fit is told in the same words.

Owns: base config and settings → config, or what is wrong. Does not own: which settings
(`trainer.sweep`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer.config.conflict import Conflict
from trainer.config.merging import with_value
from trainer.config.nodes import Node, Place, Source, parse_key, to_node, to_python
from trainer.config.override_errors import OverrideError
from trainer.config.schema import Config
from trainer.config.validation import issues_from_pydantic, validation_issues
from trainer.errors import Problem

_NOWHERE = Place(Source("", Path(), override=""))


def apply_settings(
    root: Node,
    settings: Mapping[str, Any],
    find: Callable[[Config], list[Conflict]],
) -> Config | list[Problem]:
    """The config with these settings, or what is wrong with it; problems have keys and no places.

    Args:
        root: The base config, without its `sweep` section.
        settings: Setting → value; each key can be parsed. A section is set before what is in it.
        find: What finds contradictions.
    """
    problems: list[Problem] = []
    for key, value in sorted(settings.items(), key=lambda item: len(parse_key(item[0]) or ())):
        steps = parse_key(key)
        assert steps is not None, key
        try:
            root = with_value(root, steps, to_node(value, _NOWHERE, written=True))
        except OverrideError as error:
            problems.append(error.searched)
    try:
        config = Config.model_validate(to_python(root))
    except ValidationError as error:
        found = validation_issues(root) or issues_from_pydantic(error, "")
        return [*problems, *(issue.problem.at("") for issue in found)]
    return [*problems, *(each.problem for each in find(config))] or config
