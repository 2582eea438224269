"""The Keras network of a translation: source and target → logits of the next token of the target.

All its layers are Keras's own, so that plain Keras loads a saved network. Padding of the source is
masked by its id: min((id - pad)², 1) is 0 for padding and 1 for other tokens. Padding of the target
follows its end, where no token that is predicted can attend to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.config.schema import Config
from trainer.config.translation import encoder_decoder
from trainer.inputs import TOKENS
from trainer.models.attention import name_inner_layers
from trainer.models.compiled_layers import COMPILED_LAYERS, has_compiled_layer
from trainer.models.initializers import build_initializer
from trainer.models.seeds import derived_seed
from trainer.models.summary import NetworkShape
from trainer.models.translation.layers import SOURCE, TARGET

TARGET_TOKENS = "target_tokens"
"""The input of the tokens before the predicted ones."""
MEMORY = "memory"
"""The layer whose output is that of the encoder."""
EPSILON = 1e-6
"""Added to variances in normalizations."""


def build_translation(
    config: Config,
    shape: NetworkShape,
    *,
    compiled: bool = False,
    shared: keras.Model | None = None,
) -> keras.Model:
    """Return the network of a translation.

    Its inputs are `tokens`, int32 (n, source length), and `target_tokens`, int32 (n, target length); its
    output (n, target length, target ids) float32.

    Args:
        config: Its `model.encoder_decoder`, `seed` and `runtime.precision` are used.
        shape: The inputs, and the tokens of source and target.
        compiled: Whether the network is for training under XLA, and cannot be saved.
        shared: A compiled network of the same config, whose layers the new one has, except those for
            XLA.
    """
    return _Layers(config, shape, compiled=compiled, shared=shared).network()


def build_shorter_translation(
    config: Config, network: keras.Model, shape: NetworkShape, length: int, *, compiled: bool
) -> keras.Model:
    """Return a network for texts of fewer tokens, of the layers of another one.

    Args:
        config: The config of the network.
        network: The network.
        shape: Its inputs, and the tokens of source and target.
        length: Number of tokens of both texts, if they have more.
        compiled: Whether the network is for training under XLA.
    """
    assert shape.translation is not None, "the network translates"
    (source,) = shape.inputs
    (read,) = source.shape
    target = replace(shape.translation, target_length=min(length, shape.translation.target_length))
    shorter = replace(
        shape, inputs=(replace(source, shape=(min(length, read),)),), translation=target
    )
    return _Layers(config, shorter, compiled=compiled, shared=network, shares_noise=True).network()


def sinusoids(length: int, width: int) -> NDArray[np.float32]:
    """Return the vectors of positions (Vaswani et al., 2017), (length, width).

    The first half of a vector has the sines of position / 10,000^(2 i / width), i = 0, 1, …; the second
    half the cosines.
    """
    rates = 10_000.0 ** (-2 * np.arange(width // 2) / width)
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


class _Layers:
    """Makes the layers of a network; those of a shared network are used again."""

    def __init__(
        self,
        config: Config,
        shape: NetworkShape,
        *,
        compiled: bool,
        shared: keras.Model | None,
        shares_noise: bool = False,
    ) -> None:
        assert shape.translation is not None, "the network translates"
        self._settings = encoder_decoder(config.model)
        self._seed, self._policy = config.seed, config.runtime.precision
        self._shape, self._source = shape.translation, shape.inputs[0]
        self._compiled, self._shared, self._shares_noise = compiled, shared, shares_noise

    def network(self) -> keras.Model:
        """Return the network."""
        shape, settings = self._shape, self._settings
        (length,) = self._source.shape
        inputs = {
            TOKENS: keras.Input((length,), dtype="int32", name=TOKENS),
            TARGET_TOKENS: keras.Input((shape.target_length,), dtype="int32", name=TARGET_TOKENS),
        }
        is_tied = settings.is_source_tied(shared=shape.shares_tokens)
        target_table = self._table(TARGET, shape.target_ids)
        source_table = target_table if is_tied else self._table(SOURCE, shape.source_ids)
        mask = self._mask(inputs[TOKENS], length)
        memory = self._embed(SOURCE, inputs[TOKENS], source_table, length)
        for number in range(settings.layers):
            name = f"encoder_{number}"
            memory = self._attend(name, "attention", memory, None, mask)
            memory = self._feed_forward(name, memory)
        memory = self._closed("encoder", memory)
        memory = self._layer(
            MEMORY, lambda: keras.layers.Activation("linear", name=MEMORY, dtype=self._policy)
        )(memory)
        x = self._embed(TARGET, inputs[TARGET_TOKENS], target_table, shape.target_length)
        for number in range(settings.layers):
            name = f"decoder_{number}"
            x = self._attend(name, "attention", x, None, None)
            x = self._attend(name, "cross_attention", x, memory, mask)
            x = self._feed_forward(name, x)
        x = self._closed("decoder", x)
        return keras.Model(inputs, self._head(x, target_table), name="network")

    def _layer(self, name: str, make: Any) -> keras.layers.Layer:
        """Return a layer of the shared network, or a new one."""
        if self._shared is None:
            return make()
        existing = self._shared.get_layer(name)
        is_other = has_compiled_layer(existing) and not self._shares_noise
        return make() if is_other else existing

    def _initializer(self, name: str, role: str = "kernel") -> keras.initializers.Initializer:
        return build_initializer("glorot_uniform", derived_seed(self._seed, name, role))

    def _table(self, name: str, ids: int) -> keras.layers.Layer:
        """Return the layer of the vectors of tokens, which can be the output layer, too."""
        name = f"{name}_embedding"
        width = self._settings.width
        # As a scaled vector is added to those of positions, its elements have variance 1.
        initial = keras.initializers.RandomNormal(
            stddev=width**-0.5, seed=derived_seed(self._seed, name, "vectors")
        )
        return self._layer(
            name,
            lambda: keras.layers.ReversibleEmbedding(
                ids, width, embeddings_initializer=initial, reverse_dtype="float32", name=name,
                dtype=self._policy,
            ),
        )  # fmt: skip

    def _mask(self, ids: Any, length: int) -> Any:
        """Return 1 for tokens and 0 for padding, float32 (n, 1, length)."""
        layers, policy = keras.layers, "float32"
        distance = layers.Rescaling(
            1.0, -float(self._shape.source_pad), dtype=policy, name="from_padding"
        )(ids)
        square = layers.Multiply(dtype=policy, name="from_padding_squared")([distance, distance])
        known = layers.ReLU(max_value=1.0, dtype=policy, name="mask")(square)
        return layers.Reshape((1, length), dtype=policy, name="attention_mask")(known)

    def _embed(self, name: str, ids: Any, table: keras.layers.Layer, length: int) -> Any:
        """Return the scaled vectors of tokens, with those of their positions."""
        layers, width = keras.layers, self._settings.width
        vectors = layers.Rescaling(width**0.5, name=f"{name}_scaled", dtype=self._policy)(
            table(ids)
        )
        numbers = layers.Rescaling(
            0.0, [float(index) for index in range(length)], dtype="float32",
            name=f"{name}_position_ids",
        )(ids)  # fmt: skip
        positions = self._layer(f"{name}_positions", lambda: self._positions(name, length))(numbers)
        total = layers.Add(name=f"{name}_sum", dtype=self._policy)([vectors, positions])
        return self._dropped(total, f"{name}_dropout")

    def _positions(self, name: str, length: int) -> keras.layers.Layer:
        name, width = f"{name}_positions", self._settings.width
        is_learned = self._settings.positions == "learned"
        initial: Any = "zeros"
        if is_learned:
            initial = keras.initializers.RandomNormal(
                stddev=0.1, seed=derived_seed(self._seed, name, "vectors")
            )
        layer = keras.layers.Embedding(
            length, width, embeddings_initializer=initial, trainable=is_learned, name=name,
            dtype=self._policy,
        )  # fmt: skip
        layer.build()
        if not is_learned:
            layer.embeddings.assign(sinusoids(length, width))
        return layer

    def _attend(self, name: str, role: str, x: Any, memory: Any, mask: Any) -> Any:
        """Return x with the output of an attention: to memory, or to x itself.

        Without a mask, a token attends to itself and those before it.
        """
        settings, name = self._settings, f"{name}_{role}"
        normalize = self._normalization(name)
        queries = normalize(x) if settings.normalization == "pre" else x
        values = queries if memory is None else memory
        attention = self._layer(name, lambda: self._attention(name, queries.shape, values.shape))
        attended = attention(queries, values, attention_mask=mask, use_causal_mask=mask is None)
        return self._added(name, x, attended, normalize)

    def _attention(self, name: str, queries: Any, values: Any) -> keras.layers.Layer:
        settings = self._settings
        layer = keras.layers.MultiHeadAttention(
            settings.heads, settings.width // settings.heads, flash_attention=False, name=name,
            kernel_initializer=self._initializer(name), dtype=self._policy,
        )  # fmt: skip
        layer.build(queries, values)
        name_inner_layers(layer)
        # Keras gives queries, keys and values the same initial weights if there is a seed.
        for role in ("query", "key", "value", "output"):
            kernel = getattr(layer, f"{role}_dense").kernel
            kernel.assign(self._initializer(name, role)(kernel.shape))
        return layer

    def _feed_forward(self, name: str, x: Any) -> Any:
        settings = self._settings
        normalize = self._normalization(f"{name}_feed_forward")
        inputs = normalize(x) if settings.normalization == "pre" else x
        hidden = self._dense(f"{name}_hidden", settings.hidden, settings.activation)(inputs)
        outputs = self._dense(f"{name}_outputs", settings.width, "linear")(hidden)
        return self._added(f"{name}_feed_forward", x, outputs, normalize)

    def _dense(self, name: str, units: int, activation: str) -> keras.layers.Layer:
        return self._layer(
            name,
            lambda: keras.layers.Dense(
                units, activation, kernel_initializer=self._initializer(name), name=name,
                dtype=self._policy,
            ),
        )  # fmt: skip

    def _added(self, name: str, x: Any, change: Any, normalize: keras.layers.Layer) -> Any:
        """Return x plus a change; normalized, if that is not done before."""
        dropped = self._dropped(change, f"{name}_dropout")
        total = keras.layers.Add(name=f"{name}_sum", dtype=self._policy)([x, dropped])
        return normalize(total) if self._settings.normalization == "post" else total

    def _closed(self, name: str, x: Any) -> Any:
        """Return the normalized output of encoder or decoder, if its layers normalize their inputs."""
        return self._normalization(name)(x) if self._settings.normalization == "pre" else x

    def _normalization(self, name: str) -> keras.layers.Layer:
        name = f"{name}_normalization"
        return self._layer(
            name,
            lambda: keras.layers.LayerNormalization(epsilon=EPSILON, name=name, dtype=self._policy),
        )

    def _dropped(self, x: Any, name: str) -> Any:
        rate = self._settings.dropout
        if not rate:
            return x
        kind: Any = keras.layers.Dropout
        if self._compiled:
            kind = COMPILED_LAYERS[kind]
        seed = derived_seed(self._seed, name, "noise")
        return self._layer(name, lambda: kind(rate, seed=seed, name=name, dtype=self._policy))(x)

    def _head(self, x: Any, table: keras.layers.Layer) -> Any:
        """Return the logits, float32 under every policy."""
        if self._settings.is_output_tied():
            logits = table(x, reverse=True)
        else:
            head = self._layer(
                "head",
                lambda: keras.layers.Dense(
                    self._shape.target_ids, use_bias=False, name="head", dtype="float32",
                    kernel_initializer=self._initializer("head"),
                ),
            )  # fmt: skip
            logits = head(x)
        return keras.layers.Activation("linear", name="logits", dtype="float32")(logits)
