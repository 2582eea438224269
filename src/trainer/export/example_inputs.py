"""The example row of a run as code, for the model card of formats that take NumPy arrays."""

from __future__ import annotations

import numpy as np

from trainer.export.schema import InputField, Schema


def example_lines(schema: Schema) -> list[str]:
    """Return the items of a dict from inputs to arrays of one row."""
    return [f"    {field.name!r}: {_literal(field, schema)}," for field in schema.inputs]


def _literal(field: InputField, schema: Schema) -> str:
    value = schema.example.get(field.column)
    match field.kind:
        case "category":
            text = field.missing if value is None else str(value)
            return f"np.array([[{text!r}]], dtype=object)"
        case "number" | "boolean":
            number = "np.nan" if value is None else repr(float(value))
            return f"np.array([[{number}]])"
        case "datetime":
            seconds = "np.nan"
            if isinstance(value, str):
                seconds = repr(float(np.datetime64(value, "us").astype(np.int64)) / 1e6)
            return f"np.array([[{seconds}]])"
        case _:
            return f"np.zeros({(1, *field.shape)!r}, dtype=np.{field.dtype})"
