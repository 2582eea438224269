"""The fitted preprocessing: the one transform from a table to the inputs of the network.

Fit, eval and predict share it. It holds the columns of each input and their order, and is stored as
`preprocessing.json`.
"""

from __future__ import annotations

import json
import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
import polars as pl
from pydantic import Field, ValidationError

from trainer.config.data import ColumnKind
from trainer.data.any_column import AnyColumn
from trainer.data.arrays import BoolArray, RowIndex
from trainer.data.categorical import (
    BooleanColumn,
    CategoricalColumn,
)
from trainer.data.datetimes import (
    DatetimeColumn,
    with_linear_numbers,
)
from trainer.data.encoder import ColumnEncoder, EncodingWarnings, number_formats
from trainer.data.fitted_base import FittedBase
from trainer.data.images import ImageColumn
from trainer.data.number_formats import parse_number_columns
from trainer.data.numeric import NumericColumn, with_linear_scaling
from trainer.data.preprocessing_checks import find_inconsistencies
from trainer.data.target_means import target_folds
from trainer.data.targets import FittedTarget
from trainer.data.text_columns import TextColumn, grid_size
from trainer.data.token_columns import TokenColumn
from trainer.data.values import column_blocks
from trainer.errors import DataError, Problem, did_you_mean
from trainer.inputs import CATEGORIES, FEATURES, IMAGE, TERMS, TOKENS, InputArray, InputSpec

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Column = Annotated[AnyColumn, Field(discriminator="kind")]


@dataclass(frozen=True)
class EncodedRows:
    """Encoded rows.

    Attributes:
        inputs: The values of each input, (n, *shape); arrays are C-contiguous, images memory-mapped.
        unseen: bool (n,): whether the row has a value that does not occur in training or is invalid.
        encoding_warnings: (column, problem) → number of rows.
    """

    inputs: dict[str, InputArray]
    unseen: BoolArray
    encoding_warnings: EncodingWarnings

    @property
    def warnings(self) -> tuple[str, ...]:
        """A warning with the number of rows for each column and problem."""
        return warning_texts(self.encoding_warnings)


def warning_texts(encoding_warnings: EncodingWarnings) -> tuple[str, ...]:
    """Return a sentence for each column and problem."""
    return tuple(
        f"{count:,} {'row has' if count == 1 else 'rows have'} {problem} in '{name}'"
        for (name, problem), count in encoding_warnings.items()
    )


class InputColumns(NamedTuple):
    """The columns of an input that encode one column of the table.

    Attributes:
        input: Name of the input.
        columns: Its columns, on the axis after the rows.
    """

    input: str
    columns: slice


