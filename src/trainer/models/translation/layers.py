"""Sizes of the layers of an encoder and decoder, without Keras."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from trainer.config.layers.base import Shape
from trainer.config.translation import EncoderDecoder
from trainer.models.translation.shape import TranslationShape

SOURCE, TARGET = "source", "target"


@dataclass(frozen=True, slots=True)
class LayerSizes:
    """Sizes of one part of the network.

    Attributes:
        name: Its name.
        output: Output shape for one sample.
        trained: Shapes of its trainable weights.
        constants: Number of its other weights.
        multiplications: Approximate number of multiplications for a sample.
        activations: Number of values that are kept for the gradient of a sample.
    """

    name: str
    output: Shape
    trained: tuple[Shape, ...] = ()
    constants: int = 0
    multiplications: int = 0
    activations: int = 0


def layer_sizes(
    settings: EncoderDecoder, shape: TranslationShape, source_length: int
) -> Iterator[LayerSizes]:
    """Yield the sizes of the parts of a network, in order.

    Args:
        settings: The section `model.encoder_decoder`.
        shape: The tokens of source and target.
        source_length: Number of tokens of a source.
    """
    width, target_length = settings.width, shape.target_length
    is_tied = settings.is_source_tied(shared=shape.shares_tokens)
    norm: tuple[Shape, ...] = ((width,), (width,))
    tables = () if is_tied else ((shape.source_ids, width),)
    yield _embedding(settings, SOURCE, source_length, tables)
    for number in range(settings.layers):
        yield _block(settings, f"encoder_{number}", source_length, (source_length,))
    if settings.normalization == "pre":
        yield LayerSizes("encoder_normalization", (source_length, width), norm)
    yield _embedding(settings, TARGET, target_length, ((shape.target_ids, width),))
    for number in range(settings.layers):
        lengths = (target_length, source_length)
        yield _block(settings, f"decoder_{number}", target_length, lengths)
    if settings.normalization == "pre":
        yield LayerSizes("decoder_normalization", (target_length, width), norm)
    yield LayerSizes(
        "head",
        (target_length, shape.target_ids),
        () if settings.is_output_tied() else ((width, shape.target_ids),),
        multiplications=target_length * shape.target_ids * width,
        activations=2 * target_length * shape.target_ids,
    )


def _embedding(
    settings: EncoderDecoder, name: str, length: int, tables: tuple[Shape, ...]
) -> LayerSizes:
    positions = (length, settings.width)
    is_learned = settings.positions == "learned"
    return LayerSizes(
        f"{name}_embedding",
        positions,
        (*tables, *([positions] if is_learned else [])),
        0 if is_learned else prod(positions),
        activations=2 * prod(positions),
    )


def _block(
    settings: EncoderDecoder, name: str, length: int, attended: tuple[int, ...]
) -> LayerSizes:
    """Return the sizes of a layer that attends to texts of some lengths."""
    width, heads, hidden = settings.width, settings.heads, settings.hidden
    size = width // heads
    project: tuple[Shape, ...] = ((width, heads, size), (heads, size))
    norm: tuple[Shape, ...] = ((width,), (width,))
    attention: tuple[Shape, ...] = (*project * 3, (heads, size, width), (width,), *norm)
    dense: tuple[Shape, ...] = ((width, hidden), (hidden,), (hidden, width), (width,), *norm)
    trained = (*attention * len(attended), *dense)
    kernels = sum(prod(shape) for shape in trained if len(shape) > 1)
    return LayerSizes(
        name,
        (length, width),
        trained,
        multiplications=length * kernels + sum(2 * length * other * width for other in attended),
        activations=length * (6 * width * (1 + len(attended)) + 2 * hidden)
        + sum(2 * heads * length * other for other in attended),
    )
