"""What is wrong with a config, in words that say how to mend it.

pydantic decides whether a config is valid. When it is not, the tree of nodes is walked beside the
tree of shapes, and each place at which a value does not fit becomes one problem: a union collapses
to what is nearest to the value, an unknown key to the key that was meant.

Owns: the words for values that do not fit the schema. Does not own: broken YAML (`yaml_errors`),
settings that contradict each other (`contradictions`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import assert_never

from pydantic import ValidationError

from trainer.config.fixes import choice_fix, cut, leaf_fix, meaning, shown
from trainer.config.matching import (
    EXTENDS,
    ROOT,
    expanded,
    has_words,
    is_optional,
    settings_by_name,
    suits,
)
from trainer.config.nearest import nearest_key, nearest_value
from trainer.config.nodes import Entry, KeyPath, Node, Place, dotted, plain
from trainer.config.renamed import removal_fix, renamed_setting, renamed_value
from trainer.config.schema import Config
from trainer.config.sections import Section
from trainer.config.shapes import (
    Choice,
    Entries,
    Fields,
    Items,
    Leaf,
    OneOf,
    Shape,
    Short,
    Tagged,
    fields_of,
    required_fields,
    settings,
    short_shape,
    short_words,
    tagged_in,
    words_of,
)
from trainer.config.spellings import respelled, respelled_section, split_calls
from trainer.errors import Problem

MAX_PROBLEMS = 100
"""More are not told: nobody reads them, and each takes a search for the nearest name."""


@dataclass(frozen=True)
class Misfit:
    """A value that does not fit the schema.

    Attributes:
        problem: What to say of it.
        path: The smallest part of the config that has to change.
    """

    problem: Problem
    path: KeyPath


def misfits(root: Node) -> list[Misfit]:
    """Everything in a config that does not fit the schema, in the file's order; 100 at most."""
    found = list(islice(_misfits(ROOT, root, ()), MAX_PROBLEMS + 1))
    if len(found) > MAX_PROBLEMS:
        where = str(root.place.source.label)
        problem = Problem(where, f"at most {MAX_PROBLEMS} problems", "more", "mend these first")
        found[-1] = Misfit(problem, ())
    return found


def unexplained(error: ValidationError, where: str) -> list[Misfit]:
    """The account of pydantic, for what the walk did not find. It should find everything."""
    found: list[Misfit] = []
    for detail in error.errors(include_url=False, include_context=False):
        path = tuple(step for step in detail["loc"] if not re.search(r"[\[(]", str(step)))
        problem = Problem(where, "another value", shown(detail["input"]), "", dotted(path))
        found.append(Misfit(problem, path))
    return found


def _found(node: Node) -> str:
    return shown(plain(node), node.text)


def _misfits(shape: Shape, node: Node, path: KeyPath) -> Iterator[Misfit]:
    match shape:
        case Leaf():
            if not shape.accepts(node.content):
                yield _misfit(node, path, words_of(shape), leaf_fix(shape, node))
        case Choice(values):
            if not isinstance(node.content, str) or node.content not in values:
                yield _misfit(node, path, words_of(shape), choice_fix(values, node))
        case Items():
            yield from _items_misfits(shape, node, path)
        case Entries(value):
            if node.entries is None:
                yield _misfit(node, path, words_of(shape), "")
                return
            for key, entry in node.entries.items():
                yield from _misfits(value, entry.node, (*path, key))
        case Fields():
            yield from _section_misfits(shape, node, path)
        case Tagged():
            yield from _tagged_misfits(shape, node, path)
        case Short():
            yield from _short_misfits(shape, node, path)
        case OneOf():
            yield from _union_misfits(shape, node, path)
        case _:
            assert_never(shape)


def _misfit(
    node: Node,
    path: KeyPath,
    expected: str,
    fix: str,
    *,
    place: Place | None = None,
    found: str = "",
) -> Misfit:
    where = str(node.place if place is None else place)
    new_value = renamed_value(path, node.content)
    if new_value is not None:
        expected, fix = f"'{new_value}'", f"write {new_value}, its new name"
    return Misfit(Problem(where, expected, found or _found(node), fix, dotted(path)), path)


def _items_misfits(shape: Items, node: Node, path: KeyPath) -> Iterator[Misfit]:
    if node.items is None:
        yield _misfit(node, path, words_of(shape), _in_brackets(shape, node))
        return
    count = len(node.items)
    if count < shape.at_least or (shape.at_most is not None and count > shape.at_most):
        expected = words_of(shape)
        if count == 0:
            expected = expected.replace("a list of", "a list of at least one of:", 1)
        yield _misfit(node, path, expected, "", found=f"{count} of them" if count else "")
    tagged = tagged_in(shape.item)
    calls = {} if tagged is None else split_calls(tagged, node.items, _fits)
    for index, item in enumerate(node.items):
        if index not in calls:
            yield from _misfits(shape.item, item, (*path, index))
        elif calls[index]:
            fix = f"write {calls[index]}"
            yield _misfit(item, (*path, index), words_of(shape.item), fix)


