"""Rewrite layers, optimizers and schedules from the syntax of other tools into that of the schema:
`Dense(64, activation='relu')`, `dense 64`, `relu`, `{type: dense, units: 64}`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from trainer.config.nodes import Node, to_node, to_python
from trainer.config.specs import (
    ChoiceSpec,
    SectionSpec,
    ShorthandSpec,
    Spec,
    TaggedSpec,
    UnionSpec,
    section_fields,
    shorthand_setting,
)
from trainer.config.suggestions import suggest_key, suggest_value
from trainer.config.yaml_reader import parse_scalar
from trainer.config.yaml_writer import flow_text

_KIND_KEYS = ("type", "kind", "name", "class_name", "class", "layer")
_CALL = re.compile(r"[\w.]+\(.*\)", re.DOTALL)
_MAX_LENGTH = 500
Fits = Callable[[Spec, Node], bool]
"""Returns whether a value is valid for a spec."""


def rewrite(spec: TaggedSpec, node: Node, fits: Fits) -> str:
    """Return a value in the syntax of the schema, as YAML on one line; empty if its meaning is not
    clear.

    The result is always valid.
    """
    for candidate in _candidates(spec, to_python(node)):
        if fits(spec, to_node(candidate, node.location, explicit=True)):
            return flow_text(_short(spec, candidate, node, fits))
    return ""


def rewrite_section(spec: ShorthandSpec, node: Node, fits: Fits) -> str:
    """Rewrite the settings below a type, such as the `[64, relu]` of `dense: [64, relu]`."""
    parts = _parts(to_python(node))
    section = _settings(spec)
    if section is None or len(parts) < 2:
        return ""
    settings = _from_parts(section, parts, {})
    if settings and fits(spec, to_node(settings, node.location, explicit=True)):
        return flow_text(settings)
    return ""


def rejoin_calls(spec: TaggedSpec, items: Sequence[Node], fits: Fits) -> dict[int, str]:
    """Rejoin calls that were split at the commas of a list, as in `[Dense(64, activation='relu')]`.

    Returns:
        Index of the first part → the rewritten call, of each further part → an empty string.
    """
    calls: dict[int, str] = {}
    for first, item in enumerate(items):
        if first in calls or item.text.count("(") <= item.text.count(")"):
            continue
        text = item.text
        for last in range(first + 1, len(items)):
            text = f"{text}, {items[last].text}"
            if text.count("(") == text.count(")"):
                better = rewrite(spec, Node(text, item.location, text), fits)
                if better:
                    calls |= {first: better} | dict.fromkeys(range(first + 1, last + 1), "")
                break
    return calls


def _candidates(spec: TaggedSpec, value: Any) -> Iterator[Any]:
    """Yield possible meanings in the full form."""
    match value:
        case str() if len(value) <= _MAX_LENGTH:
            yield from _of_text(spec, value.strip())
        case Mapping():
            yield from _of_mapping(spec, dict(value))


def _of_text(spec: TaggedSpec, text: str) -> Iterator[Any]:
    if _CALL.fullmatch(text):
        name, parts, settings = _parse_call(text)
        if name:
            yield from _from_call(spec, name, parts, settings)
            text = name if not parts and not settings else ""
    name = _normalized(text)
    for tag in spec.tags if name else ():
        # relu: a value of the setting that a shorthand sets.
        for value in _names(spec, tag):
            if _normalized(value) == name:
                yield {tag: value}
    parts = _parts(text)
    if len(parts) > 1 and isinstance(parts[0], str):
        yield from _from_call(spec, parts[0], parts[1:], {})


def _of_mapping(spec: TaggedSpec, value: dict[str, Any]) -> Iterator[Any]:
    for key in _KIND_KEYS:
        name = value.get(key)
        if isinstance(name, str) and not (spec.by_name and key == "name"):
            settings = {other: item for other, item in value.items() if other != key}
            inner = settings.pop("config", None)
            yield from _from_call(
                spec, name, [], settings | (inner if isinstance(inner, dict) else {})
            )
    if spec.by_name:
        return
    first = next(iter(value), "")
    if spec.member(first) is not None and len(value) > 1:
        # {dense: 64, activation: relu}
        rest = {key: item for key, item in value.items() if key != first}
        head = value[first]
        parts = [] if head is None or isinstance(head, dict) else [head]
        yield from _from_call(spec, first, parts, (head if isinstance(head, dict) else {}) | rest)
        return
    matching = [tag for tag in spec.tags if set(value) <= set(_settings_of(spec, tag) or ())]
    # A variant of another kind, such as spatial_dropout of dropout, is not what was meant.
    kinds = [tag for tag in matching if not any(tag.endswith(f"_{kind}") for kind in matching)]
    # Of several kinds, only the first of all is meant, which is the most common one: dense.
    if len(kinds) == 1 or kinds[:1] == list(spec.tags[:1]):
        yield {kinds[0]: value}


def _from_call(
    spec: TaggedSpec, name: str, parts: Sequence[Any], settings: Mapping[str, Any]
) -> Iterator[Any]:
    tag = suggest_value(name.rpartition(".")[2], spec.tags)
    section = None if tag is None else _settings_of(spec, tag)
    if tag is None or section is None:
        return
    full = _from_parts(section, parts, settings)
    if full is not None:
        yield {"name": tag, **full} if spec.by_name else {tag: full}


def _from_parts(
    section: Sequence[str], parts: Sequence[Any], settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return settings by name: the first part is the first setting, text after it the activation."""
    result: dict[str, Any] = {}
    for part in parts:
        if not result and section:
            result[section[0]] = part
        elif isinstance(part, str) and "activation" in section and "activation" not in result:
            result["activation"] = part
        else:
            return None
    for key, value in settings.items():
        name = suggest_key(key, list(section), {})
        if name is None or name in result:
            return None
        result[name] = value
    return result


