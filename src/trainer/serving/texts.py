"""Models that translate: batches of sources of similar length, limits on lengths, ids as texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.text_targets import TextTarget
from trainer.data.token_columns import TokenColumn
from trainer.engine.lengths import rounded_lengths
from trainer.export.schema import InputField, OutputField, Schema
from trainer.serving.problems import RequestProblem

if TYPE_CHECKING:
    from trainer.data.arrays import RowIndex

_BATCH_TOKENS = 4096
"""Tokens of the sources of a call of ONNX Runtime, with padding, which limits its memory."""


def target_of(output: OutputField) -> TextTarget:
    """Return the tokens of a text.

    Raises:
        DataError: The package `tokenizers` is not installed.
    """
    target = TextTarget.model_validate_json(json.dumps(output.fitted))
    # The tokenizer is built once, before the first request.
    target.decode(np.full((1, 1), target.end_id))
    return target


class TextLimits:
    """Checks that sources have at most as many tokens as a model reads."""

    def __init__(self, schema: Schema) -> None:
        """Check the sources of a model that translates; nothing of other models."""
        has_text = schema.output("text") is not None
        self._columns = {field.column: _column(field) for field in schema.inputs if has_text}
        for column in self._columns.values():
            column.split([""])

    def problems(self, name: str, values: Sequence[Any]) -> list[RequestProblem]:
        """Return the problems of the texts of a column that are too long.

        `trainer predict` cuts them off; a client would not notice that a part is not translated.
        """
        column = self._columns.get(name)
        if column is None:
            return []
        _, counts = column.split(["" if value is None else str(value) for value in values])
        expected = f"a text of at most {column.room:,} tokens"
        fix = "send its sentences one by one"
        return [
            RequestProblem(expected, f"{counts[row]:,} tokens", fix, name, int(row))
            for row in np.flatnonzero(counts > column.room)
        ]


def run_by_length(
    run: Callable[[dict[str, NDArray[Any]]], list[NDArray[Any]]],
    arrays: dict[str, NDArray[Any]],
    field: InputField,
) -> list[NDArray[Any]]:
    """Run a model on batches of sources of similar length.

    Args:
        run: Runs it on some rows.
        arrays: The inputs of all rows.
        field: The source.

    Returns:
        Its outputs, with rows in the order of the inputs.
    """
    lengths = rounded_lengths(arrays[field.name], _column(field).pad_id, 1)
    batches = list(length_batches(lengths))
    parts = [run({name: array[rows] for name, array in arrays.items()}) for rows in batches]
    order = np.argsort(np.concatenate(batches))
    return [np.concatenate(values)[order] for values in zip(*parts, strict=True)]


def length_batches(lengths: NDArray[np.int32]) -> Iterator[RowIndex]:
    """Yield the rows of each batch, from short to long ones; a batch is as long as its longest row."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        later = lengths[order[start:]].astype(np.int64)
        fits = later * np.arange(1, len(later) + 1) <= _BATCH_TOKENS
        stop = start + max(1, int(np.count_nonzero(fits)))
        yield order[start:stop]
        start = stop


def _column(field: InputField) -> TokenColumn:
    return TokenColumn.model_validate_json(json.dumps(field.fitted))
