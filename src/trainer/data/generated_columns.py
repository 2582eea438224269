"""Columns of rows that are generated: an encoding that can be inverted, fitted on the training rows.

    number     x → the normal score of its rank in the training rows; back by interpolation, so that
               generated numbers have the range and the number of decimals of the training rows
    category   one-hot; back by drawing a level
    image      uint8 pixels, of files or of the columns of a table

A missing number has two more entries, whether it is known or missing; missing categories are a level.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from trainer.data.arrays import Float32Array, Float64Array, RowIndex
from trainer.data.fitted_base import FittedBase
from trainer.data.values import level_text, number_expr, to_microseconds
from trainer.inputs import FEATURES, IMAGE, InputSpec

MAX_KNOTS = 2_000
"""Values of a number column that are kept: all of the training rows, or this many quantiles."""

Dtype = Literal["text", "boolean", "integer", "float", "date", "datetime"]


class GeneratedNumber(FittedBase):
    """A column of numbers or dates.

    Attributes:
        name: The column.
        dtype: Its type in generated rows.
        decimals: Decimals of its numbers; 0 for integers and dates.
        step: Dates are multiples of this many microseconds; 0 for numbers.
        values: Its values in the training rows in ascending order, or quantiles of them.
        missing: Training rows without a value.
    """

    kind: Literal["number"] = "number"
    name: str
    dtype: Dtype
    decimals: Annotated[int, Field(ge=0, le=12)]
    step: Annotated[int, Field(ge=0)] = 0
    values: tuple[float, ...]
    missing: int

    @property
    def width(self) -> int:
        """Encoded columns: the score, and two more if there are missing values."""
        return 3 if self.missing else 1

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """First column and number of columns of each one-hot part."""
        return ((1, 2),) if self.missing else ()

    def encode(self, series: pl.Series, training: bool) -> Float32Array:
        """Return (rows, width) float32.

        Args:
            series: The column.
            training: Whether these are all training rows; equal values then get different scores, so
                that the scores have a normal distribution.
        """
        numbers = read_numbers(series, self.dtype)
        known = ~np.isnan(numbers)
        encoded = np.zeros((len(numbers), self.width), np.float32)
        encoded[known, 0] = (
            self._spread(numbers[known]) if training else self._scores(numbers[known])
        )
        if self.missing:
            encoded[np.arange(len(numbers)), np.where(known, 1, 2)] = 1.0
        return encoded

    def decode(self, encoded: Float64Array, levels: NDArray[np.int64]) -> pl.Series:
        """Return the column for encoded rows and the drawn level of each one-hot part."""
        knots = np.asarray(self.values)
        numbers = np.interp(encoded[:, 0], normal_scores(len(knots)), knots)
        if self.step:
            numbers = np.rint(numbers / self.step) * self.step
        numbers = np.round(numbers, self.decimals)
        values = pl.Series(self.name, numbers, nan_to_null=True)
        if self.missing:
            values = (
                values.to_frame()
                .select(pl.when(pl.Series(levels[:, 0] == 0)).then(values).alias(self.name))
                .to_series()
            )
        return typed_numbers(values, self.dtype)

    def _spread(self, numbers: Float64Array) -> Float64Array:
        order = np.argsort(numbers, kind="stable")
        scores = np.empty(len(numbers))
        scores[order] = normal_scores(len(numbers))
        return scores

    def _scores(self, numbers: Float64Array) -> Float64Array:
        knots = np.asarray(self.values)
        distinct, first = np.unique(knots, return_index=True)
        last = np.append(first[1:], len(knots))
        middle = np.minimum((first + last - 1) // 2, len(knots) - 1)
        return np.asarray(np.interp(numbers, distinct, normal_scores(len(knots))[middle]))


class GeneratedCategory(FittedBase):
    """A column of categories, yes/no values or few different numbers.

    Attributes:
        name: The column.
        dtype: Its type in generated rows.
        levels: Its levels as text.
        counts: Training rows of each level.
        missing: Training rows without a value, which are the last level.
    """

    kind: Literal["category"] = "category"
    name: str
    dtype: Dtype
    levels: tuple[str, ...]
    counts: tuple[int, ...]
    missing: int

    @property
    def width(self) -> int:
        """Encoded columns: one for each level, and one for missing values."""
        return len(self.levels) + (self.missing > 0)

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """First column and number of columns of each one-hot part."""
        return ((0, self.width),)

    def codes(self, series: pl.Series) -> RowIndex:
        """Return the level of each row; -1 for unknown and for missing values without a level."""
        table = {level: code for code, level in enumerate(self.levels)}
        cells = level_text(series)
        codes = cells.replace_strict(
            list(table), list(table.values()), default=-1, return_dtype=pl.Int64
        )
        numbers = codes.to_numpy().copy()
        if self.missing:
            numbers[cells.is_null().to_numpy()] = len(self.levels)
        return numbers

    def encode(self, series: pl.Series, training: bool) -> Float32Array:
        """Return (rows, width) float32; all 0 for a level without training rows."""
        codes = self.codes(series)
        encoded = np.zeros((len(codes), self.width), np.float32)
        known = np.flatnonzero(codes >= 0)
        encoded[known, codes[known]] = 1.0
        return encoded

    def decode(self, encoded: Float64Array, levels: NDArray[np.int64]) -> pl.Series:
        """Return the column for encoded rows and the drawn level of each one-hot part."""
        names: list[str | None] = [*self.levels, *([None] if self.missing else [])]
        text = pl.Series(self.name, names, dtype=pl.String).gather(levels[:, 0])
        return typed_levels(text, self.dtype)


GeneratedColumn = Annotated[GeneratedNumber | GeneratedCategory, Field(discriminator="kind")]


class GeneratedImages(FittedBase):
    """Images, of files or of the pixels in the columns of a table.

    Attributes:
        height, width, channels: Their size.
        path: The column of paths; null for pixels.
        resize: See `trainer.data.image_decoding.Geometry`.
        pixels: The columns of the pixels, row by row; empty for files.
        low, high: The range of the pixels in the training rows, which is encoded as 0 to 255.
    """

    kind: Literal["images"] = "images"
    height: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    channels: Literal[1, 3]
    path: str | None
    resize: int | None = None
    pixels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 255.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.channels

    def encode(self, numbers: Float64Array) -> NDArray[np.uint8]:
        """Return images (rows, height, width, channels) for pixels (rows, columns)."""
        scaled = (numbers - self.low) * (255.0 / (self.high - self.low))
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8).reshape(-1, *self.shape)

    def decode(self, images: NDArray[np.uint8]) -> pl.DataFrame:
        """Return the pixels of images as columns; integers if the range is of integers."""
        numbers = images.reshape(len(images), -1) / 255.0 * (self.high - self.low) + self.low
        if float(self.low).is_integer() and float(self.high).is_integer():
            return pl.DataFrame(np.rint(numbers).astype(np.int64), schema=list(self.pixels))
        return pl.DataFrame(numbers, schema=list(self.pixels))


class GeneratedRows(FittedBase):
    """What a generator makes: columns, or images; and the classes of the rows, if any.

    Attributes:
        rows: Number of training rows.
        columns: The columns, in the order of the table; empty for images.
        images: The images; null for columns.
        target: The column of the classes; null without classes.
        classes: The classes, in natural order.
        class_counts: Training rows of each class.
        condition: Whether the class is given to the networks.
    """

    rows: int
    columns: tuple[GeneratedColumn, ...]
    images: GeneratedImages | None
    target: str | None
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    condition: bool

    def to_json(self) -> dict[str, Any]:
        """Return the content of `preprocessing.json`."""
        return self.model_dump(mode="json")

    @property
    def width(self) -> int:
        """Encoded columns of a row; for images, the number of values."""
        if self.images is not None:
            return self.images.height * self.images.width * self.images.channels
        return sum(column.width for column in self.columns)

    @property
    def spec(self) -> InputSpec:
        """What the discriminator sees of a row."""
        if self.images is not None:
            return InputSpec(IMAGE, self.images.shape, "uint8")
        return InputSpec(FEATURES, (self.width,), "float32")

    @property
    def conditions(self) -> int:
        """Number of classes that the networks are given; 0 for none."""
        return len(self.classes) if self.condition else 0

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """First encoded column and number of columns of each one-hot part of a row."""
        blocks: list[tuple[int, int]] = []
        start = 0
        for column in self.columns:
            blocks += [(start + first, size) for first, size in column.blocks]
            start += column.width
        return tuple(blocks)

    def encode(self, frame: pl.DataFrame, *, training: bool = False) -> Float32Array:
        """Return the encoded columns of rows, (rows, width) float32; see `GeneratedNumber.encode`."""
        parts = [column.encode(frame[column.name], training) for column in self.columns]
        return np.concatenate(parts, axis=1)

    def decode(self, encoded: Float64Array, levels: NDArray[np.int64]) -> pl.DataFrame:
        """Return the columns of encoded rows.

        Args:
            encoded: (rows, width); the entries of one-hot parts are not used.
            levels: (rows, blocks): the drawn level of each one-hot part.
        """
        series = []
        start = block = 0
        for column in self.columns:
            count = len(column.blocks)
            part = encoded[:, start : start + column.width]
            series.append(column.decode(part, levels[:, block : block + count]))
            start, block = start + column.width, block + count
        return pl.DataFrame(series)

    def class_codes(self, series: pl.Series) -> RowIndex:
        """Return the class of each row; -1 for other values."""
        codes = {name: code for code, name in enumerate(self.classes)}
        cells = level_text(series)
        numbers = cells.replace_strict(
            list(codes), list(codes.values()), default=-1, return_dtype=pl.Int64
        )
        return numbers.to_numpy().copy()


def typed_numbers(values: pl.Series, dtype: Dtype) -> pl.Series:
    """Return float64 numbers, or dates in microseconds since 1970, as values of a type."""
    match dtype:
        case "integer":
            return values.cast(pl.Int64)
        case "date":
            return values.cast(pl.Int64).cast(pl.Datetime("us")).cast(pl.Date)
        case "datetime":
            return values.cast(pl.Int64).cast(pl.Datetime("us"))
        case _:
            return values


def typed_levels(text: pl.Series, dtype: Dtype) -> pl.Series:
    """Return levels, which are text, as values of a type."""
    match dtype:
        case "integer":
            return text.cast(pl.Int64)
        case "float":
            return text.cast(pl.Float64)
        case "boolean":
            return text == "true"
        case _:
            return text


def normal_scores(count: int) -> Float64Array:
    """Return the quantiles of the normal distribution at (i + ½) / count, in ascending order."""
    inverse = NormalDist().inv_cdf
    half = np.array([inverse((index + 0.5) / count) for index in range((count + 1) // 2)])
    return np.concatenate([half, -half[::-1][count % 2 :]])


def read_numbers(series: pl.Series, dtype: Dtype) -> Float64Array:
    """Return numbers, or dates in microseconds since 1970; NaN where missing or neither."""
    if dtype in ("date", "datetime"):
        return to_microseconds(series, None).cast(pl.Float64).fill_null(np.nan).to_numpy()
    frame = series.to_frame().select(number_expr(series.name, series.dtype))
    return frame.to_series().fill_null(np.nan).to_numpy()


def one_hot(codes: RowIndex, classes: int) -> Float32Array:
    """Return (rows, classes) float32; all 0 for -1."""
    encoded = np.zeros((len(codes), classes), np.float32)
    known = np.flatnonzero(codes >= 0)
    encoded[known, codes[known]] = 1.0
    return encoded


def rows_from_json(value: Mapping[str, Any]) -> GeneratedRows:
    """Return the rows of `preprocessing.json`.

    Raises:
        pydantic.ValidationError: The content is damaged.
    """
    return GeneratedRows.model_validate(value, strict=False)
