"""The kinds of hidden layers.

A layer is a mapping with one key, its kind; a bare name or a scalar is a shorthand for it:
`- flatten`, `- dense: 64`, `- dense: {units: 64, activation: relu}`.

To add a kind, write its class here and add it to `LAYER_KINDS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union

from pydantic import BeforeValidator, Discriminator, Field, Tag

from trainer.config.conflict import Conflict, conflict
from trainer.config.layer_base import (
    LayerEntry,
    LayerKind,
    Shape,
    ShapeError,
    Stacking,
    entry_model,
    shape_text,
)
from trainer.config.sections import Reference, name_to_mapping, single_key
from trainer.config.weights import (
    Constraint,
    Initializer,
    Positive,
    Regularizer,
    constraint_conflicts,
    initializer_conflicts,
    needs_matrix,
)

Activation = Literal[
    "celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax",
    "softplus", "softsign", "swish", "tanh",
]  # fmt: skip
Fraction = Annotated[float, Field(ge=0, lt=1)]
Size = Annotated[int, Field(ge=1, le=1_000_000)]


class Dense(LayerKind):
    """Fully connected layer."""

    kind: ClassVar[str] = "dense"
    keras_layer: ClassVar[str | None] = "Dense"
    shorthand: ClassVar[str | None] = "units"
    aliases: ClassVar[str] = "linear fc fully_connected full"
    stacking: ClassVar[Stacking] = "members"

    units: Size
    """Number of units, the dimension of the output."""
    activation: Activation = "linear"
    """The activation function."""
    use_bias: bool = True
    """Whether to add a bias."""
    kernel_initializer: Initializer = "glorot_uniform"
    """Initializer of the kernel."""
    bias_initializer: Initializer = "zeros"
    """Initializer of the bias."""
    kernel_regularizer: Regularizer | None = None
    """Penalty on the kernel."""
    bias_regularizer: Regularizer | None = None
    """Penalty on the bias."""
    activity_regularizer: Regularizer | None = None
    """Penalty on the layer's output."""
    kernel_constraint: Constraint | None = None
    """Constraint on the kernel."""
    bias_constraint: Constraint | None = None
    """Constraint on the bias."""

    def conflicts(self, key: str) -> Iterator[Conflict]:
        for name in ("kernel", "bias"):
            initializer, constraint = f"{name}_initializer", f"{name}_constraint"
            yield from initializer_conflicts(getattr(self, initializer), f"{key}.{initializer}")
            yield from constraint_conflicts(getattr(self, constraint), f"{key}.{constraint}")
        if self.use_bias:
            if needs_matrix(self.bias_initializer):
                found = self.bias_initializer
                yield conflict(
                    f"{key}.bias_initializer",
                    "an initializer for one-dimensional variables",
                    found if isinstance(found, str) else "orthogonal",
                    "use zeros, the usual initializer of a bias",
                )
            return
        for name in ("bias_regularizer", "bias_constraint"):
            if getattr(self, name) is not None:
                expected, fix = "a layer with a bias", "remove one of the two"
                yield conflict(f"{key}.{name}", expected, "use_bias: false", fix, f"{key}.use_bias")

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.units)

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return ((shape[-1], self.units), *(((self.units,),) if self.use_bias else ()))

    def shared_settings(self) -> Any:
        free = {name for name in type(self).model_fields if name.endswith("izer")}
        return self.model_dump(mode="json", exclude=free)


class ActivationSettings(LayerKind):
    """An activation function as a layer."""

    kind: ClassVar[str] = "activation"
    keras_layer: ClassVar[str | None] = "Activation"
    shorthand: ClassVar[str | None] = "name"
    stacking: ClassVar[Stacking] = "rows"

    name: Activation
    """The activation function."""

    def keras_arguments(self) -> dict[str, Any]:
        return {"activation": self.name}


class Dropout(LayerKind):
    """Sets inputs to 0 at random in training."""

    kind: ClassVar[str] = "dropout"
    keras_layer: ClassVar[str | None] = "Dropout"
    shorthand: ClassVar[str | None] = "rate"
    random: ClassVar[bool] = True
    stacking: ClassVar[Stacking] = "members"

    rate: Fraction
    """Fraction of inputs set to 0 in training; the others are scaled up by 1 / (1 - rate)."""

    def shared_settings(self) -> Any:
        # At a rate of 0, Keras creates no seed generator.
        return self.rate > 0

    def member_settings(self) -> dict[str, float]:
        return {"rate": self.rate, "keep": 1 - self.rate}


class GaussianNoise(LayerKind):
    """Adds noise in training."""

    kind: ClassVar[str] = "gaussian_noise"
    keras_layer: ClassVar[str | None] = "GaussianNoise"
    shorthand: ClassVar[str | None] = "stddev"
    aliases: ClassVar[str] = "noise"
    random: ClassVar[bool] = True
    stacking: ClassVar[Stacking] = "members"

    stddev: Annotated[float, Field(ge=0, le=1)]
    """Standard deviation of the noise added in training."""

    def shared_settings(self) -> Any:
        # At a standard deviation of 0, Keras creates no seed generator.
        return self.stddev > 0

    def member_settings(self) -> dict[str, float]:
        return {"stddev": self.stddev}