class Preprocessing(FittedBase):
    """Feature columns and target, fitted on the training rows.

    Attributes:
        format: Version of the JSON format.
        rows: Number of training rows it was fitted on.
        columns: The feature columns, in the table's order.
        target: The target.
        pseudonym_key: The fingerprint of the key of pseudonymized columns; None without them.
    """

    format: Literal[1] = 1
    rows: int
    columns: tuple[Column, ...]
    target: FittedTarget
    pseudonym_key: str | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """A unique name for each encoded column; categories with embeddings come last."""
        ordered = sorted(self.columns, key=lambda column: _input_name(column) == CATEGORIES)
        names = [name for column in ordered for name in column.features]
        seen: dict[str, int] = {}
        for index, name in enumerate(names):
            seen[name] = seen[name] + 1 if name in seen else 1
            if seen[name] > 1:
                names[index] = f"{name} #{seen[name]}"
        return tuple(names)

    @property
    def width(self) -> int:
        """Encoded columns of all inputs."""
        return sum(len(column.features) for column in self.columns)

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs of the network: features, categories with embeddings, terms, tokens or an image."""
        categories = len(self.embeddings)
        features = InputSpec(FEATURES, (self.width - categories,), "float32")
        ids = InputSpec(CATEGORIES, (categories,), "int32")
        specs = [spec for spec in (features, ids) if spec.shape != (0,)]
        if self.texts:
            slots = sum(column.slots for column in self.texts)
            specs.append(InputSpec(TERMS, (slots, 2), "float32"))
        if self.tokens is not None:
            specs.append(self.tokens.spec)
        if self.image is not None:
            specs.append(self.image.spec)
        return tuple(specs) or (features,)

    @property
    def input_count(self) -> int:
        """Number of values of a sample."""
        return sum(prod(spec.shape) for spec in self.inputs)

    @property
    def image(self) -> ImageColumn | None:
        """The column of images."""
        images = (column for column in self.columns if isinstance(column, ImageColumn))
        return next(images, None)

    @property
    def tokens(self) -> TokenColumn | None:
        """The column of tokens."""
        columns = (column for column in self.columns if isinstance(column, TokenColumn))
        return next(columns, None)

    @property
    def texts(self) -> tuple[TextColumn, ...]:
        """The columns of text."""
        return tuple(column for column in self.columns if isinstance(column, TextColumn))

    @property
    def text_names(self) -> tuple[str, ...]:
        """Names of the columns of text, as terms or as tokens."""
        kinds = (TextColumn, TokenColumn)
        return tuple(column.name for column in self.columns if isinstance(column, kinds))

    @property
    def term_vectors(self) -> tuple[int, int] | None:
        """(number of ids, dimension) of the vectors of terms; ids without a term are unused."""
        if not self.texts:
            return None
        count = 1 + sum(column.term_count for column in self.texts)
        return grid_size(count), self.texts[0].dimension

    @property
    def row_bytes(self) -> int:
        """Bytes of an encoded row with its target."""
        return sum(spec.row_bytes for spec in self.inputs) + 4 * self.target.width

    @property
    def embeddings(self) -> tuple[tuple[int, int], ...]:
        """(number of ids, dimension) of each column of `categories`."""
        pairs = [
            column.embedding for column in self.columns if isinstance(column, CategoricalColumn)
        ]
        return tuple(pair for pair in pairs if pair is not None)

    @property
    def input_columns(self) -> dict[str, InputColumns]:
        """The encoded columns of each column of the table, including missing-value indicators."""
        places: dict[str, InputColumns] = {}
        widths: Counter[str] = Counter()
        for column in self.columns:
            name = _input_name(column)
            start = widths[name]
            widths[name] += _length(column)
            places[column.name] = InputColumns(name, slice(start, widths[name]))
        return places

    def transform(
        self,
        frame: pl.DataFrame,
        rows: RowIndex | None = None,
        training_rows: RowIndex | None = None,
        images: InputArray | None = None,
    ) -> EncodedRows:
        """Encode rows, each independently of the others.

        Args:
            frame: A table with the feature columns; others are ignored.
            rows: Only these rows, in this order; None for all.
            training_rows: The source row of each encoded row if they are the training rows, whose target
                means are out of fold; None for other rows.
            images: The images of the encoded rows, if they are loaded already.

        Raises:
            DataError: If feature columns are missing, or there are images and Pillow is not installed.
            StorageError: If there is not enough disk space for decoded images.
        """
        self._check_columns(frame.columns)
        height = frame.height if rows is None else len(rows)
        inputs = {
            spec.name: np.zeros((height, *spec.shape), spec.dtype)
            for spec in self.inputs
            if spec.name != IMAGE
        }
        encoder = ColumnEncoder(frame, rows, inputs, np.zeros(height, np.bool_), {})
        if training_rows is not None:
            encoder.folds = target_folds(training_rows)
        starts = {name: place.columns.start for name, place in self.input_columns.items()}
        numeric = {c.name: c for c in self.columns if isinstance(c, NumericColumn)}
        for names in column_blocks(list(numeric), height):
            encoder.put_numeric([numeric[name] for name in names], starts)
        first_id = 0
        for column in self.columns:
            match column:
                case NumericColumn():
                    pass
                case TokenColumn():
                    encoder.put_tokens(column)
                case TextColumn():
                    encoder.put_text(column, starts[column.name], first_id)
                    first_id += column.term_count
                case CategoricalColumn():
                    encoder.put_categorical(column, starts[column.name])
                case BooleanColumn():
                    encoder.put_boolean(column, starts[column.name])
                case DatetimeColumn():
                    encoder.put_datetime(column, starts[column.name])
                case ImageColumn() if images is None:
                    images = column.load(encoder.series(column.name))
                    broken = images.broken_mask()
                    encoder.warn(column.name, broken, "a broken image (read as black)")
                case ImageColumn():
                    pass
        arrays: dict[str, InputArray] = {**inputs}
        if images is not None:
            arrays[IMAGE] = images
        return EncodedRows(arrays, encoder.unseen, encoder.encoding_warnings)

    def _check_columns(self, available: Sequence[str]) -> None:
        missing = {column.name for column in self.columns}.difference(available)
        problems = [
            Problem(
                "",
                f"a column '{column.name}'",
                "no such column",
                did_you_mean(column.name, available, "the network needs it to predict"),
            )
            for column in self.columns
            if column.name in missing
        ]
        if problems:
            raise DataError(problems)

    def with_linear_scaling(self) -> Preprocessing:
        """Return a copy with linear scaling of numbers and dates, for linear models."""

        def linear(column: Column) -> Column:
            match column:
                case NumericColumn():
                    return with_linear_scaling(column)
                case DatetimeColumn():
                    return with_linear_numbers(column)
                case _:
                    return column

        return self.model_copy(update={"columns": tuple(map(linear, self.columns))})

    def parse_number_columns(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a table whose formatted numeric columns are parsed as numbers."""
        formats = number_formats(self.columns)
        return parse_number_columns(frame, formats) if formats else frame

    def to_json(self) -> dict[str, Any]:
        """Return the content of `preprocessing.json`: finite numbers, columns in the table's order."""
        content = self.model_dump(mode="json")
        if self.pseudonym_key is None:
            del content["pseudonym_key"]
        return content

    @staticmethod
    def from_json(content: object) -> Preprocessing:
        """Load the content that `to_json` returned.

        Raises:
            DataError: If it is damaged or of another version; lists all locations.
        """
        try:
            preprocessing = Preprocessing.model_validate_json(json.dumps(content))
        except (ValidationError, TypeError, ValueError) as error:
            details = error.errors() if isinstance(error, ValidationError) else []
            problems = [_error_text(detail) for detail in details] or [str(error)]
            raise _damaged(problems) from error
        problems = list(find_inconsistencies(preprocessing.columns, preprocessing.target))
        if problems:
            raise _damaged(problems)
        return preprocessing


