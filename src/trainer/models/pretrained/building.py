"""Keras networks of pretrained bases: the architecture, and its weights from a file."""

from __future__ import annotations

from pathlib import Path

import keras

from trainer.config.layers.base import Shape
from trainer.config.pretrained import Pretrained
from trainer.errors import ConfigError, Problem
from trainer.models.pretrained.architectures import ARCHITECTURES, Architecture
from trainer.models.pretrained.contents import check_application_file, read_lite_arrays
from trainer.models.pretrained.description import BASE, BaseNetwork, weights_problem
from trainer.models.pretrained.efficientnet_lite import (
    build_efficientnet_lite,
    fill_efficientnet_lite,
)
from trainer.models.pretrained.hdf5_files import read_hdf5_layers
from trainer.models.pretrained.keras_config import read_keras_config
from trainer.models.pretrained.weights_error import WeightsError

_POOL = {"average": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D"}


def build_base(base: BaseNetwork, image: Shape, *, weights: bool) -> keras.Model:
    """Return the base network: an image, scaled → its channels.

    Args:
        base: Its description.
        image: Shape of an image.
        weights: Whether to load its weights; those of a run are loaded with the whole network.

    Raises:
        ConfigError: The file is damaged, or its weights are those of another network.
    """
    try:
        if base.settings.architecture is not None:
            known = ARCHITECTURES[base.settings.architecture]
            network = _named(known, image, base.file if weights else None)
        elif base.nested:
            return _with_frozen_layers(load_nested(base.file), base.settings)
        else:
            network = _load(base)
        output = network.output
        if len(output.shape) == 4:
            pool = getattr(keras.layers, _POOL[base.settings.pool])
            output = pool(name=f"{BASE}_pool")(output)
        if len(output.shape) != 2 or output.shape[-1] != base.channels:
            found = f"an output of shape {tuple(output.shape[1:])}"
            fix = "set model.pretrained.layer to one with a height, a width and channels"
            raise WeightsError(found, expected=f"an output of {base.channels} channels", fix=fix)
        network = keras.Model(network.inputs[0], output, name=BASE)
        return _with_frozen_layers(network, base.settings)
    except (WeightsError, OSError) as error:
        raise weights_problem(error, base.settings, base.file) from error


def weighted_layers(network: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers with weights, in their order, those of networks inside it included."""
    layers: list[keras.layers.Layer] = []
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            layers.extend(weighted_layers(layer))
        elif layer.weights:
            layers.append(layer)
    return layers


def random_layers(network: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers that change values at random in training, those of networks inside included."""
    layers: list[keras.layers.Layer] = []
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            layers.extend(random_layers(layer))
        elif hasattr(layer, "seed_generator"):
            layers.append(layer)
    return layers


def _with_frozen_layers(network: keras.Model, settings: Pretrained) -> keras.Model:
    """Return the network with the layers that do not change as not trainable.

    Batch normalization that is not trainable uses its statistics in training as well.
    """
    if settings.is_frozen:
        network.trainable = False
        return network
    layers = weighted_layers(network)
    if settings.frozen_layers >= len(layers):
        found = f"{settings.frozen_layers}, of {len(layers)} layers"
        fix = "set model.pretrained.frozen: true to change none"
        expected = "fewer frozen layers than the network has with weights"
        raise ConfigError(Problem("", expected, found, fix, "model.pretrained.frozen"))
    for number, layer in enumerate(layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = number >= settings.frozen_layers and not is_norm
    return network


def _named(known: Architecture, image: Shape, file: Path | None) -> keras.Model:
    """Return a network that has a name, with the weights in a file, if any."""
    if known.lite is not None:
        # Files that cannot be used are reported before the network is built.
        arrays = None if file is None else read_lite_arrays(file)
        network = build_efficientnet_lite(known.lite, image)
        if arrays is not None:
            fill_efficientnet_lite(network, known.lite, arrays)
        return network
    if file is not None:
        check_application_file(file)
    application = getattr(keras.applications, known.application or "")
    network = application(weights=None, include_top=False, input_shape=image)
    if file is not None:
        layers = [layer for layer in network.layers if layer.weights]
        shapes = {layer.name: [tuple(weight.shape) for weight in layer.weights] for layer in layers}
        for name, values in read_hdf5_layers(file, shapes).items():
            network.get_layer(name).set_weights(values)
    return network


def load_nested(file: Path) -> keras.Model:
    """Return the base in the `model.keras` of a run, without its weights; its config is checked.

    Raises:
        WeightsError: The file does not have it, or Keras cannot build it.
        OSError: The file cannot be read.
    """
    config = read_keras_config(file, BASE)
    try:
        return keras.saving.deserialize_keras_object(config, safe_mode=True)
    except Exception as error:
        raise _unloadable(error) from error


def _load(base: BaseNetwork) -> keras.Model:
    """Load the network in a file of Keras whose config has been checked, up to the chosen layer."""
    try:
        # Its config is checked again: the file may have changed.
        read_keras_config(base.file)
        network = keras.saving.load_model(base.file, compile=False, safe_mode=True)
        return keras.Model(network.inputs[0], network.get_layer(base.layer).output)
    except (WeightsError, OSError):
        raise
    except Exception as error:
        raise _unloadable(error) from error


def _unloadable(error: Exception) -> WeightsError:
    """Return the error of a config or weights that do not fit, for which Keras raises anything."""
    reason = str(error).partition("\n")[0][:200] or type(error).__name__
    return WeightsError(f"a network that Keras cannot load ({reason})")
