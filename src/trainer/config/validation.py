"""Validate a config against the schema, with errors that include a fix.

pydantic decides whether a config is valid. If it is not, the tree of nodes is compared with the
specs of the schema, and each mismatch becomes one issue: for a union, that of the member closest to
the value; for an unknown key, the key that was probably meant. YAML syntax errors are in
`yaml_errors`, conflicts between valid settings in `conflict_problems`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import assert_never

from pydantic import ValidationError

from trainer.config.alternative_syntax import rejoin_calls, rewrite, rewrite_section
from trainer.config.matching import (
    EXTENDS,
    ROOT,
    expand_shorthand,
    is_choice,
    is_optional,
    keys_by_name,
    matches_kind,
)
from trainer.config.nodes import Entry, KeyPath, Node, Place, join_key, to_python
from trainer.config.renamed import removal_fix, renamed_setting, renamed_value
from trainer.config.schema import Config
from trainer.config.sections import Section
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
    describe_shorthand,
    describe_spec,
    find_tagged,
    required_fields,
    section_fields,
    settings,
    shorthand_setting,
)
from trainer.config.suggestions import suggest_key, suggest_value
from trainer.config.value_fixes import (
    choice_fix,
    did_you_mean_text,
    format_value,
    scalar_fix,
    truncate,
)
from trainer.errors import Problem

MAX_PROBLEMS = 100
"""Further problems are not reported: nobody reads them, and each costs a search for similar names."""


@dataclass(frozen=True)
class ValidationIssue:
    """A value that does not match the schema.

    Attributes:
        problem: The message.
        path: The smallest part of the config that has to be changed.
    """

    problem: Problem
    path: KeyPath


def validation_issues(root: Node) -> list[ValidationIssue]:
    """Return all mismatches of a config with the schema, in the order of the file; at most 100."""
    issues = list(islice(_issues(ROOT, root, ()), MAX_PROBLEMS + 1))
    if len(issues) > MAX_PROBLEMS:
        where = str(root.place.source.label)
        problem = Problem(where, f"at most {MAX_PROBLEMS} problems", "more", "fix these first")
        issues[-1] = ValidationIssue(problem, ())
    return issues


def issues_from_pydantic(error: ValidationError, where: str) -> list[ValidationIssue]:
    """Return the errors of pydantic, as a fallback: `validation_issues` should find all of them."""
    issues: list[ValidationIssue] = []
    for detail in error.errors(include_url=False, include_context=False):
        path = tuple(step for step in detail["loc"] if not re.search(r"[\[(]", str(step)))
        problem = Problem(where, "another value", format_value(detail["input"]), "", join_key(path))
        issues.append(ValidationIssue(problem, path))
    return issues


def _found(node: Node) -> str:
    return format_value(to_python(node), node.text)


def _issues(shape: Spec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    match shape:
        case ScalarSpec():
            if not shape.accepts(node.content):
                yield _issue(node, path, describe_spec(shape), scalar_fix(shape, node))
        case ChoiceSpec(values):
            if not isinstance(node.content, str) or node.content not in values:
                yield _issue(node, path, describe_spec(shape), choice_fix(values, node))
        case ListSpec():
            yield from _list_issues(shape, node, path)
        case MappingSpec(value):
            if node.entries is None:
                yield _issue(node, path, describe_spec(shape), "")
                return
            for key, entry in node.entries.items():
                yield from _issues(value, entry.node, (*path, key))
        case SectionSpec():
            yield from _section_issues(shape, node, path)
        case TaggedSpec():
            yield from _tagged_issues(shape, node, path)
        case ShorthandSpec():
            yield from _shorthand_issues(shape, node, path)
        case UnionSpec():
            yield from _union_issues(shape, node, path)
        case _:
            assert_never(shape)


def _issue(
    node: Node,
    path: KeyPath,
    expected: str,
    fix: str,
    *,
    place: Place | None = None,
    found: str = "",
) -> ValidationIssue:
    where = str(node.place if place is None else place)
    new_value = renamed_value(path, node.content)
    if new_value is not None:
        expected, fix = f"'{new_value}'", f"write {new_value}, its new name"
    return ValidationIssue(
        Problem(where, expected, found or _found(node), fix, join_key(path)), path
    )


def _list_issues(shape: ListSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    if node.items is None:
        yield _issue(node, path, describe_spec(shape), _in_brackets(shape, node))
        return
    count = len(node.items)
    if count < shape.at_least or (shape.at_most is not None and count > shape.at_most):
        expected = describe_spec(shape)
        if count == 0:
            expected = expected.replace("a list of", "a list of at least one of:", 1)
        yield _issue(node, path, expected, "", found=f"{count} of them" if count else "")
    tagged = find_tagged(shape.item)
    calls = {} if tagged is None else rejoin_calls(tagged, node.items, _fits)
    for index, item in enumerate(node.items):
        if index not in calls:
            yield from _issues(shape.item, item, (*path, index))
        elif calls[index]:
            fix = f"write {calls[index]}"
            yield _issue(item, (*path, index), describe_spec(shape.item), fix)


def _in_brackets(shape: ListSpec, node: Node) -> str:
    if node.items is None and node.content is not None and not _has_issue(shape.item, node):
        if node.entries is not None:
            return "start the item with '- '"
        return f"write [{node.text}]"
    tagged = find_tagged(shape.item)
    if tagged is not None and node.items is None:
        fix = _rewritten(tagged, node) or _as_only_key(tagged, node)
        return f"write [{fix.removeprefix('write ')}]" if fix else ""
    return ""


def _rewritten(shape: TaggedSpec, node: Node) -> str:
    better = rewrite(shape, node, _fits)
    return f"write {better}" if better else ""


def _fits(shape: Spec, node: Node) -> bool:
    return not _has_issue(shape, node)


def _has_issue(shape: Spec, node: Node) -> bool:
    return next(_issues(shape, node, ()), None) is not None


def _section_issues(shape: SectionSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    known = section_fields(shape.model)
    if node.entries is None:
        fix = ""
        if node.content is None and not required_fields(shape.model):
            fix = "write its settings below it, indented, or remove the line"
        elif not known:
            fix = f"write only `{path[-1] if path else ''}`: it has no settings"
        elif node.items is None:
            fix = _as_setting(known, node)
        else:
            lists = [name for name, shape in known.items() if isinstance(shape, ListSpec)]
            meant = [name for name in lists if not _has_issue(known[name], node)]
            fix = f"put it below `{meant[0]}:`" if meant else ""
        yield _issue(node, path, describe_spec(shape), fix)
        return
    for key, entry in node.entries.items():
        if key in known:
            inner = (*path, key) if entry.written else path
            yield from _issues(known[key], entry.node, inner)
        else:
            yield _unknown_key(shape.model, key, entry, path)
    unknown = [key for key in node.entries if key not in known]
    for name in required_fields(shape.model):
        if name not in node.entries and not _is_misspelled(name, unknown, known, path):
            key = join_key((*path, name))
            fix = f"add `{name}: …`"
            problem = Problem(str(node.place), describe_spec(known[name]), "nothing", fix, key)
            yield ValidationIssue(problem, path)


def _as_setting(known: Mapping[str, Spec], node: Node) -> str:
    """Return the fix for a name that is a value of one of the settings: `{kind: categorical}`."""
    for name, shape in known.items():
        if is_choice(shape) and not _has_issue(shape, node):
            return f"write {{{name}: {node.text}}}"
    return ""


def _is_misspelled(
    name: str, unknown: Sequence[str], known: Mapping[str, Spec], path: KeyPath
) -> bool:
    # A misspelled or renamed key must not also be reported as missing.
    return any(
        name in (renamed_setting((*path, key)), suggest_key(key, list(known), keys_by_name()))
        for key in unknown
    )


def _unknown_key(model: type[Section], key: str, entry: Entry, path: KeyPath) -> ValidationIssue:
    known = list(section_fields(model))
    place = section_name(path)
    if model is Config:
        known.append(EXTENDS)
    here = (*path, key)
    new_name = renamed_setting(here)
    if new_name is not None:
        expected, fix = f"'{new_name}'", f"rename it to {join_key((*path, new_name))}"
    elif not known:
        expected, fix = f"no settings in {place}", "remove it"
    else:
        expected = f"a setting of {place}"
        meant = suggest_key(key, known, keys_by_name())
        fix = did_you_mean_text(meant, f"available: {', '.join(known)}")
        fix = removal_fix(here) or fix
    return _issue(entry.node, here, expected, fix, place=entry.place, found=f"'{truncate(key)}'")


def section_name(path: KeyPath) -> str:
    """Return the name of a section in messages."""
    return join_key(path) if path else "the config"


def _tagged_issues(shape: TaggedSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    if node.entries is None:
        fix = _rewritten(shape, node) or choice_fix(shape.tags, node) or _as_only_key(shape, node)
        yield _issue(node, path, describe_spec(shape), fix)
    elif shape.by_name:
        yield from _named_issues(shape, node, path)
    elif len(node.entries) != 1:
        yield from _several_keys(shape, node, path)
    else:
        ((key, entry),) = node.entries.items()
        member = shape.member(key)
        if member is not None:
            needed = "" if entry.written else _needed_value(member, key)
            if needed:
                fix = f"write {{{key}: …}}"
                yield _issue(node, path, needed, fix, found=f"'{key}' alone")
            else:
                yield from _issues(member, node, path)
            return
        here = (*path, key) if entry.written else path
        suggestion = did_you_mean_text(suggest_value(key, shape.tags))
        if entry.written:
            fix = suggestion or _rewritten(shape, node)
        else:  # a bare name
            fix = _rewritten(shape, Node(key, node.place, key)) or suggestion
        found = f"'{truncate(key)}'"
        yield _issue(node, here, describe_spec(shape), fix, place=entry.place, found=found)


def _needed_value(member: SectionSpec, tag: str) -> str:
    """Return what a bare type name needs as its value; empty if it needs none."""
    inner = section_fields(member.model)[tag]
    if is_optional(inner):
        return ""
    short = describe_shorthand(inner) if isinstance(inner, ShorthandSpec) else ""
    return f"{tag} with {short or describe_spec(inner)}"


def _as_only_key(shape: TaggedSpec, node: Node) -> str:
    """Return the fix for a number that is a shorthand of one of the sections: `{dense: 64}`."""
    if shape.by_name or node.content is None or isinstance(node.content, str | bool):
        return ""
    for tag, fields in shape.members:
        if not _has_issue(section_fields(fields.model)[tag], node):
            return f"write {{{tag}: {node.text}}}" if node.text else ""
    return ""


def _named_issues(shape: TaggedSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    assert node.entries is not None
    for key, other in node.entries.items():
        if key in shape.tags:  # {adam: {…}}, as layers are written
            expected = f"a setting of {section_name(path)}"
            fix = f"write `name: {key}` with its settings at the same level"
            here = (*path, key)
            yield _issue(
                other.node, here, expected, fix, place=other.place, found=f"'{truncate(key)}'"
            )
            return
    entry = node.entries.get("name")
    name = None if entry is None else entry.node.content
    member = shape.member(name)
    if member is not None:
        yield from _issues(member, node, path)
    elif entry is None:
        yield _issue(node, (*path, "name"), describe_spec(shape), "", found="nothing")
    else:
        here = (*path, "name") if entry.written else path
        fix = "" if entry.written else _rewritten(shape, entry.node)
        fix = fix or choice_fix(shape.tags, entry.node)
        yield _issue(entry.node, here, describe_spec(shape), fix)
        every = {name for _, fields in shape.members for name in section_fields(fields.model)}
        for key, other in node.entries.items():
            if key not in every:  # invalid for every name
                yield _unknown_key(shape.members[0][1].model, key, other, path)


def _several_keys(shape: TaggedSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    assert node.entries is not None
    keys = list(node.entries)
    expected = f"one key, {describe_spec(shape)}"
    first = shape.member(keys[0]) if keys else None
    is_empty = first is not None and node.entries[keys[0]].node.content is None
    fix = "" if is_empty else _rewritten(shape, node)
    inner = {name for steps, _, name in settings(first) if len(steps) == 2} if first else set()
    if not fix and inner & set(keys[1:]):
        fix = f"indent {', '.join(keys[1:])} below {keys[0]}"
    elif not fix and len(set(keys) & set(shape.tags)) > 1 and path and isinstance(path[-1], int):
        fix = "start each one with '- ' on a separate line"
    yield _issue(node, path, expected, fix, found=f"{len(keys)} keys: {', '.join(keys)}"[:80])


def _shorthand_issues(shape: ShorthandSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    full = expand_shorthand(shape, node)
    short = shorthand_setting(shape)
    is_list = node.items is not None and (short is None or not isinstance(short[1], ListSpec))
    if short is not None and (is_list or full.entries is None):
        better = rewrite_section(shape, node, _fits)
        yield _issue(node, path, describe_spec(shape), f"write {better}" if better else "")
    elif node.items is None and node.entries is None and node.content is not None and short:
        issue = next(_issues(shape.inner, full, path), None)
        if issue is not None:
            expected = describe_shorthand(shape) + " or a mapping"
            better = rewrite_section(shape, node, _fits)
            fix = f"write {better}" if better else issue.problem.fix
            yield _issue(node, path, expected, fix)
    else:
        yield from _issues(shape.inner, full, path)


def _union_issues(shape: UnionSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    if node.content is None and node.items is None and node.entries is None and shape.nullable:
        return
    if any(not _has_issue(member, node) for member in shape.members):
        return
    if shape.nullable and isinstance(node.content, bool):
        fix = "write null"
        if node.content:
            optional = any(is_optional(member) for member in shape.members)
            fix = "write {} for its defaults" if optional else ""
        yield _issue(node, path, describe_spec(shape), fix)
        return
    fitting = [member for member in shape.members if matches_kind(member, node)]
    if len(shape.members) == 1 or (
        len(fitting) == 1 and not isinstance(fitting[0], ChoiceSpec | ScalarSpec)
    ):
        yield from _issues((fitting or shape.members)[0], node, path)
        return
    if isinstance(node.content, str):
        for member in shape.members:
            if isinstance(member, TaggedSpec) and node.content in member.tags:
                yield _issue(node, path, describe_spec(shape), f"write {{{node.content}: …}}")
                return
    fixes = [_first_fix(member, node) for member in shape.members]
    choices = tuple(
        value
        for member in shape.members
        for value in (member.values if isinstance(member, ChoiceSpec) else ())
    )
    tagged = find_tagged(shape)
    better = "" if tagged is None else _rewritten(tagged, node)
    fix = better or choice_fix(choices, node) or next((fix for fix in fixes if fix), "")
    yield _issue(node, path, describe_spec(shape), fix)


def _first_fix(shape: Spec, node: Node) -> str:
    issue = next(_issues(shape, node, ()), None)
    return "" if issue is None else issue.problem.fix
