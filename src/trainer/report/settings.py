"""The settings of runs, from the `config.yaml` in each, quickly: a thousand of them are looked through.

YAML takes milliseconds to read, and the configs of many runs are nearly the same. So a config is cut
into the blocks and lines that the trainer writes it in, and each of these is read once for all runs. A
file that has another form is read whole. Nothing in it is executed, and what it may hold is bounded
(`trainer.config.yaml_reader`): runs can be a stranger's.

Owns: settings as plain values, one by its dotted key. Does not own: what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

from trainer.config.nodes import Source, to_python
from trainer.config.yaml_reader import MAX_BYTES, MAX_DEPTH, Document, parse_scalar, parse_yaml
from trainer.errors import Problem, RunError
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_bytes

Value = str | int | float | list["Value"] | dict[str, "Value"] | None
"""A setting as JSON has it; true and false are ints."""

_ITEMS = re.compile(r"^- ", re.MULTILINE)
_ENTRIES = re.compile(r"^(?=[^ \n])", re.MULTILINE)
_INDENT = re.compile(r"^  ", re.MULTILINE)
_NO_INDENT = re.compile(r"^(?!  ).", re.MULTILINE | re.DOTALL)
_UNCUT = ("\r", "\x85", "\u2028", "\u2029", "\ufeff", " " * 2 * MAX_DEPTH)
"""With other ends of lines, a byte order mark or great depth, pieces would not be as the whole is."""

_NUMBER = re.compile(r"([a-z0-9_]+): (-?[0-9][0-9.e+-]{0,50})")
_FIX = "take it from a copy of the run"


def read_settings(run: RunDirectory) -> dict[str, Value]:
    """The settings of a run.

    Raises:
        RunError: `config.yaml` is missing or damaged.
    """
    content = read_bytes(run.config, MAX_BYTES)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        where = str(run.config)
        raise RunError(Problem(where, "text in UTF-8", f"damage ({error.reason})", _FIX)) from error
    try:
        settings = _as_written(text)
    except _ForeignError:
        settings = _whole(text, run.config)
    if not isinstance(settings, dict):
        raise RunError(Problem(str(run.config), "settings", "none", _FIX))
    return settings


def value_at(settings: Value, steps: Sequence[str]) -> Value:
    """The value at a key path: keys of mappings, indices of lists.

    Raises:
        KeyError: There is none.
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


def _whole(text: str, path: Path) -> Value:
    document = parse_yaml(text, Source(str(path), path.parent))
    if document.problems:
        raise RunError(document.problems)
    return _plain(document)


class _ForeignError(Exception):
    """The trainer writes no such lines."""


def _as_written(text: str) -> Value:
    if any(mark in text for mark in _UNCUT):
        raise _ForeignError
    return _lines(text)


@lru_cache(maxsize=100_000)
def _lines(text: str) -> Value:
    """The value of lines that begin at the margin: the items of a list, the entries of a mapping, or
    what stands in the one line there is.
    """
    if text.startswith(" "):
        raise _ForeignError
    first, _, rest = text.partition("\n")
    if not rest:
        return _line(first)
    if text.startswith("- "):
        return [_item(item) for item in _ITEMS.split(text)[1:]]
    entries: dict[str, Value] = {}
    for entry in filter(None, _ENTRIES.split(text)):
        head, _, below = entry.partition("\n")
        match _line(head):
            case dict() as one if len(one) == 1:
                ((key, value),) = one.items()
            case _:
                raise _ForeignError
        if below:
            if value is not None or not head.endswith(":"):
                raise _ForeignError
            value = _lines(_outdented(below))
        if key in entries:
            raise _ForeignError
        entries[key] = value
    return entries


def _item(text: str) -> Value:
    first, _, rest = text.partition("\n")
    return _lines(f"{first}\n{_outdented(rest)}")


def _outdented(text: str) -> str:
    if _NO_INDENT.search(text):
        raise _ForeignError
    return _INDENT.sub("", text)


@lru_cache(maxsize=100_000)
def _line(text: str) -> Value:
    """The value in one line, as if it were a file."""
    # Numbers are what differs from run to run, and need no reader of YAML.
    if number := _NUMBER.fullmatch(text):
        return {number[1]: parse_scalar(number[2])}
    if text.startswith("---"):  # of a document
        raise _ForeignError
    document = parse_yaml(text, Source("", Path()))
    if document.problems:
        raise _ForeignError
    return _plain(document)


def _plain(document: Document) -> Value:
    return None if document.root is None else cast(Value, to_python(document.root))
