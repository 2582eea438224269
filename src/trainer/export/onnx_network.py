"""A network of Keras layers as ONNX operators: encoded columns in, the outputs of its head out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from trainer.errors import Problem
from trainer.export.bundle import MemberNetwork
from trainer.export.keras_files import KerasLayer, KerasNetwork, TensorRef, tensors_of
from trainer.export.onnx_columns import EncodedColumns
from trainer.export.onnx_convolutions import CONVOLUTIONS
from trainer.export.onnx_graph import Graph, Tensor
from trainer.export.onnx_layers import LAYERS, Converter
from trainer.export.onnx_sequences import SEQUENCES
from trainer.inputs import FEATURES, IMAGE, TERMS, TOKENS
from trainer.models.summary import EMBEDDINGS

CONVERTERS: Mapping[str, Converter] = {**LAYERS, **CONVOLUTIONS, **SEQUENCES}
"""Class in `keras.layers` → the function that adds its operators."""


class UnsupportedLayerError(Exception):
    """A layer has no equivalent."""


def layer_problems(network: KerasNetwork, where: str) -> list[Problem]:
    """Return a problem for each layer that has no equivalent in ONNX."""
    return [
        Problem(
            where,
            "layers that an ONNX graph can compute",
            f"a layer '{layer.name}' of class {layer.kind}",
            "export it to another format: saved_model and keras hold every layer",
        )
        for layer in _converted_layers(network)
        if layer.kind not in CONVERTERS
    ]


def _converted_layers(network: KerasNetwork) -> Iterator[KerasLayer]:
    """Yield the layers besides those of the embedding block, which is added as a whole."""
    for call in network.calls:
        layer = call.layer
        if layer.network is None:
            yield layer
        elif layer.name != EMBEDDINGS:
            yield from _converted_layers(layer.network)


def add_network(graph: Graph, member: MemberNetwork, encoded: EncodedColumns) -> str:
    """Add a network to a graph, and return the output of its head, float32 (rows, outputs).

    Raises:
        UnsupportedLayerError: A layer has settings for which there is no equivalent.
    """
    sources = _Sources(graph, member, encoded)
    network = member.network
    names = dict(zip(network.inputs, network.inputs, strict=True))
    if len(network.inputs) == 1:
        # A network with one input has a name of its own for it.
        (spec,) = member.trained.preprocessing.inputs
        names = dict.fromkeys(network.inputs, spec.name)
    inputs = {name: partial(sources.get, source) for name, source in names.items()}
    return add_layers(graph, network, inputs, sources.embedded).name


class _Sources:
    """The inputs of a network, and the output of its embedding block."""

    def __init__(self, graph: Graph, member: MemberNetwork, encoded: EncodedColumns) -> None:
        self._graph, self._encoded = graph, encoded
        self._preprocessing = member.trained.preprocessing
        self._specs = {spec.name: spec for spec in self._preprocessing.inputs}

    def get(self, name: str) -> Tensor:
        """Return an input that a layer other than the embedding block is called with."""
        encoded, shape = self._encoded, self._specs[name].shape
        match name:
            case _ if name == FEATURES and encoded.features is not None:
                return Tensor(encoded.features, shape)
            case _ if name == TOKENS and encoded.tokens is not None:
                return Tensor(self._graph.cast(encoded.tokens, "float32"), shape)
            case _ if name == IMAGE and encoded.image is not None:
                return Tensor(self._graph.cast(encoded.image, "float32"), shape)
        raise UnsupportedLayerError(f"a layer that is called with the input '{name}'")

    def embedded(self, block: KerasNetwork) -> Tensor:
        """Return the features, the vector of each category, and the sum of those of the terms."""
        graph, encoded = self._graph, self._encoded
        tables = {call.layer.name: call.layer.weights for call in block.calls}
        parts, width = [], 0
        if encoded.features is not None:
            parts.append(encoded.features)
            width += self._specs[FEATURES].shape[0]
        vectors, dimensions = [], 0
        for number, category in enumerate(encoded.categories):
            (table,) = tables[f"embedding_{number}"]
            rows = graph.constant(np.ascontiguousarray(table[category.ids]))
            vectors.append(graph.node("Gather", rows, category.index, axis=0))
            dimensions += table.shape[1]
        if vectors:
            parts.append(graph.reshape(graph.concat(vectors, axis=2), [dimensions]))
            width += dimensions
        if TERMS in self._specs:
            (table,) = tables["terms_embedding"]
            parts.append(self._text_vector(table))
            width += table.shape[1]
        return Tensor(graph.concat(parts), (width,))

    def _text_vector(self, table: Any) -> str:
        graph = self._graph
        ids, weights, first = [], [], 0
        for column, pairs in zip(self._preprocessing.texts, self._encoded.texts, strict=True):
            parts = graph.nodes("Split", [pairs], 2, axis=2, num_outputs=2)
            one_based, weight = (graph.reshape(part, [column.slots]) for part in parts)
            # The id -1 marks a text without a known term.
            one_based = graph.node("Max", one_based, graph.constant(0.0, "float32"))
            used = graph.node("Greater", one_based, graph.constant(0.0, "float32"))
            shift = graph.node("Mul", graph.cast(used, "float32"), graph.constant(first, "float32"))
            ids.append(graph.node("Add", one_based, shift) if first else one_based)
            weights.append(weight)
            first += column.term_count
        slots = sum(column.slots for column in self._preprocessing.texts)
        vectors = graph.node(
            "Gather", graph.constant(table), graph.cast(graph.concat(ids), "int64"), axis=0
        )
        weight = graph.reshape(graph.concat(weights), [1, slots])
        return graph.reshape(graph.node("MatMul", weight, vectors), [table.shape[1]])


def add_layers(
    graph: Graph,
    network: KerasNetwork,
    inputs: Mapping[str, Callable[[], Tensor]],
    embedded: Callable[[KerasNetwork], Tensor] | None = None,
) -> Tensor:
    """Add the layers of a network, and return its output.

    Args:
        graph: The graph.
        network: The network.
        inputs: Name of an input → a function that returns its tensor.
        embedded: Returns the output of the embedding block, if the network has one.

    Raises:
        UnsupportedLayerError: A layer has settings for which there is no equivalent.
    """
    known: dict[TensorRef, Tensor] = {}

    def tensor(reference: TensorRef) -> Tensor:
        if reference not in known and reference.layer in inputs:
            known[reference] = inputs[reference.layer]()
        return known[reference]

    for call in network.calls:
        layer = call.layer
        if embedded is not None and layer.name == EMBEDDINGS and layer.network is not None:
            output = embedded(layer.network)
        elif layer.network is not None:
            output = _inner(graph, layer, call.inputs, tensor, embedded)
        else:
            arguments = [tensor(reference) for reference in call.tensors()]
            try:
                output = CONVERTERS[layer.kind](graph, layer, arguments)
            except KeyError as error:
                raise UnsupportedLayerError(
                    f"a layer '{layer.name}' of class {layer.kind}: {error.args[0]}"
                ) from error
        known[TensorRef(layer.name, call.node, 0)] = output
    return tensor(network.output)


def _inner(
    graph: Graph,
    layer: KerasLayer,
    arguments: Any,
    tensor: Callable[[TensorRef], Tensor],
    embedded: Callable[[KerasNetwork], Tensor] | None,
) -> Tensor:
    """Add a network inside another."""
    assert layer.network is not None, layer.name
    names = layer.network.inputs
    if isinstance(arguments, dict):
        references = {name: arguments[name] for name in names}
    else:
        references = dict(zip(names, tensors_of(arguments), strict=True))
    given = {name: partial(tensor, reference) for name, reference in references.items()}
    return add_layers(graph, layer.network, given, embedded)
