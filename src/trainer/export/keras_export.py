"""The format keras: one model of Keras's own layers, from raw cells to predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trainer.errors import Problem
from trainer.export.bundle import Bundle
from trainer.export.example_inputs import example_lines
from trainer.export.formats import ExportFormat, Model
from trainer.export.schema import Schema
from trainer.prediction.trained_runs import TrainedRun

Array = NDArray[Any]

SIGNATURE = "serving_default"
"""The signature of predictions in a SavedModel, and in a file for LiteRT."""


def model_problems(bundle: Bundle) -> list[Problem]:
    """Return the columns that cannot be inputs of a Keras model, and custom layers."""
    problems = [
        Problem(
            str(bundle.run.path),
            "columns whose names can be names of Keras inputs",
            f"'{name}', with a slash",
            "rename the column and repeat the run, or use the format onnx",
        )
        for name in bundle.columns
        if "/" in name
    ]
    return [*problems, *custom_layer_problems(bundle)]


def custom_layer_problems(bundle: Bundle) -> list[Problem]:
    """Return a problem for each network with custom layers."""
    return [
        Problem(member.where, "layers of Keras", "a custom layer", "replace it in model.layers")
        for member in bundle.members
        if _has_custom_layers(member.trained)
    ]


def _has_custom_layers(trained: TrainedRun) -> bool:
    return any(layer.settings.kind == "custom" for layer in trained.loaded.config.model.layers)


class KerasFormat(ExportFormat):
    """One file that Keras opens without this package."""

    name: ClassVar[str] = "keras"
    file_name: ClassVar[str] = "model.keras"
    suffix: ClassVar[str] = ".keras"
    extra: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = "a Keras model from raw cells to predictions, of Keras's own layers"

    def problems(self, bundle: Bundle) -> list[Problem]:
        """Return the columns and layers that the model cannot have."""
        return model_problems(bundle)

    def write(self, bundle: Bundle, schema: Schema, path: Path) -> None:
        """Write the file."""
        from trainer.export.keras_model import build_model
        from trainer.models.saving import save_network

        save_network(build_model(bundle, schema), path)

    def load(self, path: Path) -> Model:
        """Load the file into Keras, with one thread for each operation as in training."""
        import keras
        import tensorflow as tf

        model = keras.models.load_model(path, compile=False)
        predict = tf.function(
            lambda inputs: model(inputs, training=False), autograph=False, reduce_retracing=True
        )
        return array_model(predict)

    def snippet(self, schema: Schema, file_name: str) -> list[str]:
        """Return code that predicts a row."""
        lines = ["import keras", "import numpy as np", ""]
        lines += [f"model = keras.models.load_model({file_name!r})", "inputs = {"]
        return [*lines, *example_lines(schema), "}", "print(model(inputs))"]


def tensor_specs(schema: Schema) -> dict[str, Any]:
    """Return the inputs of a function of TensorFlow."""
    import tensorflow as tf

    return {
        field.name: tf.TensorSpec((None, *field.shape), field.dtype, name=field.name)
        for field in schema.inputs
    }


def array_model(function: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Model:
    """Return a function of tensors as one of arrays; texts are text instead of bytes."""
    import tensorflow as tf

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        return {name: _as_array(tensor.numpy()) for name, tensor in function(tensors).items()}

    return run


def _as_array(values: Any) -> Array:
    """Return an output of TensorFlow with texts in place of bytes."""
    array = np.asarray(values)
    if array.dtype.kind not in "OS":
        return array
    return np.array([text.decode() for text in array.tolist()], dtype=object)
