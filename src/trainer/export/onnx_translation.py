"""The network of a translation as ONNX operators: ids of a source in, ids of its translation out.

The graph encodes the sources once, and then writes the texts token by token in a loop, with the keys and
values of the tokens so far as its states: what `trainer.models.translation.decoding` computes, with the
greedy or beam search of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.config.translation import EncoderDecoder
from trainer.export.keras_files import KerasLayer
from trainer.export.onnx_activations import activate
from trainer.export.onnx_graph import Graph
from trainer.models.translation.layers import SOURCE, TARGET
from trainer.models.translation.shape import TranslationShape

MASKED = -1e9
"""Logit of a position or a token that is excluded."""


@dataclass(frozen=True, slots=True)
class Source:
    """Encoded sources.

    Attributes:
        keys: For each layer of the decoder, (rows, heads, size, source tokens).
        values: For each layer, (rows, heads, source tokens, size).
        bias: (rows, 1, 1, source tokens), 0 for tokens and MASKED for padding.
    """

    keys: tuple[str, ...]
    values: tuple[str, ...]
    bias: str


class TranslationGraph:
    """Adds encoder and decoder of a network to a graph."""

    def __init__(
        self,
        graph: Graph,
        layers: Sequence[KerasLayer],
        settings: EncoderDecoder,
        shape: TranslationShape,
    ) -> None:
        """Prepare the layers of a network of `trainer.models.translation.network`.

        Args:
            graph: The graph.
            layers: The layers, by whose names their weights are found.
            settings: The section `model.encoder_decoder`.
            shape: The tokens of source and target.
        """
        self.graph, self.settings, self.shape = graph, settings, shape
        self._layers = {layer.name: layer for layer in layers}
        self._size = settings.width // settings.heads
        self._is_pre = settings.normalization == "pre"

    def encode(self, tokens: str) -> Source:
        """Return the encoded sources of ids, int64 (rows, length).

        Padding that all rows have at their end is cut off.
        """
        graph, settings = self.graph, self.settings
        pad = graph.constant(self.shape.source_pad, "int64")
        is_padding = graph.node("Equal", tokens, pad)
        used = self._used_length(is_padding)
        tokens = self._first(tokens, used, 1)
        is_padding = self._first(is_padding, used, 1)
        zero, masked = (graph.constant(value, "float32") for value in (0.0, MASKED))
        bias = graph.node("Where", is_padding, masked, zero)
        bias = graph.node("Unsqueeze", bias, graph.constant([1, 2], "int64"))
        is_tied = settings.is_source_tied(shared=self.shape.shares_tokens)
        vectors = self._scaled_vectors(TARGET if is_tied else SOURCE, tokens)
        positions = self._constant(f"{SOURCE}_positions")
        x = graph.node("Add", vectors, self._first(positions, used, 0))
        for number in range(settings.layers):
            name = f"encoder_{number}_attention"
            inputs = self._before(x, name)
            queries, keys, values = (
                self._sequence(inputs, name, part, perm)
                for part, perm in enumerate(((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)))
            )
            x = self._after(x, self._attended(name, queries, keys, values, bias), name)
            x = self._feed_forward(x, f"encoder_{number}")
        if self._is_pre:
            x = self._normalized(x, "encoder")
        names = [f"decoder_{number}_cross_attention" for number in range(settings.layers)]
        return Source(
            tuple(self._sequence(x, name, 1, (0, 2, 3, 1)) for name in names),
            tuple(self._sequence(x, name, 2, (0, 2, 1, 3)) for name in names),
            bias,
        )

    def empty_cache(self, rows: str) -> list[str]:
        """Return the keys, then the values, of each layer before the first token.

        Args:
            rows: The number of texts, int64 (1,).

        Returns:
            Tensors (rows, heads, 0, size).
        """
        graph = self.graph
        sizes = graph.constant([self.settings.heads, 0, self._size], "int64")
        shape = graph.node("Concat", rows, sizes, axis=0)
        # Zeros of float32, the type without a value.
        empty = graph.node("ConstantOfShape", shape)
        return [empty] * (2 * self.settings.layers)

    def step(
        self, source: Source, cache: Sequence[str], token: str, position: str, beam: int
    ) -> tuple[str, list[str]]:
        """Return the logits of the token at a position, and the cache with it.

        Args:
            source: The encoded sources, one for each `beam` successive texts.
            cache: The keys and values of the positions before.
            token: (texts,) int64, the token before the position.
            position: The position, an int64 scalar from 0.
            beam: The number of texts of a source.
        """
        graph, count = self.graph, self.settings.layers
        positions = graph.node("Gather", self._constant(f"{TARGET}_positions"), position, axis=0)
        x = graph.node("Add", self._scaled_vectors(TARGET, token), positions)
        keys, values = list(cache[:count]), list(cache[count:])
        for number in range(count):
            layer = f"decoder_{number}"
            name = f"{layer}_attention"
            inputs = self._before(x, name)
            parts = [self._heads(inputs, name, part) for part in range(3)]
            keys[number] = graph.node("Concat", keys[number], parts[1], axis=2)
            values[number] = graph.node("Concat", values[number], parts[2], axis=2)
            flipped = graph.node("Transpose", keys[number], perm=[0, 1, 3, 2])
            x = self._after(x, self._attended(name, parts[0], flipped, values[number], ""), name)
            name = f"{layer}_cross_attention"
            queries = self._projected(self._before(x, name), name, 0)
            shape = graph.constant([-1, beam, self.settings.heads, self._size], "int64")
            queries = graph.node(
                "Transpose", graph.node("Reshape", queries, shape), perm=[0, 2, 1, 3]
            )
            change = self._attended(
                name, queries, source.keys[number], source.values[number], source.bias
            )
            # (rows, beam, width) → (texts, width)
            width = graph.constant([-1, self.settings.width], "int64")
            x = self._after(x, graph.node("Reshape", change, width), name)
            x = self._feed_forward(x, layer)
        if self._is_pre:
            x = self._normalized(x, "decoder")
        return self._logits(x), [*keys, *values]

    def log_probabilities(self, logits: str) -> str:
        """Return the logarithm of the probability of each token; a text has no start and no padding."""
        graph, shape = self.graph, self.shape
        excluded = np.zeros(shape.target_ids, np.bool_)
        excluded[[shape.start, shape.target_pad]] = True
        known = graph.node("LogSoftmax", logits, axis=-1)
        return graph.node(
            "Where", graph.constant(excluded), graph.constant(MASKED, "float32"), known
        )

    def _used_length(self, is_padding: str) -> str:
        """Return the length of the longest source, int64 (1,)."""
        graph = self.graph
        is_token = graph.cast(graph.node("Not", is_padding), "int64")
        (positions,) = self._weights(f"{SOURCE}_positions")
        numbers = graph.constant(np.arange(1, len(positions) + 1)[None, :], "int64")
        ends = graph.node("Mul", is_token, numbers)
        longest = graph.node("ReduceMax", ends, graph.constant([0, 1], "int64"), keepdims=0)
        return graph.node("Reshape", longest, graph.constant([1], "int64"))

    def _first(self, tensor: str, count: str, axis: int) -> str:
        """Return the first elements of a tensor along an axis; count: int64 (1,)."""
        graph = self.graph
        start, axes = graph.constant([0], "int64"), graph.constant([axis], "int64")
        return graph.node("Slice", tensor, start, count, axes)

    def _weights(self, name: str) -> list[NDArray[np.float32]]:
        return [np.asarray(array, np.float32) for array in self._layers[name].weights]

    def _constant(self, name: str) -> str:
        """Return the only weight of a layer."""
        (table,) = self._weights(name)
        return self.graph.constant(table)

    def _scaled_vectors(self, name: str, ids: str) -> str:
        graph, table = self.graph, self._constant(f"{name}_embedding")
        scale = graph.constant(self.settings.width**0.5, "float32")
        return graph.node("Mul", graph.node("Gather", table, ids, axis=0), scale)

    def _dense(self, x: str, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        graph = self.graph
        return graph.node(
            "Add", graph.node("MatMul", x, graph.constant(kernel)), graph.constant(bias)
        )

    def _projected(self, x: str, name: str, part: int) -> str:
        """Return the queries (part 0), keys (1) or values (2) of all heads: (…, width)."""
        kernel, bias = self._weights(name)[2 * part : 2 * part + 2]
        return self._dense(x, kernel.reshape(len(kernel), -1), bias.reshape(-1))

    def _sequence(self, x: str, name: str, part: int, perm: Sequence[int]) -> str:
        """Return a projection of sequences: the axes rows, tokens, heads, size in another order."""
        graph = self.graph
        shape = graph.constant([0, 0, self.settings.heads, self._size], "int64")
        values = graph.node("Reshape", self._projected(x, name, part), shape)
        return graph.node("Transpose", values, perm=list(perm))

    def _heads(self, x: str, name: str, part: int) -> str:
        """Return a projection of one token for each text: (texts, heads, 1, size)."""
        return self.graph.reshape(
            self._projected(x, name, part), [self.settings.heads, 1, self._size]
        )

    def _attended(self, name: str, queries: str, keys: str, values: str, bias: str) -> str:
        """Return the output of an attention.

        Args:
            name: The layer.
            queries: (rows, heads, queries, size).
            keys: (rows, heads, size, length).
            values: (rows, heads, length, size).
            bias: Is added to the scores; "" for none.

        Returns:
            (rows, queries, width); for the attention of the tokens of texts (texts, width).
        """
        graph, width = self.graph, self.settings.width
        scale = graph.constant(self._size**-0.5, "float32")
        scores = graph.node("MatMul", graph.node("Mul", queries, scale), keys)
        if bias:
            scores = graph.node("Add", scores, bias)
        mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), values)
        if bias:
            mixed = graph.node("Transpose", mixed, perm=[0, 2, 1, 3])
            mixed = graph.reshape(mixed, [0, width])
        else:
            mixed = graph.reshape(mixed, [width])
        kernel, output_bias = self._weights(name)[6:]
        return self._dense(mixed, kernel.reshape(width, -1), output_bias)

    def _feed_forward(self, x: str, name: str) -> str:
        inputs = self._before(x, f"{name}_feed_forward")
        inner = self._dense(inputs, *self._weights(f"{name}_hidden"))
        inner = activate(self.graph, self.settings.activation, inner)
        change = self._dense(inner, *self._weights(f"{name}_outputs"))
        return self._after(x, change, f"{name}_feed_forward")

    def _logits(self, x: str) -> str:
        graph = self.graph
        if self.settings.is_output_tied():
            return graph.node("Gemm", x, self._constant(f"{TARGET}_embedding"), transB=1)
        return graph.node("MatMul", x, self._constant("head"))

    def _before(self, x: str, name: str) -> str:
        return self._normalized(x, name) if self._is_pre else x

    def _after(self, x: str, change: str, name: str) -> str:
        total = self.graph.node("Add", x, change)
        return total if self._is_pre else self._normalized(total, name)

    def _normalized(self, x: str, name: str) -> str:
        graph, name = self.graph, f"{name}_normalization"
        constants = [graph.constant(array) for array in self._weights(name)]
        epsilon = float(self._layers[name].config["epsilon"])
        return graph.node("LayerNormalization", x, *constants, axis=-1, epsilon=epsilon)
