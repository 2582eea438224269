"""Lists whose entries have one of several kinds, such as the layers of a network.

An entry is a mapping with one key, its kind; a bare name or a scalar is a shorthand for it:
`- flatten`, `- dense: 64`, `- dense: {units: 64, activation: relu}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from inspect import cleandoc
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, create_model

from trainer.config.conflict import Conflict
from trainer.config.sections import (
    Section,
    name_to_mapping,
    null_to_mapping,
    shorthand_for,
    single_key,
)


class Kind(Section):
    """Base of the kinds; the fields of a subclass are its settings.

    Attributes:
        kind: Key of the entry in the config.
        shorthand: The setting that a scalar stands for.
        aliases: Names in other tools, separated by spaces.
    """

    kind: ClassVar[str]
    shorthand: ClassVar[str | None] = None
    aliases: ClassVar[str] = ""

    @classmethod
    def is_optional(cls) -> bool:
        """Return whether the kind has no required settings, so that its bare name is an entry."""
        return not any(info.is_required() for info in cls.model_fields.values())

    def conflicts(self, key: str) -> Iterator[Conflict]:
        """Yield conflicts between the settings; `key` is that of the settings."""
        yield from ()


class Entry(Section):
    """An entry of a list: a mapping from the kind to its settings.

    Attributes:
        module: The module in which the classes of the entries are: worker processes receive configs by
            pickle, which looks classes up by name.
    """

    # Entries are made by `entry_model`; there is no source to read docstrings from.
    model_config = ConfigDict(use_attribute_docstrings=False)
    module: ClassVar[str]


@cache
def entry_model(kind: type[Kind], base: type[Entry]) -> type[Any]:
    """Return the class of the entries of a kind, such as `{dense: 64}`; a subclass of `base`."""
    forms: Any = kind
    expand: Callable[[Any], Any] = null_to_mapping
    if kind.shorthand is not None:
        info = kind.model_fields[kind.shorthand]
        forms |= Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        expand = shorthand_for(kind.shorthand)
    if kind.is_optional():
        forms |= None
    settings: Any = Annotated[kind, BeforeValidator(expand, json_schema_input_type=forms)]
    name = "".join(word.capitalize() for word in kind.kind.split("_"))
    name += base.__name__.removesuffix("Entry")
    description = cleandoc(kind.__doc__ or "")
    fields: dict[str, Any] = {kind.kind: (settings, Field(description=description))}
    return create_model(name, __base__=base, __module__=base.module, **fields)


def entry_union(kinds: Sequence[type[Kind]], base: type[Entry]) -> Any:
    """Return the type of an entry of one of these kinds, as a mapping, a scalar or a bare name."""
    entries: Any = Union[*(Annotated[entry_model(kind, base), Tag(kind.kind)] for kind in kinds)]
    names: Any = Literal[*(kind.kind for kind in kinds if kind.is_optional())]
    return Annotated[
        entries,
        Discriminator(single_key),
        BeforeValidator(name_to_mapping, json_schema_input_type=entries | names),
    ]
