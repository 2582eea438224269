"""A graph of ONNX operators that is written one operator at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

ML = "ai.onnx.ml"
OPSET, ML_OPSET, IR_VERSION = 18, 3, 9
"""Old enough for ONNX Runtime 1.14, of 2023."""

ROWS = "rows"
"""The name of the axis of rows."""

Array = NDArray[Any]

_TYPES = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}

LoopStep = Callable[[str, Sequence[str]], tuple[str, Sequence[str]]]
"""The number of a step and the states before it → whether to continue, and the states after it."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph.

    Attributes:
        name: Its name.
        shape: Its shape without the axis of rows, which is the first.
    """

    name: str
    shape: tuple[int, ...]


class Graph:
    """The operators, constants, inputs and outputs of a graph, in the order in which they are added."""

    def __init__(self, reserved: Sequence[str]) -> None:
        """Create an empty graph; tensors between its operators get no name of `reserved`."""
        self._reserved = set(reserved)
        self._nodes: list[NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[TensorProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, dtype: str, shape: Sequence[int], text: str = "") -> str:
        """Add an input with rows of a shape, and return its name."""
        info = helper.make_tensor_value_info(name, _TYPES[dtype], [ROWS, *shape], text)
        self._inputs.append(info)
        return name

    def output(self, tensor: str, name: str, dtype: str, shape: Sequence[int], text: str) -> None:
        """Make a tensor an output with this name."""
        self._nodes.append(helper.make_node("Identity", [tensor], [name], name=f"/{name}"))
        info = helper.make_tensor_value_info(name, _TYPES[dtype], [ROWS, *shape], text)
        self._outputs.append(info)

    def constant(self, value: Any, dtype: str | None = None) -> str:
        """Return the name of a constant; equal ones are stored once. Text has dtype "string"."""
        array = np.asarray(value, object if dtype == "string" else dtype)
        content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
        key = (array.dtype.str, array.shape, content)
        if key not in self._constants:
            name = self._name("constant")
            self._constants[key] = name
            self._initializers.append(numpy_helper.from_array(array, name))
        return self._constants[key]

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output, and return the name of that."""
        (output,) = self.nodes(kind, inputs, 1, domain=domain, **attributes)
        return output

    def nodes(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: int,
        *,
        domain: str = "",
        used: Sequence[int] | None = None,
        **attributes: Any,
    ) -> list[str]:
        """Add an operator and return the names of its outputs; those not in `used` are left out."""
        name = self._name(kind)
        names = [
            (name if outputs == 1 else f"{name}:{index}") if used is None or index in used else ""
            for index in range(outputs)
        ]
        node = helper.make_node(kind, inputs, names, name=name, domain=domain, **attributes)
        self._nodes.append(node)
        return names

    def loop(self, limit: int, states: Sequence[tuple[str, str]], step: LoopStep) -> list[str]:
        """Repeat a part of the graph, and return the final states.

        Args:
            limit: Maximum number of steps.
            states: The initial states, with their types; their shapes may change.
            step: Adds the part. The number of a step is an int64 scalar from 0, and whether to continue
                is a bool scalar.
        """
        outer, self._nodes = self._nodes, []
        number, before = self._name("number"), self._name("before")
        names = [self._name("state") for _ in states]
        continues, after = step(number, names)
        # An output must not be an input, nor occur twice.
        results = [self.node("Identity", tensor) for tensor in (continues, *after)]
        inner, self._nodes = self._nodes, outer
        types = [_TYPES["bool"], *(_TYPES[dtype] for _, dtype in states)]
        scalars = [(number, _TYPES["int64"]), (before, _TYPES["bool"])]
        inputs = [helper.make_tensor_value_info(name, kind, []) for name, kind in scalars]
        inputs += _of_any_shape(names, types[1:])
        body = helper.make_graph(inner, self._name("body"), inputs, _of_any_shape(results, types))
        first = [self.constant(limit, "int64"), self.constant(True, "bool")]
        first += [tensor for tensor, _ in states]
        return self.nodes("Loop", first, len(states), body=body)

    def cast(self, tensor: str, dtype: str) -> str:
        """Convert a tensor to another type."""
        return self.node("Cast", tensor, to=_TYPES[dtype])

    def concat(self, tensors: Sequence[str], axis: int = 1) -> str:
        """Join tensors along an axis."""
        return tensors[0] if len(tensors) == 1 else self.node("Concat", *tensors, axis=axis)

    def reshape(self, tensor: str, shape: Sequence[int]) -> str:
        """Reshape each row."""
        return self.node("Reshape", tensor, self.constant([0, *shape], "int64"))

    def take(self, tensor: str, columns: Sequence[int], width: int) -> str:
        """Return columns of a tensor of some width, on the axis after the rows."""
        if list(columns) == list(range(width)):
            return tensor
        return self.node("Gather", tensor, self.constant(list(columns), "int64"), axis=1)

    def model(self, name: str, text: str, version: str, metadata: Mapping[str, str]) -> ModelProto:
        """Return the whole as a model."""
        graph = helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, self._initializers
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)],
            ir_version=IR_VERSION,
            producer_name="trainer",
            producer_version=version,
            doc_string=text,
        )
        helper.set_model_props(model, dict(metadata))
        return model

    def _name(self, kind: str) -> str:
        while True:
            self._count += 1
            name = f"/{kind}_{self._count}"
            if name not in self._reserved:
                return name


def _of_any_shape(names: Sequence[str], types: Sequence[int]) -> list[ValueInfoProto]:
    """Describe tensors of any shape."""
    return [
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in zip(names, types, strict=True)
    ]
