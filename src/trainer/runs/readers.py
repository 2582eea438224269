"""Values read back from JSON, each checked to be what its place asks for.

Owns: readers, functions that give the value or raise `DamageError`. Does not own: which file was
damaged and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any


def shown(value: Any) -> str:
    """A value in a message: its beginning, however long or deep it is."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deep {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"


class DamageError(Exception):
    """A value is not what its place asks for."""

    def __init__(self, expected: str, found: object) -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = shown(found)


Reader = Callable[[Any], Any]
"""Gives the checked value, or raises `DamageError`."""


def read_fields(value: Any, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """The values of a mapping that has all these keys; others are passed over."""
    if not isinstance(value, dict):
        raise DamageError("a mapping", value)
    missing = [name for name in readers if name not in value]
    if missing:
        raise DamageError(f"'{missing[0]}'", list(value))
    facts = {}
    for name, reader in readers.items():
        try:
            facts[name] = reader(value[name])
        except DamageError as error:
            error.expected = f"{error.expected} for '{name}'"
            raise
    return facts


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise DamageError("a text", value)
    return value


def count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DamageError("a whole number", value)
    return value


def number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise DamageError("a number", value)
    try:
        return float(value)
    except OverflowError:
        raise DamageError("a number of ordinary size", value) from None


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise DamageError("true or false", value)
    return value


def time(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text(value))
        # Also one that no clock shows in UTC is damage.
        moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise DamageError("a time", value) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def one_of(*names: str) -> Reader:
    """A reader of one of these words."""

    def read(value: Any) -> str:
        if value not in names:
            raise DamageError(f"one of {', '.join(names)}", value)
        return str(value)

    return read


def maybe(reader: Reader) -> Reader:
    """A reader that lets null through as None."""
    return lambda value: None if value is None else reader(value)


def either(*options: Reader) -> Reader:
    """A reader of what one of these reads, the first that can."""

    def read(value: Any) -> Any:
        expected = []
        for option in options:
            try:
                return option(value)
            except DamageError as error:
                expected.append(error.expected)
        raise DamageError(" or ".join(expected), value)

    return read


def each(reader: Reader) -> Reader:
    """A reader of a list, as a tuple."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise DamageError("a list", value)
        return tuple(reader(item) for item in value)

    return read


def by_name(reader: Reader) -> Reader:
    """A reader of a mapping with free keys."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise DamageError("a mapping", value)
        return {name: reader(item) for name, item in value.items()}

    return read


def made(make: Callable[..., Any], readers: Mapping[str, Reader]) -> Reader:
    """A reader of a mapping as an object."""
    return lambda value: make(**read_fields(value, readers))
