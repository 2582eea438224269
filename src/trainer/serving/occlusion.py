"""An explanation of a prediction: how it changes when a column is replaced by its typical value."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from trainer.serving.bodies import Table
from trainer.serving.columns import RowReader, request_value
from trainer.serving.onnx_model import Arrays, OnnxModel
from trainer.serving.predictions import prediction_rows

_CELLS = 8
"""An image is covered in at most 8 × 8 cells."""


def explain_row(model: OnnxModel, reader: RowReader, table: Table) -> bytes:
    """Return the prediction for a row, and its change for each column, as JSON.

    A column is replaced by its typical value (see `Schema`), or by a missing value if it has none; a
    cell of an image by the mean color of the image. `change` is the prediction minus that of the changed
    row. A translation has no `score`, and nothing is changed.

    Args:
        model: The model.
        reader: Converts rows for it.
        table: One row.

    Raises:
        RequestError: See `RowReader.arrays`.
    """
    arrays = reader.arrays(table)
    predictions = model.predict(arrays, 1)
    if model.writes_texts:
        row = prediction_rows(predictions)[0]
        written: dict[str, Any] = {"prediction": row, "score": None, "effects": []}
        return orjson.dumps(written, option=orjson.OPT_SERIALIZE_NUMPY)
    score = _score_name(model, predictions)
    names = [name for name in reader.columns if name not in reader.images]
    typical = {field.column: request_value(field, field.typical) for field in model.schema.inputs}
    effects: list[dict[str, Any]] = []
    if names:
        changed = {
            name: [typical[name] if other == name else table.columns[name][0] for other in names]
            for name in table.columns
        }
        rows = reader.arrays(Table(changed, len(names), "columns"))
        changes = float(predictions[score][0]) - model.predict(rows, len(names))[score]
        effects = [
            {
                "column": name,
                "value": table.columns[name][0],
                "typical": typical[name],
                "change": float(change),
            }
            for name, change in zip(names, changes, strict=True)
        ]
        effects.sort(key=lambda effect: -abs(effect["change"]))
    content = {"prediction": prediction_rows(predictions)[0], "score": score, "effects": effects}
    content["maps"] = {
        field.column: _map(model, arrays, field.name, score, predictions)
        for field in model.schema.inputs
        if field.kind == "image"
    }
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _score_name(model: OnnxModel, predictions: Arrays) -> str:
    """Return the number that is explained: the probability of the label, or the first number."""
    for output in model.schema.outputs:
        if output.role == "probabilities":
            columns = output.columns
            return columns[int(np.argmax([predictions[name][0] for name in columns]))]
    return next(output.columns[0] for output in model.schema.outputs if output.role == "predicted")


def _map(
    model: OnnxModel, arrays: Arrays, name: str, score: str, predictions: Arrays
) -> list[list[float]]:
    """Return the change of the prediction for each cell of an image."""
    image: NDArray[np.uint8] = arrays[name][0]
    edges = [
        np.linspace(0, side, min(_CELLS, side) + 1).astype(np.int64) for side in image.shape[:2]
    ]
    fill = np.rint(image.mean(axis=(0, 1))).astype(np.uint8)
    covered = []
    for top, bottom in zip(edges[0], edges[0][1:], strict=False):
        for left, right in zip(edges[1], edges[1][1:], strict=False):
            part = image.copy()
            part[top:bottom, left:right] = fill
            covered.append(part)
    inputs = {other: np.repeat(array, len(covered), axis=0) for other, array in arrays.items()}
    scores = model.predict({**inputs, name: np.stack(covered)}, len(covered))[score]
    changes = float(predictions[score][0]) - scores.astype(np.float64)
    shaped: list[list[float]] = changes.reshape(len(edges[0]) - 1, -1).tolist()
    return shaped
