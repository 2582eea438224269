"""Command-line overrides: `key.path=value` and `~key.path`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.config.matching import EXTENDS, keys_by_name
from trainer.config.merging import with_value, without_value
from trainer.config.nodes import Location, Node, Source, join_key, parse_key
from trainer.config.override_errors import OverrideError
from trainer.config.schema import Config
from trainer.config.suggestions import suggest_key
from trainer.config.yaml_reader import parse_yaml
from trainer.errors import Problem


@dataclass(frozen=True)
class Override:
    """One override.

    Attributes:
        text: The override as typed.
        steps: Path to the value.
        value: The new value; None to remove the key.
    """

    text: str
    steps: tuple[str, ...]
    value: Node | None


_SYNTAX = "key.path=value, or ~key.path to remove"
_EXAMPLE = "write, for example, optimizer.learning_rate=3e-4"

# Only outside quotes, as "x[0]" is a name.
_INDEX = re.compile(r"""("[^"]*"|'[^']*')|\[(\d+)\]""")


def parse_override(text: str, directory: Path) -> Override | Problem:
    """Parse an override; paths in it are relative to `directory`."""
    where = f"override '{text}'"
    if text.startswith("-"):
        suggestion = suggest_override(text)
        fix = f"write {suggestion}" if suggestion else _EXAMPLE
        return Problem(where, _SYNTAX, "an option", fix)
    body = text.lstrip("+")
    if body != text:
        return Problem(where, _SYNTAX, "a '+'", f"write {body}: new keys need no '+'")
    removes = body.startswith("~")
    key, equals, value = _split_at_equals(body.removeprefix("~"))
    steps = parse_key(key)
    if removes and equals:
        return Problem(where, _SYNTAX, "both '~' and '='", f"write ~{key}, or {key}={value}")
    if not removes and not equals:
        return Problem(where, _SYNTAX, "no '='", _no_equals(body))
    if steps is None:
        expected = "a key such as optimizer.learning_rate before the '='"
        fix = 'quote names that contain dots: data.columns."a.b".kind=numeric'
        if not key:
            return Problem(where, expected, "no key", _EXAMPLE)
        return Problem(where, expected, f"'{key}'", fix)
    suggestion = _INDEX.sub(lambda match: match[1] or f".{match[2]}", key)
    if suggestion != key:
        return Problem(
            where, "an index after a dot", "an index in brackets", f"write {suggestion}={value}"
        )
    if steps[0] == EXTENDS:
        return Problem(where, "a setting", f"'{EXTENDS}'", "it is read from the file only")
    if removes:
        return Override(text, steps, None)
    return _with_value(text, steps, value, Source(where, directory, join_key(steps)))


def _with_value(
    text: str, steps: tuple[str, ...], value: str, source: Source
) -> Override | Problem:
    if len(value) == 1 and not value.isalnum() and value != "~":
        return Override(text, steps, Node(value, Location(source), value))  # a separator or a quote
    document = parse_yaml(value, source)
    if document.problems:
        return document.problems[0].at(source.label)
    root = document.root if document.root is not None else Node(None, Location(source))
    return Override(text, steps, root)


def _split_at_equals(body: str) -> tuple[str, str, str]:
    """Split at the first '=' outside quotes, like `str.partition`."""
    quote = ""
    for index, character in enumerate(body):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "=":
            return body[:index], "=", body[index + 1 :]
    return body, "", ""


def _no_equals(body: str) -> str:
    if Path(body).is_file():
        return "name one file; a path with braces or wildcards, which a shell expands, needs quotes"
    match = re.fullmatch(r"([\w.-]+):\s*(\S.*)", body)
    if match is not None:
        return f"write {match[1]}={match[2]}"
    suggestion = suggest_override(body) if re.fullmatch(r"[A-Za-z_][\w.]*", body) else None
    return f"write {suggestion}" if suggestion else _EXAMPLE


def suggest_override(option: str, value: str | None = None) -> str | None:
    """Return the override that was probably meant by an unknown option.

    `--optimizer.learning_rate=3e-4` → `optimizer.learning_rate=3e-4`; `--lr 3e-4` →
    `optimizer.learning_rate=3e-4`; None if no setting is similar.

    Args:
        option: The option, including its value if it is written with '='.
        value: The value if it is the next argument.
    """
    key, equals, joined = _split_at_equals(option.lstrip("-"))
    given = joined if equals else value
    key = key.replace("-", "_") if "." not in key else key
    elsewhere = keys_by_name()
    first = key.split(".", maxsplit=1)[0]
    if "." in key and first in Config.model_fields:
        suggestion: str | None = key.replace("-", "_")
    else:
        suggestion = suggest_key(key, list(Config.model_fields), elsewhere)
    return None if suggestion is None else f"{suggestion}={'VALUE' if given is None else given}"


def apply_overrides(root: Node, overrides: list[Override]) -> tuple[Node, list[Problem]]:
    """Apply the overrides in order; return the config and the problems of failed overrides."""
    problems: list[Problem] = []
    for override in overrides:
        where = f"override '{override.text}'"
        try:
            if override.value is not None:
                root = with_value(root, override.steps, override.value)
            else:
                location = Location(Source(where, Path(), join_key(override.steps)))
                root = without_value(root, override.steps, location)
        except OverrideError as error:
            problems.append(replace(error.problem, where=where))
    return root, problems
