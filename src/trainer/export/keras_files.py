"""Read the network in a `model.keras` file: its layers and their weights, without Keras.

The archive has the layers as JSON, and the weights as HDF5. Groups are named after the class of a layer
and its place among the layers of that class, as `keras.saving` names them. Nothing is executed.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.errors import Problem, RunError
from trainer.runs.archives import check_archive

Array = NDArray[Any]
_Parsed = TypeVar("_Parsed")

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_DAMAGE = (
    AttributeError, IndexError, KeyError, OSError, RecursionError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What JSON and HDF5 of another form raise."""
_SUBLAYERS = {
    "GRU": ("cell",),
    "LSTM": ("cell",),
    "Bidirectional": ("forward_layer/cell", "backward_layer/cell"),
    "MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "output_dense"),
}
"""Class of a layer → the groups below its own that have its weights."""


@dataclass(frozen=True, slots=True)
class TensorRef:
    """An output of a layer: that of its call number `node`, and its place among the outputs."""

    layer: str
    node: int
    index: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a layer in a network.

    Attributes:
        layer: The layer.
        node: The number of the call, from 0.
        inputs: What it is called with: one tensor, a list of them, or a dict by name.
        mask: The mask of the positions that count, if it is called with one.
    """

    layer: KerasLayer
    node: int
    inputs: Any
    mask: TensorRef | None = None

    def tensors(self) -> list[TensorRef]:
        """Return all tensors that it is called with, the mask last."""
        return [*tensors_of(self.inputs), *([] if self.mask is None else [self.mask])]


@dataclass(frozen=True)
class KerasLayer:
    """A layer of a network.

    Attributes:
        name: Its name in the network.
        kind: Its class in `keras.layers`, or Functional or Sequential for a network inside another.
        config: Its arguments.
        weights: Its weights, in Keras's order; of a recurrent layer those of its cell, of a
            bidirectional one both directions, of attention those of its four dense layers.
        network: The network inside it, if it is one.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    weights: tuple[Array, ...]
    network: KerasNetwork | None = None


@dataclass(frozen=True)
class KerasNetwork:
    """A network.

    Attributes:
        inputs: Name → shape of a sample, and dtype, of each input, in order.
        calls: The calls of its layers, without inputs, each after those that it needs.
        output: The output.
        names: The names of the inputs if it is called with a dict; empty for one or a list.
    """

    inputs: Mapping[str, tuple[tuple[int, ...], str]]
    calls: tuple[Call, ...]
    output: TensorRef
    names: tuple[str, ...]

    def layers(self) -> Iterator[KerasLayer]:
        """Yield all layers, those of networks inside it after the layer that holds them."""
        for call in self.calls:
            yield call.layer
            if call.layer.network is not None:
                yield from call.layer.network.layers()


def read_network(path: Path) -> KerasNetwork:
    """Return the network in a `model.keras` file that `read_checkpoint` has verified.

    Raises:
        RunError: The file is damaged, or is not a network that Keras wrote.
    """
    return _read(path, lambda config, file: _network(config, file, ""))


def read_layers(path: Path) -> tuple[KerasLayer, ...]:
    """Return the layers of a network in a `model.keras` file, whatever they are called with.

    Raises:
        RunError: See `read_network`.
    """
    return _read(
        path, lambda config, file: tuple(_layers(config["config"]["layers"], file, "").values())
    )


def _read(path: Path, parse: Callable[[Mapping[str, Any], Any], _Parsed]) -> _Parsed:
    """Return what a function makes of the config and the weights of a file."""
    import h5py

    check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read(_CONFIG))
            content = io.BytesIO(archive.read(_WEIGHTS))
        with h5py.File(content, "r") as file:
            return parse(config, file)
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise RunError(
            Problem(
                str(path),
                "a network written by Keras",
                f"a damaged one ({reason})",
                "restore the directory from a copy of the run",
            )
        ) from error


def _network(config: Mapping[str, Any], file: Any, group: str) -> KerasNetwork:
    """Return a Sequential or Functional network whose weights are in a group of the file."""
    settings = config["config"]
    layers = _layers(settings["layers"], file, group)
    if config["class_name"] == "Sequential":
        return _sequential(layers)
    if config["class_name"] != "Functional":
        raise ValueError(f"a network of class {config['class_name']}")
    entries = dict(zip(layers, settings["layers"], strict=True))
    inputs = {name: _input(layers[name]) for name in _names(settings["input_layers"])}
    calls = [
        Call(layers[name], node, _references(_first_argument(called)), _mask(called))
        for name, entry in entries.items()
        if layers[name].kind != "InputLayer"
        for node, called in enumerate(entry["inbound_nodes"])
    ]
    outputs = _references(settings["output_layers"])
    output = outputs if isinstance(outputs, TensorRef) else outputs[0]
    by_name = settings["input_layers"]
    return KerasNetwork(
        inputs, _ordered(calls, inputs), output, tuple(by_name) if isinstance(by_name, dict) else ()
    )


