"""The format saved_model: a folder for TensorFlow Serving, with a signature of raw cells."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from trainer.data.column_names import free_name
from trainer.errors import Problem
from trainer.export.bundle import Bundle
from trainer.export.example_inputs import example_lines
from trainer.export.formats import ExportFormat, Model
from trainer.export.keras_export import SIGNATURE, array_model, model_problems, tensor_specs
from trainer.export.raw_schema import raw_schema
from trainer.export.schema import Schema

SCHEMA = "assets.extra/schema.json"
"""TensorFlow Serving ignores this folder."""


class SavedModelFormat(ExportFormat):
    """A folder that TensorFlow and TensorFlow Serving open without Keras or this package."""

    name: ClassVar[str] = "saved_model"
    file_name: ClassVar[str] = "saved_model"
    suffix: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = "a TensorFlow SavedModel from raw cells to predictions"

    def problems(self, bundle: Bundle) -> list[Problem]:
        """Return the columns and layers that the model cannot have."""
        return model_problems(bundle)

    def schema(self, bundle: Bundle) -> Schema:
        """Return the schema of raw rows, with names that TensorFlow allows."""
        schema = raw_schema(bundle)
        names: list[str] = []
        for field in schema.inputs:
            name = re.sub(r"[^A-Za-z0-9_.]", "_", field.name)
            name = name if name[0].isalnum() else f"x{name}"
            names.append(free_name(name, names, "_"))
        fields = zip(schema.inputs, names, strict=True)
        return replace(schema, inputs=tuple(replace(field, name=name) for field, name in fields))

    def write(self, bundle: Bundle, schema: Schema, path: Path) -> None:
        """Write the folder."""
        import tensorflow as tf

        from trainer.export.keras_model import build_model

        module = tf.Module()
        module.model = model = build_model(bundle, schema)
        function = tf.function(lambda inputs: model(inputs, training=False), autograph=False)
        module.predict = function
        tf.saved_model.save(
            module,
            str(path),
            signatures={SIGNATURE: function.get_concrete_function(tensor_specs(schema))},
        )
        (path / SCHEMA).parent.mkdir()
        (path / SCHEMA).write_text(schema.to_json() + "\n", encoding="utf-8")

    def load(self, path: Path) -> Model:
        """Load the signature."""
        import tensorflow as tf

        # The signature alone does not keep the variables alive.
        loaded = tf.saved_model.load(str(path))
        return array_model(lambda tensors: loaded.signatures[SIGNATURE](**tensors))

    def snippet(self, schema: Schema, file_name: str) -> list[str]:
        """Return code that predicts a row."""
        lines = ["import numpy as np", "import tensorflow as tf", ""]
        lines += [f"loaded = tf.saved_model.load({file_name!r})", "inputs = {"]
        lines += [*example_lines(schema), "}"]
        lines += ["tensors = {name: tf.constant(array) for name, array in inputs.items()}"]
        return [*lines, f"print(loaded.signatures[{SIGNATURE!r}](**tensors))"]
