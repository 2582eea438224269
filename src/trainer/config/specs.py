"""The schema as a tree of specs that can be traversed together with a config.

pydantic validates values, but its errors do not describe in a usable form what would be valid, what a
shorthand expands to, or which settings a section has. Specs do. They are built from the same type
annotations, so that messages, overrides and the reference page always agree with the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    assert_never,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BeforeValidator, ConfigDict, Discriminator, Tag, TypeAdapter
from pydantic.fields import FieldInfo

from trainer.config.sections import Section, ValueName

ScalarKind = Literal["text", "integer", "number", "boolean"]


@dataclass(frozen=True)
class ScalarSpec:
    """Text, a number, or true or false, possibly with bounds."""

    kind: ScalarKind
    name: ValueName
    annotation: Any

    def accepts(self, value: object) -> bool:
        """Return whether the value is valid."""
        return _validator(self).is_valid(value)


@dataclass(frozen=True)
class ChoiceSpec:
    """One of several names."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class ListSpec:
    """A list."""

    item: Spec
    at_least: int = 0
    at_most: int | None = None


@dataclass(frozen=True)
class MappingSpec:
    """A mapping with arbitrary keys."""

    value: Spec


@dataclass(frozen=True)
class SectionSpec:
    """A section: a mapping with fixed keys."""

    model: type[Section]


