"""Merge configs, and set or remove single values.

Shorthands are expanded, so `optimizer.learning_rate` can be set in a file with `optimizer: adam`, and
a layer can be changed to another type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from pydantic import BaseModel

from trainer.config import specs
from trainer.config.matching import ROOT, expand_shorthand, matches_kind
from trainer.config.nodes import (
    Entry,
    KeyPath,
    Location,
    Node,
    join_key,
    mapping_node,
    to_node,
    with_entry,
    with_item,
    without_entry,
    without_item,
)
from trainer.config.override_errors import (
    OverrideError,
    list_index,
    not_a_mapping_error,
    wrong_kind_error,
)
from trainer.errors import did_you_mean


def merge_nodes(base: Node, update: Node, spec: specs.Spec | None = ROOT) -> Node:
    """Merge mappings key by key; all other values of `update` replace those of `base`.

    A layer, schedule or optimizer of another type replaces the one in `base` entirely.
    """
    if update.entries is None:
        return update
    section, existing = _resolve_step(spec, base, next(iter(update.entries), ""))
    if existing is None or existing.entries is None or _is_other_kind(spec, existing, update):
        return update
    entries = dict(existing.entries)
    for key, entry in update.entries.items():
        base_entry = entries.get(key)
        if base_entry is None:
            entries[key] = entry
        else:
            inner = merge_nodes(base_entry.node, entry.node, _child(section, key))
            entries[key] = Entry(entry.location, inner, entry.explicit)
    return mapping_node(entries, update.location)


def _is_other_kind(spec: specs.Spec | None, existing: Node, update: Node) -> bool:
    match spec:
        case specs.ShorthandSpec(inner=inner):
            return _is_other_kind(inner, existing, update)
        case specs.UnionSpec(members):
            return any(_is_other_kind(member, existing, update) for member in members)
        case specs.TaggedSpec(by_name=True):
            return "name" in (update.entries or {}) and _name(existing) != _name(update)
        case specs.TaggedSpec():
            return set(update.entries or {}) != set(existing.entries or {})
        case _:
            return False


def _name(node: Node) -> object:
    entry = (node.entries or {}).get("name")
    return None if entry is None else entry.node.content


def with_value(
    node: Node | None,
    steps: KeyPath,
    value: Node,
    spec: specs.Spec | None = ROOT,
    prefix: KeyPath = (),
    *,
    siblings: Sequence[Node] = (),
) -> Node:
    """Return the tree with one value set; missing mappings are created, shorthands expanded.

    Args:
        node: The tree; None if it is empty.
        steps: Path to the value.
        value: The value.
        spec: Spec of the tree.
        prefix: Path to the tree.
        siblings: The items of the list that contains the tree.

    Raises:
        OverrideError: The path leads through a scalar or a value of another kind, or past the end of a
            list.
    """
    if not steps:
        return value
    before, union = node, spec
    spec, node = _resolve_step(spec, node, str(steps[0]))
    if node is None:
        if before is not None and _is_significant(before):
            raise wrong_kind_error(before, union, steps, value, prefix, siblings)
        node = to_node([] if isinstance(spec, specs.ListSpec) else {}, value.location)
    if node.items is not None:
        index = list_index(node, steps, prefix, value)
        item = node.items[index] if index < len(node.items) else None
        inner = with_value(
            item, steps[1:], value, _child(spec, index), (*prefix, index), siblings=node.items
        )
        return with_item(node, index, inner)
    if node.entries is None:
        raise not_a_mapping_error(node, steps, prefix)
    key, rest = _key_of(node, steps)
    entry = node.entries.get(key)
    before = _value_of(entry, spec, key, value.location, needed=bool(rest))
    inner = with_value(before, rest, value, _child(spec, key), (*prefix, key))
    return with_entry(node, key, Entry(value.location if not rest else inner.location, inner))


def without_value(
    node: Node | None,
    steps: KeyPath,
    location: Location,
    spec: specs.Spec | None = ROOT,
    prefix: KeyPath = (),
) -> Node:
    """Return the tree without one key or item.

    Raises:
        OverrideError: It is not in the tree.
    """
    spec, node = _resolve_step(spec, node, str(steps[0]))
    if node is not None and node.items is not None:
        index = list_index(node, steps, prefix, None)
        if len(steps) == 1:
            return without_item(node, index)
        inner = without_value(
            node.items[index], steps[1:], location, _child(spec, index), (*prefix, index)
        )
        return with_item(node, index, inner)
    if node is None or node.entries is None:
        raise OverrideError(
            "a key that is set", "a key that is not set", "remove the override", steps
        )
    key, rest = _key_of(node, steps)
    entry = node.entries.get(key)
    before = _value_of(entry, spec, key, location, needed=bool(rest))
    if before is None:
        known = [name for name, entry in node.entries.items() if entry.explicit]
        fix = did_you_mean(key, known, f"keys that are set: {', '.join(known) or 'none'}")
        full_key = join_key((*prefix, *steps))
        raise OverrideError(
            "a key that is set", f"'{full_key}', which is not set", fix, (*prefix, *steps)
        )
    if not rest:
        return without_entry(node, key)
    inner = without_value(before, rest, location, _child(spec, key), (*prefix, key))
    return with_entry(node, key, Entry(before.location if entry is None else entry.location, inner))


def _value_of(
    entry: Entry | None, spec: specs.Spec | None, key: str, location: Location, needed: bool
) -> Node | None:
    """Return the value of a key, or a default list if one of its items is needed."""
    if entry is not None and (entry.node.content is not None or not needed):
        return entry.node
    if needed and isinstance(spec, specs.SectionSpec) and key in spec.model.model_fields:
        default = spec.model.model_fields[key].default
        if isinstance(default, list):
            items = [
                item.model_dump(exclude_unset=True) if isinstance(item, BaseModel) else item
                for item in default
            ]
            return to_node(items, location)
    return None


def _resolve_step(
    spec: specs.Spec | None, node: Node | None, step: str
) -> tuple[specs.Spec | None, Node | None]:
    """Return spec and node, expanding shorthands and choosing the union member that contains `step`.

    The node is None if it is missing or would be replaced by a mapping.
    """
    if node is not None and node.content is None:
        node = None
    match spec:
        case (
            None
            | specs.ScalarSpec()
            | specs.ChoiceSpec()
            | specs.ListSpec()
            | specs.MappingSpec()
            | specs.SectionSpec()
        ):
            return spec, node
        case specs.ShorthandSpec(inner=inner):
            return _resolve_step(
                inner, None if node is None else expand_shorthand(spec, node), step
            )
        case specs.TaggedSpec(by_name=True):
            name = None if node is None else _name(node)
            known = spec.member(name if name is not None else "adam")
            return known, node
        case specs.TaggedSpec():
            if node is not None and node.entries is not None and step not in node.entries:
                node = None  # replaced by another type
            return spec.member(step), node
        case specs.UnionSpec(members):
            compound = [
                member
                for member in members
                if not isinstance(member, specs.ScalarSpec | specs.ChoiceSpec)
            ]
            if node is not None:
                fitting = [member for member in compound if matches_kind(member, node)]
                if fitting:
                    return _resolve_step(fitting[0], node, step)
                if not any(matches_kind(member, node) for member in members):
                    return None, node
            lists = [member for member in compound if isinstance(member, specs.ListSpec)]
            others = [member for member in compound if not isinstance(member, specs.ListSpec)]
            chosen = (lists or others) if step.isdecimal() else others
            if not chosen:
                return None, node
            return _resolve_step(chosen[0], None, step)
        case _:
            assert_never(spec)


def _child(spec: specs.Spec | None, step: str | int) -> specs.Spec | None:
    match spec:
        case specs.ListSpec(item):
            return item
        case specs.MappingSpec(value):
            return value
        case specs.SectionSpec(model):
            return specs.section_fields(model).get(str(step))
        case _:
            return None


def _key_of(node: Node, steps: KeyPath) -> tuple[str, KeyPath]:
    """Split the steps into the longest matching key (keys may contain dots) and the rest."""
    for count in range(len(steps), 1, -1):
        joined = ".".join(str(step) for step in steps[:count])
        if joined in (node.entries or {}):
            return joined, steps[count:]
    return str(steps[0]), steps[1:]


def _is_significant(node: Node) -> bool:
    """Return whether a value has content that must not be discarded silently."""
    if node.entries is not None:
        return bool(node.entries)
    return node.items is not None or node.content not in (None, "auto")
