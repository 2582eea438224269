"""Small exported models that are written by hand, and servers in processes of their own."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trainer.data.generated_columns import GeneratedImages
from trainer.export.generator_schema import GeneratorSchema
from trainer.export.onnx_graph import Graph
from trainer.export.schema import GENERATOR_KEY

COMMAND = (sys.executable, "-c", "from trainer_cli.main import main; main()")
RUN = "20260101-000000-aaaa"
HANGING_SECONDS = 120
ROW = {"age": 40.5, "colour": "red", "member": True}


def field(name: str, kind: str, dtype: str, **values: Any) -> dict[str, Any]:
    empty = {
        "missing": None, "categories": [], "other_categories": [], "ignore_case": False,
        "missing_in_training": 0, "minimum": None, "maximum": None, "typical": None,
        "date_format": None, "number_format": None, "fitted": None, "pseudonymized": False,
    }  # fmt: skip
    return {
        "name": name,
        "column": name,
        "kind": kind,
        "dtype": dtype,
        "shape": [1],
        **empty,
        **values,
    }


def output(role: str, dtype: str, columns: list[str], width: int = 0) -> dict[str, Any]:
    shape = [width] if width else []
    return {"name": role, "role": role, "dtype": dtype, "shape": shape, "columns": columns}


def schema(run: str = RUN, **values: Any) -> dict[str, Any]:
    return {
        "format": 1, "run": run, "name": "churn", "weights_sha256": f"{run}-weights", "task": "binary",
        "target": ["left"], "classes": ["no", "yes"], "threshold": 0.5, "coverage": None,
        "quantiles": [], "separator": None, "has_label_lists": False, "members": 1,
        "columns": ["label", "probability_no", "probability_yes", "unseen"],
        "inputs": [
            field("age", "number", "float64", minimum=18.0, maximum=80.0, typical=40.0),
            field("colour", "category", "string", missing="", typical="blue",
                  categories=["blue", "red"]),
            field("member", "boolean", "float64", typical=False),
        ],
        "outputs": [
            output("label", "string", ["label"]),
            output("probabilities", "float32", ["probability_no", "probability_yes"], 2),
            output("unseen", "bool", ["unseen"]),
        ],
        "example": ROW,
        **values,
    }  # fmt: skip


def expected_probability(row: dict[str, Any], bias: float = 0.0) -> float:
    """Return what the model written by `write_model` predicts."""
    age = 40.0 if row["age"] is None else row["age"]
    score = 0.1 * (age - 40) + (row["colour"] == "red") + 0.5 * bool(row["member"]) + bias
    return float(1 / (1 + np.exp(-score)))


def write_model(path: Path, run: str = RUN, bias: float = 0.0, **changes: Any) -> Path:
    """Write a model: logistic regression on a number, a category and a yes/no column."""

    def constant(name: str, value: Any) -> Any:
        return numpy_helper.from_array(np.asarray(value), name)

    nodes = [
        helper.make_node("IsNaN", ["age"], ["no_age"]),
        helper.make_node("IsInf", ["age"], ["bad_age"]),
        helper.make_node("Where", ["no_age", "typical", "age"], ["known_age"]),
        helper.make_node("Cast", ["known_age"], ["age32"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["age32", "forty"], ["centered"]),
        helper.make_node("Mul", ["centered", "tenth"], ["scaled"]),
        helper.make_node(
            "LabelEncoder", ["colour"], ["code"], domain="ai.onnx.ml",
            keys_strings=["", "blue", "red"], values_floats=[0.0, 0.0, 1.0], default_float=-1.0,
        ),
        helper.make_node("Relu", ["code"], ["is_red"]),
        helper.make_node("IsNaN", ["member"], ["no_member"]),
        helper.make_node("Where", ["no_member", "zero64", "member"], ["known_member"]),
        helper.make_node("Cast", ["known_member"], ["member32"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["member32", "half"], ["of_member"]),
        helper.make_node("Sum", ["scaled", "is_red", "of_member", "bias"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
        helper.make_node("GreaterOrEqual", ["yes", "half"], ["is_yes"]),
        helper.make_node("Cast", ["is_yes"], ["index"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["index", "flat"], ["flat_index"]),
        helper.make_node(
            "LabelEncoder", ["flat_index"], ["label"], domain="ai.onnx.ml",
            keys_int64s=[0, 1], values_strings=["no", "yes"],
        ),
        helper.make_node("Less", ["code", "zero"], ["bad_colour"]),
        helper.make_node("Or", ["bad_age", "bad_colour"], ["bad"]),
        helper.make_node("Reshape", ["bad", "flat"], ["unseen"]),
    ]  # fmt: skip
    constants = [
        constant("typical", np.float64(40)), constant("forty", np.float32(40)),
        constant("tenth", np.float32(0.1)), constant("zero64", np.float64(0)),
        constant("half", np.float32(0.5)), constant("bias", np.float32(bias)),
        constant("one", np.float32(1)), constant("zero", np.float32(0)),
        constant("flat", np.array([-1])),
    ]  # fmt: skip
    double, text = TensorProto.DOUBLE, TensorProto.STRING
    inputs = [("age", double), ("colour", text), ("member", double)]
    graph = helper.make_graph(
        nodes, "churn",
        [helper.make_tensor_value_info(name, kind, ["rows", 1]) for name, kind in inputs],
        [
            helper.make_tensor_value_info("label", text, ["rows"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2]),
            helper.make_tensor_value_info("unseen", TensorProto.BOOL, ["rows"]),
        ],
        constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, {"trainer.schema": json.dumps(schema(run, **changes))})
    temporary = path.with_suffix(".new")
    onnx.save(model, str(temporary))
    temporary.replace(path)
    return path


def write_faces(path: Path, run: str = RUN) -> Path:
    """Write a generator of images of 4 × 4 pixels, without classes."""
    graph = Graph(["latent", "image"])
    latent = graph.input("latent", "float32", [4])
    values = graph.node("MatMul", latent, graph.constant(90 * np.eye(4, 16), "float32"))
    bounds = graph.constant(0.0, "float32"), graph.constant(255.0, "float32")
    pixels = graph.cast(graph.node("Clip", values, *bounds), "uint8")
    image = graph.reshape(pixels, [4, 4, 1])
    graph.output(image, "image", "uint8", [4, 4, 1], "")
    schema = GeneratorSchema(
        run=run, name="faces", weights_sha256="", latent=4, blocks=(), columns=(),
        images=GeneratedImages(height=4, width=4, channels=1, path="path"),
        target=None, classes=(), class_counts=(), condition=False,
    )  # fmt: skip
    metadata = {GENERATOR_KEY: schema.model_dump_json()}
    onnx.save(graph.model("faces", "", "0", metadata), str(path))
    return path


class Server:
    """`trainer serve` in a process, on a free port."""

    def __init__(self, *arguments: str | Path, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", *map(str, arguments), "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip
        # A test that fails does not stop its server.
        atexit.register(self.process.kill)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise AssertionError(self.process.communicate())
        self.port = int(self.url.rsplit(":", 1)[1])

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path)

    def predict(self, row: Any, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/predict", json=row, **options)

    def wait_until(self, condition: Any) -> Any:
        """Return the first true value of `condition`."""
        end = time.monotonic() + HANGING_SECONDS
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.05)
        raise AssertionError("it hangs")

    def stop(self, number: int | None = None) -> tuple[int, str]:
        """Return the exit code and stderr, after sending a signal (SIGTERM by default)."""
        if self.process.poll() is None:
            if number is None:
                self.process.terminate()
            else:
                self.process.send_signal(number)
        _, err = self.process.communicate(timeout=HANGING_SECONDS)
        return self.process.returncode, err
