"""The Keras network of an encoder of texts: ids of tokens → one vector for each text.

All its layers are Keras's own, so that plain Keras loads a saved network. Padding is masked by its id
(`trainer.models.masks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.config.pretrained import Pretrained
from trainer.models.attention import name_inner_layers
from trainer.models.compiled_layers import COMPILED_LAYERS
from trainer.models.masks import padding_mask
from trainer.models.pretrained.building import load_nested
from trainer.models.pretrained.description import BASE, BaseNetwork, weights_problem
from trainer.models.pretrained.encoder_folder import is_trained
from trainer.models.pretrained.encoders import Encoder, Module, encoder_modules, place_arrays
from trainer.models.pretrained.safetensors_files import read_safetensors
from trainer.models.pretrained.weights_error import WeightsError
from trainer.models.seeds import derived_seed

# A policy of its own for each layer: Keras writes the address of an object that several share.
_POLICY = "float32"
_ADAPTED = ("query", "value")
_ADAPTER_WEIGHTS = ("lora_kernel_a", "lora_kernel_b")


@dataclass(frozen=True, slots=True)
class EncoderContext:
    """How the network of an encoder is built.

    Attributes:
        seed: Seed of the config, of which those of dropout and adapters are derived.
        compiled: Whether it is for training under XLA and not saved.
        adapters: Whether it has adapters that are trained, if the config has them. The weights of a
            network without them include the change.
    """

    seed: int = 0
    compiled: bool = False
    adapters: bool = False


_PLAIN = EncoderContext()


class EncoderLayers:
    """The layers of an encoder, which its networks for texts of different lengths share."""

    def __init__(self, encoder: Encoder, dropout: float, context: EncoderContext = _PLAIN) -> None:
        """Initialize the layers with weights that are 0.

        Args:
            encoder: The encoder.
            dropout: Dropout of the embeddings and of both parts of a layer.
            context: How the network is built.
        """
        self.encoder = encoder
        self._dropout, self._context = dropout, context
        self._layers: dict[str, keras.layers.Layer] = {}
        for module in encoder_modules(encoder):
            self._layers[module.layer] = self._module_layer(module)

    def network(self, length: int, pool: Literal["average", "max", "cls"]) -> keras.Model:
        """Return the network for texts of a number of tokens."""
        layers = keras.layers
        ids = keras.Input((length,), dtype="int32", name=f"{BASE}_input")
        mask = padding_mask(ids, self.encoder.pad_id)
        x = self._embed(ids, length)
        attention_mask = layers.Reshape((1, length), dtype=_POLICY, name="attention_mask")(mask)
        for number in range(self.encoder.layers):
            x = self._layer(x, attention_mask, f"layer_{number}")
        if pool == "cls":
            first = layers.Cropping1D((0, length - 1), dtype=_POLICY, name="first_token")(x)
            x = layers.Reshape((self.encoder.width,), dtype=_POLICY, name="pooled")(first)
        else:
            x = layers.GlobalAveragePooling1D(dtype=_POLICY, name="pooled")(x, mask=mask)
        return keras.Model(ids, x, name=BASE)

    def fill(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Set the weights from the arrays of a file.

        Raises:
            WeightsError: An array is missing, unknown, or of another shape.
        """
        shapes = {name: array.shape for name, array in arrays.items()}
        names, _ = place_arrays(self.encoder, shapes)
        for module in encoder_modules(self.encoder):
            values = [np.asarray(arrays[names[name]], np.float32) for name in module.shapes]
            self._layers[module.layer].set_weights(self._keras_values(module, values))

    def _module_layer(self, module: Module) -> keras.layers.Layer:
        layers, encoder = keras.layers, self.encoder
        shapes = list(module.shapes.values())
        name = module.layer
        match module.kind:
            case "table":
                layer = layers.Embedding(
                    *shapes[0], embeddings_initializer="zeros", dtype=_POLICY, name=name
                )
                layer.build()
            case "norm":
                layer = layers.LayerNormalization(epsilon=encoder.epsilon, dtype=_POLICY, name=name)
                layer.build((None, None, *shapes[0]))
            case "dense":
                units, inputs = shapes[0]
                activation = encoder.activation if name.endswith("_hidden") else "linear"
                layer = layers.Dense(
                    units, activation, kernel_initializer="zeros", dtype=_POLICY, name=name
                )
                layer.build((None, None, inputs))
            case "attention":
                layer = layers.MultiHeadAttention(
                    encoder.heads, encoder.width // encoder.heads, kernel_initializer="zeros",
                    flash_attention=False, dtype=_POLICY, name=name,
                )  # fmt: skip
                shape = (None, None, encoder.width)
                layer.build(shape, shape)
                name_inner_layers(layer)
        return layer

    def _keras_values(
        self, module: Module, values: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """Return the weights of a Keras layer from those of PyTorch."""
        if module.kind == "dense":
            return [values[0].T, values[1]]
        if module.kind != "attention":
            return list(values)
        width, heads = self.encoder.width, self.encoder.heads
        size = width // heads
        weights = []
        for kernel, bias in zip(values[:6:2], values[1:6:2], strict=True):
            weights += [kernel.T.reshape(width, heads, size), bias.reshape(heads, size)]
        return [*weights, values[6].T.reshape(heads, size, width), values[7]]

    def _embed(self, ids: Any, length: int) -> Any:
        layers, encoder = keras.layers, self.encoder
        first = encoder.first_position
        numbers = {"positions": [float(first + index) for index in range(length)], "segments": 0.0}
        parts = [self._layers["words"](ids)]
        for name, offset in numbers.items():
            if name in self._layers:
                index = layers.Rescaling(0.0, offset, dtype=_POLICY, name=f"{name}_ids")(ids)
                parts.append(self._layers[name](index))
        x = self._layers["embeddings_normalization"](
            layers.Add(dtype=_POLICY, name="embeddings")(parts)
        )
        x = self._dropped(x, "embeddings_dropout")
        return self._layers["embeddings_projection"](x) if encoder.is_projected else x

    def _layer(self, x: Any, mask: Any, name: str) -> Any:
        inner, add = self._layers, keras.layers.Add
        attended = inner[f"{name}_attention"](x, x, attention_mask=mask)
        attended = self._dropped(attended, f"{name}_attention_dropout")
        x = inner[f"{name}_attention_normalization"](
            add(dtype=_POLICY, name=f"{name}_attention_add")([attended, x])
        )
        outputs = inner[f"{name}_outputs"](inner[f"{name}_hidden"](x))
        outputs = self._dropped(outputs, f"{name}_dropout")
        return inner[f"{name}_normalization"](add(dtype=_POLICY, name=f"{name}_add")([outputs, x]))

    def _dropped(self, x: Any, name: str) -> Any:
        if not self._dropout:
            return x
        kind: Any = keras.layers.Dropout
        if self._context.compiled:
            kind = COMPILED_LAYERS[kind]
        seed = derived_seed(self._context.seed, f"{BASE}_{name}", "noise")
        return kind(self._dropout, seed=seed, dtype=_POLICY, name=name)(x)


def build_encoder(
    base: BaseNetwork, length: int, context: EncoderContext, *, weights: bool
) -> keras.Model:
    """Return the network of an encoder: ids (n, length) → its pooled output (n, channels).

    Args:
        base: Its description.
        length: Number of tokens of a text.
        context: How it is built.
        weights: Whether to load its weights; those of a run are loaded with the whole network.

    Raises:
        ConfigError: The file has changed, or it cannot be read.
    """
    settings = base.settings
    if base.encoder is None:
        return _saved_encoder(base)
    dropout = 0.0
    if not settings.is_frozen:
        dropout = base.encoder.dropout if settings.dropout is None else settings.dropout
    layers = EncoderLayers(base.encoder, dropout, context)
    if weights:
        fill_from_file(layers, base)
    network = layers.network(length, settings.pool)
    _set_trainable(network, settings, base.encoder)
    if settings.lora is not None and context.adapters:
        _add_adapters(network, settings, context.seed)
    return network


def shorter_encoder(encoder: keras.Model, length: int) -> keras.Model:
    """Return the network of an encoder for texts of fewer tokens.

    It has the layers of `encoder`, except those that depend on the length, which have no weights.
    """

    def replaced(layer: keras.layers.Layer) -> keras.layers.Layer:
        settings = layer.get_config()
        match layer.name:
            case "positions_ids":
                settings["offset"] = list(settings["offset"][:length])
            case "attention_mask":
                settings["target_shape"] = (1, length)
            case "first_token":
                settings["cropping"] = (0, length - 1)
            case _:
                return layer
        return type(layer).from_config(settings)

    def shortened(ids: Any) -> Any:
        return keras.Input((length,), dtype="int32", name=ids.name)

    start = keras.tree.map_structure(shortened, encoder.input)
    return keras.models.clone_model(encoder, start, replaced)


def fill_from_file(layers: EncoderLayers, base: BaseNetwork) -> None:
    """Set the weights of an encoder from its file.

    Raises:
        ConfigError: The file has changed, or it cannot be read.
    """
    try:
        layers.fill(read_safetensors(base.file))
    except (WeightsError, OSError) as error:
        raise weights_problem(error, base.settings, base.file) from error


def _saved_encoder(base: BaseNetwork) -> keras.Model:
    """Return the encoder in the `model.keras` of a run, without its weights."""
    try:
        network = load_nested(base.file)
    except (WeightsError, OSError) as error:
        raise weights_problem(error, base.settings, base.file) from error
    network.trainable = not base.settings.is_frozen
    return network


def layer_depths(network: keras.Model) -> dict[str, int]:
    """Return the depth of each layer with weights: 0 for the embeddings, 1 for the first layer, …"""
    depths = {}
    for layer in network.layers:
        if layer.weights:
            parts = layer.name.split("_")
            depths[layer.name] = int(parts[1]) + 1 if parts[0] == "layer" else 0
    return depths


def _set_trainable(network: keras.Model, settings: Pretrained, encoder: Encoder) -> None:
    if settings.is_frozen:
        network.trainable = False
        return
    for module in encoder_modules(encoder):
        network.get_layer(module.layer).trainable = is_trained(settings, module.depth)


def _add_adapters(network: keras.Model, settings: Pretrained, seed: int) -> None:
    """Add adapters to queries and values, and make all other weights not trainable."""
    lora = settings.lora
    assert lora is not None, "there are adapters"
    for name in layer_depths(network):
        layer = network.get_layer(name)
        if not isinstance(layer, keras.layers.MultiHeadAttention):
            layer.trainable = False
            continue
        layer.key_dense.trainable = layer.output_dense.trainable = False
        for role in _ADAPTED:
            dense = getattr(layer, f"{role}_dense")
            initial = keras.initializers.HeUniform(
                seed=derived_seed(seed, f"{BASE}_{name}_{role}", "adapter")
            )
            dense.enable_lora(lora.rank, lora.alpha, a_initializer=initial)
            dense.bias.trainable = False


def has_adapters(network: keras.Model) -> bool:
    """Return whether a network has adapters that are trained."""
    return any(weight.name in _ADAPTER_WEIGHTS for weight in network.weights)


def merged_weights(network: keras.Model, values: Sequence[Any]) -> list[Any]:
    """Return the weights of the same network without adapters, in Keras's order.

    Args:
        network: A network, with or without adapters.
        values: The values of its weights, in Keras's order.
    """
    if not has_adapters(network):
        return list(values)
    by_id = dict(zip(map(id, network.weights), values, strict=True))
    base = next(layer for layer in network.layers if layer.name == BASE)
    for layer in base.layers:
        if isinstance(layer, keras.layers.MultiHeadAttention):
            for role in _ADAPTED:
                dense = getattr(layer, f"{role}_dense")
                named = {weight.name: weight for weight in dense.weights}
                kernel, first, second = (named[name] for name in ("kernel", *_ADAPTER_WEIGHTS))
                change = np.matmul(by_id[id(first)], by_id[id(second)])
                scale = np.float32(dense.lora_alpha / dense.lora_rank)
                by_id[id(kernel)] = by_id[id(kernel)] + scale * change
    return [by_id[id(weight)] for weight in network.weights if weight.name not in _ADAPTER_WEIGHTS]