def _damaged(problems: Sequence[str]) -> DataError:
    fix = "restore the file from a copy of the run"
    return DataError(
        Problem("preprocessing.json", "the content that fit wrote", found, fix)
        for found in problems[:5]
    )


def _error_text(details: ErrorDetails) -> str:
    """Describe a validation error, without the kind that pydantic adds after a column's index."""
    steps = [step for step in details["loc"] if step not in get_args(ColumnKind)]
    match details["type"]:
        case "missing":
            found = "nothing"
        case "extra_forbidden":
            found = "an unknown key"
        case _:
            found = reprlib.repr(details["input"])
    return f"{found} at {'.'.join(map(str, steps)) or 'the top level'}"


def _input_name(column: Column) -> str:
    """Return the input that a column is encoded in."""
    if isinstance(column, ImageColumn):
        return IMAGE
    if isinstance(column, TextColumn):
        return TERMS
    if isinstance(column, TokenColumn):
        return TOKENS
    is_embedded = isinstance(column, CategoricalColumn) and column.embedding is not None
    return CATEGORIES if is_embedded else FEATURES


def _length(column: Column) -> int:
    """Return the number of entries of a column on the first axis of its input."""
    match column:
        case ImageColumn():
            return column.height
        case TextColumn():
            return column.slots
        case TokenColumn():
            return column.length
        case _:
            return len(column.features)
