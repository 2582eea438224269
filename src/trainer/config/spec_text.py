"""Descriptions of what a spec of the schema accepts."""

from __future__ import annotations

from typing import assert_never

from trainer.config import specs


def describe_spec(spec: specs.Spec) -> str:
    """Return what is valid, as a noun phrase."""
    match spec:
        case specs.ScalarSpec():
            return spec.name.singular
        case specs.ChoiceSpec(values):
            return _alternatives(values)
        case specs.ListSpec(item, at_least, at_most):
            return f"a list of {_count(at_least, at_most)}{_plural(item)}"
        case specs.MappingSpec(value):
            return f"a mapping from names to {_plural(value)}"
        case specs.SectionSpec(model):
            known = tuple(specs.section_fields(model))
            return f"a mapping with {_join(known)}" if known else "no settings"
        case specs.TaggedSpec():
            return _alternatives(spec.tags)
        case specs.ShorthandSpec(inner=inner):
            shorthand = describe_shorthand(spec)
            return f"{shorthand} or {describe_spec(inner)}" if shorthand else describe_spec(inner)
        case specs.UnionSpec(members):
            return _joined(members)
        case _:
            assert_never(spec)


def _joined(members: tuple[specs.Spec, ...]) -> str:
    if len(members) > 2 and all(isinstance(member, specs.ScalarSpec) for member in members):
        return "text, a number, or true or false"
    return " or ".join(
        f"a mapping with {describe_spec(member)}"
        if isinstance(member, specs.TaggedSpec)
        else describe_spec(member)
        for member in members
    )


def _plural(spec: specs.Spec) -> str:
    match spec:
        case specs.ScalarSpec():
            return spec.name.plural
        case specs.ChoiceSpec(values):
            return _join(values)
        case specs.ListSpec() | specs.MappingSpec() | specs.SectionSpec():
            noun, _, rest = describe_spec(spec).removeprefix("a ").partition(" ")
            return f"{noun}s {rest}"
        case specs.TaggedSpec():
            return _join(spec.tags)
        case specs.ShorthandSpec(inner=inner):
            return _plural(inner)
        case specs.UnionSpec(members):
            return _joined(members)
        case _:
            assert_never(spec)


def _count(at_least: int, at_most: int | None) -> str:
    if at_most is not None and at_least == at_most:
        return f"{at_least} "
    if at_most is not None:
        return f"{at_least} to {at_most} "
    return f"at least {at_least} " if at_least > 1 else ""


def _alternatives(values: tuple[str, ...]) -> str:
    return f"'{values[0]}'" if len(values) == 1 else f"one of {', '.join(values)}"


def _join(values: tuple[str, ...]) -> str:
    return ", ".join(values)


def describe_shorthand(spec: specs.ShorthandSpec) -> str:
    """Return the text of a shorthand: what may be written instead of the full form."""
    setting = specs.shorthand_setting(spec)
    return f"{describe_spec(setting[1])} ({setting[0]})" if setting else ""
