"""Values generated from the schema: valid ones for hypothesis, invalid ones for each setting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from trainer.config.matching import ROOT
from trainer.config.nodes import KeyPath
from trainer.config.sections import Section
from trainer.config.specs import (
    ChoiceSpec,
    ListSpec,
    MappingSpec,
    ScalarSpec,
    SectionSpec,
    ShorthandSpec,
    Spec,
    TaggedSpec,
    UnionSpec,
    required_fields,
    section_fields,
    shorthand_setting,
)

TEXTS = st.one_of(
    st.sampled_from(
        ["no", "1e3", "null", "~", "", " a ", "a: b", "# x", "-", "- a", "é", "\U0001f600"]
    ),
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"),
        max_size=8,
    ),
)
SPECIAL: dict[str, list[Any]] = {
    "text": ["5 epochs", "2 steps", "loss", "val_auc", "a.b:c", "2/5", "best:5"],
    "integer": [700, 750, 1000],
    "number": [-0.8, 1.5, 2.0],
    "boolean": [],
}
ORDINARY: dict[str, Any] = {"text": "a", "integer": 5, "number": 0.5, "boolean": True}
LEAVES = {
    "text": st.one_of(TEXTS, st.sampled_from([*SPECIAL["text"], ";"])),
    "integer": st.one_of(st.integers(-3, 10**6), st.integers(1, 8)),
    "number": st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1)),
    "boolean": st.booleans(),
}


@cache
def values(spec: Spec) -> st.SearchStrategy[Any]:
    """Return a strategy for valid values of a spec, in full form and as shorthands."""
    match spec:
        case ScalarSpec():
            # Hypothesis gives up if few values pass a filter.
            ordinary = ORDINARY[spec.kind]
            if spec.accepts(ordinary):
                return LEAVES[spec.kind].map(
                    lambda value: value if spec.accepts(value) else ordinary
                )
            special = [value for value in SPECIAL[spec.kind] if spec.accepts(value)]
            return st.sampled_from(special) if special else LEAVES[spec.kind].filter(spec.accepts)
        case ChoiceSpec(choices):
            return st.sampled_from(choices)
        case ListSpec(item, at_least, at_most):
            most = at_least + 2 if at_most is None else at_most
            return st.lists(values(item), min_size=at_least, max_size=most)
        case MappingSpec(value):
            return st.dictionaries(TEXTS, values(value), max_size=2)
        case SectionSpec(model):
            known = {name: values(inner) for name, inner in section_fields(model).items()}
            required = {name: known.pop(name) for name in required_fields(model)}
            return st.fixed_dictionaries(required, optional=known)
        case TaggedSpec(_, members):
            return st.one_of([values(fields) for _, fields in members])
        case ShorthandSpec(inner=inner):
            short = shorthand_setting(spec)
            return values(inner) if short is None else st.one_of(values(inner), values(short[1]))
        case UnionSpec(members, nullable):
            options = [values(member) for member in members]
            return st.one_of([*options, st.none()] if nullable else options)


def minimal(spec: Spec) -> Any:
    """Return the smallest valid value of a spec."""
    match spec:
        case ScalarSpec(kind="text"):
            return next(text for text in ("x", "5 epochs", "a:b") if spec.accepts(text))
        case ScalarSpec():
            return next(number for number in (1, 2, 0.5, -1.0, True) if spec.accepts(number))
        case ChoiceSpec(choices):
            return choices[0]
        case ListSpec(item, at_least):
            return [minimal(item)] * max(1, at_least)
        case MappingSpec(value):
            return {"x": minimal(value)}
        case SectionSpec(model):
            return {name: minimal(section_fields(model)[name]) for name in required_fields(model)}
        case TaggedSpec(_, members):
            return minimal(members[0][1])
        case ShorthandSpec(inner=inner):
            return minimal(inner)
        case UnionSpec(members):
            return minimal(members[0])


ANYTHING: list[Any] = [None, True, "§", "", -(10.0**9), 10**30, 1.5, [], ["§"], {}, {"§": 1}]


def broken(spec: Spec, seen: set[type[Section]]) -> Iterator[tuple[KeyPath, Any]]:
    """Yield values with one error, and its path. In a union such a value may be valid.

    The settings of a section are broken where it is first used; `seen` has the earlier sections.
    """
    match spec:
        case ScalarSpec():
            yield from (((), value) for value in ANYTHING if not spec.accepts(value))
        case ChoiceSpec():
            yield from (((), value) for value in ANYTHING)
        case ListSpec(item, at_least):
            yield from (((), value) for value in ANYTHING[:7] if value is not None)
            rest = [minimal(item)] * (max(1, at_least) - 1)
            yield from (((0, *path), [value, *rest]) for path, value in broken(item, seen))
        case MappingSpec(value):
            yield from (((), bad) for bad in ANYTHING[:9])
            yield from ((("k", *path), {"k": bad}) for path, bad in broken(value, seen))
        case SectionSpec(model):
            yield from (((), bad) for bad in ANYTHING[:9])
            if model in seen:
                return
            seen.add(model)
            base = minimal(spec)
            for name, inner in section_fields(model).items():
                yield from (
                    ((name, *path), {**base, name: bad}) for path, bad in broken(inner, seen)
                )
            for name in required_fields(model):
                yield (name,), {key: value for key, value in base.items() if key != name}
            yield ("zzqq",), {**base, "zzqq": 1}
        case TaggedSpec(by_name, members):
            yield from (((), bad) for bad in ANYTHING)
            for tag, fields in members:
                for path, bad in broken(fields, seen):
                    if isinstance(bad, dict) and (by_name or tag in bad):
                        yield path, bad
        case ShorthandSpec(inner=inner):
            yield from broken(inner, seen)
        case UnionSpec(members):
            for member in members:
                yield from broken(member, seen)


@pytest.fixture(scope="session")
def valid_settings() -> st.SearchStrategy[dict[str, Any]]:
    """Configs that match the schema; their settings may conflict with each other."""
    return values(ROOT)


@pytest.fixture(scope="session")
def broken_settings() -> list[tuple[KeyPath, dict[str, Any]]]:
    """Configs with one error, several for each setting, and the path of the error."""
    base = {"data": {"source": "x", "target": "y"}}
    configs: list[tuple[KeyPath, dict[str, Any]]] = []
    seen: set[type[Section]] = set()
    for name, inner in section_fields(ROOT.model).items():
        configs += [((name, *path), {**base, name: value}) for path, value in broken(inner, seen)]
    return configs


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a config file and returns its path."""

    def write_file(text: str | bytes, name: str = "config.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file
