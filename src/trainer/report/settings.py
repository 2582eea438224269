"""Read the settings of runs from their `config.yaml`, fast enough for a thousand runs.

Parsing YAML takes milliseconds, and the configs of many runs are nearly the same. So a config is split
into the blocks and lines that the trainer writes, and the parse of each is cached. Files in another
format are parsed as a whole. Runs can come from untrusted sources: nothing is executed, and size and
depth are limited (`trainer.config.yaml_reader`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeGuard, cast

from trainer.config.nodes import Source, to_python
from trainer.config.yaml_reader import MAX_BYTES, MAX_DEPTH, Document, parse_scalar, parse_yaml
from trainer.errors import Problem, RunError
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_bytes

Value = str | int | float | list["Value"] | dict[str, "Value"] | None
"""A setting as a JSON value; booleans are ints."""

_ITEMS = re.compile(r"^- ", re.MULTILINE)
_ENTRIES = re.compile(r"^(?=[^ \n])", re.MULTILINE)
_INDENT = re.compile(r"^  ", re.MULTILINE)
_NO_INDENT = re.compile(r"^(?!  ).", re.MULTILINE | re.DOTALL)
_NOT_SPLITTABLE = ("\r", "\x85", "\u2028", "\u2029", "\ufeff", " " * 2 * MAX_DEPTH)
"""With other line endings, a byte order mark or deep nesting, parsing in pieces would differ."""

_NUMBER = re.compile(r"([a-z0-9_]+): (-?[0-9][0-9.e+-]{0,50})")
_FIX = "restore it from a copy of the run"


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a setting is a number, not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_settings(run: RunDirectory) -> dict[str, Value]:
    """Read the settings of a run.

    Raises:
        RunError: `config.yaml` is missing or damaged.
    """
    content = read_bytes(run.config, MAX_BYTES)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        where = str(run.config)
        raise RunError(
            Problem(where, "UTF-8 text", f"invalid bytes ({error.reason})", _FIX)
        ) from error
    try:
        settings = _parse_in_pieces(text)
    except _FormatError:
        settings = _parse_file(text, run.config)
    if not isinstance(settings, dict):
        raise RunError(Problem(str(run.config), "settings", "none", _FIX))
    return settings


def value_at(settings: Value, steps: Sequence[str]) -> Value:
    """Return the value at a key path: keys of mappings, indices of lists.

    Raises:
        KeyError: The path does not exist.
    """
    for step in steps:
        match settings:
            case dict() if step in settings:
                settings = settings[step]
            case list() if step.isdecimal() and len(step) < 10 and int(step) < len(settings):
                settings = settings[int(step)]
            case _:
                raise KeyError(step)
    return settings


def _parse_file(text: str, path: Path) -> Value:
    document = parse_yaml(text, Source(str(path), path.parent))
    if document.problems:
        raise RunError(document.problems)
    return _plain(document)


class _FormatError(Exception):
    """The trainer does not write such lines."""


def _parse_in_pieces(text: str) -> Value:
    if any(mark in text for mark in _NOT_SPLITTABLE):
        raise _FormatError
    return _parse_block(text)


@lru_cache(maxsize=100_000)
def _parse_block(text: str) -> Value:
    """Parse lines without indentation: the items of a list, the entries of a mapping, or one line."""
    if text.startswith(" "):
        raise _FormatError
    first, _, rest = text.partition("\n")
    if not rest:
        return _parse_line(first)
    if text.startswith("- "):
        return [_parse_item(item) for item in _ITEMS.split(text)[1:]]
    entries: dict[str, Value] = {}
    for entry in filter(None, _ENTRIES.split(text)):
        head, _, nested = entry.partition("\n")
        match _parse_line(head):
            case dict() as pair if len(pair) == 1:
                ((key, value),) = pair.items()
            case _:
                raise _FormatError
        if nested:
            if value is not None or not head.endswith(":"):
                raise _FormatError
            value = _parse_block(_dedent(nested))
        if key in entries:
            raise _FormatError
        entries[key] = value
    return entries


def _parse_item(text: str) -> Value:
    first, _, rest = text.partition("\n")
    return _parse_block(f"{first}\n{_dedent(rest)}")


def _dedent(text: str) -> str:
    if _NO_INDENT.search(text):
        raise _FormatError
    return _INDENT.sub("", text)


@lru_cache(maxsize=100_000)
def _parse_line(text: str) -> Value:
    """Parse one line as if it were a file."""
    # Usually only numbers differ between runs, and numbers need no YAML parser.
    if number := _NUMBER.fullmatch(text):
        return {number[1]: parse_scalar(number[2])}
    if text.startswith("---"):  # a document separator
        raise _FormatError
    document = parse_yaml(text, Source("", Path()))
    if document.problems:
        raise _FormatError
    return _plain(document)


def _plain(document: Document) -> Value:
    return None if document.root is None else cast(Value, to_python(document.root))
