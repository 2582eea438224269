"""Errors for overrides and searched settings whose path does not exist, with the setting that was
probably meant and the way to replace a value of another kind.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace

from trainer.config.nodes import KeyPath, Node, join_key, to_python
from trainer.config.specs import Spec, TaggedSpec, find_tagged, settings
from trainer.config.suggestions import suggest_key, suggest_value
from trainer.config.value_fixes import format_value
from trainer.config.yaml_writer import flow_text
from trainer.errors import Problem

_MAX_LISTED = 12
"""Maximum number of list items in a message."""


class OverrideError(Exception):
    """The path of an override does not exist.

    Attributes:
        problem: The problem, without location.
        sweep_problem: The same problem for a path in `sweep.space`.
    """

    def __init__(
        self, expected: str, found: str, fix: str, path: KeyPath, sweep_fix: str | None = None
    ) -> None:
        self.problem = Problem("", expected, found, fix, join_key(path))
        self.sweep_problem = (
            self.problem if sweep_fix is None else replace(self.problem, fix=sweep_fix)
        )
        super().__init__(str(self.problem))


def wrong_kind_error(
    node: Node,
    spec: Spec | None,
    steps: KeyPath,
    value: Node,
    prefix: KeyPath,
    siblings: Sequence[Node],
) -> OverrideError:
    """Return the error for a value of another kind: `model.layers.1.dense.units` if layer 1 is dropout.

    Args:
        node: The existing value.
        spec: Spec of the value.
        steps: The rest of the path.
        value: The value to set.
        prefix: Path to the node.
        siblings: The items of the list that contains the node.
    """
    key, step = join_key(prefix), str(steps[0])
    tagged = None if spec is None else find_tagged(spec)
    fixes = []
    if meant := _of_same_kind(siblings, step, prefix):
        fixes.append(f"did you mean {join_key((*meant, *steps))}?")
    elif tagged is not None and (path := _meant_part(tagged, node, steps)):
        fixes.append(f"did you mean {join_key((*prefix, *path))}?")
    if siblings:
        fixes.append(f"{join_key(prefix[:-1])} has {_listing(siblings)}.")
    sweep_fixes = list(fixes)
    if tagged is None or tagged.member(step) is not None:
        section = flow_text(_nested(steps, to_python(value)))
        fixes.append(f"To replace {key}, write {shlex.quote(f'{key}={section}')}")
        sweep_fixes.append(f"To replace {key}, write {key}: [{section}]")
    expected = f"a setting of {key} ({_kind(node)})"
    return OverrideError(expected, f"'{step}'", _text(fixes), (*prefix, step), _text(sweep_fixes))


def _meant_part(tagged: TaggedSpec, node: Node, steps: KeyPath) -> KeyPath:
    """Return the path that was probably meant if the first step is not a known type."""
    step, rest = str(steps[0]), steps[1:]
    if tagged.member(step) is not None:
        return ()
    kind = _kind(node)
    if (name := suggest_key(step, _settings(tagged, kind), {})) is not None:
        return (kind, name, *rest)
    tag = suggest_value(step, tagged.tags)
    return () if tag is None else (tag, *rest)


def _settings(tagged: TaggedSpec, kind: str) -> list[str]:
    """Return the settings of a type: those below its only key."""
    member = tagged.member(kind)
    if member is None or tagged.by_name:
        return []
    return [path[1] for path, _, _ in settings(member) if len(path) == 2 and path[0] == kind]


def list_index(node: Node, steps: KeyPath, prefix: KeyPath, value: Node | None) -> int:
    """Return the list index in the first step; the index after the last one appends an item.

    Args:
        node: The list.
        steps: The rest of the path.
        prefix: Path to the list.
        value: The value to set; None to remove it.

    Raises:
        OverrideError: There is no such item.
    """
    step, items = str(steps[0]), node.items or ()
    count = len(items)
    appends = value is not None and len(steps) == 1
    last = count if appends else count - 1
    if re.fullmatch(r"[0-9]{1,9}", step) and int(step) <= last:
        return int(step)
    key = join_key(prefix)
    expected = f"an index from 0 to {last} in {key}" if last >= 0 else f"items in {key}"
    fixes = []
    if meant := _meant_index(items, steps, prefix):
        fixes.append(f"did you mean {meant}?")
    fixes.append(f"{key} has {_listing(items)}." if items else f"{key} is empty.")
    sweep_fixes = list(fixes)
    if value is not None and re.fullmatch(r"[0-9]+", step):
        item = flow_text(_nested(steps[1:], to_python(value)))
        fixes.append(f"To append, write {shlex.quote(f'{key}.{count}={item}')}")
        sweep_fixes.append(f"To append, write {key}.{count}: [{item}]")
    path = (*prefix, step)
    raise OverrideError(expected, f"'{step}'", _text(fixes), path, _text(sweep_fixes))


def _text(fixes: Sequence[str]) -> str:
    text = " ".join(fixes).rstrip(".")
    return text if not text or "." in text.split()[0] else text[0].lower() + text[1:]


def _meant_index(items: Sequence[Node], steps: KeyPath, prefix: KeyPath) -> str:
    """Return the path that was probably meant; empty if there is none."""
    step, rest = str(steps[0]), steps[1:]
    if re.fullmatch(r"-[0-9]{1,9}", step) and 0 < -int(step) <= len(items):
        return join_key((*prefix, len(items) + int(step), *rest))
    if rest and re.fullmatch(r"[0-9]+", step):
        meant = _of_same_kind(items, str(rest[0]), (*prefix, len(items)))
        return join_key((*meant, *rest)) if meant else ""
    meant = _of_same_kind(items, step, (*prefix, 0))
    return join_key((*meant, *steps)) if meant else ""


def _of_same_kind(items: Sequence[Node], kind: str, prefix: KeyPath) -> KeyPath:
    """Return the path of the nearest item of a type; empty if there is none."""
    position = prefix[-1] if prefix else 0
    assert not items or isinstance(position, int), prefix
    same = [index for index, item in enumerate(items) if _kind(item) == kind]
    if not same:
        return ()
    return (*prefix[:-1], min(same, key=lambda index: abs(index - int(position))))


def _listing(items: Sequence[Node]) -> str:
    named = [f"{index}: {_kind(item)}" for index, item in enumerate(items[:_MAX_LISTED])]
    return ", ".join([*named, *(["…"] if len(items) > _MAX_LISTED else [])])


def _kind(node: Node) -> str:
    """Return a short name of a value: a layer's type, an optimizer's name, a scalar itself."""
    if node.entries is not None:
        name = node.entries.get("name")
        if name is not None:
            return _kind(name.node)
        return next(iter(node.entries), "empty")
    if isinstance(node.content, str) and re.fullmatch(r"\w+", node.content):
        return node.content
    return format_value(to_python(node), node.text)


def _nested(steps: KeyPath, value: object) -> object:
    """Return the value nested in mappings: dense, units, 8 → {dense: {units: 8}}."""
    for step in reversed(steps):
        value = {str(step): value}
    return value


def not_a_mapping_error(node: Node, steps: KeyPath, prefix: KeyPath) -> OverrideError:
    """Return the error for a path through a scalar."""
    fix = f"set {join_key(prefix)} itself" if prefix else ""
    expected = f"a mapping at {join_key(prefix)}"
    return OverrideError(expected, format_value(node.content, node.text), fix, (*prefix, *steps))
