"""Summary of a network, without Keras: names, output shapes and parameters of its layers.

`trainer.models.network` builds the network with these layers and names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from trainer.config.layers.base import LayerEntry, LayerKind, Shape, ShapeError, shape_text
from trainer.config.model import HeadKind, Model
from trainer.config.translation import encoder_decoder
from trainer.errors import ConfigError, Problem
from trainer.inputs import (
    CATEGORIES,
    FEATURES,
    IMAGE,
    TERMS,
    TOKENS,
    UNIT_SCALING,
    ImageScaling,
    InputSpec,
)
from trainer.models.pretrained.description import BASE, BaseNetwork
from trainer.models.translation.layers import layer_sizes
from trainer.models.translation.shape import TranslationShape

EMBEDDINGS = "embeddings"
IMAGE_SCALING = "image_scaling"
TOKEN_EMBEDDING = "token_embedding"
CONCATENATE = "concatenate"
HEAD = "head"


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The parts of a network that depend on the data: its inputs and its output layer.

    Attributes:
        inputs: The inputs: an image, features, categories, terms, or several of them.
        embeddings: (ids, dimension) of each column of the input `categories`.
        head: Kind of the output layer, never `auto`.
        outputs: Units of the output layer.
        image_scaling: How the network scales the input `image`.
        token_vectors: (ids, dimension) of the vectors of the input `tokens`; None without it.
        token_padding: The id of padding of the input `tokens`, and whether it is before a text; None
            without it.
        term_vectors: (ids, dimension) of the vectors of the input `terms`; None without texts.
        base: The pretrained network that the image, once scaled, or the tokens are passed to.
        translation: The tokens of source and target of a network that translates.
    """

    inputs: tuple[InputSpec, ...]
    embeddings: tuple[tuple[int, int], ...]
    head: HeadKind
    outputs: int
    image_scaling: ImageScaling = UNIT_SCALING
    term_vectors: tuple[int, int] | None = None
    token_vectors: tuple[int, int] | None = None
    base: BaseNetwork | None = None
    translation: TranslationShape | None = None
    token_padding: tuple[int, bool] | None = None

    @property
    def start(self) -> Shape:
        """Shape before the first hidden layer: of the image, of the vectors of tokens, or of the columns
        after the embeddings.
        """
        return self.image or self.tokens or self.embedded

    @property
    def tokens(self) -> Shape | None:
        """Shape of the vectors of the input `tokens`; None without it."""
        if self.token_vectors is None:
            return None
        (length,) = next(spec.shape for spec in self.inputs if spec.name == TOKENS)
        return length, self.token_vectors[1]

    @property
    def image(self) -> Shape | None:
        """Shape of the input `image`; None without images."""
        return next((spec.shape for spec in self.inputs if spec.name == IMAGE), None)

    @property
    def columns(self) -> tuple[InputSpec, ...]:
        """The inputs besides the image or the tokens."""
        return tuple(spec for spec in self.inputs if spec.name not in (IMAGE, TOKENS))

    def with_base(self, base: BaseNetwork) -> NetworkShape:
        """Return the shape with a base network, which may scale images, and has vectors of tokens."""
        scaling = base.scaling or self.image_scaling
        return replace(self, base=base, image_scaling=scaling, token_vectors=None)

    @property
    def trained(self) -> NetworkShape:
        """The part that is trained: the output of a frozen base is among its features."""
        if self.base is None or not self.base.settings.is_frozen:
            return self
        width = self.base.channels + sum(
            prod(spec.shape) for spec in self.columns if spec.name == FEATURES
        )
        features = InputSpec(FEATURES, (width,), "float32")
        others = [spec for spec in self.columns if spec.name != FEATURES]
        return replace(self, inputs=(features, *others), base=None, image_scaling=UNIT_SCALING)

    @property
    def embedded(self) -> Shape:
        """Shape of the columns after the embeddings: the numbers, then the vector of each category, and
        that of the texts.
        """
        inputs = (spec for spec in self.columns if spec.name not in (CATEGORIES, TERMS))
        numbers = sum(prod(spec.shape) for spec in inputs)
        return (numbers + sum(dimension for _, dimension in self.tables),)

    @property
    def tables(self) -> tuple[tuple[int, int], ...]:
        """(ids, dimension) of each table of learned vectors: those of categories, that of terms."""
        return (*self.embeddings, *([] if self.term_vectors is None else [self.term_vectors]))


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """Summary of one layer.

    Attributes:
        name: Unique name of the layer in the network.
        kind: The kind of the layer in the config, or `embeddings`, `image_scaling`, `pretrained`,
            `token_embedding`, `concatenate` or `head`.
        output_shape: Output shape for one sample; None after a custom layer.
        parameters: Number of weights, trainable or not; None if unknown.
        trainable: Number of trainable weights; None if unknown.
        trainable_shapes: Shapes of the trainable variables; None if unknown.
        multiplications: Approximate number of multiplications for a sample; None if unknown.
        activations: Number of values kept for the gradient of a sample; None if unknown.
    """

    name: str
    kind: str
    output_shape: Shape | None
    parameters: int | None
    trainable: int | None
    trainable_shapes: tuple[Shape, ...] | None
    multiplications: int | None
    activations: int | None


