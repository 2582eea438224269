"""The format onnx: one graph from raw cells to labels, probabilities and intervals.

It is written operator by operator, without TensorFlow: preprocessing, networks, their mean,
temperature, threshold and class names. Everything in it is computed by ONNX Runtime alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from trainer.config.translation import encoder_decoder
from trainer.errors import Problem, RunError
from trainer.export.bundle import Bundle
from trainer.export.example_inputs import example_lines
from trainer.export.formats import TOLERANCE, ExportFormat, Model
from trainer.export.raw_schema import input_names
from trainer.export.schema import (
    RUN_KEY,
    SCHEMA_KEY,
    VERSION_KEY,
    WEIGHTS_KEY,
    InputField,
    Role,
    Schema,
)
from trainer.export.translations import TEXT_TOLERANCE, translation_snippet
from trainer.packages import DISTRIBUTION
from trainer.runs.machine import package_versions

if TYPE_CHECKING:
    from onnx import ModelProto

    from trainer.export.onnx_graph import Graph

Array = NDArray[Any]

MAX_BYTES = 2_000_000_000
"""A file of more than 2 GiB is no valid protocol buffer."""


class OnnxFormat(ExportFormat):
    """One file that ONNX Runtime opens alone."""

    name: ClassVar[str] = "onnx"
    file_name: ClassVar[str] = "model.onnx"
    suffix: ClassVar[str] = ".onnx"
    extra: ClassVar[str] = "export"
    modules: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")
    writes_texts: ClassVar[bool] = True
    title: ClassVar[str] = "an ONNX graph from raw cells to predictions, for ONNX Runtime"

    def problems(self, bundle: Bundle) -> list[Problem]:
        """Return the layers that have no equivalent, and a network that is too large."""
        from trainer.export.onnx_network import layer_problems

        has_text = bundle.task.kind.rules.has_text
        problems = (
            []
            if has_text
            else [
                problem
                for member in bundle.members
                for problem in layer_problems(member.network, member.where)
            ]
        )
        size = sum(
            array.nbytes
            for member in bundle.members
            for layer in member.layers
            for array in layer.weights
        )
        if size > MAX_BYTES:
            found, fix = f"{size / 1e9:.1f} GB", "use another format, such as saved_model"
            problems.append(Problem(str(bundle.run.path), "at most 2 GB of weights", found, fix))
        return list(dict.fromkeys(problems))

    def tolerance(self, bundle: Bundle) -> float:
        """Return the largest accepted difference from `predict`."""
        return TEXT_TOLERANCE if bundle.task.kind.rules.has_text else TOLERANCE

    def write(self, bundle: Bundle, schema: Schema, path: Path) -> None:
        """Write the file."""
        path.write_bytes(build_model(bundle, schema).SerializeToString(deterministic=True))

    def load(self, path: Path) -> Model:
        """Load the file into ONNX Runtime, with one thread."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        outputs: list[Any] = session.get_outputs()
        names = [output.name for output in outputs]

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            return dict(zip(names, session.run(None, dict(inputs)), strict=True))

        return run

    def snippet(self, schema: Schema, file_name: str) -> list[str]:
        """Return code that predicts a row, or translates texts, with ONNX Runtime."""
        if schema.output("text") is not None:
            return translation_snippet(schema, file_name)
        lines = ["import numpy as np", "import onnxruntime", ""]
        lines += [f"session = onnxruntime.InferenceSession({file_name!r})", "inputs = {"]
        lines += example_lines(schema)
        lines += ["}", "names = [output.name for output in session.get_outputs()]"]
        return [*lines, "print(dict(zip(names, session.run(None, inputs))))"]


def build_model(bundle: Bundle, schema: Schema) -> ModelProto:
    """Return the graph of a run, with the schema as metadata.

    Raises:
        RunError: A layer has settings that the operators do not have.
    """
    from trainer.export.onnx_graph import Graph

    reserved = [field.name for field in schema.inputs]
    reserved += [field.name for field in schema.outputs]
    graph = Graph(reserved)
    for field in schema.inputs:
        graph.input(field.name, field.dtype, field.shape, _input_text(field))
    if bundle.task.kind.rules.has_text:
        results, unseen = _texts(graph, bundle)
    else:
        decoded, unseen = _decoded(graph, bundle, schema)
        results = _results(graph, bundle, decoded)
    for role, tensor in results.items():
        _add_output(graph, schema, role, tensor)
    _add_output(graph, schema, "unseen", unseen)
    version = package_versions([DISTRIBUTION]).get(DISTRIBUTION, "unknown")
    text = f"{schema.name}: {schema.task} of {', '.join(schema.target)}"
    metadata = {
        SCHEMA_KEY: schema.to_json(),
        RUN_KEY: schema.run,
        WEIGHTS_KEY: schema.weights_sha256,
        VERSION_KEY: version,
    }
    return graph.model("trainer", text, version, metadata)


