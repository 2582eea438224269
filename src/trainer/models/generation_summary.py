"""The networks of task: generate, without Keras: shapes and parameters of their layers.

    latent [+ class] ─► layers ─► head ─► row or image          the generator
    row or image [+ class] ─► layers ─► head ─► score           the discriminator

The class is concatenated with the latent numbers, and with the first values in the discriminator that
have one axis. `trainer.models.adversarial_networks` builds the networks with these layers and names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from trainer.config.generation import Networks
from trainer.config.layers.base import LayerEntry, Shape, shape_text
from trainer.errors import ConfigError, Problem
from trainer.inputs import IMAGE, InputSpec
from trainer.models.summary import (
    CONCATENATE,
    HEAD,
    LayerSummary,
    fixed_summary,
    layer_names,
    summarize_layer,
)

IMAGE_SHAPE = "image"
"""The layer that gives the output of the head of a generator the shape of an image."""

GENERATOR, DISCRIMINATOR = "generator", "discriminator"
_HEAD_KERNEL = 3


@dataclass(frozen=True, slots=True)
class GenerationShape:
    """What the networks depend on besides their layers.

    Attributes:
        latent: Number of latent numbers.
        classes: Number of classes that both networks are given; 0 for none.
        sample: A row or an image, as the discriminator gets it.
    """

    latent: int
    classes: int
    sample: InputSpec

    @property
    def is_image(self) -> bool:
        """Whether samples are images."""
        return self.sample.name == IMAGE


def convolutional_head(shape: Shape | None, target: GenerationShape) -> bool:
    """Return whether the head of a generator is a convolution: its input has the size of the images."""
    return target.is_image and shape is not None and shape[:-1] == target.sample.shape[:-1]


def summarize_networks(
    networks: Networks, shape: GenerationShape
) -> dict[str, tuple[LayerSummary, ...]]:
    """Return the summaries of the layers of both networks by name, in order, with their heads.

    Raises:
        ConfigError: A layer cannot follow the previous one; lists all problems.
    """
    problems: list[Problem] = []
    summaries = {
        GENERATOR: _generator(networks.generator.layers, shape, problems),
        DISCRIMINATOR: _discriminator(networks.discriminator.layers, shape, problems),
    }
    if problems:
        raise ConfigError(problems)
    return summaries


def _generator(
    layers: Sequence[LayerEntry], shape: GenerationShape, problems: list[Problem]
) -> tuple[LayerSummary, ...]:
    start: Shape = (shape.latent + shape.classes,)
    summaries = []
    if shape.classes:
        summaries.append(fixed_summary(CONCATENATE, CONCATENATE, start, ()))
    hidden, last = _hidden(layers, start, GENERATOR, 0, problems)
    summaries += hidden
    sample = shape.sample.shape
    if last is None:
        return tuple(summaries)
    if convolutional_head(last, shape):
        kernel = (_HEAD_KERNEL, _HEAD_KERNEL, last[-1], sample[-1])
        summary = fixed_summary(HEAD, HEAD, sample, (kernel, sample[-1:]))
        multiplications = prod(kernel) * prod(sample[:-1])
        summaries.append(replace(summary, multiplications=multiplications))
    elif len(last) == 1:
        units = (prod(sample),)
        summaries.append(fixed_summary(HEAD, HEAD, units, ((*last, *units), units)))
        if shape.is_image:
            summaries.append(fixed_summary(IMAGE_SHAPE, IMAGE_SHAPE, sample, ()))
    else:
        expected = "one axis before the output layer"
        if shape.is_image:
            expected += f", or the size of the images: {shape_text(sample[:-1])} and channels"
        problems.append(_end_problem(GENERATOR, layers, last, expected))
    return tuple(summaries)


def _discriminator(
    layers: Sequence[LayerEntry], shape: GenerationShape, problems: list[Problem]
) -> tuple[LayerSummary, ...]:
    summaries, last = _hidden(layers, shape.sample.shape, DISCRIMINATOR, shape.classes, problems)
    if last is None:
        return tuple(summaries)
    if len(last) != 1:
        expected = "one axis before the output layer"
        problems.append(_end_problem(DISCRIMINATOR, layers, last, expected))
        return tuple(summaries)
    summaries.append(fixed_summary(HEAD, HEAD, (1,), ((*last, 1), (1,))))
    return tuple(summaries)


def _hidden(
    layers: Sequence[LayerEntry],
    shape: Shape | None,
    network: str,
    classes: int,
    problems: list[Problem],
) -> tuple[list[LayerSummary], Shape | None]:
    """Return the summaries of the hidden layers and the output shape of the last; None if unknown.

    Args:
        layers: The layers.
        shape: The shape of their input.
        network: The name of the network.
        classes: Number of classes that are concatenated with the first values of one axis.
        problems: Receives the problems.
    """
    summaries: list[LayerSummary] = []

    def join(shape: Shape | None) -> Shape | None:
        nonlocal classes
        if not classes or shape is None or len(shape) != 1:
            return shape
        joined, classes = (shape[0] + classes,), 0
        summaries.append(fixed_summary(CONCATENATE, CONCATENATE, joined, ()))
        return joined

    shape = join(shape)
    for index, (name, layer) in enumerate(zip(layer_names(layers), layers, strict=True)):
        summary, problem = summarize_layer(layer, name, shape)
        if problem is not None:
            if shape is not None:
                key = f"networks.{network}.layers.{index}.{problem.key}"
                problems.append(replace(problem, key=key))
            return summaries, None
        summaries.append(summary)
        shape = join(summary.output_shape)
    return summaries, shape


def _end_problem(
    network: str, layers: Sequence[LayerEntry], shape: Shape, expected: str
) -> Problem:
    key = f"networks.{network}.layers"
    if layers:
        key += f".{len(layers) - 1}"
    fix = "add `- flatten` as the last layer"
    return Problem("", expected, f"samples of shape {shape_text(shape)}", fix, key)
