"""Config values and the specs of the schema: expand shorthands, match kinds of values."""

from __future__ import annotations

from functools import cache
from typing import assert_never

from trainer.config import specs
from trainer.config.nodes import Entry, Node, mapping_node, to_node, to_python
from trainer.config.schema import Config

ROOT = specs.SectionSpec(Config)
EXTENDS = "extends"
"""The key of a config file that is not a setting: the file that it extends."""


def expand_shorthand(spec: specs.ShorthandSpec, node: Node) -> Node:
    """Return the full form of a value that may be a shorthand; implied keys are marked as not
    written.
    """
    before = to_python(node)
    after = spec.expand(before)
    if not isinstance(after, dict) or (node.entries is not None and after == before):
        return node
    explicit = node.entries if node.entries is not None else {}
    entries: dict[str, Entry] = {}
    for key, value in after.items():
        if key in explicit:
            entries[key] = explicit[key]
        elif node.entries is None and value == before:
            entries[key] = Entry(node.location, node, explicit=False)
        else:
            entries[key] = Entry(node.location, to_node(value, node.location), explicit=False)
    return mapping_node(entries, node.location)


def matches_kind(spec: specs.Spec, node: Node) -> bool:
    """Return whether the value is of the kind of the spec, regardless of errors inside it."""
    match spec:
        case specs.ScalarSpec(kind=kind):
            match kind:
                case "text":
                    return isinstance(node.content, str)
                case "boolean":
                    return isinstance(node.content, bool)
                case "integer" | "number":
                    return isinstance(node.content, int | float) and not isinstance(
                        node.content, bool
                    )
                case _:
                    assert_never(kind)
        case specs.ChoiceSpec():
            return isinstance(node.content, str)
        case specs.ListSpec():
            return node.items is not None
        case specs.MappingSpec() | specs.SectionSpec() | specs.TaggedSpec():
            return node.entries is not None
        case specs.ShorthandSpec(inner=inner):
            return matches_kind(inner, expand_shorthand(spec, node))
        case specs.UnionSpec(members):
            return any(matches_kind(member, node) for member in members)
        case _:
            assert_never(spec)


@cache
def keys_by_name() -> dict[str, str]:
    """Return name → dotted key of the settings outside lists and columns; the shallowest if ambiguous.

    `test` and `validation` are the fractions in data.split, not the files in data.source.
    """
    keys: dict[str, str] = {}
    for path in sorted((path for path, _, _ in specs.settings(ROOT)), key=len):
        steps = [step for step in path if not step.startswith("<")]
        if "*" not in steps and not {"schedule", "source"} & set(steps[:-1]):
            keys.setdefault(steps[-1], ".".join(steps))
    return keys


def is_choice(spec: specs.Spec) -> bool:
    """Return whether all values of a spec are names."""
    match spec:
        case specs.ChoiceSpec():
            return True
        case specs.UnionSpec(members):
            return all(is_choice(member) for member in members)
        case _:
            return False


def is_optional(spec: specs.Spec) -> bool:
    """Return whether a section has no required settings."""
    match spec:
        case specs.ShorthandSpec(inner=inner):
            return is_optional(inner)
        case specs.SectionSpec(model):
            return not specs.required_fields(model)
        case _:
            return False
