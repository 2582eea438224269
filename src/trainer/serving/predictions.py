"""The predictions of a model as the body of a response, in the form of the request."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from trainer.serving.bodies import ARROW_TYPE, CSV_TYPE, JSON_TYPE, Form
from trainer.serving.onnx_model import Arrays

if TYPE_CHECKING:
    import polars as pl

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def encode_predictions(predictions: Arrays, form: Form) -> tuple[bytes, str]:
    """Return the body of a response, and its content type."""
    match form:
        case "object":
            row = {name: _cells(column)[0] for name, column in predictions.items()}
            return orjson.dumps(row, option=_OPTIONS), JSON_TYPE
        case "objects":
            return orjson.dumps(prediction_rows(predictions), option=_OPTIONS), JSON_TYPE
        case "columns":
            columns = {name: _plain_column(column) for name, column in predictions.items()}
            return orjson.dumps(columns, option=_OPTIONS), JSON_TYPE
    # Polars is not needed for JSON, and takes a while to import.
    import polars as pl

    frame = pl.DataFrame(
        [pl.Series(name, _plain_column(column)) for name, column in predictions.items()]
    )
    return encode_table(frame, form)


def encode_table(frame: pl.DataFrame, form: Literal["csv", "arrow"]) -> tuple[bytes, str]:
    """Return a table as the body of a response, and its content type."""
    from trainer.data.table_writer import csv_bytes

    if form == "csv":
        return csv_bytes(frame, header=True), CSV_TYPE
    stream = io.BytesIO()
    frame.write_ipc_stream(stream)
    return stream.getvalue(), ARROW_TYPE


def prediction_rows(predictions: Arrays) -> list[dict[str, Any]]:
    """Return one dict for each row."""
    names = list(predictions)
    cells = zip(*map(_cells, predictions.values()), strict=True)
    return [dict(zip(names, row, strict=True)) for row in cells]


def _cells(column: NDArray[Any]) -> list[Any]:
    # float32 keeps its short decimal form as a NumPy number: 0.87, not 0.8700000047683716.
    return list(column) if column.dtype == np.float32 else column.tolist()


def _plain_column(column: NDArray[Any]) -> NDArray[Any] | list[Any]:
    return column.tolist() if column.dtype == np.object_ else np.ascontiguousarray(column)
