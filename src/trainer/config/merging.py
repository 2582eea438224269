"""Merge configs, and set or remove single values.

The functions expand shorthands: `optimizer.learning_rate` can be set in a file with `optimizer:
adam`, and a layer can be changed to another type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from pydantic import BaseModel

from trainer.config.matching import ROOT, expand_shorthand, matches_kind
from trainer.config.nodes import (
    Entry,
    KeyPath,
    Node,
    Place,
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
from trainer.config.specs import (
    ChoiceSpec,
    ListSpec,
    MappingSpec,
    ScalarSpec,
    SectionSpec,
    ShorthandSpec,
    Spec,
    TaggedSpec,
    UnionSpec,
)
from trainer.config.specs import section_fields as _fields_of
from trainer.errors import did_you_mean


def merge_nodes(base: Node, over: Node, shape: Spec | None = ROOT) -> Node:
    """Merge mappings key by key; all other values of `over` replace those of `base`.

    A layer, schedule or optimizer of another type replaces the whole one in `base`.
    """
    if over.entries is None:
        return over
    opened_shape, below = _opened(shape, base, next(iter(over.entries), ""))
    if below is None or below.entries is None or _is_other_kind(shape, below, over):
        return over
    entries = dict(below.entries)
    for key, entry in over.entries.items():
        under = entries.get(key)
        if under is None:
            entries[key] = entry
        else:
            inner = merge_nodes(under.node, entry.node, _child(opened_shape, key))
            entries[key] = Entry(entry.place, inner, entry.written)
    return mapping_node(entries, over.place)


def _is_other_kind(shape: Spec | None, below: Node, over: Node) -> bool:
    match shape:
        case ShorthandSpec(inner=inner):
            return _is_other_kind(inner, below, over)
        case UnionSpec(members):
            return any(_is_other_kind(member, below, over) for member in members)
        case TaggedSpec(by_name=True):
            return "name" in (over.entries or {}) and _name(below) != _name(over)
        case TaggedSpec():
            return set(over.entries or {}) != set(below.entries or {})
        case _:
            return False


def _name(node: Node) -> object:
    entry = (node.entries or {}).get("name")
    return None if entry is None else entry.node.content


def with_value(
    node: Node | None,
    steps: KeyPath,
    value: Node,
    shape: Spec | None = ROOT,
    done: KeyPath = (),
    *,
    siblings: Sequence[Node] = (),
) -> Node:
    """Return the tree with one value set; missing mappings are created, shorthands expanded.

    Args:
        node: The tree; None if it is empty.
        steps: Path to the value.
        value: The value.
        shape: Spec of the tree.
        done: Path to the tree.
        siblings: The items of the list that contains the tree.

    Raises:
        OverrideError: The path leads through a scalar or a value of another kind, or past the end of a
            list.
    """
    if not steps:
        return value
    before, union = node, shape
    shape, node = _opened(shape, node, str(steps[0]))
    if node is None:
        if before is not None and _is_significant(before):
            raise wrong_kind_error(before, union, steps, value, done, siblings)
        node = to_node([] if isinstance(shape, ListSpec) else {}, value.place)
    if node.items is not None:
        index = list_index(node, steps, done, value)
        item = node.items[index] if index < len(node.items) else None
        inner = with_value(
            item, steps[1:], value, _child(shape, index), (*done, index), siblings=node.items
        )
        return with_item(node, index, inner)
    if node.entries is None:
        raise not_a_mapping_error(node, steps, done)
    key, rest = _key_of(node, steps)
    entry = node.entries.get(key)
    before = _present(entry, shape, key, value.place, needed=bool(rest))
    inner = with_value(before, rest, value, _child(shape, key), (*done, key))
    return with_entry(node, key, Entry(value.place if not rest else inner.place, inner))


def without_value(
    node: Node | None,
    steps: KeyPath,
    place: Place,
    shape: Spec | None = ROOT,
    done: KeyPath = (),
) -> Node:
    """Return the tree without one key or item.

    Raises:
        OverrideError: It is not in the tree.
    """
    shape, node = _opened(shape, node, str(steps[0]))
    if node is not None and node.items is not None:
        index = list_index(node, steps, done, None)
        if len(steps) == 1:
            return without_item(node, index)
        inner = without_value(
            node.items[index], steps[1:], place, _child(shape, index), (*done, index)
        )
        return with_item(node, index, inner)
    if node is None or node.entries is None:
        raise OverrideError(
            "a key that is set", "one that is not set", "remove the override", steps
        )
    key, rest = _key_of(node, steps)
    entry = node.entries.get(key)
    before = _present(entry, shape, key, place, needed=bool(rest))
    if before is None:
        known = [name for name, entry in node.entries.items() if entry.written]
        fix = did_you_mean(key, known, f"keys that are set: {', '.join(known) or 'none'}")
        whole = join_key((*done, *steps))
        raise OverrideError(
            "a key that is set", f"'{whole}', which is not set", fix, (*done, *steps)
        )
    if not rest:
        return without_entry(node, key)
    inner = without_value(before, rest, place, _child(shape, key), (*done, key))
    return with_entry(node, key, Entry(before.place if entry is None else entry.place, inner))


def _present(
    entry: Entry | None, shape: Spec | None, key: str, place: Place, needed: bool
) -> Node | None:
    """Return the value of a key; a default list is written out if one of its items is needed."""
    if entry is not None and (entry.node.content is not None or not needed):
        return entry.node
    if needed and isinstance(shape, SectionSpec) and key in shape.model.model_fields:
        default = shape.model.model_fields[key].default
        if isinstance(default, list):
            items = [
                item.model_dump(exclude_unset=True) if isinstance(item, BaseModel) else item
                for item in default
            ]
            return to_node(items, place)
    return None


def _opened(shape: Spec | None, node: Node | None, step: str) -> tuple[Spec | None, Node | None]:
    """Return spec and node with shorthands expanded and the union member chosen that contains `step`.

    The node is None if there is none, or if a mapping would replace it.
    """
    if node is not None and node.content is None:
        node = None
    match shape:
        case None | ScalarSpec() | ChoiceSpec() | ListSpec() | MappingSpec() | SectionSpec():
            return shape, node
        case ShorthandSpec(inner=inner):
            return _opened(inner, None if node is None else expand_shorthand(shape, node), step)
        case TaggedSpec(by_name=True):
            name = None if node is None else _name(node)
            known = shape.member(name if name is not None else "adam")
            return known, node
        case TaggedSpec():
            if node is not None and node.entries is not None and step not in node.entries:
                node = None  # replaced by another type
            return shape.member(step), node
        case UnionSpec(members):
            compound = [
                member for member in members if not isinstance(member, ScalarSpec | ChoiceSpec)
            ]
            if node is not None:
                fitting = [member for member in compound if matches_kind(member, node)]
                if fitting:
                    return _opened(fitting[0], node, step)
                if not any(matches_kind(member, node) for member in members):
                    return None, node
            lists = [member for member in compound if isinstance(member, ListSpec)]
            others = [member for member in compound if not isinstance(member, ListSpec)]
            chosen = (lists or others) if step.isdecimal() else others
            if not chosen:
                return None, node
            return _opened(chosen[0], None, step)
        case _:
            assert_never(shape)


def _child(shape: Spec | None, step: str | int) -> Spec | None:
    match shape:
        case ListSpec(item):
            return item
        case MappingSpec(value):
            return value
        case SectionSpec(model):
            return _fields_of(model).get(str(step))
        case _:
            return None


def _key_of(node: Node, steps: KeyPath) -> tuple[str, KeyPath]:
    """Return the longest key of the mapping at the start of the steps (keys may contain dots), and
    the rest.
    """
    for count in range(len(steps), 1, -1):
        joined = ".".join(str(step) for step in steps[:count])
        if joined in (node.entries or {}):
            return joined, steps[count:]
    return str(steps[0]), steps[1:]


def _is_significant(node: Node) -> bool:
    """Return whether a value has content that must not be replaced silently."""
    if node.entries is not None:
        return bool(node.entries)
    return node.items is not None or node.content not in (None, "auto")