def _in_brackets(shape: Items, node: Node) -> str:
    if node.items is None and node.content is not None and not _any_misfit(shape.item, node):
        if node.entries is not None:
            return "begin the item with '- '"
        return f"write [{node.text}]"
    tagged = tagged_in(shape.item)
    if tagged is not None and node.items is None:
        fix = _rewritten(tagged, node) or _as_only_key(tagged, node)
        return f"write [{fix.removeprefix('write ')}]" if fix else ""
    return ""


def _rewritten(shape: Tagged, node: Node) -> str:
    better = respelled(shape, node, _fits)
    return f"write {better}" if better else ""


def _fits(shape: Shape, node: Node) -> bool:
    return not _any_misfit(shape, node)


def _any_misfit(shape: Shape, node: Node) -> bool:
    return next(_misfits(shape, node, ()), None) is not None


def _section_misfits(shape: Fields, node: Node, path: KeyPath) -> Iterator[Misfit]:
    known = fields_of(shape.model)
    if node.entries is None:
        fix = ""
        if node.content is None and not required_fields(shape.model):
            fix = "write its settings below it, indented, or take the line out"
        elif not known:
            fix = f"write only `{path[-1] if path else ''}`: it has no settings"
        elif node.items is None:
            fix = _as_setting(known, node)
        else:
            lists = [name for name, shape in known.items() if isinstance(shape, Items)]
            meant = [name for name in lists if not _any_misfit(known[name], node)]
            fix = f"put it below `{meant[0]}:`" if meant else ""
        yield _misfit(node, path, words_of(shape), fix)
        return
    for key, entry in node.entries.items():
        if key in known:
            inner = (*path, key) if entry.written else path
            yield from _misfits(known[key], entry.node, inner)
        else:
            yield _unknown_key(shape.model, key, entry, path)
    strangers = [key for key in node.entries if key not in known]
    for name in required_fields(shape.model):
        if name not in node.entries and not _is_meant(name, strangers, known, path):
            here = dotted((*path, name))
            fix = f"add `{name}: …`"
            problem = Problem(str(node.place), words_of(known[name]), "nothing", fix, here)
            yield Misfit(problem, path)


def _as_setting(known: Mapping[str, Shape], node: Node) -> str:
    """How a word is written that is a value of one of the settings: `{kind: categorical}`."""
    for name, shape in known.items():
        if has_words(shape) and not _any_misfit(shape, node):
            return f"write {{{name}: {node.text}}}"
    return ""


def _is_meant(
    name: str, strangers: Sequence[str], known: Mapping[str, Shape], path: KeyPath
) -> bool:
    # A misspelt or renamed key is one problem, not also a missing one.
    return any(
        name in (renamed_setting((*path, key)), nearest_key(key, list(known), settings_by_name()))
        for key in strangers
    )


def _unknown_key(model: type[Section], key: str, entry: Entry, path: KeyPath) -> Misfit:
    known = list(fields_of(model))
    place = section_name(path)
    if model is Config:
        known.append(EXTENDS)
    here = (*path, key)
    new_name = renamed_setting(here)
    if new_name is not None:
        expected, fix = f"'{new_name}'", f"rename it to {dotted((*path, new_name))}"
    elif not known:
        expected, fix = f"no settings in {place}", "take it out"
    else:
        expected = f"a setting of {place}"
        meant = nearest_key(key, known, settings_by_name())
        fix = meaning(meant, f"known are {', '.join(known)}")
        fix = removal_fix(here) or fix
    return _misfit(entry.node, here, expected, fix, place=entry.place, found=f"'{cut(key)}'")


def section_name(path: KeyPath) -> str:
    """A section as messages call it."""
    return dotted(path) if path else "the config"


def _tagged_misfits(shape: Tagged, node: Node, path: KeyPath) -> Iterator[Misfit]:
    if node.entries is None:
        fix = _rewritten(shape, node) or choice_fix(shape.tags, node) or _as_only_key(shape, node)
        yield _misfit(node, path, words_of(shape), fix)
    elif shape.by_name:
        yield from _named_misfits(shape, node, path)
    elif len(node.entries) != 1:
        yield from _several_keys(shape, node, path)
    else:
        ((key, entry),) = node.entries.items()
        member = shape.member(key)
        if member is not None:
            wanted = "" if entry.written else _wanted_value(member, key)
            if wanted:
                fix = f"write {{{key}: …}}"
                yield _misfit(node, path, wanted, fix, found=f"'{key}' alone")
            else:
                yield from _misfits(member, node, path)
            return
        here = (*path, key) if entry.written else path
        meant = meaning(nearest_value(key, shape.tags))
        if entry.written:
            fix = meant or _rewritten(shape, node)
        else:  # a word alone
            fix = _rewritten(shape, Node(key, node.place, key)) or meant
        found = f"'{cut(key)}'"
        yield _misfit(node, here, words_of(shape), fix, place=entry.place, found=found)


def _wanted_value(member: Fields, tag: str) -> str:
    """What has to stand after a kind that is written as a word alone; empty where nothing has to."""
    inner = fields_of(member.model)[tag]
    if is_optional(inner):
        return ""
    short = short_words(inner) if isinstance(inner, Short) else ""
    return f"{tag} with {short or words_of(inner)}"