def _sequential(layers: Mapping[str, KerasLayer]) -> KerasNetwork:
    inputs: dict[str, tuple[tuple[int, ...], str]] = {}
    calls: list[Call] = []
    reference: TensorRef | None = None
    for name, layer in layers.items():
        if layer.kind == "InputLayer":
            inputs[name] = _input(layer)
        else:
            calls.append(Call(layer, 0, reference))
        reference = TensorRef(name, 0, 0)
    if len(inputs) != 1 or reference is None:
        raise ValueError("a sequence of layers without an input")
    return KerasNetwork(inputs, tuple(calls), reference, ())


def _layers(entries: Sequence[Mapping[str, Any]], file: Any, group: str) -> dict[str, KerasLayer]:
    layers: dict[str, KerasLayer] = {}
    used: dict[str, int] = {}
    for entry in entries:
        kind, config = entry["class_name"], entry["config"]
        name = _snake_case(kind)
        used[name] = used[name] + 1 if name in used else 0
        place = f"{group}layers/{name}" + (f"_{used[name]}" if used[name] else "")
        inner = None
        weights: tuple[Array, ...] = ()
        if kind in ("Functional", "Sequential"):
            inner = _network(entry, file, f"{place}/")
        else:
            parts = (
                [f"{place}/{part}" for part in _SUBLAYERS[kind]] if kind in _SUBLAYERS else [place]
            )
            weights = tuple(array for part in parts for array in _variables(file, part))
        title = str(entry.get("name") or config["name"])
        if title in layers:
            raise ValueError(f"two layers named {title!r}")
        layers[title] = KerasLayer(title, kind, config, weights, inner)
    return layers


def _variables(file: Any, group: str) -> Iterator[Array]:
    """Yield the weights of a layer."""
    place = file
    for part in (*group.split("/"), "vars"):
        if part not in place:
            return
        place = _member(place, part)
    for number in range(len(place)):
        data = _member(place, str(number))
        if data.external or data.is_virtual or data.id.get_storage_size() < data.nbytes:
            raise ValueError(f"weights at {group} that are not in the file")
        yield np.array(data)


def _member(group: Any, name: str) -> Any:
    import h5py

    is_hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
    if not is_hard:
        # It could lead to another file.
        raise ValueError(f"a link {name}")
    return group[name]


def _input(layer: KerasLayer) -> tuple[tuple[int, ...], str]:
    return tuple(layer.config["batch_shape"][1:]), str(layer.config["dtype"])


def _first_argument(called: Mapping[str, Any]) -> Any:
    """Return what a layer is called with; attention of a sequence to itself has it twice."""
    arguments = called["args"]
    if len(arguments) > 1 and any(argument != arguments[0] for argument in arguments[1:]):
        raise ValueError("a layer that is called with several arguments")
    return arguments[0]


def _mask(called: Mapping[str, Any]) -> TensorRef | None:
    """Return the mask that a layer is called with, if any."""
    # Without a mask, a network with several inputs is called with a dict of None.
    given = {name: value for name, value in called["kwargs"].items() if _has_tensor(value)}
    if not given:
        return None
    (name, value), *others = given.items()
    reference = _references(value)
    if others or name not in ("mask", "attention_mask") or not isinstance(reference, TensorRef):
        raise ValueError(f"a layer that is called with {', '.join(given)}")
    return reference


def _has_tensor(value: Any) -> bool:
    match value:
        case {"class_name": "__keras_tensor__"}:
            return True
        case dict():
            return any(map(_has_tensor, value.values()))
        case list():
            return any(map(_has_tensor, value))
    return False


def _references(value: Any) -> Any:
    """Return the tensors of a JSON value: one, a list or a dict."""
    match value:
        case {"class_name": "__keras_tensor__", "config": {"keras_history": history}}:
            return TensorRef(*history)
        case [str(layer), int(node), int(index)]:
            return TensorRef(layer, node, index)
        case dict():
            return {name: _references(item) for name, item in value.items()}
        case list():
            return [_references(item) for item in value]
    raise ValueError(f"a layer that is called with {value!r}"[:100])


def tensors_of(value: Any) -> list[TensorRef]:
    """Return the tensors of an argument, in order."""
    if isinstance(value, TensorRef):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    return [reference for item in items for reference in tensors_of(item)]


def _names(value: Any) -> list[str]:
    return [reference.layer for reference in tensors_of(_references(value))]


def _ordered(calls: Sequence[Call], inputs: Mapping[str, Any]) -> tuple[Call, ...]:
    """Return the calls in an order in which each follows those that it needs."""
    known = {(name, 0) for name in inputs}
    left, ordered = list(calls), list[Call]()
    while left:
        ready = [
            call
            for call in left
            if all((item.layer, item.node) in known for item in call.tensors())
        ]
        if not ready:
            raise ValueError("layers that need each other's outputs")
        ordered += ready
        known |= {(call.layer.name, call.node) for call in ready}
        left = [call for call in left if (call.layer.name, call.node) not in known]
    return tuple(ordered)


def _snake_case(name: str) -> str:
    """Return the name that Keras gives the group of a class."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
