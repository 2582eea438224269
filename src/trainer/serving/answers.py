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
class Answer:
    """The predictions for a request.

    Attributes:
        content: The body of the response.
        media_type: Its content type.
        inputs: The inputs of the model.
        predictions: Its predictions.
    """

    content: bytes
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
) -> Answer:
    """Return the predictions for a body.

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
    content, media_type = encode_predictions(predictions, form or table.form)
    return Answer(content, media_type, inputs, predictions)


def count_answer(counters: Counters, served: Served, answer: Answer) -> None:
    """Count the rows of an answer, and its values if the model is monitored."""
    rows = answer.inputs.rows
    unseen = int(np.count_nonzero(answer.predictions[served.unseen]))
    counters.count_rows(served.number, rows, unseen)
    if served.monitor is not None:
        served.monitor.add(answer.inputs.arrays(), answer.predictions, rows)