@dataclass(frozen=True)
class TaggedSpec:
    """One of several sections, distinguished by their only key or by `name`.

    Attributes:
        by_name: Whether they are distinguished by `name`.
        members: The sections, by tag.
    """

    by_name: bool
    members: tuple[tuple[str, SectionSpec], ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags, in the order of the schema."""
        return tuple(tag for tag, _ in self.members)

    def member(self, tag: object) -> SectionSpec | None:
        """Return the section of a tag, or None."""
        return next((fields for known, fields in self.members if known == tag), None)


@dataclass(frozen=True)
class ShorthandSpec:
    """A spec with a shorthand.

    Attributes:
        expand: Expands the shorthand; returns a full form unchanged.
        inner: The full form.
    """

    expand: Callable[[Any], Any]
    inner: Spec


@dataclass(frozen=True)
class UnionSpec:
    """One of several specs; with `nullable`, null is allowed too."""

    members: tuple[Spec, ...]
    nullable: bool


Spec = (
    ScalarSpec
    | ChoiceSpec
    | ListSpec
    | MappingSpec
    | SectionSpec
    | TaggedSpec
    | ShorthandSpec
    | UnionSpec
)


@cache
def section_fields(model: type[Section]) -> dict[str, Spec]:
    """Return the specs of a section's settings, in the order of the schema."""
    hints = get_type_hints(model, include_extras=True)
    return {name: spec_of(hints[name]) for name in model.model_fields}


def spec_of(annotation: Any) -> Spec:
    """Return the spec of a type annotation."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _annotated(annotation)
    if origin in (Union, UnionType):
        return _union(get_args(annotation))
    if origin is Literal:
        return ChoiceSpec(get_args(annotation))
    if origin is list:
        return ListSpec(spec_of(get_args(annotation)[0]))
    if origin is dict:
        return MappingSpec(spec_of(get_args(annotation)[1]))
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return SectionSpec(annotation)
    return _scalar_spec(annotation, annotation, ())


def _annotated(annotation: Any) -> Spec:
    inner, *extras = get_args(annotation)
    shorthand = next((extra for extra in extras if isinstance(extra, BeforeValidator)), None)
    if any(isinstance(extra, Discriminator) for extra in extras):
        full: Spec = _tagged(get_args(inner))
    else:
        bounds = [bound for extra in extras for bound in _bounds(extra)]
        full = spec_of(inner)
        if isinstance(full, ScalarSpec):
            full = _scalar_spec(inner, annotation, bounds)
        elif isinstance(full, ListSpec):
            low = next((bound.min_length for bound in bounds if isinstance(bound, MinLen)), 0)
            high = next((bound.max_length for bound in bounds if isinstance(bound, MaxLen)), None)
            full = replace(full, at_least=low, at_most=high)
    return full if shorthand is None else ShorthandSpec(shorthand.func, full)  # type: ignore[arg-type]


def _bounds(extra: Any) -> list[Any]:
    return list(extra.metadata) if isinstance(extra, FieldInfo) else [extra]


def _tagged(members: tuple[Any, ...]) -> TaggedSpec:
    tagged: list[tuple[str, SectionSpec]] = []
    for member in members:
        model, *extras = get_args(member)
        tag = next(extra.tag for extra in extras if isinstance(extra, Tag))
        tagged.append((tag, SectionSpec(model)))
    by_name = all("name" in fields.model.model_fields for _, fields in tagged)
    return TaggedSpec(by_name, tuple(tagged))


def _union(arguments: tuple[Any, ...]) -> Spec:
    members: list[Spec] = []
    for argument in arguments:
        if argument is type(None):
            continue
        spec = spec_of(argument)
        last = members[-1] if members else None
        if isinstance(spec, ChoiceSpec) and isinstance(last, ChoiceSpec):
            members[-1] = ChoiceSpec(tuple(dict.fromkeys((*last.values, *spec.values))))
        else:
            members.append(spec)
    nullable = type(None) in arguments
    if len(members) == 1 and not nullable:
        return members[0]
    return UnionSpec(tuple(members), nullable)


_KINDS: dict[type, ScalarKind] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
}


def _scalar_spec(scalar: type, annotation: Any, bounds: Any) -> ScalarSpec:
    kind = _KINDS[scalar]
    name = next((bound for bound in bounds if isinstance(bound, ValueName)), None)
    if name is None:
        range_ = _range_text(bounds)
        match kind:
            case "text":
                name = ValueName("text", "strings")
            case "boolean":
                name = ValueName("true or false", "true or false")
            case "integer":
                name = ValueName(f"an integer{range_}", f"integers{range_}")
            case "number":
                name = ValueName(f"a number{range_}", f"numbers{range_}")
            case _:
                assert_never(kind)
    return ScalarSpec(kind, name, annotation)


def _range_text(bounds: Any) -> str:
    low = next((bound for bound in bounds if isinstance(bound, Ge | Gt)), None)
    high = next((bound for bound in bounds if isinstance(bound, Le | Lt)), None)
    if isinstance(low, Ge) and isinstance(high, Le):
        return f" from {_number(low.ge)} to {_number(high.le)}"
    parts: list[str] = []
    if isinstance(low, Ge):
        parts.append(f"of at least {_number(low.ge)}")
    elif isinstance(low, Gt):
        parts.append(f"above {_number(low.gt)}")
    if isinstance(high, Le):
        parts.append(f"{'' if parts else 'of '}at most {_number(high.le)}")
    elif isinstance(high, Lt):
        parts.append(f"below {_number(high.lt)}")
    return " " + " and ".join(parts) if parts else ""


def _number(value: Any) -> str:
    if value == 2**63:
        return "2^63"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


@cache
def _validator(spec: ScalarSpec) -> _Validator:
    # A scalar is validated outside its model, so the configuration of the models is repeated here.
    return _Validator(
        TypeAdapter(spec.annotation, config=ConfigDict(strict=True, allow_inf_nan=False))
    )


@dataclass(frozen=True)
class _Validator:
    adapter: TypeAdapter[Any]

    def is_valid(self, value: object) -> bool:
        try:
            self.adapter.validate_python(value)
        except ValueError:
            return False
        return True


def shorthand_setting(spec: ShorthandSpec) -> tuple[str, Spec] | None:
    """Return the setting that a shorthand sets (`units` in `dense: 64`), and its spec."""
    if not isinstance(spec.inner, SectionSpec):
        return None
    sentinel = object()
    full = spec.expand(sentinel)
    if not isinstance(full, dict):
        return None
    key = next(iter(full))
    return key, section_fields(spec.inner.model)[key]


def find_tagged(spec: Spec) -> TaggedSpec | None:
    """Return the tagged union in a spec, even inside a shorthand or another union; None if there is
    none.
    """
    match spec:
        case TaggedSpec():
            return spec
        case ShorthandSpec(inner=inner):
            return find_tagged(inner)
        case UnionSpec(members):
            return next((tagged for member in members if (tagged := find_tagged(member))), None)
        case _:
            return None


def required_fields(model: type[Section]) -> tuple[str, ...]:
    """Return the settings of a section that have no default."""
    return tuple(name for name, info in model.model_fields.items() if info.is_required())


def settings(
    spec: Spec, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[Section], str]]:
    """Yield every setting of a spec: its path, the model of its section, its name.

    In the path, `*` is an item of a list or a value of a mapping, a type of layer or schedule is its
    key, and an optimizer is in angle brackets (`optimizer`, `<sgd>`, `momentum`).
    """
    match spec:
        case ScalarSpec() | ChoiceSpec():
            return
        case ListSpec(item):
            yield from settings(item, (*path, "*"))
        case MappingSpec(value):
            yield from settings(value, (*path, "*"))
        case SectionSpec(model):
            for name, inner in section_fields(model).items():
                yield (*path, name), model, name
                yield from settings(inner, (*path, name))
        case TaggedSpec(by_name, members):
            for tag, fields in members:
                yield from settings(fields, (*path, f"<{tag}>") if by_name else path)
        case ShorthandSpec(inner=inner):
            yield from settings(inner, path)
        case UnionSpec(members):
            for member in members:
                yield from settings(member, path)
        case _:
            assert_never(spec)
