"""Validate a config against the schema, with errors that include a fix.

pydantic decides whether a config is valid. If it is not, the tree of nodes is compared with the
specs of the schema, and each mismatch becomes one issue. For a union, it is the issue of the member
closest to the value; for an unknown key, it suggests a similar key. YAML syntax errors are in
`yaml_errors`, conflicts between valid settings in `find_conflicts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import assert_never

from pydantic import ValidationError

from trainer.config import specs
from trainer.config.alternative_syntax import rejoin_calls, rewrite, rewrite_section
from trainer.config.issues import (
    ValidationIssue,
    is_misspelled,
    make_issue,
    setting_of,
    unknown_key,
)
from trainer.config.matching import ROOT, expand_shorthand, is_choice, is_optional, matches_kind
from trainer.config.nodes import KeyPath, Node, join_key
from trainer.config.spec_text import describe_shorthand, describe_spec
from trainer.config.suggestions import suggest_value
from trainer.config.value_fixes import (
    choice_fix,
    did_you_mean_text,
    format_value,
    scalar_fix,
    truncate,
)
from trainer.errors import Problem

MAX_PROBLEMS = 100
"""Maximum number of reported problems; each one costs a search for similar names."""


def validation_issues(root: Node) -> list[ValidationIssue]:
    """Return all mismatches of a config with the schema, in the order of the file; at most 100."""
    issues = list(islice(_issues(ROOT, root, ()), MAX_PROBLEMS + 1))
    if len(issues) > MAX_PROBLEMS:
        where = str(root.location.source.label)
        problem = Problem(where, f"at most {MAX_PROBLEMS} problems", "more", "fix these first")
        issues[-1] = ValidationIssue(problem, ())
    return issues


def issues_from_pydantic(error: ValidationError, where: str) -> list[ValidationIssue]:
    """Convert the errors of pydantic, in case `validation_issues` does not find all of them."""
    issues: list[ValidationIssue] = []
    for detail in error.errors(include_url=False, include_context=False):
        path = tuple(step for step in detail["loc"] if not re.search(r"[\[(]", str(step)))
        problem = Problem(where, "a valid value", format_value(detail["input"]), "", join_key(path))
        issues.append(ValidationIssue(problem, path))
    return issues


def _issues(spec: specs.Spec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    match spec:
        case specs.ScalarSpec():
            if not spec.accepts(node.content):
                yield make_issue(node, path, describe_spec(spec), scalar_fix(spec, node))
        case specs.ChoiceSpec(values):
            if not isinstance(node.content, str) or node.content not in values:
                yield make_issue(node, path, describe_spec(spec), choice_fix(values, node))
        case specs.ListSpec():
            yield from _list_issues(spec, node, path)
        case specs.MappingSpec(value):
            if node.entries is None:
                yield make_issue(node, path, describe_spec(spec), "")
                return
            for key, entry in node.entries.items():
                yield from _issues(value, entry.node, (*path, key))
        case specs.SectionSpec():
            yield from _section_issues(spec, node, path)
        case specs.TaggedSpec():
            yield from _tagged_issues(spec, node, path)
        case specs.ShorthandSpec():
            yield from _shorthand_issues(spec, node, path)
        case specs.UnionSpec():
            yield from _union_issues(spec, node, path)
        case _:
            assert_never(spec)


def _list_issues(spec: specs.ListSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    if node.items is None:
        yield make_issue(node, path, describe_spec(spec), _list_fix(spec, node))
        return
    count = len(node.items)
    if count < spec.at_least or (spec.at_most is not None and count > spec.at_most):
        expected = describe_spec(spec)
        if count == 0:
            expected = expected.replace("a list of", "a list of at least one of:", 1)
        yield make_issue(node, path, expected, "", found=f"{count} of them" if count else "")
    tagged = specs.find_tagged(spec.item)
    calls = {} if tagged is None else rejoin_calls(tagged, node.items, _fits)
    for index, item in enumerate(node.items):
        if index not in calls:
            yield from _issues(spec.item, item, (*path, index))
        elif calls[index]:
            fix = f"write {calls[index]}"
            yield make_issue(item, (*path, index), describe_spec(spec.item), fix)


def _list_fix(spec: specs.ListSpec, node: Node) -> str:
    if node.items is None and node.content is not None and not _has_issue(spec.item, node):
        if node.entries is not None:
            return "start the item with '- '"
        return f"write [{node.text}]"
    tagged = specs.find_tagged(spec.item)
    if tagged is not None and node.items is None:
        fix = _rewrite_fix(tagged, node) or _one_key_fix(tagged, node)
        return f"write [{fix.removeprefix('write ')}]" if fix else ""
    return ""


def _rewrite_fix(spec: specs.TaggedSpec, node: Node) -> str:
    better = rewrite(spec, node, _fits)
    return f"write {better}" if better else ""


def _fits(spec: specs.Spec, node: Node) -> bool:
    return not _has_issue(spec, node)


def _has_issue(spec: specs.Spec, node: Node) -> bool:
    return next(_issues(spec, node, ()), None) is not None


def _section_issues(
    spec: specs.SectionSpec, node: Node, path: KeyPath, tagged: specs.TaggedSpec | None = None
) -> Iterator[ValidationIssue]:
    known = specs.section_fields(spec.model)
    if node.entries is None:
        fix = ""
        if node.content is None and not specs.required_fields(spec.model):
            fix = "write its settings below it, indented, or remove the line"
        elif not known:
            fix = f"write only `{path[-1] if path else ''}`: it has no settings"
        elif node.items is None:
            fix = _setting_fix(known, node)
        else:
            lists = [name for name, spec in known.items() if isinstance(spec, specs.ListSpec)]
            meant = [name for name in lists if not _has_issue(known[name], node)]
            fix = f"put it below `{meant[0]}:`" if meant else ""
        yield make_issue(node, path, describe_spec(spec), fix)
        return
    for key, entry in node.entries.items():
        if key in known:
            inner = (*path, key) if entry.explicit else path
            yield from _issues(known[key], entry.node, inner)
        else:
            yield unknown_key(spec.model, key, entry, path, tagged)
    unknown = [key for key in node.entries if key not in known]
    for name in specs.required_fields(spec.model):
        if name not in node.entries and not is_misspelled(name, unknown, known, path):
            key = join_key((*path, name))
            fix = f"add `{name}: …`"
            problem = Problem(str(node.location), describe_spec(known[name]), "nothing", fix, key)
            yield ValidationIssue(problem, path)


def _setting_fix(known: Mapping[str, specs.Spec], node: Node) -> str:
    """Return the fix for a bare value of one of the settings: `{kind: categorical}`."""
    for name, spec in known.items():
        if is_choice(spec) and not _has_issue(spec, node):
            return f"write {{{name}: {node.text}}}"
    return ""


def _tagged_issues(spec: specs.TaggedSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    if node.entries is None:
        fix = _rewrite_fix(spec, node) or choice_fix(spec.tags, node) or _one_key_fix(spec, node)
        yield make_issue(node, path, describe_spec(spec), fix)
    elif spec.by_name:
        yield from _named_issues(spec, node, path)
    elif len(node.entries) != 1:
        yield from _one_key_issue(spec, node, path)
    else:
        ((key, entry),) = node.entries.items()
        member = spec.member(key)
        if member is not None:
            needed = "" if entry.explicit else _required_value(member, key)
            if needed:
                fix = f"write {{{key}: …}}"
                yield make_issue(node, path, needed, fix, found=f"'{key}' alone")
            else:
                yield from _issues(member, node, path)
            return
        key_path = (*path, key) if entry.explicit else path
        suggestion = did_you_mean_text(suggest_value(key, spec.tags))
        if entry.explicit:
            fix = suggestion or _rewrite_fix(spec, node)
        else:  # a bare name
            fix = _rewrite_fix(spec, Node(key, node.location, key)) or suggestion
        found = f"'{truncate(key)}'"
        yield make_issue(
            node, key_path, describe_spec(spec), fix, location=entry.location, found=found
        )


def _required_value(member: specs.SectionSpec, tag: str) -> str:
    """Describe the value that a bare type name requires; empty if none is required."""
    inner = specs.section_fields(member.model)[tag]
    if is_optional(inner):
        return ""
    short = describe_shorthand(inner) if isinstance(inner, specs.ShorthandSpec) else ""
    return f"{tag} with {short or describe_spec(inner)}"


def _one_key_fix(spec: specs.TaggedSpec, node: Node) -> str:
    """Return the fix for a bare number that a section accepts: `{dense: 64}`."""
    if spec.by_name or node.content is None or isinstance(node.content, str | bool):
        return ""
    for tag, fields in spec.members:
        if not _has_issue(specs.section_fields(fields.model)[tag], node):
            return f"write {{{tag}: {node.text}}}" if node.text else ""
    return ""


def _named_issues(spec: specs.TaggedSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    assert node.entries is not None
    for key, other in node.entries.items():
        if key in spec.tags:  # {adam: {…}}, as layers are written
            expected = setting_of(path)
            fix = f"write `name: {key}` with its settings at the same level"
            key_path = (*path, key)
            yield make_issue(
                other.node,
                key_path,
                expected,
                fix,
                location=other.location,
                found=f"'{truncate(key)}'",
            )
            return
    entry = node.entries.get("name")
    name = None if entry is None else entry.node.content
    member = spec.member(name)
    if member is not None:
        yield from _section_issues(member, node, path, spec)
    elif entry is None:
        yield make_issue(node, (*path, "name"), describe_spec(spec), "", found="nothing")
    else:
        key_path = (*path, "name") if entry.explicit else path
        fix = "" if entry.explicit else _rewrite_fix(spec, entry.node)
        fix = fix or choice_fix(spec.tags, entry.node)
        yield make_issue(entry.node, key_path, describe_spec(spec), fix)
        every = {name for _, fields in spec.members for name in specs.section_fields(fields.model)}
        for key, other in node.entries.items():
            if key not in every:  # invalid for every name
                yield unknown_key(spec.members[0][1].model, key, other, path)


def _one_key_issue(spec: specs.TaggedSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    assert node.entries is not None
    keys = list(node.entries)
    expected = f"one key, {describe_spec(spec)}"
    first = spec.member(keys[0]) if keys else None
    is_empty = first is not None and node.entries[keys[0]].node.content is None
    fix = "" if is_empty else _rewrite_fix(spec, node)
    inner = (
        {name for steps, _, name in specs.settings(first) if len(steps) == 2} if first else set()
    )
    if not fix and inner & set(keys[1:]):
        fix = f"indent {', '.join(keys[1:])} below {keys[0]}"
    elif not fix and len(set(keys) & set(spec.tags)) > 1 and path and isinstance(path[-1], int):
        fix = "start each one with '- ' on a separate line"
    yield make_issue(node, path, expected, fix, found=f"{len(keys)} keys: {', '.join(keys)}"[:80])


def _shorthand_issues(
    spec: specs.ShorthandSpec, node: Node, path: KeyPath
) -> Iterator[ValidationIssue]:
    full = expand_shorthand(spec, node)
    short = specs.shorthand_setting(spec)
    is_list = node.items is not None and (short is None or not matches_kind(short[1], node))
    if short is not None and (is_list or full.entries is None):
        better = rewrite_section(spec, node, _fits)
        yield make_issue(node, path, describe_spec(spec), f"write {better}" if better else "")
    elif node.items is None and node.entries is None and node.content is not None and short:
        issue = next(_issues(spec.inner, full, path), None)
        if issue is not None:
            expected = describe_shorthand(spec) + " or a mapping"
            better = rewrite_section(spec, node, _fits)
            fix = f"write {better}" if better else issue.problem.fix
            yield make_issue(node, path, expected, fix)
    else:
        yield from _issues(spec.inner, full, path)


def _union_issues(spec: specs.UnionSpec, node: Node, path: KeyPath) -> Iterator[ValidationIssue]:
    if node.content is None and node.items is None and node.entries is None and spec.nullable:
        return
    if any(not _has_issue(member, node) for member in spec.members):
        return
    if spec.nullable and isinstance(node.content, bool):
        fix = "write null"
        if node.content:
            optional = any(is_optional(member) for member in spec.members)
            fix = "write {} for its defaults" if optional else ""
        yield make_issue(node, path, describe_spec(spec), fix)
        return
    fitting = [member for member in spec.members if matches_kind(member, node)]
    if len(spec.members) == 1 or (
        len(fitting) == 1 and not isinstance(fitting[0], specs.ChoiceSpec | specs.ScalarSpec)
    ):
        yield from _issues((fitting or spec.members)[0], node, path)
        return
    if isinstance(node.content, str):
        for member in spec.members:
            if isinstance(member, specs.TaggedSpec) and node.content in member.tags:
                yield make_issue(node, path, describe_spec(spec), f"write {{{node.content}: …}}")
                return
    fixes = [_first_fix(member, node) for member in spec.members]
    choices = tuple(
        value
        for member in spec.members
        for value in (member.values if isinstance(member, specs.ChoiceSpec) else ())
    )
    tagged = specs.find_tagged(spec)
    better = "" if tagged is None else _rewrite_fix(tagged, node)
    fix = better or choice_fix(choices, node) or next((fix for fix in fixes if fix), "")
    yield make_issue(node, path, describe_spec(spec), fix)


def _first_fix(spec: specs.Spec, node: Node) -> str:
    issue = next(_issues(spec, node, ()), None)
    return "" if issue is None else issue.problem.fix
