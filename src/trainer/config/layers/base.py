"""What a kind of layer declares: its settings, its Keras layer, its shapes and how it is stacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from inspect import cleandoc
from math import prod
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

# Worker processes receive configs by pickle, which looks classes up by name in this module.
_ENTRIES_MODULE = "trainer.config.layers.kinds"

Shape = tuple[int, ...]
"""Shape of one sample, without the batch axis."""
Stacking = Literal["rows", "members"] | None
"""How a pack computes a layer for all its members.

rows: the Keras layer is called with the rows of all members as one batch; for layers without weights or
randomness that process each row independently. members: `trainer.models.stacking` computes it. None:
networks with such a layer are not trained in packs.
"""


class ShapeError(Exception):
    """A layer cannot follow the previous one.

    Attributes:
        expected: What the layer expects.
        found: What it gets.
        fix: What to change.
        setting: The setting at fault; empty for the whole layer.
    """

    def __init__(self, expected: str, found: str, fix: str, setting: str = "") -> None:
        super().__init__(f"expected {expected}, found {found}; {fix}")
        self.expected, self.found, self.fix, self.setting = expected, found, fix, setting


class LayerKind(Section):
    """Base of the kinds of layers; the fields of a subclass are its settings.

    Attributes:
        kind: Key of the layer in the config.
        keras_layer: Name of the class in `keras.layers`; None if there is none.
        shorthand: The setting that a scalar stands for.
        aliases: Names in other tools, separated by spaces.
        random: Whether the Keras layer takes a seed.
        stacking: How the layer is computed in a pack.
        needs_shape: Whether the layer can be built only for a known input shape.
    """

    kind: ClassVar[str]
    keras_layer: ClassVar[str | None] = None
    shorthand: ClassVar[str | None] = None
    aliases: ClassVar[str] = ""
    random: ClassVar[bool] = False
    stacking: ClassVar[Stacking] = None
    needs_shape: ClassVar[bool] = False

    @classmethod
    def is_optional(cls) -> bool:
        """Return whether the kind has no required settings, so that its bare name is a layer."""
        return not any(info.is_required() for info in cls.model_fields.values())

    def keras_class(self, shape: Shape | None) -> str:
        """Return the name of the class in `keras.layers` for an input shape."""
        assert self.keras_layer is not None, self.kind
        return self.keras_layer

    def keras_arguments(self) -> dict[str, Any]:
        """Return the arguments of the Keras layer.

        Initializers, regularizers and constraints are as in the config: `trainer.models.layers` builds
        them from arguments named `…_initializer`, `…_regularizer` and `…_constraint`.
        """
        return {name: getattr(self, name) for name in type(self).model_fields}

    def conflicts(self, key: str) -> Iterator[Conflict]:
        """Yield conflicts between the settings; `key` is that of the settings."""
        yield from ()

    def output_shape(self, shape: Shape) -> Shape | None:
        """Return the output shape for an input shape; None if unknown.

        Raises:
            ShapeError: The layer does not accept the input shape.
        """
        return shape

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...] | None:
        """Return the shapes of the trainable variables for an input shape; None if unknown."""
        return ()

    def non_trainable(self, shape: Shape) -> int:
        """Return the number of non-trainable weights for an input shape."""
        return 0

    @property
    def convolutional(self) -> bool:
        """Whether the layer convolves its input, which XLA does slowly on a CPU."""
        return False

    def multiplications(self, shape: Shape) -> int:
        """Return the approximate number of multiplications for a sample: each weight is used once."""
        weights = self.trainable_shapes(shape) or ()
        return sum(map(prod, weights)) + self.non_trainable(shape)

    def activations(self, shape: Shape) -> int:
        """Return the number of values that the layer keeps for the gradient of a sample."""
        output = self.output_shape(shape)
        return 0 if output is None else prod(output)

    def shared_settings(self) -> Any:
        """Return the JSON that is equal for layers that can be in the same pack."""
        return self.model_dump(mode="json")

    def member_settings(self) -> dict[str, float]:
        """Return the numbers that can differ between the members of a pack."""
        return {}


class LayerEntry(Section):
    """An entry of `model.layers`: a mapping from the kind to its settings."""

    # Entries are made by `entry_model`; there is no source to read docstrings from.
    model_config = ConfigDict(use_attribute_docstrings=False)

    @property
    def settings(self) -> LayerKind:
        """The settings of the layer."""
        settings: LayerKind = getattr(self, next(iter(type(self).model_fields)))
        return settings


@cache
def entry_model(kind: type[LayerKind]) -> type[LayerEntry]:
    """Return the class of the entries of a kind, such as `{dense: 64}`."""
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
    description = cleandoc(kind.__doc__ or "")
    fields: dict[str, Any] = {kind.kind: (settings, Field(description=description))}
    return create_model(f"{name}Layer", __base__=LayerEntry, __module__=_ENTRIES_MODULE, **fields)


def layer_union(kinds: Sequence[type[LayerKind]]) -> Any:
    """Return the type of a layer of one of these kinds, as a mapping, a scalar or a bare name."""
    entries: Any = Union[*(Annotated[entry_model(kind), Tag(kind.kind)] for kind in kinds)]
    names: Any = Literal[*(kind.kind for kind in kinds if kind.is_optional())]
    return Annotated[
        entries,
        Discriminator(single_key),
        BeforeValidator(name_to_mapping, json_schema_input_type=entries | names),
    ]


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as in the config: [2, 3]."""
    return "[" + ", ".join(map(str, shape)) + "]"
