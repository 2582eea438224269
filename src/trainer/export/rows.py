"""Raw rows as the inputs of an exported model, and its outputs as the columns of `trainer predict`.

    rows ─ RowEncoder.encode ─► arrays by input ─ model ─► arrays by output ─ predictions_frame ─► table

Cells are read as `trainer predict` reads them: formatted numbers, dates, yes/no words, spellings of
levels. Only the schema is needed, not the run, and no TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.column_kinds import unreadable_mask
from trainer.data.images import ImageColumn
from trainer.data.in_memory import table_in_memory
from trainer.data.label_lists import join_labels
from trainer.data.nested_columns import nested_problem
from trainer.data.number_formats import NumberFormat, parse_number_columns
from trainer.data.pseudonyms import Pseudonyms
from trainer.data.spellings import casefold_level
from trainer.data.tables import Table
from trainer.data.text_columns import TextColumn
from trainer.data.text_formats import ParseSpec
from trainer.data.text_targets import TextTarget
from trainer.data.token_columns import TokenColumn
from trainer.data.values import level_text, number_matrix, parse_booleans, to_microseconds
from trainer.errors import DataError, Problem, did_you_mean
from trainer.export.schema import NOT_A_LEVEL, InputField, Schema

Array = NDArray[Any]
Arrays = Mapping[str, Array]


class RowEncoder:
    """Makes the inputs of a model from raw rows; texts and images are encoded as in training."""

    def __init__(self, schema: Schema, *, has_pseudonyms: bool = False) -> None:
        """Prepare the encoders of the columns.

        Args:
            schema: The schema of the model.
            has_pseudonyms: Whether pseudonymized columns of the rows have pseudonyms already.

        Raises:
            DataError: There is no key for pseudonymized columns, or it is not that of the run.
        """
        self.schema = schema
        self._encode = {field.name: _encoder(field) for field in schema.inputs}
        hidden = dict.fromkeys(field.column for field in schema.inputs if field.pseudonymized)
        self._pseudonyms = Pseudonyms(() if has_pseudonyms else tuple(hidden))
        if self._pseudonyms.columns:
            # Exports of earlier versions have no fingerprint.
            self._pseudonyms.check_key(schema.pseudonym_key or self._pseudonyms.fingerprint())

    def encode(self, rows: object, images: Arrays | None = None) -> dict[str, Array]:
        """Return the array of each input.

        Args:
            rows: A polars or pandas DataFrame, a dict of columns, or a list of dicts, one per row. It
                needs the columns of the table that the model uses; others are ignored.
            images: Column → decoded images, if they are in memory; else cells are paths.

        Raises:
            DataError: Columns are missing or have no single values, or there are no rows; or there is
                no key for pseudonymized columns.
        """
        table = table_in_memory(rows)
        table = replace(table, frame=self._pseudonyms.apply(table.frame, table.name))
        given = {} if images is None else images
        self._check_columns(table, given)
        return {
            field.name: given[field.column]
            if field.column in given
            else self._encode[field.name](table.frame[field.column])
            for field in self.schema.inputs
        }

    def _check_columns(self, table: Table, images: Arrays) -> None:
        available = table.frame.columns
        needed = [field.column for field in self.schema.inputs if field.column not in images]
        missing = [name for name in dict.fromkeys(needed) if name not in available]
        others = [name for name in available if name not in needed]
        fix = "add it, empty where the value is unknown"
        problems = [
            Problem(
                table.name,
                f"a column '{name}', as in training",
                "no such column",
                did_you_mean(name, others, fix),
            )
            for name in missing
        ]
        for name in dict.fromkeys(needed):
            if name in available:
                nested = nested_problem(table, name, table.frame.schema[name], feature=False)
                if nested is not None:
                    problems.append(
                        replace(nested, fix="provide one value per row, as in training")
                    )
        if problems:
            raise DataError(problems)
        if not table.frame.height:
            raise DataError(Problem(table.name, "a table with rows", "no rows"))


def input_arrays(
    schema: Schema, rows: object, images: Arrays | None = None, *, has_pseudonyms: bool = False
) -> dict[str, Array]:
    """Return the inputs of a model for raw rows; see `RowEncoder`."""
    return RowEncoder(schema, has_pseudonyms=has_pseudonyms).encode(rows, images)


def predictions_frame(schema: Schema, outputs: Arrays) -> pl.DataFrame:
    """Return the outputs of a model with the columns of `trainer predict`, without `row`.

    Args:
        schema: The schema of the model.
        outputs: The array of each output, by its name.
    """
    values: dict[str, Any] = {}
    for output in schema.outputs:
        array = outputs[output.name]
        if output.role == "labels" and schema.has_label_lists:
            values["labels"] = join_labels(array, schema.classes, schema.separator)
            continue
        if output.role == "text":
            target = TextTarget.model_validate_json(json.dumps(output.fitted))
            values[output.columns[0]] = pl.Series(target.decode(array), dtype=pl.String)
            continue
        columns = [array] if not output.shape else list(array.T)
        values |= {
            name: pl.Series(column.tolist(), dtype=pl.String)
            if output.dtype == "string"
            else column
            for name, column in zip(output.columns, columns, strict=True)
        }
    return pl.DataFrame({name: values[name] for name in schema.columns})


def _encoder(field: InputField) -> Callable[[pl.Series], Array]:
    """Return the function that makes an input from the cells of its column."""
    match field.kind:
        case "number":
            format_ = field.number_format
            spec = None if format_ is None else NumberFormat.model_validate(dict(format_))
            return lambda cells: _numbers(cells, spec)
        case "boolean":
            return _booleans
        case "datetime":
            return lambda cells: _dates(cells, field.date_format)
        case "category":
            return lambda cells: _categories(cells, field)
        case "text":
            text = TextColumn.model_validate_json(json.dumps(field.fitted))
            return lambda cells: _texts(cells, text)
        case "tokens":
            tokens = TokenColumn.model_validate_json(json.dumps(field.fitted))
            return lambda cells: _tokens(cells, tokens)
        case "image":
            image = ImageColumn.model_validate_json(json.dumps(field.fitted))
            return lambda cells: np.ascontiguousarray(image.load(cells)[:])
        case "encoded":
            raise ValueError(f"'{field.name}' is an input of the network, not a column")


def _numbers(cells: pl.Series, number_format: NumberFormat | None) -> Array:
    frame = cells.to_frame()
    if number_format is not None:
        frame = parse_number_columns(frame, {cells.name: number_format})
    values = number_matrix(frame, [cells.name])
    if np.isnan(values).sum() > cells.null_count():
        spec = ParseSpec("numeric", number_format=number_format)
        values[unreadable_mask(cells, spec), 0] = np.inf
    return np.ascontiguousarray(values)


def _booleans(cells: pl.Series) -> Array:
    parsed = parse_booleans(cells, accept_marks=True)
    values = parsed.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    values[(parsed.is_null() & cells.is_not_null()).to_numpy()] = np.inf
    return values[:, None]


def _dates(cells: pl.Series, date_format: str | None) -> Array:
    seconds = to_microseconds(cells, date_format).cast(pl.Float64) / 1e6
    values = seconds.fill_null(np.nan).to_numpy().copy()
    spec = ParseSpec("datetime", date_format=date_format)
    values[unreadable_mask(cells, spec)] = np.inf
    return values[:, None]


def _categories(cells: pl.Series, field: InputField) -> Array:
    texts = level_text(cells)
    if field.ignore_case:
        spellings = texts.unique().drop_nulls().to_list()
        texts = texts.replace(spellings, [casefold_level(text) for text in spellings])
    if field.missing == "":
        texts = texts.replace([""], [NOT_A_LEVEL])
    filled = texts.fill_null(field.missing)
    return np.array(filled.to_list(), dtype=object)[:, None]


def _texts(cells: pl.Series, column: TextColumn) -> Array:
    pairs, unknown = column.encode(cells)
    pairs[unknown, 0, 0] = -1
    return pairs


def _tokens(cells: pl.Series, column: TokenColumn) -> Array:
    ids, unknown = column.encode(cells)
    ids[unknown, 0] = -1 - ids[unknown, 0]
    return ids


def concatenated(parts: Sequence[Arrays]) -> dict[str, Array]:
    """Join the arrays of several batches of rows."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def count_rows(arrays: Arrays) -> int:
    """Return the number of rows."""
    return len(next(iter(arrays.values())))