def layer_names(layers: Sequence[LayerEntry]) -> tuple[str, ...]:
    """Return the names of the hidden layers: `dense`, `dense_1`, …"""
    return kind_names([layer.settings for layer in layers])


def kind_names(layers: Sequence[LayerKind]) -> tuple[str, ...]:
    """Return the kind of each layer, numbered from its second layer on."""
    seen: dict[str, int] = {}
    names = []
    for layer in layers:
        count = seen.get(layer.kind, 0)
        names.append(f"{layer.kind}_{count}" if count else layer.kind)
        seen[layer.kind] = count + 1
    return tuple(names)


def summarize_layers(model: Model, network: NetworkShape) -> tuple[LayerSummary, ...]:
    """Summarize the layers of the network in order: embeddings if any, hidden layers, output layer.

    The other columns are concatenated with the first output of the layers of an image or tokens that has
    one axis.

    Args:
        model: The `model` section.
        network: Its inputs and its output layer.

    Raises:
        ConfigError: A layer cannot follow the previous one; lists all problems.
    """
    if network.translation is not None:
        return _translation_layers(model, network, network.translation)
    problems: list[Problem] = []
    layers: list[LayerSummary] = []
    if network.tables:
        layers.append(fixed_summary(EMBEDDINGS, EMBEDDINGS, network.embedded, network.tables))
    shape: Shape | None = network.start
    columns = None
    if (network.base is not None or shape != network.embedded) and network.columns:
        columns = network.embedded
    if network.image is not None:
        layers.append(fixed_summary(IMAGE_SCALING, IMAGE_SCALING, network.image, ()))
    elif network.tokens is not None and network.token_vectors is not None:
        weights = (network.token_vectors,)
        layers.append(fixed_summary(TOKEN_EMBEDDING, TOKEN_EMBEDDING, network.tokens, weights))
    if network.base is not None:
        layers.append(_base_summary(network.base))
        shape = (network.base.channels,)
        if columns is not None:
            shape, columns = (shape[0] + columns[0],), None
            layers.append(fixed_summary(CONCATENATE, CONCATENATE, shape, ()))
    names = layer_names(model.layers)
    for index, (name, layer) in enumerate(zip(names, model.layers, strict=True)):
        summary, problem = summarize_layer(layer, name, shape)
        # Without a shape because of an earlier problem, that one is enough.
        if problem is not None and (shape is not None or not problems):
            key = f"model.layers.{index}.{problem.key}"
            problems.append(replace(problem, key=key))
        layers.append(summary)
        shape = summary.output_shape
        if columns is not None and shape is not None and len(shape) == 1:
            shape, columns = (shape[0] + columns[0],), None
            layers.append(fixed_summary(CONCATENATE, CONCATENATE, shape, ()))
    if shape is not None and len(shape) != 1:
        problems.append(_head_problem(model, shape))
        shape = None
    bias = (network.outputs,)
    kernel = None if shape is None else ((*shape, *bias), bias)
    layers.append(fixed_summary(HEAD, HEAD, bias, kernel))
    if problems:
        raise ConfigError(problems)
    return tuple(layers)


