"""The architecture in a file of Keras: read, checked and described without Keras.

A `.keras` file is a zip archive with `config.json`; an `.h5` file of a whole network has it as an
attribute. Such a config can name any class or function of any module. Only layers of Keras that compute
on images are accepted, with their initializers, regularizers and constraints.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from trainer.config.layers.settings import Activation
from trainer.errors import RunError
from trainer.models.pretrained.weights_error import WeightsError
from trainer.runs.archives import check_archive

_MAX_CONFIG_BYTES = 1 << 26
_MAX_NESTING = 8
_SAME_CHANNELS = frozenset({
    "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Identity", "BatchNormalization",
    "LayerNormalization", "GroupNormalization", "UnitNormalization", "Normalization", "Rescaling",
    "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout",
    "MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D",
    "ZeroPadding2D", "Cropping2D", "UpSampling2D", "Resizing",
    "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum",
})  # fmt: skip
_COUNTED = {"Conv2D": "filters", "SeparableConv2D": "filters", "Conv2DTranspose": "filters",
            "Dense": "units"}  # fmt: skip
_NETWORKS = ("Functional", "Sequential", "Model")
_LAYERS = (
    _SAME_CHANNELS
    | _COUNTED.keys()
    | {*_NETWORKS, "InputLayer", "DepthwiseConv2D", "Concatenate", "Flatten", "Reshape", "Permute"}
    | {"Embedding", "MultiHeadAttention", "GlobalAveragePooling1D", "Cropping1D"}  # of encoders
)
_PARTS = frozenset({
    "Zeros", "Ones", "Constant", "Identity", "Orthogonal", "RandomNormal", "RandomUniform",
    "TruncatedNormal", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal",
    "LecunUniform", "VarianceScaling", "L1", "L2", "L1L2", "OrthogonalRegularizer", "MaxNorm",
    "MinMaxNorm", "NonNeg", "UnitNorm", "DTypePolicy", "Policy", "__keras_tensor__",
})  # fmt: skip
_ACTIVATIONS = frozenset(get_args(Activation))
_OUTPUT_LAYERS = ("Dense", "Activation", "Softmax")


@dataclass(frozen=True, slots=True)
class KerasArchitecture:
    """What is known of a network from its config.

    Attributes:
        layer: The layer whose output is used.
        channels: Channels of that output.
        image: (height, width, channels) of its input; None for sizes that are not fixed.
    """

    layer: str
    channels: int
    image: tuple[int | None, ...]


def read_keras_config(path: Path, inner: str | None = None) -> dict[str, Any]:
    """Return the config of the network in a `.keras` or `.h5` file.

    Args:
        path: The file.
        inner: The name of a network inside that one, which is returned and checked instead.

    Raises:
        WeightsError: The file is damaged or unsafe, or has only weights.
        OSError: The file cannot be read.
    """
    if zipfile.is_zipfile(path):
        try:
            check_archive(path)
        except RunError as error:
            raise WeightsError(error.problems[0].found) from error
        with zipfile.ZipFile(path) as archive:
            if "config.json" not in archive.namelist():
                raise WeightsError("a zip archive without config.json")
            if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
                raise WeightsError("a config of more than 64 MB")
            text: str | bytes = archive.read("config.json")
    else:
        text = _hdf5_config(path)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError("a config that is not JSON") from error
    if not isinstance(config, dict):
        raise WeightsError("a config that Keras did not write")
    if inner is not None:
        config = _inner_config(config, inner)
    _check_classes(config)
    return dict(config)


def _inner_config(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    try:
        found = [layer for layer in _layers(config) if _name(layer) == name]
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError("a config that Keras did not write") from error
    if not found:
        raise WeightsError(f"no layer '{name}'")
    return found[0]


def _hdf5_config(path: Path) -> str | bytes:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise WeightsError("a damaged HDF5 file") from error
    if not isinstance(text, str | bytes):
        raise WeightsError(
            "weights without a network",
            fix="set model.pretrained.architecture, or save the whole network: model.save(FILE)",
        )
    return text


def describe_config(config: Mapping[str, Any], layer: str | None) -> KerasArchitecture:
    """Describe the network of a checked config.

    Args:
        config: The config.
        layer: The layer whose output is used; None for the last one before the output layer.

    Raises:
        WeightsError: There is no such layer, or its number of channels cannot be derived.
    """
    try:
        layers = {_name(entry): entry for entry in _layers(config)}
        chosen = _feature_layer(config) if layer is None else layer
        if chosen not in layers:
            some = ", ".join(list(layers)[-5:])
            raise WeightsError(f"'{chosen}'", expected=f"a layer of the network: …, {some}")
        channels = _channels(config)[chosen]
        if channels is None:
            raise WeightsError(
                f"{layers[chosen]['class_name']} '{chosen}'",
                expected="a layer whose number of channels follows from the config",
                fix="set model.pretrained.layer to one before it",
            )
        return KerasArchitecture(chosen, channels, _image(config))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise WeightsError("a config that Keras did not write") from error


def _check_classes(value: Any) -> None:
    """Check every class and function that a config names."""
    remaining = [value]
    while remaining:
        item = remaining.pop()
        if isinstance(item, list):
            remaining += item
        if not isinstance(item, dict):
            continue
        remaining += item.values()
        if "class_name" not in item:
            continue
        name, module = item["class_name"], item.get("module")
        if name == "function":
            name, allowed = item.get("config"), _ACTIVATIONS
        else:
            allowed = _LAYERS | _PARTS
        is_builtin = module in (None, "builtins", "keras") or str(module).startswith("keras.")
        registered = item.get("registered_name")
        if not isinstance(name, str) or name not in allowed or not is_builtin:
            raise WeightsError(
                f"{module or 'keras'}.{name}",
                expected="a network of Keras's own layers for images or texts",
                fix="remove that layer, or save the network without it",
            )
        if registered not in (None, name):
            raise WeightsError(f"{registered}", expected=f"Keras's own {name}")


def _layers(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    inner = config["config"]
    return list(inner["layers"] if isinstance(inner, dict) else inner)


def _name(layer: Mapping[str, Any]) -> str:
    return str(layer.get("name") or layer["config"]["name"])


def _inputs_of(layer: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Return the names of the layers that a layer gets its inputs from."""
    nodes = layer.get("inbound_nodes")
    if nodes is None:  # Sequential
        names = [_name(entry) for entry in _layers(config)]
        index = names.index(_name(layer))
        return names[index - 1 : index] if index else []
    return list(dict.fromkeys(_histories(nodes[:1])))