def _settings_of(spec: TaggedSpec, tag: str) -> list[str] | None:
    member = spec.member(tag)
    if member is None:
        return None
    if spec.by_name:
        names = [name for name in section_fields(member.model) if name != "name"]
        return sorted(names, key=lambda name: name != "learning_rate")
    return _settings(section_fields(member.model)[tag])


def _settings(spec: Spec) -> list[str] | None:
    """Return the settings of a section, the setting of its shorthand first."""
    match spec:
        case SectionSpec(model):
            return list(section_fields(model))
        case ShorthandSpec(inner=inner):
            names, short = _settings(inner), shorthand_setting(spec)
            if names is None or short is None:
                return names
            return sorted(names, key=lambda name: name != short[0])
        case _:
            return None


def _names(spec: TaggedSpec, tag: str) -> Sequence[str]:
    """Return the values accepted as the shorthand of a tag."""
    member = spec.member(tag)
    if member is None or spec.by_name:
        return ()
    inner = section_fields(member.model)[tag]
    short = shorthand_setting(inner) if isinstance(inner, ShorthandSpec) else None
    match None if short is None else short[1]:
        case ChoiceSpec(values):
            return values
        case UnionSpec(members):
            return [
                name
                for member in members
                if isinstance(member, ChoiceSpec)
                for name in member.values
            ]
        case _:
            return ()


def _short(spec: TaggedSpec, candidate: Any, node: Node, fits: Fits) -> Any:
    """Return the shortest valid form of a candidate."""
    if spec.by_name:
        return candidate["name"] if len(candidate) == 1 else candidate
    ((tag, settings),) = candidate.items()
    if not isinstance(settings, dict):
        return candidate
    if not settings:
        return tag
    shorthand = {tag: next(iter(settings.values()))}
    is_first = next(iter(settings)) == (_settings_of(spec, tag) or [""])[0]
    if (
        len(settings) == 1
        and is_first
        and fits(spec, to_node(shorthand, node.location, explicit=True))
    ):
        return shorthand
    return candidate


def _parse_call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Return name and arguments of a Python call; an empty name if the arguments are not constants."""
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "", [], {}
    if not isinstance(tree, ast.Call) or any(keyword.arg is None for keyword in tree.keywords):
        return "", [], {}
    try:
        parts = [_constant(part) for part in tree.args]
        settings = {str(keyword.arg): _constant(keyword.value) for keyword in tree.keywords}
    except ValueError:
        return "", [], {}
    return text.partition("(")[0], parts, settings


def _constant(tree: ast.expr) -> Any:
    if isinstance(tree, ast.Name):  # activation=relu
        return tree.id
    value = ast.literal_eval(tree)
    return list(value) if isinstance(value, tuple) else value


def _parts(value: Any) -> list[Any]:
    """Split a string, or return a list of scalars as is."""
    if isinstance(value, str):
        parts = re.split(r"[\s,=:()]+", value[:_MAX_LENGTH])
        return [parse_scalar(part) for part in parts if part]
    if isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
        return list(value)
    return []


def _normalized(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).lower()
