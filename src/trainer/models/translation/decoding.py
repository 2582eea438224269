"""Texts, token by token: what the network of a translation computes, with a cache of keys and values.

A step computes the logits of one position from the token before it. The keys and values of the positions
before are in the cache, and those of the source are computed once. All functions are for use in a
`tf.function`; they read the variables of the network, so that they follow its training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from trainer.config.translation import Decoding, EncoderDecoder
from trainer.inputs import TOKENS
from trainer.models.translation.layers import TARGET
from trainer.models.translation.network import EPSILON, MEMORY
from trainer.models.translation.shape import TranslationShape

MASKED = -1e9
"""Logit of a position or a token that is excluded."""


@dataclass(frozen=True, slots=True)
class Source:
    """Encoded sources.

    Attributes:
        keys: For each layer of the decoder (n, source length, heads, size).
        values: For each layer, of the same shape.
        bias: (n, 1, source length), 0 for tokens and MASKED for padding.
    """

    keys: tuple[Any, ...]
    values: tuple[Any, ...]
    bias: Any

    def repeated(self, count: int) -> Source:
        """Return each source `count` times in succession."""
        keys, values, bias = tf.nest.map_structure(
            lambda part: tf.repeat(part, count, axis=0), (self.keys, self.values, self.bias)
        )
        return Source(keys, values, bias)


class Decoder:
    """The decoder of a network, one position at a time."""

    def __init__(
        self, network: keras.Model, settings: EncoderDecoder, shape: TranslationShape
    ) -> None:
        """Read the layers of a network of `trainer.models.translation.network`."""
        self.shape, self.settings = shape, settings
        self._network = network
        inputs = {tensor.name: tensor for tensor in network.inputs}
        self._encoder = keras.Model(inputs[TOKENS], network.get_layer(MEMORY).output)
        self._is_pre = settings.normalization == "pre"

    def encode(self, tokens: Any) -> Source:
        """Return the encoded sources of ids (n, source length)."""
        memory = tf.cast(self._encoder(tokens, training=False), tf.float32)
        keys, values = [], []
        for number in range(self.settings.layers):
            attention = self._network.get_layer(f"decoder_{number}_cross_attention")
            keys.append(_project(memory, attention.key_dense))
            values.append(_project(memory, attention.value_dense))
        is_padding = tf.equal(tokens, self.shape.source_pad)
        bias = tf.where(is_padding, MASKED, 0.0)[:, None, :]
        return Source(tuple(keys), tuple(values), bias)

    def empty_cache(self, rows: Any) -> tuple[Any, ...]:
        """Return the keys, then the values, of each layer: 0, (rows, target length, heads, size)."""
        heads, length = self.settings.heads, self.shape.target_length
        shape = (rows, length, heads, self.settings.width // heads)
        return tuple(tf.zeros(shape) for _ in range(2 * self.settings.layers))

    def step(
        self, source: Source, cache: tuple[Any, ...], token: Any, position: Any
    ) -> tuple[Any, tuple[Any, ...], Any]:
        """Return the logits of the token at a position.

        Args:
            source: The encoded sources.
            cache: The keys and values of the positions before.
            token: (n,) int32, the token before the position.
            position: The position, from 0.

        Returns:
            Logits (n, target ids), the cache with this position, and the weights with which the last
            layer attends to the source, (n, source length), their mean over the heads.
        """
        settings, layers = self.settings, self._network.get_layer
        table = layers(f"{TARGET}_embedding").embeddings
        positions = layers(f"{TARGET}_positions").embeddings
        x = tf.gather(table, token) * settings.width**0.5 + positions[position]
        places = tf.range(self.shape.target_length)
        future = tf.where(places <= position, 0.0, MASKED)[None, None, :]
        keys, values = list(cache[: settings.layers]), list(cache[settings.layers :])
        is_here = tf.equal(places, position)[None, :, None, None]
        weights = None
        for number in range(settings.layers):
            name = f"decoder_{number}"
            attention = layers(f"{name}_attention")
            inputs = self._before(x, f"{name}_attention")
            new_keys = _project(inputs, attention.key_dense)[:, None]
            new_values = _project(inputs, attention.value_dense)[:, None]
            keys[number] = tf.where(is_here, new_keys, keys[number])
            values[number] = tf.where(is_here, new_values, values[number])
            change, _ = _attend(inputs, attention, keys[number], values[number], future)
            x = self._after(x, change, f"{name}_attention")
            attention = layers(f"{name}_cross_attention")
            inputs = self._before(x, f"{name}_cross_attention")
            change, weights = _attend(
                inputs, attention, source.keys[number], source.values[number], source.bias
            )
            x = self._after(x, change, f"{name}_cross_attention")
            x = self._feed_forward(x, name)
        if self._is_pre:
            x = self._normalized(x, "decoder")
        return self._logits(x, table), (*keys, *values), tf.reduce_mean(weights, axis=1)

    def _feed_forward(self, x: Any, name: str) -> Any:
        hidden, outputs = (
            self._network.get_layer(f"{name}_{part}") for part in ("hidden", "outputs")
        )
        inputs = self._before(x, f"{name}_feed_forward")
        inner = tf.matmul(inputs, hidden.kernel) + hidden.bias
        activate = keras.activations.get(self.settings.activation)
        change = tf.matmul(activate(inner), outputs.kernel) + outputs.bias
        return self._after(x, change, f"{name}_feed_forward")

    def _logits(self, x: Any, table: Any) -> Any:
        if self.settings.is_output_tied():
            return tf.matmul(x, table, transpose_b=True)
        return tf.matmul(x, self._network.get_layer("head").kernel)

    def _before(self, x: Any, name: str) -> Any:
        return self._normalized(x, name) if self._is_pre else x

    def _after(self, x: Any, change: Any, name: str) -> Any:
        return x + change if self._is_pre else self._normalized(x + change, name)

    def _normalized(self, x: Any, name: str) -> Any:
        layer = self._network.get_layer(f"{name}_normalization")
        mean, variance = tf.nn.moments(x, axes=-1, keepdims=True)
        scale = tf.math.rsqrt(variance + EPSILON) * layer.gamma
        return (x - mean) * scale + layer.beta


def _project(x: Any, dense: keras.layers.Layer) -> Any:
    """Return x (…, width) times the kernel (width, heads, size) of queries, keys or values."""
    return tf.tensordot(x, tf.convert_to_tensor(dense.kernel), 1) + dense.bias


def _attend(
    x: Any, attention: keras.layers.MultiHeadAttention, keys: Any, values: Any, bias: Any
) -> tuple[Any, Any]:
    """Return the output of an attention for x (n, width), and its weights (n, heads, length)."""
    queries = _project(x, attention.query_dense) * keys.shape[-1] ** -0.5
    scores = tf.einsum("nhs,nlhs->nhl", queries, keys) + bias
    weights = tf.nn.softmax(scores)
    mixed = tf.einsum("nhl,nlhs->nhs", weights, values)
    dense = attention.output_dense
    return tf.einsum("nhs,hsw->nw", mixed, tf.convert_to_tensor(dense.kernel)) + dense.bias, weights


def decode(decoder: Decoder, decoding: Decoding, tokens: Any) -> tuple[Any, Any]:
    """Return texts for sources: ids (n, target length) int32, padded after the end of a text, and the
    logarithms of their probabilities (n,).

    Args:
        decoder: The decoder.
        decoding: How tokens are chosen.
        tokens: Ids of the sources, (n, source length).
    """
    if decoding.beam == 1:
        return _decode_greedily(decoder, tokens)
    return _decode_beams(decoder, decoding, tokens)


def _log_probabilities(decoder: Decoder, logits: Any) -> Any:
    """Return the logarithm of the probability of each token; a text has no start and no padding."""
    shape = decoder.shape
    excluded = tf.one_hot([shape.start, shape.target_pad], shape.target_ids)
    is_excluded = tf.reduce_sum(excluded, axis=0) > 0
    return tf.where(is_excluded, MASKED, tf.nn.log_softmax(logits))


def _decode_greedily(decoder: Decoder, tokens: Any) -> tuple[Any, Any]:
    """Take the most likely token at each position."""
    shape, rows = decoder.shape, tf.shape(tokens)[0]
    source = decoder.encode(tokens)
    places = tf.range(shape.target_length)[None, :]

    def advance(
        position: Any, ids: Any, total: Any, done: Any, token: Any, cache: Any
    ) -> tuple[Any, ...]:
        logits, cache, _ = decoder.step(source, cache, token, position)
        known = _log_probabilities(decoder, logits)
        token = tf.argmax(known, axis=-1, output_type=tf.int32)
        total = total + tf.where(done, 0.0, tf.reduce_max(known, axis=-1))
        token = tf.where(done, shape.target_pad, token)
        ids = tf.where(places == position, token[:, None], ids)
        return position + 1, ids, total, done | (token == shape.end), token, cache

    _, ids, total, *_ = tf.while_loop(
        lambda *state: tf.logical_and(
            state[0] < shape.target_length, tf.logical_not(tf.reduce_all(state[3]))
        ),
        advance,
        (
            tf.constant(0),
            tf.fill((rows, shape.target_length), shape.target_pad),
            tf.zeros((rows,)),
            tf.zeros((rows,), tf.bool),
            tf.fill((rows,), shape.start),
            decoder.empty_cache(rows),
        ),
    )
    return ids, total


def length_penalty(length: Any, power: float) -> Any:
    """Return by what the logarithm of the probability of a text is divided (Wu et al., 2016)."""
    return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** power


def _chosen(values: Any, picks: Any) -> Any:
    """Return the picks of each row."""
    return tf.gather(values, picks, batch_dims=1)


def _decode_beams(decoder: Decoder, decoding: Decoding, tokens: Any) -> tuple[Any, Any]:
    """Continue the most likely texts of each row, and return the best of those that have ended.

    Of the 2 · beam best continuations, `beam` at least do not end. A row is complete when none of its
    open texts can become better than the worst of `beam` ended ones. A text without an end at the last
    position is returned only if none has ended.
    """
    shape, beam = decoder.shape, decoding.beam
    length, ids_count = shape.target_length, shape.target_ids
    rows = tf.shape(tokens)[0]
    source = decoder.encode(tokens).repeated(beam)
    places = tf.range(length)[None, None, :]
    longest = length_penalty(length, decoding.length_penalty)

    def advance(
        position: Any, open_ids: Any, open_logs: Any, ids: Any, scores: Any, logs: Any, cache: Any
    ) -> tuple[Any, ...]:
        before = tf.maximum(position - 1, 0)
        last = tf.where(position == 0, shape.start, open_ids[:, :, before])
        logits, cache, _ = decoder.step(source, cache, tf.reshape(last, (-1,)), position)
        known = tf.reshape(_log_probabilities(decoder, logits), (rows, beam, ids_count))
        totals = tf.reshape(open_logs[:, :, None] + known, (rows, beam * ids_count))
        best, picks = tf.math.top_k(totals, 2 * beam)
        parents, token = picks // ids_count, picks % ids_count
        texts = tf.where(places == position, token[:, :, None], _chosen(open_ids, parents))
        ends = token == shape.end
        # Texts that end compete with those that have ended.
        penalty = length_penalty(position + 1, decoding.length_penalty)
        all_scores = tf.concat([scores, tf.where(ends, best / penalty, MASKED)], axis=1)
        scores, kept = tf.math.top_k(all_scores, beam)
        ids = _chosen(tf.concat([ids, texts], axis=1), kept)
        logs = _chosen(tf.concat([logs, best], axis=1), kept)
        open_logs, kept = tf.math.top_k(tf.where(ends, MASKED, best), beam)
        open_ids, parents = _chosen(texts, kept), _chosen(parents, kept)
        flat = tf.reshape(parents + beam * tf.range(rows)[:, None], (-1,))
        cache = tuple(tf.gather(part, flat) for part in cache)
        return position + 1, open_ids, open_logs, ids, scores, logs, cache

    def is_open(position: Any, _: Any, open_logs: Any, __: Any, scores: Any, *___: Any) -> Any:
        can_improve = open_logs[:, 0] / longest > scores[:, -1]
        return tf.logical_and(position < length, tf.reduce_any(can_improve))

    first = tf.where(tf.range(beam) == 0, 0.0, MASKED)[None, :]
    empty = tf.fill((rows, beam, length), shape.target_pad)
    _, open_ids, open_logs, ids, scores, logs, _ = tf.while_loop(
        is_open,
        advance,
        (
            tf.constant(0),
            empty,
            tf.tile(first, (rows, 1)),
            empty,
            tf.fill((rows, beam), MASKED),
            tf.fill((rows, beam), MASKED),
            decoder.empty_cache(rows * beam),
        ),
    )
    has_ended = scores[:, 0] > MASKED / 2
    best_ids = tf.where(has_ended[:, None], ids[:, 0], open_ids[:, 0])
    return best_ids, tf.where(has_ended, logs[:, 0], open_logs[:, 0])


def attention_to_source(decoder: Decoder, tokens: Any, ids: Any) -> Any:
    """Return the weights with which the last layer attends to the source at each position of a text.

    Args:
        decoder: The decoder.
        tokens: Ids of the sources, (n, source length).
        ids: Ids of the texts, (n, target length).

    Returns:
        (n, target length, source length) float32, their mean over the heads.
    """
    source, rows = decoder.encode(tokens), tf.shape(tokens)[0]
    cache, weights = decoder.empty_cache(rows), []
    token = tf.fill((rows,), decoder.shape.start)
    for position in range(decoder.shape.target_length):
        _, cache, attended = decoder.step(source, cache, token, tf.constant(position))
        weights.append(attended)
        token = ids[:, position]
    return tf.stack(weights, axis=1)
