"""Validators for values read from JSON: functions that return the value or raise `DamageError`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any


def short_repr(value: Any) -> str:
    """Return a value as text for a message, truncated."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"


class DamageError(Exception):
    """A value does not have the expected type or form."""

    def __init__(self, expected: str, found: object) -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = short_repr(found)


Reader = Callable[[Any], Any]
"""Returns the validated value, or raises `DamageError`."""


def read_fields(value: Any, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Return the values of a mapping that must have all these keys; other keys are ignored."""
    if not isinstance(value, dict):
        raise DamageError("a mapping", value)
    missing = [name for name in readers if name not in value]
    if missing:
        raise DamageError(f"'{missing[0]}'", list(value))
    fields = {}
    for name, reader in readers.items():
        try:
            fields[name] = reader(value[name])
        except DamageError as error:
            error.expected = f"{error.expected} for '{name}'"
            raise
    return fields


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise DamageError("a string", value)
    return value


def count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DamageError("an integer of 0 or more", value)
    return value


def number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise DamageError("a number", value)
    try:
        return float(value)
    except OverflowError:
        raise DamageError("a number that fits a float", value) from None


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise DamageError("true or false", value)
    return value


def time(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text(value))
        # A time that overflows in UTC is invalid too.
        moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise DamageError("a time", value) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def one_of(*names: str) -> Reader:
    """Return a reader of one of these strings."""

    def read(value: Any) -> str:
        if value not in names:
            raise DamageError(f"one of {', '.join(names)}", value)
        return str(value)

    return read


def optional(reader: Reader) -> Reader:
    """Return a reader that also accepts null, as None."""
    return lambda value: None if value is None else reader(value)


def any_of(*options: Reader) -> Reader:
    """Return a reader that tries several readers in order."""

    def read(value: Any) -> Any:
        expected = []
        for option in options:
            try:
                return option(value)
            except DamageError as error:
                expected.append(error.expected)
        raise DamageError(" or ".join(expected), value)

    return read


def tuple_of(reader: Reader) -> Reader:
    """Return a reader of a list, as a tuple."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise DamageError("a list", value)
        return tuple(reader(item) for item in value)

    return read


def mapping_of(reader: Reader) -> Reader:
    """Return a reader of a mapping with arbitrary keys."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise DamageError("a mapping", value)
        return {name: reader(item) for name, item in value.items()}

    return read


def object_of(make: Callable[..., Any], readers: Mapping[str, Reader]) -> Reader:
    """Return a reader of a mapping that becomes the arguments of `make`."""
    return lambda value: make(**read_fields(value, readers))
