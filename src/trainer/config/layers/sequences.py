"""Layers of sequences: recurrent layers and transformers."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, ClassVar

from pydantic import Field

from trainer.config.layers.base import LayerKind, Shape, ShapeError, Stacking, shape_text
from trainer.config.layers.settings import Activation, Size
from trainer.config.layers.windows import require_axes
from trainer.config.weights import Initializer, Regularizer


class Recurrent(LayerKind):
    """Base of the recurrent layers."""

    shorthand: ClassVar[str | None] = "units"
    random: ClassVar[bool] = True
    needs_shape: ClassVar[bool] = True
    gates: ClassVar[int]

    units: Size
    """Dimension of the state, which is the output."""
    bidirectional: bool = False
    """Also read the sequence backwards, and concatenate the outputs of both directions."""
    return_sequences: bool = False
    """Return the state after each step, for another layer of sequences, instead of the last one."""
    kernel_initializer: Initializer = "glorot_uniform"
    """Initializer of the kernel of the input."""
    recurrent_initializer: Initializer = "orthogonal"
    """Initializer of the kernel of the state."""
    kernel_regularizer: Regularizer | None = None
    """Penalty on the kernel of the input."""
    recurrent_regularizer: Regularizer | None = None
    """Penalty on the kernel of the state."""

    def keras_arguments(self) -> dict[str, Any]:
        arguments = super().keras_arguments()
        arguments.pop("bidirectional")
        return arguments

    @property
    def biases(self) -> Shape:
        """Shape of the bias."""
        return (self.gates * self.units,)

    def output_shape(self, shape: Shape) -> Shape:
        require_axes(shape, self.kind, 1)
        channels = self.units * (2 if self.bidirectional else 1)
        return (shape[0], channels) if self.return_sequences else (channels,)

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        width = self.gates * self.units
        weights = ((shape[-1], width), (self.units, width), self.biases)
        return weights * (2 if self.bidirectional else 1)

    def multiplications(self, shape: Shape) -> int:
        return shape[0] * sum(map(prod, self.trainable_shapes(shape)))

    def activations(self, shape: Shape) -> int:
        directions = 2 if self.bidirectional else 1
        return shape[0] * directions * (self.gates + 1) * self.units


class Gru(Recurrent):
    """Gated recurrent unit (GRU) that reads a sequence step by step."""

    kind: ClassVar[str] = "gru"
    keras_layer: ClassVar[str | None] = "GRU"
    aliases: ClassVar[str] = "gated_recurrent_unit rnn recurrent simple_rnn"
    gates: ClassVar[int] = 3

    @property
    def biases(self) -> Shape:
        return (2, self.gates * self.units)


class Lstm(Recurrent):
    """Long short-term memory (LSTM) that reads a sequence step by step."""

    kind: ClassVar[str] = "lstm"
    keras_layer: ClassVar[str | None] = "LSTM"
    aliases: ClassVar[str] = "long_short_term_memory"
    gates: ClassVar[int] = 4


class Transformer(LayerKind):
    """Transformer encoder layer: self-attention, then two dense layers, each added to its input and
    normalized. It ignores the padding of tokens, and so does global pooling after it.
    """

    kind: ClassVar[str] = "transformer"
    keeps_positions: ClassVar[bool] = True
    keras_layer: ClassVar[str | None] = None
    shorthand: ClassVar[str | None] = "heads"
    aliases: ClassVar[str] = "transformer_encoder attention self_attention multi_head_attention"
    stacking: ClassVar[Stacking] = None
    needs_shape: ClassVar[bool] = True

    heads: Annotated[int, Field(ge=1, le=256)]
    """Number of attention heads, which divides the channels of the input."""
    units: Size | None = None
    """Units of the first dense layer; if unset, four times the channels of the input."""
    activation: Activation = "gelu"
    """Activation function of the first dense layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout of the outputs of both parts."""
    positions: bool = False
    """First map the vectors linearly and add a learned vector for each position, as attention does not
    see the order; for the first layer after the input."""

    def hidden(self, shape: Shape) -> int:
        """Return the units of the first dense layer."""
        return 4 * shape[-1] if self.units is None else self.units

    def output_shape(self, shape: Shape) -> Shape:
        require_axes(shape, self.kind, 1)
        if shape[-1] % self.heads:
            raise ShapeError(
                expected=f"a number of heads that divides {shape[-1]} channels",
                found=f"{self.heads} for samples of shape {shape_text(shape)}",
                fix="change heads, or the channels of the layer before it (data.tokens.dimension)",
                setting="heads",
            )
        return shape

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        length, width = shape
        heads, size, hidden = self.heads, width // self.heads, self.hidden(shape)
        first: tuple[Shape, ...] = ((width, width), (length, width)) if self.positions else ()
        project: tuple[Shape, ...] = ((width, heads, size), (heads, size))
        norm: tuple[Shape, ...] = ((width,), (width,))
        return (
            *first, *project, *project, *project, (heads, size, width), (width,), *norm,
            (width, hidden), (hidden,), (hidden, width), (width,), *norm,
        )  # fmt: skip

    def multiplications(self, shape: Shape) -> int:
        length, width = shape
        kernels = sum(prod(item) for item in self.trainable_shapes(shape) if len(item) > 1)
        return length * kernels + 2 * length * length * width

    def activations(self, shape: Shape) -> int:
        length, width = shape
        attention = 2 * self.heads * length * length
        return length * (10 * width + 2 * self.hidden(shape)) + attention


KINDS: tuple[type[LayerKind], ...] = (Gru, Lstm, Transformer)
"""The kinds in this module."""
