"""The schema as a tree of shapes that can be walked beside a config.

pydantic judges values; it does not say, in a form one can build on, what would have been right at a
place, which shorthands stand for what, or which settings a section knows. Shapes do: they are read
from the same annotations, so that messages, overrides and reference cannot part from the schema.

Owns: annotation → shape, and what a shape is called in words. Does not own: defaults and
descriptions (the models'), judging values (pydantic's).
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

from trainer.config.sections import Section, Words

LeafKind = Literal["text", "whole number", "number", "switch"]


@dataclass(frozen=True)
class Leaf:
    """A text, a number, or true or false, perhaps within bounds."""

    kind: LeafKind
    words: Words
    annotation: Any

    def accepts(self, value: object) -> bool:
        """Whether pydantic takes the value."""
        return _judge(self).is_valid(value)


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Items:
    """A list."""

    item: Shape
    at_least: int = 0
    at_most: int | None = None


@dataclass(frozen=True)
class Entries:
    """A mapping from names of the user's own."""

    value: Shape


@dataclass(frozen=True)
class Fields:
    """A section: a mapping with known keys."""

    model: type[Section]


@dataclass(frozen=True)
class Tagged:
    """One of several sections, told apart by its only key or by its `name`.

    Attributes:
        by_name: Whether `name` tells them apart.
        members: The sections, by tag.
    """

    by_name: bool
    members: tuple[tuple[str, Fields], ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """The known tags, in the schema's order."""
        return tuple(tag for tag, _ in self.members)

    def member(self, tag: object) -> Fields | None:
        """The section of a tag."""
        return next((fields for known, fields in self.members if known == tag), None)


@dataclass(frozen=True)
class Short:
    """A shape that may be written shorter.

    Attributes:
        expand: From what may be written to the full form; leaves a full form alone.
        inner: The full form.
    """

    expand: Callable[[Any], Any]
    inner: Shape


@dataclass(frozen=True)
class OneOf:
    """One of several shapes; `nullable` when null is allowed too."""

    members: tuple[Shape, ...]
    nullable: bool


Shape = Leaf | Choice | Items | Entries | Fields | Tagged | Short | OneOf


@cache
def fields_of(model: type[Section]) -> dict[str, Shape]:
    """The shapes of a section's settings, in the schema's order."""
    hints = get_type_hints(model, include_extras=True)
    return {name: shape_of(hints[name]) for name in model.model_fields}


def shape_of(annotation: Any) -> Shape:
    """The shape of a type annotation."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _annotated(annotation)
    if origin in (Union, UnionType):
        return _union(get_args(annotation))
    if origin is Literal:
        return Choice(get_args(annotation))
    if origin is list:
        return Items(shape_of(get_args(annotation)[0]))
    if origin is dict:
        return Entries(shape_of(get_args(annotation)[1]))
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return Fields(annotation)
    return _leaf(annotation, annotation, ())


def _annotated(annotation: Any) -> Shape:
    inner, *extras = get_args(annotation)
    short = next((extra for extra in extras if isinstance(extra, BeforeValidator)), None)
    if any(isinstance(extra, Discriminator) for extra in extras):
        full: Shape = _tagged(get_args(inner))
    else:
        bounds = [bound for extra in extras for bound in _bounds(extra)]
        full = shape_of(inner)
        if isinstance(full, Leaf):
            full = _leaf(inner, annotation, bounds)
        elif isinstance(full, Items):
            low = next((bound.min_length for bound in bounds if isinstance(bound, MinLen)), 0)
            high = next((bound.max_length for bound in bounds if isinstance(bound, MaxLen)), None)
            full = replace(full, at_least=low, at_most=high)
    return full if short is None else Short(short.func, full)  # type: ignore[arg-type]


def _bounds(extra: Any) -> list[Any]:
    return list(extra.metadata) if isinstance(extra, FieldInfo) else [extra]


def _tagged(members: tuple[Any, ...]) -> Tagged:
    found: list[tuple[str, Fields]] = []
    for member in members:
        model, *extras = get_args(member)
        tag = next(extra.tag for extra in extras if isinstance(extra, Tag))
        found.append((tag, Fields(model)))
    by_name = all("name" in fields.model.model_fields for _, fields in found)
    return Tagged(by_name, tuple(found))


def _union(arguments: tuple[Any, ...]) -> Shape:
    members: list[Shape] = []
    for argument in arguments:
        if argument is type(None):
            continue
        shape = shape_of(argument)
        last = members[-1] if members else None
        if isinstance(shape, Choice) and isinstance(last, Choice):
            members[-1] = Choice(tuple(dict.fromkeys((*last.values, *shape.values))))
        else:
            members.append(shape)
    nullable = type(None) in arguments
    if len(members) == 1 and not nullable:
        return members[0]
    return OneOf(tuple(members), nullable)


_KINDS: dict[type, LeafKind] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "switch",
}


def _leaf(scalar: type, annotation: Any, bounds: Any) -> Leaf:
    kind = _KINDS[scalar]
    words = next((bound for bound in bounds if isinstance(bound, Words)), None)
    if words is None:
        range_ = _range_words(bounds)
        match kind:
            case "text":
                words = Words("text", "texts")
            case "switch":
                words = Words("true or false", "true or false")
            case "whole number" | "number":
                words = Words(f"a {kind}{range_}", f"{kind}s{range_}")
            case _:
                assert_never(kind)
    return Leaf(kind, words, annotation)


def _range_words(bounds: Any) -> str:
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
def _judge(leaf: Leaf) -> _Judge:
    # A leaf stands alone here, so that the models' configuration has to be repeated for it.
    return _Judge(TypeAdapter(leaf.annotation, config=ConfigDict(strict=True, allow_inf_nan=False)))


@dataclass(frozen=True)
class _Judge:
    adapter: TypeAdapter[Any]

    def is_valid(self, value: object) -> bool:
        try:
            self.adapter.validate_python(value)
        except ValueError:
            return False
        return True


def words_of(shape: Shape) -> str:
    """What is right there, as a noun phrase."""
    match shape:
        case Leaf():
            return shape.words.one
        case Choice(values):
            return _alternatives(values)
        case Items(item, at_least, at_most):
            return f"a list of {_counted(at_least, at_most)}{_many(item)}"
        case Entries(value):
            return f"a mapping from names to {_many(value)}"
        case Fields(model):
            known = tuple(fields_of(model))
            return f"a mapping with {_listed(known)}" if known else "no settings"
        case Tagged():
            return _alternatives(shape.tags)
        case Short(inner=inner):
            short = short_words(shape)
            return f"{short} or {words_of(inner)}" if short else words_of(inner)
        case OneOf(members):
            return _joined(members)
        case _:
            assert_never(shape)


def _joined(members: tuple[Shape, ...]) -> str:
    if len(members) > 2 and all(isinstance(member, Leaf) for member in members):
        return "text, a number, or true or false"
    return " or ".join(
        f"a mapping with {words_of(member)}" if isinstance(member, Tagged) else words_of(member)
        for member in members
    )


def _many(shape: Shape) -> str:
    match shape:
        case Leaf():
            return shape.words.many
        case Choice(values):
            return _listed(values)
        case Items() | Entries() | Fields():
            return f"elements that are each {words_of(shape)}"
        case Tagged():
            return _listed(shape.tags)
        case Short(inner=inner):
            return _many(inner)
        case OneOf(members):
            return _joined(members)
        case _:
            assert_never(shape)


def _counted(at_least: int, at_most: int | None) -> str:
    if at_most is not None and at_least == at_most:
        return f"{at_least} "
    if at_most is not None:
        return f"{at_least} to {at_most} "
    return f"at least {at_least} " if at_least > 1 else ""


def _alternatives(values: tuple[str, ...]) -> str:
    return f"'{values[0]}'" if len(values) == 1 else f"one of {', '.join(values)}"


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(values)


def short_shape(shape: Short) -> tuple[str, Shape] | None:
    """The setting that a scalar alone stands for (`units` in `dense: 64`), and its shape."""
    if not isinstance(shape.inner, Fields):
        return None
    mark = object()
    expanded = shape.expand(mark)
    if not isinstance(expanded, dict):
        return None
    key = next(iter(expanded))
    return key, fields_of(shape.inner.model)[key]


def short_words(shape: Short) -> str:
    """What may be written in place of the full form."""
    short = short_shape(shape)
    return f"{words_of(short[1])} ({short[0]})" if short else ""


def tagged_in(shape: Shape) -> Tagged | None:
    """The union of sections that a shape is, may be or is short for."""
    match shape:
        case Tagged():
            return shape
        case Short(inner=inner):
            return tagged_in(inner)
        case OneOf(members):
            return next((found for each in members if (found := tagged_in(each))), None)
        case _:
            return None


def required_fields(model: type[Section]) -> tuple[str, ...]:
    """The settings of a section that have no default."""
    return tuple(name for name, info in model.model_fields.items() if info.is_required())


def settings(
    shape: Shape, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[Section], str]]:
    """Every setting below: its path, its section's model, its name there.

    A list's items and a mapping's values stand in the path as `*`; each kind of a layer or schedule
    as its key; each optimizer in angle brackets (`optimizer`, `<sgd>`, `momentum`).
    """
    match shape:
        case Leaf() | Choice():
            return
        case Items(item):
            yield from settings(item, (*path, "*"))
        case Entries(value):
            yield from settings(value, (*path, "*"))
        case Fields(model):
            for name, inner in fields_of(model).items():
                yield (*path, name), model, name
                yield from settings(inner, (*path, name))
        case Tagged(by_name, members):
            for tag, fields in members:
                yield from settings(fields, (*path, f"<{tag}>") if by_name else path)
        case Short(inner=inner):
            yield from settings(inner, path)
        case OneOf(members):
            for member in members:
                yield from settings(member, path)
        case _:
            assert_never(shape)
