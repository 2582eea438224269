"""A run as one Keras model, from raw cells to predictions. Imports TensorFlow."""

from __future__ import annotations

from typing import Any

import keras

from trainer.errors import Problem, RunError
from trainer.export.bundle import Bundle
from trainer.export.keras_columns import ColumnGraph
from trainer.export.keras_tasks import decode_outputs, results
from trainer.export.raw_schema import input_names, raw_schema
from trainer.export.schema import Schema
from trainer.inputs import keras_inputs
from trainer.prediction.trained_runs import load_network


def build_model(bundle: Bundle, schema: Schema) -> keras.Model:
    """Return the model, with a dict of inputs and a dict of outputs; see `trainer.export.schema`.

    Raises:
        RunError: A column has the name of a layer.
        ConfigError: A network has custom layers.
    """
    try:
        return _model(bundle, schema)
    except ValueError as error:
        expected = "columns whose names can be names of Keras inputs"
        found = str(error).partition("\n")[0][:200]
        fix = "rename the column and repeat the run, or use the format onnx"
        raise RunError(Problem(str(bundle.run.path), expected, found, fix)) from error


def _model(bundle: Bundle, schema: Schema) -> keras.Model:
    tensors = {
        field.name: keras.Input(field.shape, dtype=field.dtype, name=field.name)
        for field in schema.inputs
    }
    missing = {field.column: field.missing or "" for field in schema.inputs}
    # A format can give inputs other names.
    renamed = {
        raw.name: field.name
        for raw, field in zip(raw_schema(bundle).inputs, schema.inputs, strict=True)
    }
    encoded = []
    for index, preprocessing in enumerate(bundle.encoders):
        names = input_names(bundle, index)
        cells = {column: tensors[renamed[name]] for column, name in names.items()}
        encoded.append(ColumnGraph(preprocessing, cells, missing, f"encoder_{index}").encode())
    decoded = []
    for index, member in enumerate(bundle.members):
        network = load_network(member.trained, allow_custom=False)
        network.name = f"network_{index}"
        inputs: Any = encoded[member.encoder].inputs
        outputs = network(keras_inputs(inputs), training=False)
        decoded.append(decode_outputs(member.trained.task, outputs))
    found: dict[Any, Any] = {**results(bundle.task, decoded), "unseen": encoded[0].unseen}
    outputs = {output.name: found[output.role] for output in schema.outputs}
    return keras.Model(tensors, outputs, name="predictor")
