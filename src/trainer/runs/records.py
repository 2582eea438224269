"""JSON files of a run as dataclasses: one definition both writes and validates a file.

    @dataclass(frozen=True)
    class Score:
        name: str
        value: float | None
        rows: int = optional_field(0)

Supported types: `str`, `int` (0 or more), `float`, `bool`, `datetime`, a `Literal` of strings,
`tuple[T, ...]` (a list), `Mapping[str, T]` (an object), another dataclass, `T | None`, a union of such
types that JSON can distinguish, and `Any` for unchecked values.

A number that can be NaN or infinite has the type `float | None`, because JSON has neither; it is read as
None. Keys without a field are ignored, so that files of later versions can be read. A field that files
of earlier versions lack is declared with `optional_field`; all other fields are required.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from trainer.errors import Problem, RunError
from trainer.runs import readers
from trainer.runs.files import read_json, to_jsonable
from trainer.runs.readers import DamageError, Reader

_Record = TypeVar("_Record")
_OPTIONAL = "optional"
_PLAIN: dict[Any, Reader] = {
    str: readers.text,
    int: readers.count,
    float: readers.number,
    bool: readers.boolean,
    datetime: readers.time,
    Any: lambda value: value,
}


def optional_field(default: Any = MISSING, *, default_factory: Any = MISSING) -> Any:
    """Declare a field that files of earlier versions lack, with its value for those files."""
    return field(default=default, default_factory=default_factory, metadata={_OPTIONAL: True})


def to_json(record: Any) -> Any:
    """Convert a record to JSON types: fields by name in order, NaN and ±∞ as None."""
    if is_dataclass(record) and not isinstance(record, type):
        return {item.name: to_json(getattr(record, item.name)) for item in fields(record)}
    if isinstance(record, tuple | list):
        return [to_json(item) for item in record]
    if isinstance(record, Mapping):
        return {str(key): to_json(item) for key, item in record.items()}
    return to_jsonable(record)


def from_json(kind: type[_Record], value: Any) -> _Record:
    """Convert a JSON value to a record of this type.

    Raises:
        DamageError: The value does not match the type.
    """
    record: _Record = reader_of(cast("Any", kind))(value)
    return record


def read_record(path: Path, kind: type[_Record], fix: str) -> _Record | None:
    """Read a record; return None if the file does not exist.

    Args:
        path: The file.
        kind: The dataclass.
        fix: The fix to suggest for a damaged file.

    Raises:
        RunError: The file is damaged.
    """
    if not path.exists():
        return None
    try:
        return from_json(kind, read_json(path))
    except DamageError as damage:
        raise RunError(Problem(str(path), damage.expected, damage.found, fix)) from damage


@cache
def reader_of(kind: Any) -> Reader:
    """Return the reader for a type of field."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if isinstance(kind, type) and is_dataclass(kind):
        return _record_reader(kind)
    parts = get_args(kind)
    match get_origin(kind):
        case origin if origin is Literal:
            return readers.one_of(*parts)
        case origin if origin is tuple:
            return readers.tuple_of(reader_of(parts[0]))
        case origin if isinstance(origin, type) and issubclass(origin, Mapping):
            return readers.mapping_of(reader_of(parts[1]))
        case origin if origin in {Union, UnionType}:
            options = [reader_of(part) for part in parts if part is not NoneType]
            reader = options[0] if len(options) == 1 else readers.any_of(*options)
            return readers.optional(reader) if NoneType in parts else reader
    raise TypeError(f"{kind} is not a supported field type")


def _record_reader(kind: type) -> Reader:
    hints = get_type_hints(kind)
    known = {item.name: reader_of(hints[item.name]) for item in fields(kind)}
    optional = {item.name for item in fields(kind) if _OPTIONAL in item.metadata}

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise DamageError("a mapping", value)
        needed = {
            name: reader for name, reader in known.items() if name in value or name not in optional
        }
        return kind(**readers.read_fields(value, needed))

    return read
