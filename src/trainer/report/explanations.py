"""The files of `explanation/`. One definition each, for its writer and its readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.runs.records import optional_field

Cell = float | str | None
"""A value of a table: a number, a level or a date as text, None where it is missing."""


@dataclass(frozen=True, slots=True)
class ColumnDrop:
    """How much lower a metric is with a column shuffled; noise where the interval contains 0."""

    column: str
    drop: float | None
    low: float | None
    high: float | None
    is_noise: bool = optional_field(False)


@dataclass(frozen=True, slots=True)
class ImportanceFile:
    """`importance.json`.

    Attributes:
        split: The split whose rows were shuffled.
        rows: How many of them.
        repeats: Shuffles of each column.
        measure: The metric.
        baseline: Its value with no column shuffled.
        columns: The largest drop first.
        of_rows: How many rows the split has.
        level: That of the intervals.
        seconds: What it took; not written where it was measured with training.
    """

    split: str
    rows: int
    repeats: int
    measure: str
    baseline: float | None
    columns: tuple[ColumnDrop, ...]
    of_rows: int = optional_field(0)
    level: float = optional_field(0.95)
    seconds: float | None = optional_field(None)


@dataclass(frozen=True, slots=True)
class DependenceCurve:
    """Mean predictions with a column set to each of some values.

    Attributes:
        column: The column.
        kind: numeric, datetime or categorical.
        values: What it is set to; dates in ISO 8601.
        answers: For each value the mean of each number of a prediction.
        rug: Deciles of the column, as `values` are written; empty for categories.
    """

    column: str
    kind: str
    values: tuple[Cell, ...]
    answers: tuple[tuple[float | None, ...], ...]
    rug: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class DependenceFile:
    """`partial_dependence.json`: a curve for each column, of rows of a split."""

    columns: tuple[DependenceCurve, ...]
    split: str = optional_field("")
    rows: int = optional_field(0)
    names: tuple[str, ...] = optional_field(())


@dataclass(frozen=True, slots=True)
class SurfacePoints:
    """Rows on the surface: their two features and their targets, as `findings.json` has these."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    actual: tuple[str | tuple[float | None, ...] | float | None, ...]


@dataclass(frozen=True, slots=True)
class SurfaceFile:
    """`surface.json`: predictions over two numeric features.

    Attributes:
        columns: The two features.
        x: Values of the first.
        y: Values of the second.
        answers: For each of `y` a row with a cell for each of `x`: a number, or a list of them where a
            prediction has several.
        points: Rows of the table.
        names: A name for each number of a prediction.
        split: The split that the points are of.
    """

    columns: tuple[str, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    answers: tuple[tuple[float | tuple[float | None, ...] | None, ...], ...]
    points: SurfacePoints | None = optional_field(None)
    names: tuple[str, ...] = optional_field(())
    split: str = optional_field("")


@dataclass(frozen=True, slots=True)
class ShapColumn:
    """The mean absolute SHAP value of a column, for each number of a prediction."""

    column: str
    mean_absolute: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ShapFile:
    """`shap.json`: SHAP values of single rows, which are in `shap.parquet`.

    Attributes:
        names: A name for each number of a prediction.
        columns: The largest first.
        source: The split or the file that the rows are of.
        rows: Their numbers.
        base: The mean prediction for the background rows.
        answers: The prediction for each row.
        background_rows: How many background rows there are.
        orders: In how many orders columns were added; None for all.
        largest_gap: By how much base and values miss a prediction at most.
    """

    names: tuple[str, ...]
    columns: tuple[ShapColumn, ...]
    source: str = optional_field("")
    rows: tuple[int, ...] = optional_field(())
    base: tuple[float | None, ...] = optional_field(())
    answers: tuple[tuple[float | None, ...], ...] = optional_field(())
    background_rows: int = optional_field(0)
    orders: int | None = optional_field(None)
    largest_gap: float | None = optional_field(None)


FILES: Mapping[str, type[Any]] = {
    "importance": ImportanceFile,
    "partial_dependence": DependenceFile,
    "surface": SurfaceFile,
    "shap": ShapFile,
}
"""Name of a file without its ending → what is in it."""
