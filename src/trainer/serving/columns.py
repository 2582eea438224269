"""Checks of the raw values of a request by the columns of a model, and their arrays.

Common types (numbers, texts, true and false) are converted here, so that one row takes microseconds.
All others are parsed as by `trainer predict`, by `trainer.export.rows`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError, did_you_mean
from trainer.export.schema import InputField, Plain, Schema
from trainer.serving.bodies import Table, Values
from trainer.serving.onnx_model import Arrays, Inputs
from trainer.serving.plain_values import level_text, plain_converter
from trainer.serving.problems import SHOWN, RequestError, RequestProblem, shown

if TYPE_CHECKING:
    import polars as pl

    from trainer.export.rows import RowEncoder
    from trainer.serving.texts import TextLimits

_NONE = type(None)
_NUMBERS = frozenset({int, float, _NONE})
_TEXTS = frozenset({str, int, float, _NONE})
_SINGLE = _TEXTS | {bool}
_ALLOWED = {"boolean": _SINGLE, "category": _SINGLE}
"""Kind → the types of values that are parsed; `_TEXTS` for other kinds."""
_PARSED = ("number", "boolean", "datetime")
"""Kinds whose arrays are infinite where a value cannot be parsed."""
_NAME_LENGTH = 100

EXPECTED = {
    "number": "a number",
    "boolean": "true or false",
    "datetime": "a date",
    "category": "a text, a number, true or false",
    "text": "a text",
    "tokens": "a text",
    "image": "an image file, in JSON as base64",
}
"""Kind → its values, in words."""


class RowReader:
    """Converts the rows of requests for a model.

    Attributes:
        columns: The names of the columns of the model.
        images: Those of images.
    """

    def __init__(self, schema: Schema) -> None:
        # With folds, a column of texts can have several inputs.
        self._fields: dict[str, list[InputField]] = {}
        for field in schema.inputs:
            self._fields.setdefault(field.column, []).append(field)
        self.columns = tuple(self._fields)
        self.images = tuple(
            name for name, fields in self._fields.items() if fields[0].kind == "image"
        )
        self._names = frozenset(self.columns)
        self._schema = schema
        self._limits: TextLimits | None = None
        if schema.output("text") is not None:
            from trainer.serving.texts import TextLimits

            self._limits = TextLimits(schema)
        self._encoders: dict[str, RowEncoder] = {}
        self._order = {name: number for number, name in enumerate(self.columns)}
        numbers = [fields[0] for fields in self._fields.values() if fields[0].kind == "number"]
        self._number_columns = [field.column for field in numbers]
        self._number_inputs = [field.name for field in numbers]
        self._converters = [
            (
                name,
                fields[0].name,
                plain_converter(fields[0])
                if len(fields) == 1 and not fields[0].pseudonymized
                else None,
            )
            for name, fields in self._fields.items()
            if fields[0].kind != "number"
        ]
        for name, _, convert in self._converters:
            if convert is None and name not in self.images:
                self._encoder(name)

    def arrays(self, table: Table) -> Arrays:
        """Return the inputs of the model, name → (rows, *shape); see `inputs`."""
        return self.inputs(table).arrays()

    def inputs(self, table: Table, *, ignore_unknown: bool = False) -> Inputs:
        """Return the inputs of the model.

        Args:
            table: The rows.
            ignore_unknown: Whether to ignore columns that the model does not have.

        Raises:
            RequestError: Columns are missing or unknown, or values are of another type; lists all.
        """
        if table.columns.keys() != self._names:
            self._check_names(table.columns, ignore_unknown=ignore_unknown)
        arrays: Arrays = {}
        names, numbers, to_parse = self._plain_numbers(table)
        for name, input_name, convert in self._converters:
            values = table.columns[name]
            array = convert(values) if convert is not None and type(values) is list else None
            if array is None:
                to_parse.append(name)
            else:
                arrays[input_name] = array
        if to_parse:
            arrays |= self._parsed(table, to_parse)
        return Inputs(table.rows, arrays, names, numbers)

    def _plain_numbers(self, table: Table) -> tuple[list[str], NDArray[np.float64], list[str]]:
        """Convert the columns of numbers together.

        Returns:
            The inputs of these columns, their values (inputs, rows), and the columns with values that
            must be parsed.
        """
        columns = [table.columns[name] for name in self._number_columns]
        is_plain = table.form not in ("csv", "arrow") and _NUMBERS.issuperset(
            map(type, chain.from_iterable(columns))
        )
        if is_plain:
            names, to_parse = self._number_inputs, list[str]()
        else:
            names, to_parse = [], []
            plain = []
            for name, input_name, values in zip(
                self._number_columns, self._number_inputs, columns, strict=True
            ):
                if type(values) is list and _NUMBERS.issuperset(map(type, values)):
                    names.append(input_name)
                    plain.append(values)
                else:
                    to_parse.append(name)
            columns = plain
        numbers = np.array(columns, np.float64).reshape(len(columns), table.rows)
        return names, numbers, to_parse

    def _check_names(self, columns: dict[str, Values], *, ignore_unknown: bool) -> None:
        missing = [name for name in self.columns if name not in columns]
        unknown = [] if ignore_unknown else [name for name in columns if name not in self._names]
        problems = []
        for name in missing:
            fix = did_you_mean(name, unknown, "add it; null where the value is unknown")
            expected = f"a column '{name}' ({EXPECTED[self._fields[name][0].kind]})"
            problems.append(RequestProblem(expected, "no such column", fix, name))
        for name in unknown:
            otherwise = "remove it, or add ?unknown=ignore to the address"
            fix = did_you_mean(name[:_NAME_LENGTH], missing, otherwise)
            found = shown(name)
            problems.append(
                RequestProblem("a column of the model", found, fix, name[:_NAME_LENGTH])
            )
        if problems:
            raise RequestError(422, problems)

    def _parsed(self, table: Table, names: Sequence[str]) -> Arrays:
        """Return the inputs of columns whose values must be parsed."""
        arrays: Arrays = {}
        problems: list[RequestProblem] = []
        count = 0
        for name in names:
            values = table.columns[name]
            if name in self.images:
                broken = self._put_images(arrays, name, values)
                count += len(broken)
                problems += broken[:SHOWN]
                continue
            wrong = _wrong_types(values, self._fields[name][0].kind)
            parsed = self._parse(name, _without(values, wrong))
            arrays |= parsed
            if self._limits is not None:
                long = self._limits.problems(name, _without(values, wrong))
                count += len(long)
                problems += long[:SHOWN]
            if self._fields[name][0].kind in _PARSED:
                unreadable = np.flatnonzero(np.isinf(parsed[self._fields[name][0].name][:, 0]))
                wrong = sorted({*wrong, *unreadable.tolist()})
            count += len(wrong)
            problems += [self._problem(name, row, values[row]) for row in wrong[:SHOWN]]
        if problems:
            problems.sort(key=lambda problem: (problem.row, self._order[problem.column or ""]))
            raise RequestError(422, problems, count)
        return arrays

    def _encoder(self, name: str) -> RowEncoder:
        # Its imports take longer than all others, and numbers and categories rarely need it.
        from trainer.export.rows import RowEncoder

        if name not in self._encoders:
            fields = tuple(self._fields[name])
            self._encoders[name] = RowEncoder(replace(self._schema, inputs=fields))
        return self._encoders[name]

    def _parse(self, name: str, values: Values) -> Arrays:
        import polars as pl

        series = _series(name, values) if type(values) is list else values
        try:
            return self._encoder(name).encode(pl.DataFrame([series]))
        except DataError as error:
            problems = [
                RequestProblem(problem.expected, problem.found, problem.fix, name)
                for problem in error.problems
            ]
            raise RequestError(422, problems) from None
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            expected = EXPECTED[self._fields[name][0].kind]
            found = str(error).splitlines()[0][:100]
            raise RequestError(422, [RequestProblem(expected, found, "", name)]) from None

    def _put_images(self, arrays: Arrays, name: str, values: Values) -> list[RequestProblem]:
        """Decode the images of a column, and return the problems with those that cannot be."""
        field = self._fields[name][0]
        pixels, broken = _images(field, values)
        if pixels is not None:
            arrays[field.name] = pixels
        return [RequestProblem(EXPECTED["image"], found, "", name, row) for row, found in broken]

    def _problem(self, name: str, row: int, value: object) -> RequestProblem:
        field = self._fields[name][0]
        expected = EXPECTED[field.kind]
        if field.kind == "datetime":
            expected = f"a date like {field.date_format or '2026-03-31 or 2026-03-31T18:30'}"
        elif field.kind == "number" and field.number_format is not None:
            expected = "a number, or a text in the format of the training rows"
        return RequestProblem(expected, shown(value), "null stands for a missing value", name, row)


def request_value(field: InputField, value: Plain) -> Plain:
    """Return a value of the schema of a model as requests have it; None for a missing value.

    Values of a pseudonymized column are pseudonyms, which no request can contain.
    """
    if field.pseudonymized:
        return None
    if field.kind != "datetime" or field.date_format is None or value is None:
        return value
    if "%.f" in field.date_format:
        return None  # Python has no such directive
    return datetime.fromisoformat(str(value)).strftime(field.date_format)


def _wrong_types(values: Values, kind: str) -> list[int]:
    """Return the rows with a value of a type that is not parsed as this kind."""
    allowed = _ALLOWED.get(kind, _TEXTS)
    if type(values) is not list:
        # Nested columns of CSV and Arrow are refused already.
        if bool in allowed or str(values.dtype) != "Boolean":
            return []
        return [row for row, value in enumerate(values) if value is not None]
    if allowed.issuperset(map(type, values)):
        return []
    return [row for row, value in enumerate(values) if type(value) not in allowed]


def _without(values: Values, rows: Sequence[int]) -> Values:
    """Return the values with missing ones in some rows."""
    if not rows:
        return values
    left_out = set(rows)
    return [None if row in left_out else value for row, value in enumerate(values)]


def _series(name: str, values: list[Any]) -> pl.Series:
    """Return values of one type: texts, if there are texts or very large integers among them."""
    import polars as pl

    kinds = set(map(type, values)) - {_NONE}
    if str not in kinds or len(kinds) == 1:
        with suppress(TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            return pl.Series(name, values, strict=False)
    texts = [
        value if value is None or type(value) is str else level_text(value) for value in values
    ]
    return pl.Series(name, texts, pl.String)


def _images(
    field: InputField, values: Sequence[Any]
) -> tuple[NDArray[np.uint8] | None, list[tuple[int, str]]]:
    """Return the pixels (rows, height, width, channels), or the rows without an image and why."""
    from trainer.serving.images import image_pixels

    pixels, problems = [], []
    for row, value in enumerate(values):
        content = value
        if isinstance(value, str):
            # The page sends files as data URLs.
            text = value.partition(";base64,")[2] if value.startswith("data:") else value
            try:
                content = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                problems.append((row, f"{shown(value)}, which is not base64"))
                continue
        decoded = image_pixels(content, field) if isinstance(content, bytes) else shown(value)
        if isinstance(decoded, str):
            problems.append((row, decoded))
        else:
            pixels.append(decoded)
    return (None, problems) if problems else (np.stack(pixels), [])
