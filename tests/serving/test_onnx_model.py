"""Single rows, whose inputs are bound to memory once."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.serving.files import field, schema
from trainer.serving.onnx_model import Inputs, OnnxModel
from trainer.serving.settings import ModelSource

ROWS = [(age, weight) for age in (18.0, 40.5, 72.5, np.nan) for weight in (50.0, 80.5, np.nan)]


def inputs_of(row: tuple[float, float]) -> Inputs:
    return Inputs(1, {"member": np.ones((1, 1))}, ["age", "weight"], np.array(row)[:, None])


def write_numbers(path: Path) -> Path:
    """Write a model of numbers whose outputs depend on each of them."""
    constants = {"zero": np.float64(0), "hundred": np.float64(100), "flat": np.array([-1])}
    nodes = [
        helper.make_node("Concat", ["age", "weight", "member"], ["raw"], axis=1),
        helper.make_node("IsNaN", ["raw"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "raw"], ["known"]),
        helper.make_node("ReduceSum", ["known", "axis"], ["sum"], keepdims=0),
        helper.make_node("Reshape", ["sum", "flat"], ["flat_sum"]),
        helper.make_node("Div", ["sum", "hundred"], ["share"]),
        helper.make_node("Cast", ["share"], ["p"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["p", "pair"], ["single"]),
        helper.make_node("Concat", ["single", "single"], ["probabilities"], axis=1),
        helper.make_node("Less", ["flat_sum", "hundred"], ["unseen"]),
        helper.make_node("Cast", ["flat_sum"], ["label"], to=TensorProto.STRING),
    ]
    constants |= {"pair": np.array([-1, 1]), "axis": np.array([1])}
    double = TensorProto.DOUBLE
    graph = helper.make_graph(
        nodes, "numbers",
        [helper.make_tensor_value_info(name, double, ["rows", 1]) for name in NAMES],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, ["rows"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2]),
            helper.make_tensor_value_info("unseen", TensorProto.BOOL, ["rows"]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    kinds = dict(zip(NAMES, ("number", "number", "boolean"), strict=True))
    fields = [field(name, kind, "float64") for name, kind in kinds.items()]
    example = dict.fromkeys(NAMES)
    described = json.dumps(schema(inputs=fields, example=example))
    helper.set_model_props(model, {"trainer.schema": described})
    onnx.save(model, str(path))
    return path


NAMES = ("age", "weight", "member")


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    return OnnxModel(ModelSource("numbers", str(write_numbers(tmp_path / "numbers.onnx"))))


def test_rows_keep_their_predictions(model: OnnxModel) -> None:
    # Memory that is used again must not change earlier predictions.
    predictions = [model.predict_inputs(inputs_of(row)) for row in ROWS]
    together = model.predict(
        {
            "age": np.array([[row[0]] for row in ROWS]),
            "weight": np.array([[row[1]] for row in ROWS]),
            "member": np.ones((len(ROWS), 1)),
        },
        len(ROWS),
    )
    for number, found in enumerate(predictions):
        assert list(found) == list(together)
        for name, values in together.items():
            assert found[name].tolist() == [values[number]]
    assert len(set(together["label"].tolist())) == len(ROWS)


def test_threads_do_not_share_memory(model: OnnxModel) -> None:
    wrong: list[object] = []

    def predict(row: tuple[float, float]) -> None:
        expected = (1 + np.nansum(row)) / 100
        for _ in range(300):
            found = model.predict_inputs(inputs_of(row))["probability_yes"][0]
            if abs(found - expected) > 1e-6:
                wrong.append((row, found))

    threads = [threading.Thread(target=predict, args=[row]) for row in ROWS[:4]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