def _histories(value: Any) -> Iterator[str]:
    """Yield the layers of tensors: in Keras 3 `keras_history`, in Keras 2 [name, node, tensor, {}]."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield str(value["config"]["keras_history"][0])
        else:
            for item in value.values():
                yield from _histories(item)
    elif isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str) and isinstance(value[1], int):
            yield value[0]
        else:
            for item in value:
                yield from _histories(item)


def output_layer(config: Mapping[str, Any]) -> str:
    """Return the name of the layer with the output of a network.

    Raises:
        WeightsError: There are several.
    """
    inner = config["config"]
    if isinstance(inner, dict) and "output_layers" in inner:
        found = list(_histories([inner["output_layers"]]))
        if len(found) != 1:
            raise WeightsError(f"{len(found)} outputs", expected="a network with one output")
        return found[0]
    return _name(_layers(config)[-1])


def _feature_layer(config: Mapping[str, Any]) -> str:
    """Return the last layer before the output layer: a dense layer, with or without its activation."""
    layers = {_name(entry): entry for entry in _layers(config)}
    last = name = output_layer(config)
    for _ in _OUTPUT_LAYERS[:2]:
        if layers[name]["class_name"] not in _OUTPUT_LAYERS:
            return last
        (before,) = _inputs_of(layers[name], config)
        if layers[name]["class_name"] == "Dense":
            return before
        name = before
    return last


def _channels(config: Mapping[str, Any], depth: int = 0) -> dict[str, int | None]:
    """Return the size of the last axis of each layer's output; None where it does not follow."""
    channels: dict[str, int | None] = {}
    # Keras writes the layers in an order in which inputs come first.
    for layer in _layers(config):
        kind, settings, name = layer["class_name"], layer["config"], _name(layer)
        before = [channels.get(other) for other in _inputs_of(layer, config)]
        first = before[0] if before else _image(config)[-1]
        if kind in _COUNTED:
            channels[name] = int(settings[_COUNTED[kind]])
        elif kind == "InputLayer":
            channels[name] = _shape(settings)[-1]
        elif kind in _NETWORKS and depth < _MAX_NESTING:
            channels[name] = _channels(layer, depth + 1).get(output_layer(layer))
        elif kind == "Concatenate":
            channels[name] = None if None in before else sum(count or 0 for count in before)
        elif kind == "DepthwiseConv2D":
            multiplier = int(settings["depth_multiplier"])
            channels[name] = None if first is None else first * multiplier
        else:
            channels[name] = first if kind in _SAME_CHANNELS else None
    return channels


def _shape(settings: Mapping[str, Any]) -> list[Any]:
    return list(settings.get("batch_shape") or settings["batch_input_shape"])


def _image(config: Mapping[str, Any]) -> tuple[int | None, ...]:
    first = _layers(config)[0]
    shape = _shape(first["config"])[1:]
    if len(shape) != 3:
        raise WeightsError(f"an input of shape {shape}", expected="a network for images")
    return tuple(shape)


def layer_settings(config: Mapping[str, Any], class_name: str) -> Mapping[str, Any] | None:
    """Return the settings of the first layer of a class in a checked config; None if there is none.

    Raises:
        WeightsError: Keras did not write the config.
    """
    try:
        found = (layer["config"] for layer in _layers(config) if layer["class_name"] == class_name)
        return next(found, None)
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError("a config that Keras did not write") from error
