"""What an exported generator takes and makes, as JSON in the metadata of its file, and its outputs as
rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from trainer.data.fitted_base import FittedBase
from trainer.data.generated_columns import (
    Dtype,
    GeneratedImages,
    GeneratedNumber,
    GeneratedRows,
    typed_levels,
    typed_numbers,
)
from trainer.data.generated_samples import Draw, with_classes
from trainer.errors import InputError, Problem
from trainer.export.schema import GENERATOR_KEY
from trainer.inputs import LATENT

CLASS, UNIFORM, IMAGE_OUTPUT = "class", "uniform", "image"
"""Names of inputs, beside that of the latent numbers, and of the output of images."""

Arrays = dict[str, NDArray[Any]]


class SampleColumn(FittedBase):
    """A column of generated rows.

    Attributes:
        name: The column.
        dtype: The type of its values.
        is_number: Whether it is an output of numbers, which are microseconds since 1970 for dates; else
            of text.
        missing: Whether values can be missing: NaN, or the empty text.
        minimum, maximum: The range of numbers; None for text.
        levels: The texts; empty for numbers.
    """

    name: str
    dtype: Dtype
    is_number: bool
    missing: bool
    minimum: float | None = None
    maximum: float | None = None
    levels: tuple[str, ...] = ()

    def series(self, values: NDArray[Any]) -> pl.Series:
        """Return the column for an output, (rows,)."""
        if self.is_number:
            return typed_numbers(pl.Series(self.name, values, nan_to_null=True), self.dtype)
        text = pl.Series(self.name, values.tolist(), dtype=pl.String)
        if self.missing and "" not in self.levels:
            text = text.replace("", None)
        return typed_levels(text, self.dtype).alias(self.name)


class GeneratorSchema(FittedBase):
    """Inputs and outputs of an exported generator, and what it was made from.

    Attributes:
        run: The id of the run: the name of its directory.
        name: The name of the experiment.
        weights_sha256: Hash of the weights.
        latent: Number of latent numbers.
        blocks: First encoded column and number of columns of each one-hot part, whose level is drawn.
        columns: The columns, in order; empty for images.
        images: The images; null for columns.
        target: The column of the classes; null without classes.
        classes: The classes, in natural order.
        class_counts: Training rows of each class.
        condition: Whether the generator is given the class.
        format: Version of this format.
    """

    run: str
    name: str
    weights_sha256: str
    latent: Annotated[int, Field(ge=1)]
    blocks: tuple[tuple[int, int], ...]
    columns: tuple[SampleColumn, ...]
    images: GeneratedImages | None
    target: str | None
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    condition: bool
    format: Literal[1] = 1

    @property
    def conditions(self) -> int:
        """Number of classes that the generator is given; 0 for none."""
        return len(self.classes) if self.condition else 0

    @property
    def has_table(self) -> bool:
        """Whether samples can be a table: columns, or the pixels of images in columns."""
        return self.images is None or bool(self.images.pixels)

    @property
    def values(self) -> int:
        """Number of values of a sample."""
        if self.images is not None:
            return self.images.height * self.images.width * self.images.channels
        return len(self.columns)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns of samples as a table; for images in files, none but the class."""
        names = [column.name for column in self.columns]
        names += [] if self.images is None else self.images.pixels
        return (*names, *([str(self.target)] if self.conditions else []))

    def table(self, outputs: Mapping[str, NDArray[Any]], draw: Draw) -> pl.DataFrame:
        """Return samples as a table: the columns or pixels, and the class that was given.

        Args:
            outputs: Name → values of the outputs of the graph.
            draw: The random numbers that they were made from.
        """
        if self.images is not None:
            table = self.images.decode(outputs[IMAGE_OUTPUT])
        else:
            table = pl.DataFrame([column.series(outputs[column.name]) for column in self.columns])
        return with_classes(table, self, draw) if self.conditions else table


def generator_schema(
    rows: GeneratedRows, *, run: str, name: str, weights_sha256: str, latent: int
) -> GeneratorSchema:
    """Return the schema of a generator.

    Args:
        rows: What it generates.
        run: The id of its run.
        name: The name of the experiment.
        weights_sha256: Hash of the weights.
        latent: Number of latent numbers.
    """
    columns = [
        SampleColumn(
            name=column.name, dtype=column.dtype, is_number=True, missing=column.missing > 0,
            minimum=column.values[0], maximum=column.values[-1],
        )
        if isinstance(column, GeneratedNumber)
        else SampleColumn(
            name=column.name, dtype=column.dtype, is_number=False, missing=column.missing > 0,
            levels=column.levels,
        )
        for column in rows.columns
    ]  # fmt: skip
    return GeneratorSchema(
        run=run,
        name=name,
        weights_sha256=weights_sha256,
        latent=latent,
        blocks=rows.blocks,
        columns=tuple(columns),
        images=rows.images,
        target=rows.target,
        classes=rows.classes,
        class_counts=rows.class_counts,
        condition=rows.condition,
    )


def read_generator_schema(metadata: Mapping[str, str]) -> GeneratorSchema:
    """Return the schema in the metadata of an ONNX file.

    Raises:
        InputError: It is damaged or of another format.
    """
    try:
        return GeneratorSchema.model_validate_json(metadata[GENERATOR_KEY])
    except ValidationError as error:
        expected = "a generator that trainer export wrote"
        found = str(error.errors()[0]["msg"])
        fix = "export the run again with this version of trainer"
        raise InputError(Problem("metadata", expected, found, fix)) from error


def graph_inputs(schema: GeneratorSchema, draw: Draw) -> Arrays:
    """Return the inputs of the graph for drawn random numbers."""
    inputs: Arrays = {LATENT: draw.latent}
    if schema.conditions:
        inputs[CLASS] = np.asarray(draw.classes)
    if schema.blocks:
        inputs[UNIFORM] = draw.uniform
    return inputs