def _texts(graph: Graph, bundle: Bundle) -> tuple[dict[Role, str], str]:
    """Return the outputs of a run that translates besides `unseen`, and that."""
    from trainer.export.onnx_columns import encode_columns
    from trainer.export.onnx_decoding import add_decoding
    from trainer.export.onnx_translation import TranslationGraph

    (member,) = bundle.members
    trained = member.trained
    config, preprocessing = trained.loaded.config, trained.preprocessing
    shape = trained.task.network_shape(preprocessing).translation
    encoded = encode_columns(graph, preprocessing, input_names(bundle, 0), {})
    assert shape is not None, "the run translates"
    assert encoded.tokens is not None, "the source has tokens"
    network = TranslationGraph(graph, member.layers, encoder_decoder(config.model), shape)
    texts = add_decoding(network, config.evaluate.decoding, encoded.tokens)
    return {"text": texts.ids, "log_probability": texts.log_probability}, encoded.unseen


def _decoded(graph: Graph, bundle: Bundle, schema: Schema) -> tuple[list[str], str]:
    """Return the decoded outputs of each member, and the mask of unseen values."""
    from trainer.export.onnx_columns import encode_columns
    from trainer.export.onnx_network import UnsupportedLayerError, add_network
    from trainer.export.onnx_tasks import decode_outputs

    missing = {field.column: field.missing or "" for field in schema.inputs}
    encoded = [
        encode_columns(graph, preprocessing, input_names(bundle, index), missing)
        for index, preprocessing in enumerate(bundle.encoders)
    ]
    decoded = []
    for member in bundle.members:
        try:
            outputs = add_network(graph, member, encoded[member.encoder])
        except UnsupportedLayerError as error:
            expected, fix = "layers that an ONNX graph can compute", "use another format"
            raise RunError(Problem(member.where, expected, str(error), fix)) from error
        decoded.append(decode_outputs(graph, member.trained.task, outputs))
    # As `predict`, which takes the flags of the first preprocessing.
    return decoded, encoded[0].unseen


def _results(graph: Graph, bundle: Bundle, decoded: list[str]) -> dict[Role, str]:
    """Return the outputs of the model besides `unseen`."""
    from trainer.export.onnx_tasks import add_intervals, add_labels, class_probabilities

    task = bundle.task
    rules = task.kind.rules
    mean, std = decoded[0], None
    dtype = "float32" if rules.has_classes else "float64"
    if len(decoded) > 1:
        mean, std = _mean_and_std(graph, decoded, dtype)
    results: dict[Role, str] = {}
    names = len(task.prediction_names)
    if rules.has_classes:
        results["label" if rules.is_exclusive else "labels"] = add_labels(graph, task, mean)
        results["probabilities"] = class_probabilities(graph, task, mean)
    else:
        width = len(task.file_columns)
        results["predicted"] = graph.take(mean, range(names), width)
        if task.half_widths:
            results["low"], results["high"] = add_intervals(graph, task, mean)
        if width > names:
            results["quantiles"] = graph.take(mean, range(names, width), width)
    if std is not None:
        width = names if rules.has_classes else len(task.file_columns)
        results["std"] = graph.take(std, range(names), width)
    return results


def _mean_and_std(graph: Graph, decoded: list[str], dtype: str) -> tuple[str, str]:
    """Return the mean of the members, and their standard deviation (n - 1)."""
    count = len(decoded)

    def total(parts: list[str]) -> str:
        result = parts[0]
        for part in parts[1:]:
            result = graph.node("Add", result, part)
        return result

    mean = graph.node("Div", total(decoded), graph.constant(count, dtype))
    differences = [graph.node("Sub", part, mean) for part in decoded]
    squares = total([graph.node("Mul", part, part) for part in differences])
    variance = graph.node("Div", squares, graph.constant(count - 1, dtype))
    return mean, graph.node("Sqrt", variance)


def _add_output(graph: Graph, schema: Schema, role: Role, tensor: str) -> None:
    field = schema.output(role)
    assert field is not None, role
    graph.output(tensor, field.name, field.dtype, field.shape, ", ".join(field.columns))


def _input_text(field: InputField) -> str:
    """Describe an input for tools that show a graph."""
    texts = {
        "number": "a number; NaN if missing",
        "boolean": "1 for yes, 0 for no; NaN if missing",
        "datetime": "seconds since 1970-01-01T00:00:00 UTC; NaN if missing",
        "category": f"a category; {field.missing!r} if missing",
        "text": "ids and weights of the terms of a text",
        "tokens": "ids of the tokens of a text",
        "image": "pixels from 0 to 255: height, width, channels",
        "encoded": "an input of the network",
    }
    return texts[field.kind]
