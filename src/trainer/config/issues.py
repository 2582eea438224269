"""Issues of values that do not match the schema, and of unknown keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.config import specs
from trainer.config.matching import EXTENDS, keys_by_name
from trainer.config.nodes import Entry, KeyPath, Location, Node, join_key, to_python
from trainer.config.renamed import removal_fix, renamed_setting, renamed_value
from trainer.config.schema import Config
from trainer.config.sections import Section
from trainer.config.suggestions import suggest_key
from trainer.config.value_fixes import did_you_mean_text, format_value, truncate
from trainer.errors import Problem


@dataclass(frozen=True)
class ValidationIssue:
    """A value that does not match the schema.

    Attributes:
        problem: The message.
        path: The smallest part of the config that has to be changed.
    """

    problem: Problem
    path: KeyPath


def make_issue(
    node: Node,
    path: KeyPath,
    expected: str,
    fix: str,
    *,
    location: Location | None = None,
    found: str = "",
) -> ValidationIssue:
    """Return the issue of a value.

    Args:
        node: The value.
        path: Its path.
        expected: What is valid, as a noun phrase.
        fix: How to fix it, or "".
        location: The location to report; by default that of the value.
        found: The value to report; by default its text.
    """
    where = str(node.location if location is None else location)
    new_value = renamed_value(path, node.content)
    if new_value is not None:
        expected, fix = f"'{new_value}'", f"use {new_value} instead"
    found = found or format_value(to_python(node), node.text)
    return ValidationIssue(Problem(where, expected, found, fix, join_key(path)), path)


def unknown_key(
    model: type[Section],
    key: str,
    entry: Entry,
    path: KeyPath,
    tagged: specs.TaggedSpec | None = None,
) -> ValidationIssue:
    """Return the issue of a key that the section does not have.

    Args:
        model: The section.
        key: The key.
        entry: Its entry.
        path: Path of the section.
        tagged: The union of types with a name to which the section belongs.
    """
    known = list(specs.section_fields(model))
    if model is Config:
        known.append(EXTENDS)
    key_path = (*path, key)
    new_name = renamed_setting(key_path)
    if new_name is not None:
        expected, fix = f"'{new_name}'", f"rename it to {join_key((*path, new_name))}"
    elif not known:
        expected, fix = f"no settings in {join_key(path)}", "remove it"
    else:
        expected = setting_of(path)
        meant = suggest_key(key, known, keys_by_name())
        fix = did_you_mean_text(meant, f"available: {', '.join(known)}")
        fix = removal_fix(key_path) or fix
        if tagged is not None:
            others = [name for name in tagged.tags if _has_setting(tagged, name, key)]
            if others:
                (name,) = (name for name, fields in tagged.members if fields.model is model)
                expected = f"{expected} ({name})"
                fix = f"set {join_key((*path, 'name'))} to one of {', '.join(others)}"
    return make_issue(
        entry.node, key_path, expected, fix, location=entry.location, found=f"'{truncate(key)}'"
    )


def _has_setting(tagged: specs.TaggedSpec, name: str, key: str) -> bool:
    fields = tagged.member(name)
    return fields is not None and key in specs.section_fields(fields.model)


def is_misspelled(
    name: str, unknown: Sequence[str], known: Mapping[str, specs.Spec], path: KeyPath
) -> bool:
    """Return whether a missing setting is one of the unknown keys, misspelled or renamed.

    It must not be reported twice.
    """
    return any(
        name in (renamed_setting((*path, key)), suggest_key(key, list(known), keys_by_name()))
        for key in unknown
    )


def setting_of(path: KeyPath) -> str:
    """Describe what a key of a section can be, for messages."""
    return f"a setting of {join_key(path)}" if path else "a top-level setting"