class BatchNormalization(LayerKind):
    """Normalizes each input over the batch."""

    kind: ClassVar[str] = "batch_normalization"
    keras_layer: ClassVar[str | None] = "BatchNormalization"
    shorthand: ClassVar[str | None] = "momentum"
    aliases: ClassVar[str] = "batchnorm batch_norm bn batchnorm1d"
    stacking: ClassVar[Stacking] = "members"

    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Momentum of the moving mean and variance."""
    epsilon: Positive = 1e-3
    """Added to the variance for numerical stability."""
    center: bool = True
    """Whether to learn an offset (beta)."""
    scale: bool = True
    """Whether to learn a factor (gamma)."""

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return (shape[-1:],) * (self.center + self.scale)

    def non_trainable(self, shape: Shape) -> int:
        return 2 * shape[-1]


class LayerNormalization(LayerKind):
    """Normalizes each sample over its inputs."""

    kind: ClassVar[str] = "layer_normalization"
    keras_layer: ClassVar[str | None] = "LayerNormalization"
    shorthand: ClassVar[str | None] = "epsilon"
    aliases: ClassVar[str] = "layernorm layer_norm ln"
    stacking: ClassVar[Stacking] = "members"

    epsilon: Positive = 1e-3
    """Added to the variance for numerical stability."""
    center: bool = True
    """Whether to learn an offset (beta)."""
    scale: bool = True
    """Whether to learn a factor (gamma)."""

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return (shape[-1:],) * (self.center + self.scale)


class UnitNormalization(LayerKind):
    """Scales each sample to unit length along its last axis."""

    kind: ClassVar[str] = "unit_normalization"
    keras_layer: ClassVar[str | None] = "UnitNormalization"
    aliases: ClassVar[str] = "l2_normalize unit_norm"
    stacking: ClassVar[Stacking] = "rows"


class Flatten(LayerKind):
    """Flattens each sample to one axis."""

    kind: ClassVar[str] = "flatten"
    keras_layer: ClassVar[str | None] = "Flatten"
    stacking: ClassVar[Stacking] = "rows"

    def output_shape(self, shape: Shape) -> Shape:
        return (prod(shape),)


class Reshape(LayerKind):
    """Reshapes each sample."""

    kind: ClassVar[str] = "reshape"
    keras_layer: ClassVar[str | None] = "Reshape"
    shorthand: ClassVar[str | None] = "shape"
    stacking: ClassVar[Stacking] = "rows"

    shape: Annotated[list[int], Field(min_length=1, max_length=8)]
    """New shape of a sample; one axis may be -1."""

    def keras_arguments(self) -> dict[str, Any]:
        return {"target_shape": tuple(self.shape)}

    def conflicts(self, key: str) -> Iterator[Conflict]:
        if self.shape.count(-1) > 1 or any(size < 1 and size != -1 for size in self.shape):
            expected = "sizes of at least 1, one of which may be -1"
            yield conflict(key, expected, str(self.shape), "write, for example, [8, -1]")

    def output_shape(self, shape: Shape) -> Shape:
        size, known = prod(shape), prod(axis for axis in self.shape if axis != -1)
        if size % known if -1 in self.shape else size != known:
            raise ShapeError(
                expected=f"a shape with {size} elements, as the previous layer outputs "
                f"{shape_text(shape)}",
                found=shape_text(self.shape),
                fix=f"choose axes whose product is {size}; one of them can be -1",
                setting="shape",
            )
        return tuple(size // known if axis == -1 else axis for axis in self.shape)


class Custom(LayerKind):
    """A custom Keras layer."""

    kind: ClassVar[str] = "custom"
    shorthand: ClassVar[str | None] = "function"

    function: Reference
    """package.module:function that returns the Keras object; importing it needs --allow-custom."""
    arguments: dict[str, str | int | float | bool | list[str | int | float | bool] | None] = {}
    """Keyword arguments of the function."""
    folder: str | None = None
    """Folder to search for the module before the installed packages, relative to the config file;
    if unset, the folder of the config file."""

    def output_shape(self, shape: Shape) -> None:
        return None

    def trainable_shapes(self, shape: Shape) -> None:
        return None


LAYER_KINDS: tuple[type[LayerKind], ...] = (
    Dense,
    ActivationSettings,
    Dropout,
    GaussianNoise,
    BatchNormalization,
    LayerNormalization,
    UnitNormalization,
    Flatten,
    Reshape,
    Custom,
)

_ENTRIES = {kind.kind: entry_model(kind) for kind in LAYER_KINDS}
# Worker processes receive configs by pickle, which looks classes up by name in their module.
globals().update({entry.__name__: entry for entry in _ENTRIES.values()})

if TYPE_CHECKING:
    Layer = LayerEntry
else:
    _AnyLayer = Union[*(Annotated[entry, Tag(kind)] for kind, entry in _ENTRIES.items())]
    _BareLayer = Literal[*(kind.kind for kind in LAYER_KINDS if kind.is_optional())]
    Layer = Annotated[
        _AnyLayer,
        Discriminator(single_key),
        BeforeValidator(name_to_mapping, json_schema_input_type=_AnyLayer | _BareLayer),
    ]


def layer_entry(settings: LayerKind) -> LayerEntry:
    """Return the entry of `model.layers` with these settings."""
    return _ENTRIES[settings.kind](**{settings.kind: settings})
