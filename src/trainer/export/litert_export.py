"""The format litert: the networks of a run as a file for LiteRT (TensorFlow Lite), on small devices.

LiteRT has no operations for texts and dates, so the inputs are those of the network: rows that the
preprocessing of the run has encoded. The outputs are probabilities or numbers; labels, intervals and
the flag for unseen values follow from these and from the encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.in_memory import table_in_memory
from trainer.errors import Problem
from trainer.export.bundle import Bundle
from trainer.export.formats import ExportFormat, Model
from trainer.export.keras_export import SIGNATURE, custom_layer_problems, tensor_specs
from trainer.export.raw_schema import raw_schema, schema_of
from trainer.export.schema import InputField, OutputField, Role, Schema

Array = NDArray[Any]

UNSEEN = "unseen"
"""The flag for unseen values is known when rows are encoded; it is passed by the network."""


class LitertFormat(ExportFormat):
    """One file of float32 weights for the runtime of LiteRT."""

    name: ClassVar[str] = "litert"
    file_name: ClassVar[str] = "model.tflite"
    suffix: ClassVar[str] = ".tflite"
    extra: ClassVar[str] = "litert"
    modules: ClassVar[tuple[str, ...]] = ("ai_edge_litert",)
    title: ClassVar[str] = (
        "the networks for LiteRT (TensorFlow Lite), from encoded rows to predictions"
    )

    def problems(self, bundle: Bundle) -> list[Problem]:
        """Return custom layers, and what LiteRT cannot compute."""
        task, where = bundle.task, str(bundle.run.path)
        problems = custom_layer_problems(bundle)
        fix = "use another format, such as onnx"
        if task.quantiles:
            problems.append(Problem(where, "one number for each target", "quantiles", fix))
        if any(task.target.transforms):
            expected, found = "targets that are scaled linearly", "data.target_scale: log or power"
            problems.append(Problem(where, expected, found, fix))
        return problems

    def schema(self, bundle: Bundle) -> Schema:
        """Return the inputs of the networks, and the outputs that are numbers."""
        several = len(bundle.encoders) > 1
        inputs = [
            InputField(
                f"{spec.name}_{index}" if several else spec.name,
                "",
                "encoded",
                spec.dtype,
                spec.shape,
            )
            for index, preprocessing in enumerate(bundle.encoders)
            for spec in preprocessing.inputs
        ]
        kept: tuple[Role, ...] = ("probabilities", "predicted", "std")
        outputs = [
            OutputField(field.role, field.role, "float32", field.shape, field.columns)
            for field in raw_schema(bundle).outputs
            if field.role in kept
        ]
        return schema_of(bundle, inputs, outputs)

    def write(self, bundle: Bundle, schema: Schema, path: Path) -> None:
        """Write the file."""
        path.write_bytes(self._converter(bundle, schema).convert())

    def _converter(self, bundle: Bundle, schema: Schema) -> Any:
        """Return the converter of TensorFlow for the networks."""
        import tensorflow as tf

        from trainer.export.litert_model import build_model

        model = build_model(bundle, schema)
        # Weights become constants: variables would have no values in the file.
        values = [
            [tf.constant(weight.numpy()) for weight in weights]
            for weights in (model.trainable_variables, model.non_trainable_variables)
        ]

        def predict(inputs: Any) -> Any:
            return model.stateless_call(*values, inputs, training=False)[0]

        module = tf.Module()
        module.predict = tf.function(predict, autograph=False)
        concrete = module.predict.get_concrete_function(tensor_specs(schema))
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)

    def load(self, path: Path) -> Model:
        """Load the file into LiteRT, with one thread."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=1)
        runner = interpreter.get_signature_runner(SIGNATURE)

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            given = {name: array for name, array in inputs.items() if name != UNSEEN}
            outputs = {name: np.array(array) for name, array in runner(**given).items()}
            return {**outputs, UNSEEN: inputs[UNSEEN]}

        # The runner does not keep its interpreter alive.
        run.interpreter = interpreter  # type: ignore[attr-defined]
        return run

    def encode(
        self, bundle: Bundle, schema: Schema, rows: pl.DataFrame, images: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Return the inputs of the networks, encoded by the preprocessing of the run."""
        frame = table_in_memory(rows).frame
        arrays: dict[str, Array] = {}
        names = iter(field.name for field in schema.inputs)
        unseen: Array | None = None
        for preprocessing in bundle.encoders:
            image = preprocessing.image
            given = None if image is None or image.name not in images else images[image.name]
            encoded = preprocessing.transform(frame, images=given)
            for spec in preprocessing.inputs:
                values = encoded.inputs[spec.name]
                arrays[next(names)] = np.ascontiguousarray(values[:])
            unseen = encoded.unseen if unseen is None else unseen
        assert unseen is not None, "a run has preprocessing"
        return {**arrays, UNSEEN: unseen}

    def decode(
        self, bundle: Bundle, schema: Schema, outputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        """Return labels and intervals, which follow from the numbers."""
        task, fields = bundle.task, raw_schema(bundle).outputs
        dtypes = {field.role: field.dtype for field in fields}
        found: dict[Role, Any] = {
            field.role: outputs[field.name].astype(dtypes[field.role]) for field in schema.outputs
        }
        found["unseen"] = outputs[UNSEEN]
        if task.kind.rules.has_classes:
            probabilities = found["probabilities"]
            p = probabilities[:, 1:] if task.kind.rules.has_positive_class else probabilities
            labels = task.predicted_labels(p)
            if task.kind.rules.is_exclusive:
                found["label"] = np.array(task.target.classes, dtype=object)[labels[:, 0]]
            else:
                found["labels"] = labels
        elif task.half_widths:
            found["low"], found["high"] = task.prediction_intervals(found["predicted"])
        return {field.name: found[field.role] for field in fields}

    def snippet(self, schema: Schema, file_name: str) -> list[str]:
        """Return code that predicts an encoded row."""
        lines = ["import numpy as np", "from ai_edge_litert.interpreter import Interpreter", ""]
        lines += [f"interpreter = Interpreter(model_path={file_name!r})"]
        lines += [f"run = interpreter.get_signature_runner({SIGNATURE!r})", "inputs = {"]
        lines += [
            f"    {field.name!r}: np.zeros({(1, *field.shape)!r}, np.{field.dtype}),"
            for field in schema.inputs
        ]
        return [*lines, "}", "print(run(**inputs))"]