def _as_only_key(shape: Tagged, node: Node) -> str:
    """How a number is written that is short for one of the sections: `{dense: 64}`."""
    if shape.by_name or node.content is None or isinstance(node.content, str | bool):
        return ""
    for tag, fields in shape.members:
        if not _any_misfit(fields_of(fields.model)[tag], node):
            return f"write {{{tag}: {node.text}}}" if node.text else ""
    return ""


def _named_misfits(shape: Tagged, node: Node, path: KeyPath) -> Iterator[Misfit]:
    assert node.entries is not None
    for key, other in node.entries.items():
        if key in shape.tags:  # {adam: {…}}, as layers are written
            expected = f"a setting of {section_name(path)}"
            fix = f"write `name: {key}`, and its settings beside it"
            here = (*path, key)
            yield _misfit(other.node, here, expected, fix, place=other.place, found=f"'{cut(key)}'")
            return
    entry = node.entries.get("name")
    name = None if entry is None else entry.node.content
    member = shape.member(name)
    if member is not None:
        yield from _misfits(member, node, path)
    elif entry is None:
        yield _misfit(node, (*path, "name"), words_of(shape), "", found="nothing")
    else:
        here = (*path, "name") if entry.written else path
        fix = "" if entry.written else _rewritten(shape, entry.node)
        fix = fix or choice_fix(shape.tags, entry.node)
        yield _misfit(entry.node, here, words_of(shape), fix)
        every = {name for _, fields in shape.members for name in fields_of(fields.model)}
        for key, other in node.entries.items():
            if key not in every:  # a mistake whatever the name should have been
                yield _unknown_key(shape.members[0][1].model, key, other, path)


def _several_keys(shape: Tagged, node: Node, path: KeyPath) -> Iterator[Misfit]:
    assert node.entries is not None
    keys = list(node.entries)
    expected = f"one key, {words_of(shape)}"
    first = shape.member(keys[0]) if keys else None
    is_empty = first is not None and node.entries[keys[0]].node.content is None
    fix = "" if is_empty else _rewritten(shape, node)
    parts = {name for steps, _, name in settings(first) if len(steps) == 2} if first else set()
    if not fix and parts & set(keys[1:]):
        fix = f"indent {', '.join(keys[1:])} below {keys[0]}"
    elif not fix and len(set(keys) & set(shape.tags)) > 1 and path and isinstance(path[-1], int):
        fix = "begin each with '- ' on a line of its own"
    yield _misfit(node, path, expected, fix, found=f"{len(keys)} keys: {', '.join(keys)}"[:80])


def _short_misfits(shape: Short, node: Node, path: KeyPath) -> Iterator[Misfit]:
    full = expanded(shape, node)
    short = short_shape(shape)
    is_list = node.items is not None and (short is None or not isinstance(short[1], Items))
    if short is not None and (is_list or full.entries is None):
        better = respelled_section(shape, node, _fits)
        yield _misfit(node, path, words_of(shape), f"write {better}" if better else "")
    elif node.items is None and node.entries is None and node.content is not None and short:
        deep = next(_misfits(shape.inner, full, path), None)
        if deep is not None:
            expected = short_words(shape) + " or a mapping"
            better = respelled_section(shape, node, _fits)
            fix = f"write {better}" if better else deep.problem.fix
            yield _misfit(node, path, expected, fix)
    else:
        yield from _misfits(shape.inner, full, path)


def _union_misfits(shape: OneOf, node: Node, path: KeyPath) -> Iterator[Misfit]:
    if node.content is None and node.items is None and node.entries is None and shape.nullable:
        return
    if any(not _any_misfit(member, node) for member in shape.members):
        return
    if shape.nullable and isinstance(node.content, bool):
        fix = "write null"
        if node.content:
            optional = any(is_optional(member) for member in shape.members)
            fix = "write {} for its defaults" if optional else ""
        yield _misfit(node, path, words_of(shape), fix)
        return
    suited = [member for member in shape.members if suits(member, node)]
    if len(shape.members) == 1 or (len(suited) == 1 and not isinstance(suited[0], Choice | Leaf)):
        yield from _misfits((suited or shape.members)[0], node, path)
        return
    if isinstance(node.content, str):
        for member in shape.members:
            if isinstance(member, Tagged) and node.content in member.tags:
                yield _misfit(node, path, words_of(shape), f"write {{{node.content}: …}}")
                return
    fixes = [_first_fix(member, node) for member in shape.members]
    words = tuple(
        value
        for member in shape.members
        for value in (member.values if isinstance(member, Choice) else ())
    )
    tagged = tagged_in(shape)
    better = "" if tagged is None else _rewritten(tagged, node)
    fix = better or choice_fix(words, node) or next((fix for fix in fixes if fix), "")
    yield _misfit(node, path, words_of(shape), fix)


def _first_fix(shape: Shape, node: Node) -> str:
    found = next(_misfits(shape, node, ()), None)
    return "" if found is None else found.problem.fix
