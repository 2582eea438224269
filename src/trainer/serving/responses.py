"""The body of a request → the body of its response."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.serving.bodies import Form, read_body
from trainer.serving.counters import Counters
from trainer.serving.models import Served
from trainer.serving.onnx_model import Arrays, Inputs
from trainer.serving.predictions import encode_predictions
from trainer.serving.settings import Limits


@dataclass(frozen=True, slots=True)
class PredictionResponse:
    """The response to a request for predictions.

    Attributes:
        body: Its body.
        media_type: Its content type.
        inputs: The inputs of the model.
        predictions: Its predictions.
    """

    body: bytes
    media_type: str
    inputs: Inputs
    predictions: Arrays


def predict_body(
    served: Served,
    body: bytes,
    content_type: str,
    limits: Limits,
    *,
    form: Form | None = None,
    ignore_unknown: bool = False,
) -> PredictionResponse:
    """Return the response to a request for predictions.

    Args:
        served: The model.
        body: The body.
        content_type: Its media type, with parameters.
        limits: The limits.
        form: The form of the response; None for that of the body.
        ignore_unknown: Whether to ignore columns that the model does not have.

    Raises:
        RequestError: The request is refused.
    """
    table = read_body(body, content_type, served.reader.images, limits)
    inputs = served.reader.inputs(table, ignore_unknown=ignore_unknown)
    predictions = served.model.predict_inputs(inputs)
    encoded, media_type = encode_predictions(predictions, form or table.form)
    return PredictionResponse(encoded, media_type, inputs, predictions)


def count_predictions(counters: Counters, served: Served, response: PredictionResponse) -> None:
    """Count the rows of a response, and their values if the model is monitored."""
    rows = response.inputs.rows
    unseen = int(np.count_nonzero(response.predictions[served.unseen]))
    counters.count_rows(served.number, rows, unseen)
    if served.monitor is not None:
        served.monitor.add(response.inputs.arrays(), response.predictions, rows)
