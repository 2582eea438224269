"""Records round-trip for any content."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.runs.files import json_bytes, read_json, write_atomically
from trainer.runs.readers import DamageError
from trainer.runs.records import from_json, optional_field, reader_of, to_json


@dataclass(frozen=True)
class Inner:
    name: str
    value: float | None


@dataclass(frozen=True)
class Outer:
    kind: Literal["a", "b"]
    count: int
    share: float
    flag: bool
    when: datetime
    by_name: Mapping[str, Inner]
    listed: tuple[tuple[float | None, ...], ...]
    either: str | tuple[float | None, ...]
    maybe: Inner | None = None
    unchecked: Any = None
    new: tuple[str, ...] = optional_field(())


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
UNDEFINED = st.none() | FLOATS
# Including control characters, quotes, commas, newlines and emoji.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
INNER = st.builds(Inner, TEXTS, UNDEFINED)
NUMBERS = st.lists(UNDEFINED, max_size=3).map(tuple)
OUTER = st.builds(
    Outer,
    st.sampled_from(["a", "b"]),
    st.integers(0, 2**70),
    FLOATS,
    st.booleans(),
    st.datetimes(timezones=st.just(UTC)),
    st.dictionaries(TEXTS, INNER, max_size=3),
    st.lists(NUMBERS, max_size=3).map(tuple),
    TEXTS | NUMBERS,
    st.none() | INNER,
    st.none() | TEXTS | st.lists(FLOATS),
    st.lists(TEXTS, max_size=2).map(tuple),
)


@given(record=OUTER)
def test_written_record_is_read_back(tmp_path_factory: Any, record: Outer) -> None:
    path = tmp_path_factory.getbasetemp() / "record.json"
    write_atomically(path, json_bytes(to_json(record)))
    assert from_json(Outer, read_json(path)) == record


def test_nan_and_infinity_are_read_as_none() -> None:
    for value in (math.nan, math.inf, -math.inf):
        assert from_json(Inner, to_json(Inner("x", value))) == Inner("x", None)


GOOD: dict[str, Any] = {
    "kind": "a",
    "count": 3,
    "share": 0.5,
    "flag": True,
    "when": "2026-11-22T14:15:30+00:00",
    "by_name": {"x": {"name": "n", "value": None}},
    "listed": [[1, None]],
    "either": "text",
    "maybe": None,
    "unchecked": {"any": ["thing"]},
}


def test_fields_of_earlier_and_later_versions(tmp_path: Path) -> None:
    assert from_json(Outer, GOOD).new == ()
    assert from_json(Outer, {**GOOD, "of_a_later_version": 1}) == from_json(Outer, GOOD)
    with pytest.raises(DamageError, match="'maybe'"):
        from_json(Outer, {key: value for key, value in GOOD.items() if key != "maybe"})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"kind": "c"}, "one of a, b for 'kind'"),
        ({"count": -1}, "an integer of 0 or more for 'count'"),
        ({"count": 1.0}, "an integer of 0 or more for 'count'"),
        ({"count": True}, "an integer of 0 or more for 'count'"),
        ({"share": None}, "a number for 'share'"),
        ({"share": "1"}, "a number for 'share'"),
        ({"flag": 0}, "true or false for 'flag'"),
        ({"when": "noon"}, "a time for 'when'"),
        ({"by_name": []}, "a mapping for 'by_name'"),
        ({"by_name": {"x": {"name": "n"}}}, "'value' for 'by_name'"),
        ({"listed": [1]}, "a list for 'listed'"),
        ({"either": 3}, "a string or a list for 'either'"),
        ({"either": [True]}, "a string or a number for 'either'"),
        ({"new": [1]}, "a string for 'new'"),
    ],
)
def test_invalid_values(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(DamageError) as error:
        from_json(Outer, {**GOOD, **change})
    assert error.value.expected == expected


def test_unsupported_field_type() -> None:
    with pytest.raises(TypeError, match="not a supported field type"):
        reader_of(complex)
