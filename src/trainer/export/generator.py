"""A generator as an ONNX graph: random numbers in, images or the columns of rows out.

The numbers are inputs, because graphs draw no reproducible ones: `latent`, normal; `uniform`, from 0 to
1, by which categories are drawn; `class`, the class of each sample, if the generator is given one.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx

from trainer.data.generated_columns import (
    GeneratedCategory,
    GeneratedNumber,
    GeneratedRows,
    normal_scores,
)
from trainer.errors import Problem, RunError
from trainer.export.generator_schema import (
    CLASS,
    IMAGE_OUTPUT,
    UNIFORM,
    GeneratorSchema,
)
from trainer.export.keras_files import KerasNetwork, read_network
from trainer.export.onnx_graph import Graph, Tensor
from trainer.export.onnx_network import UnsupportedLayerError, add_layers, layer_problems
from trainer.export.schema import GENERATOR_KEY, RUN_KEY, VERSION_KEY, WEIGHTS_KEY
from trainer.inputs import CONDITION, LATENT


def write_generator(
    model: Path, rows: GeneratedRows, schema: GeneratorSchema, version: str, out: Path
) -> None:
    """Write a generator as an ONNX file.

    Args:
        model: The verified `model.keras` of its checkpoint.
        rows: What it generates.
        schema: What describes it in the file.
        version: The version of this package.
        out: The file to write.

    Raises:
        RunError: A layer has no equivalent.
        OSError: The disk is full or fails.
    """
    network = read_network(model)
    problems = layer_problems(network, str(model))
    if problems:
        raise RunError(problems)
    outputs = [column.name for column in rows.columns]
    graph = Graph([LATENT, CLASS, UNIFORM, IMAGE_OUTPUT, *outputs])
    try:
        values = _network_output(graph, network, rows)
    except UnsupportedLayerError as error:
        expected = "layers that an ONNX graph can compute"
        raise RunError(Problem(str(model), expected, str(error))) from error
    if rows.images is not None:
        _add_image(graph, values, rows)
    else:
        _add_columns(graph, values, rows)
    text = f"Samples of the generator {schema.name}"
    metadata = {
        GENERATOR_KEY: schema.model_dump_json(),
        RUN_KEY: schema.run,
        WEIGHTS_KEY: schema.weights_sha256,
        VERSION_KEY: version,
    }
    onnx.save(graph.model(schema.name, text, version, metadata), str(out))


def _network_output(graph: Graph, network: KerasNetwork, rows: GeneratedRows) -> Tensor:
    (latent,) = network.inputs[LATENT][0]
    first = graph.input(LATENT, "float32", [latent], "normal random numbers")
    inputs = {LATENT: partial(Tensor, first, (latent,))}
    if rows.conditions:
        listed = ", ".join(f"{code}: {name}" for code, name in enumerate(rows.classes[:50]))
        code = graph.input(CLASS, "int64", [], f"the class of each sample ({listed})")
        table = graph.constant(np.eye(rows.conditions, dtype=np.float32))
        one_hot = graph.node("Gather", table, code, axis=0)
        inputs[CONDITION] = partial(Tensor, one_hot, (rows.conditions,))
    return add_layers(graph, network, inputs)


def _add_image(graph: Graph, values: Tensor, rows: GeneratedRows) -> None:
    assert rows.images is not None
    one = graph.constant(1.0, "float32")
    scaled = graph.node(
        "Mul", graph.node("Add", values.name, one), graph.constant(127.5, "float32")
    )
    bounds = graph.constant(0.0, "float32"), graph.constant(255.0, "float32")
    pixels = graph.cast(graph.node("Clip", graph.node("Round", scaled), *bounds), "uint8")
    shape = rows.images.shape
    graph.output(pixels, IMAGE_OUTPUT, "uint8", shape, "height, width, channels")


def _add_columns(graph: Graph, values: Tensor, rows: GeneratedRows) -> None:
    uniform = ""
    if rows.blocks:
        text = "uniform random numbers from 0 to 1, one for each column that is drawn"
        uniform = graph.input(UNIFORM, "float64", [len(rows.blocks)], text)
    encoded = graph.cast(values.name, "float64")
    start = block = 0
    for column in rows.columns:
        levels = []
        for first, size in column.blocks:
            logits = _columns(graph, encoded, start + first, size)
            draw = _columns(graph, uniform, block, 1)
            levels.append(_level(graph, logits, draw))
            block += 1
        if isinstance(column, GeneratedNumber):
            scores = _columns(graph, encoded, start, 1)
            _add_number(graph, column, scores, levels)
        else:
            _add_category(graph, column, levels[0])
        start += column.width


def _columns(graph: Graph, tensor: str, start: int, count: int) -> str:
    ends = [graph.constant([value], "int64") for value in (start, start + count, 1)]
    return graph.node("Slice", tensor, *ends)


def _level(graph: Graph, logits: str, draw: str) -> str:
    """Return the drawn level, int64 (rows,): how many cumulative shares are below the drawn number."""
    shares = graph.node("Softmax", logits, axis=1)
    cumulative = graph.node("CumSum", shares, graph.constant(1, "int64"))
    ends = [graph.constant([value], "int64") for value in (0, -1, 1)]
    inner = graph.node("Slice", cumulative, *ends)
    below = graph.cast(graph.node("Less", inner, draw), "int64")
    return graph.node("ReduceSum", below, graph.constant([1], "int64"), keepdims=0)


def _add_number(graph: Graph, column: GeneratedNumber, scores: str, levels: list[str]) -> None:
    """Add the interpolation between the values of the training rows, as `numpy.interp` computes it."""
    knots = np.asarray(column.values)
    x = normal_scores(len(knots))
    bounds = graph.constant(float(x[0])), graph.constant(float(x[-1]))
    clipped = graph.node("Clip", scores, *bounds)
    upto = graph.cast(graph.node("LessOrEqual", graph.constant(x[None, :-1]), clipped), "int64")
    count = graph.node("ReduceSum", upto, graph.constant([1], "int64"), keepdims=0)
    left = graph.node("Sub", count, graph.constant(1, "int64"))
    slopes = np.append(np.diff(knots) / np.diff(x), 0.0)
    parts = [
        graph.node("Gather", graph.constant(values), left, axis=0) for values in (knots, x, slopes)
    ]
    flat = graph.node("Squeeze", clipped, graph.constant([1], "int64"))
    rise = graph.node("Mul", graph.node("Sub", flat, parts[1]), parts[2])
    number = graph.node("Add", parts[0], rise)
    if column.step:
        step = graph.constant(float(column.step))
        number = graph.node("Mul", graph.node("Round", graph.node("Div", number, step)), step)
    factor = graph.constant(float(10**column.decimals))
    number = graph.node("Div", graph.node("Round", graph.node("Mul", number, factor)), factor)
    if levels:
        is_missing = graph.cast(levels[0], "bool")
        number = graph.node("Where", is_missing, graph.constant(float("nan")), number)
    text = "microseconds since 1970" if column.dtype in ("date", "datetime") else "number"
    graph.output(number, column.name, "float64", (), text + "; NaN if missing" * bool(levels))


def _add_category(graph: Graph, column: GeneratedCategory, level: str) -> None:
    names = [*column.levels, *([""] if column.missing else [])]
    labels = graph.node("Gather", graph.constant(names, "string"), level, axis=0)
    text = "category" + ("; empty if missing" if column.missing else "")
    graph.output(labels, column.name, "string", (), text)
