"""The JSON files in `explanation/`, as records shared by writers and readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.runs.records import optional_field

AUGMENTED = "augmented.jpg"
"""File of `explanation/` with training images and how they were changed."""

Cell = float | str | None
"""A value of a table: a number, a level or date as text, or None for a missing value."""


@dataclass(frozen=True, slots=True)
class ColumnDrop:
    """The decrease of a metric with a column shuffled; significant if the interval is above 0."""

    column: str
    drop: float | None
    low: float | None
    high: float | None
    is_significant: bool = optional_field(False)


@dataclass(frozen=True, slots=True)
class ImportanceFile:
    """`importance.json`.

    Attributes:
        split: The split whose rows were shuffled.
        rows: The number of rows used.
        repeats: Shuffles per column.
        metric: The metric.
        baseline: Its value with no column shuffled.
        columns: Sorted by decreasing drop.
        split_rows: The number of rows in the split.
        confidence_level: The confidence level of the intervals.
        seconds: Wall time; not written if computed at the end of training.
    """

    split: str
    rows: int
    repeats: int
    metric: str
    baseline: float | None
    columns: tuple[ColumnDrop, ...]
    split_rows: int = optional_field(0)
    confidence_level: float = optional_field(0.95)
    seconds: float | None = optional_field(None)


@dataclass(frozen=True, slots=True)
class DependenceCurve:
    """The partial dependence on one column.

    Attributes:
        column: The column.
        kind: numeric, datetime or categorical.
        values: The values that the column is set to; dates in ISO 8601.
        predictions: The mean predictions for each value, one per output.
        rug: Deciles of the column in the format of `values`; empty for categories.
    """

    column: str
    kind: str
    values: tuple[Cell, ...]
    predictions: tuple[tuple[float | None, ...], ...]
    rug: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class DependenceFile:
    """`partial_dependence.json`: a curve for each column, computed on rows of a split."""

    columns: tuple[DependenceCurve, ...]
    split: str = optional_field("")
    rows: int = optional_field(0)
    names: tuple[str, ...] = optional_field(())


@dataclass(frozen=True, slots=True)
class SurfacePoints:
    """Rows drawn over the surface: their two features, and their targets as in `findings.json`."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    actual: tuple[str | tuple[float | None, ...] | float | None, ...]


@dataclass(frozen=True, slots=True)
class SurfaceFile:
    """`surface.json`: predictions as a function of two numeric features.

    Attributes:
        columns: The two features.
        x: Values of the first.
        y: Values of the second.
        predictions: Rows (`y`) of cells (`x`): a number, or a list with several outputs.
        points: Rows of the table.
        names: The names of the outputs.
        split: The split of the points.
    """

    columns: tuple[str, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    predictions: tuple[tuple[float | tuple[float | None, ...] | None, ...], ...]
    points: SurfacePoints | None = optional_field(None)
    names: tuple[str, ...] = optional_field(())
    split: str = optional_field("")


@dataclass(frozen=True, slots=True)
class ShapColumn:
    """The mean absolute SHAP value of a column for each output."""

    column: str
    mean_absolute: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ShapFile:
    """`shap.json`: a summary of the SHAP values in `shap.parquet`.

    Attributes:
        names: The names of the outputs.
        columns: Sorted by decreasing value.
        source: The split or the file of the rows.
        rows: Row numbers.
        base: The mean prediction for the background rows.
        predictions: The prediction for each row.
        background_rows: The number of background rows.
        orders: The number of sampled permutations of the columns; None for exact values.
        largest_gap: The largest difference between a prediction and its base plus SHAP values.
    """

    names: tuple[str, ...]
    columns: tuple[ShapColumn, ...]
    source: str = optional_field("")
    rows: tuple[int, ...] = optional_field(())
    base: tuple[float | None, ...] = optional_field(())
    predictions: tuple[tuple[float | None, ...], ...] = optional_field(())
    background_rows: int = optional_field(0)
    orders: int | None = optional_field(None)
    largest_gap: float | None = optional_field(None)


@dataclass(frozen=True, slots=True)
class WordInfluence:
    """A part of a text, and the prediction minus the prediction without it."""

    text: str
    influence: float | None


@dataclass(frozen=True, slots=True)
class ExplainedText:
    """A text and the influence of its words.

    Attributes:
        row: Row number in the source, from 0.
        actual: The target.
        name: The explained prediction: a class, or a target column.
        prediction: Its value.
        words: The parts of the text, in order.
    """

    row: int
    actual: str
    name: str
    prediction: float | None
    words: tuple[WordInfluence, ...]


@dataclass(frozen=True, slots=True)
class TextsFile:
    """`texts.json`: column of text → the rows with the largest loss of a sample of a split."""

    split: str
    rows: int
    columns: Mapping[str, tuple[ExplainedText, ...]]


@dataclass(frozen=True, slots=True)
class ShownTranslation:
    """A translation in the report.

    Attributes:
        row: Row number in the source, from 0.
        source: The text that is translated.
        reference: The target.
        translation: The text that is predicted.
        chrf: chrF of the translation, 0 to 100.
        source_tokens: The tokens of the source.
        tokens: The tokens of the translation.
        attention: For each of its tokens, how much the decoder attends to each token of the source, the
            mean over the heads of the last layer; they add up to 1.
    """

    row: int
    source: str
    reference: str
    translation: str
    chrf: float | None
    source_tokens: tuple[str, ...] = optional_field(())
    tokens: tuple[str, ...] = optional_field(())
    attention: tuple[tuple[float, ...], ...] = optional_field(())


@dataclass(frozen=True, slots=True)
class TranslationsByLength:
    """Metrics of the translations of sources with a number of words."""

    first: int
    last: int | None
    rows: int
    metrics: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class TranslationsFile:
    """`translations.json`: the best and the worst translations of a split, and metrics by length."""

    split: str
    best: tuple[ShownTranslation, ...]
    worst: tuple[ShownTranslation, ...]
    by_length: tuple[TranslationsByLength, ...]


FILES: Mapping[str, type[Any]] = {
    "importance": ImportanceFile,
    "partial_dependence": DependenceFile,
    "surface": SurfaceFile,
    "shap": ShapFile,
    "texts": TextsFile,
    "translations": TranslationsFile,
}
"""Name of a file without its suffix → the type of its content."""