def _head_problem(model: Model, shape: Shape) -> Problem:
    """Return the problem of an output layer that gets samples of more than one axis."""
    has_positions = len(shape) > 1
    last = len(model.layers) - 1
    return Problem(
        where="",
        expected="one axis before the output layer",
        found=f"samples of shape {shape_text(shape)}",
        fix=f"add `- flatten` {'or `- global_average_pool` ' if has_positions else ''}as the last layer",
        key=f"model.layers.{last}" if model.layers else "model.layers",
    )


def summarize_layer(
    layer: LayerEntry, name: str, shape: Shape | None
) -> tuple[LayerSummary, Problem | None]:
    """Return the summary of a hidden layer, and its problem if it cannot follow the previous one.

    The key of the problem starts with the kind of the layer.
    """
    settings = layer.settings
    kind = settings.kind
    unknown = LayerSummary(name, kind, None, None, None, None, None, None)
    if shape is None:
        if not settings.needs_shape:
            return unknown, None
        expected, found = f"a known shape before {kind}", "a custom layer before it"
        return unknown, Problem("", expected, found, f"put {kind} before the custom layer", kind)
    try:
        output = settings.output_shape(shape)
    except ShapeError as error:
        key = f"{kind}.{error.setting}" if error.setting else kind
        return unknown, Problem("", error.expected, error.found, error.fix, key)
    weights = settings.trainable_shapes(shape)
    if output is None or weights is None:
        return replace(unknown, output_shape=output), None
    trainable = sum(map(prod, weights))
    return LayerSummary(
        name=name,
        kind=kind,
        output_shape=output,
        parameters=trainable + settings.non_trainable(shape),
        trainable=trainable,
        trainable_shapes=weights,
        multiplications=settings.multiplications(shape),
        activations=settings.activations(shape),
    ), None


def _base_summary(base: BaseNetwork) -> LayerSummary:
    trainable = base.parameters if base.trained is None else base.trained
    trainable = 0 if base.settings.is_frozen else trainable
    return LayerSummary(
        name=BASE,
        kind=BASE,
        output_shape=(base.channels,),
        parameters=base.parameters,
        trainable=trainable,
        trainable_shapes=None if trainable is None else ((trainable,),) if trainable else (),
        multiplications=base.multiplications,
        activations=0 if base.settings.is_frozen else base.activations,
    )


def fixed_summary(
    name: str, kind: str, shape: Shape, weights: tuple[Shape, ...] | None
) -> LayerSummary:
    """Return the summary of a layer that is not in the config; its weights are None if unknown."""
    trainable = None if weights is None else sum(map(prod, weights))
    return LayerSummary(name, kind, shape, trainable, trainable, weights, trainable, prod(shape))


def _translation_layers(
    model: Model, network: NetworkShape, shape: TranslationShape
) -> tuple[LayerSummary, ...]:
    """Summarize the parts of an encoder and decoder."""
    ((length,),) = (spec.shape for spec in network.inputs)
    return tuple(
        LayerSummary(
            name=sizes.name,
            kind=sizes.name,
            output_shape=sizes.output,
            parameters=sum(map(prod, sizes.trained)) + sizes.constants,
            trainable=sum(map(prod, sizes.trained)),
            trainable_shapes=sizes.trained,
            multiplications=sizes.multiplications,
            activations=sizes.activations,
        )
        for sizes in layer_sizes(encoder_decoder(model), shape, length)
    )
