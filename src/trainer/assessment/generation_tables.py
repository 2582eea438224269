"""Compare generated rows with real ones: each column, pairs of columns, a classifier that separates
them, and whether generated rows are close to rows of the training data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from trainer.assessment.generation_features import RowFeatures, classifier_probabilities
from trainer.assessment.generation_measures import neighbor_distances
from trainer.data.arrays import Float64Array
from trainer.data.generated_columns import (
    GeneratedCategory,
    GeneratedNumber,
    GeneratedRows,
    read_numbers,
)

_MIN_SPREAD = 1e-9
CLOSE_RATIO = 0.5
"""Generated rows that are on average this much closer to training rows than other real rows are."""


@dataclass(frozen=True, slots=True)
class ColumnComparison:
    """A column of generated rows compared with real ones.

    Attributes:
        name: The column.
        kind: number or category.
        difference: Kolmogorov-Smirnov distance of numbers; total variation distance of categories. 0 if
            the distributions are equal, 1 if they do not overlap.
        real: Mean of the numbers, or the most frequent category.
        generated: The same of the generated rows.
    """

    name: str
    kind: str
    difference: float
    real: str
    generated: str


@dataclass(frozen=True, slots=True)
class TableComparison:
    """Generated rows compared with real ones.

    Attributes:
        columns: Each column.
        metrics: The measures by name; see `compare_tables`.
    """

    columns: tuple[ColumnComparison, ...]
    metrics: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"columns": [asdict(column) for column in self.columns], "metrics": {**self.metrics}}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about privacy."""
        ratio, copies = self.metrics.get("nearest_ratio"), self.metrics["copies"]
        found = []
        if ratio is not None and ratio < CLOSE_RATIO:
            found.append(
                f"privacy: generated rows are {ratio:.2f} times as far from the nearest training row as "
                "other real rows are: the generator may repeat training rows"
            )
        if copies > max(2 * self.metrics["real_copies"], 0.01):
            found.append(
                f"privacy: {100 * copies:.1f}% of generated rows are equal to a training row"
            )
        return tuple(found)


def compare_tables(
    rows: GeneratedRows, training: pl.DataFrame, real: pl.DataFrame, generated: pl.DataFrame
) -> TableComparison:
    """Compare generated rows with real ones.

    The measures are: `marginal_difference`, the mean of the differences of the columns;
    `correlation_difference`, the mean absolute difference of the correlations of encoded columns;
    `detection_auc`, the ROC AUC of a classifier that separates real from generated rows, fitted on half
    of both (0.5: it cannot); `nearest_ratio`, the median distance of generated rows to the nearest
    training row, divided by that of the real rows (omitted if these are the training rows); `copies`,
    the share of generated rows that are equal to a training row, and `real_copies`, that of real rows.

    Args:
        rows: The encoding.
        training: The training rows.
        real: The rows to compare with.
        generated: The generated rows.
    """
    columns = tuple(
        _number(column, real, generated)
        if isinstance(column, GeneratedNumber)
        else _category(column, real, generated)
        for column in rows.columns
    )
    encode = RowFeatures(rows).features
    features = {"real": encode(real), "generated": encode(generated)}
    metrics = {
        "marginal_difference": float(np.mean([column.difference for column in columns])),
        "correlation_difference": _correlation_difference(rows, **features),
        "detection_auc": _detection_auc(**features),
    }
    known = encode(training)
    distances = neighbor_distances(features["generated"], known, 1)
    if real is not training:
        others = np.sqrt(np.median(neighbor_distances(features["real"], known, 1)))
        ratio = np.sqrt(np.median(distances)) / max(others, _MIN_SPREAD)
        metrics["nearest_ratio"] = float(ratio)
    metrics["copies"] = _copies(rows, training, generated)
    metrics["real_copies"] = 0.0 if real is training else _copies(rows, training, real)
    return TableComparison(columns, metrics)


def _number(
    column: GeneratedNumber, real: pl.DataFrame, generated: pl.DataFrame
) -> ColumnComparison:
    values = [read_numbers(frame[column.name], column.dtype) for frame in (real, generated)]
    known = [numbers[~np.isnan(numbers)] for numbers in values]
    missing = abs(np.isnan(values[0]).mean() - np.isnan(values[1]).mean())
    difference = 1.0
    if all(len(numbers) for numbers in known):
        points = np.sort(np.concatenate(known))
        shares = [
            np.searchsorted(np.sort(numbers), points, side="right") / len(numbers)
            for numbers in known
        ]
        difference = float(np.abs(shares[0] - shares[1]).max())
    texts = [_mean_text(column, numbers) for numbers in known]
    return ColumnComparison(column.name, "number", max(difference, float(missing)), *texts)


def _mean_text(column: GeneratedNumber, numbers: Float64Array) -> str:
    if not len(numbers):
        return "–"
    if column.dtype in ("date", "datetime"):
        mean = pl.Series([int(numbers.mean())]).cast(pl.Datetime("us"))
        return str(mean.dt.strftime("%Y-%m-%d")[0])
    return f"{numbers.mean():.4g}"


def _category(
    column: GeneratedCategory, real: pl.DataFrame, generated: pl.DataFrame
) -> ColumnComparison:
    shares = []
    for frame in (real, generated):
        # Unknown levels are one more.
        codes = column.codes(frame[column.name])
        counts = np.bincount(codes + 1, minlength=column.width + 1)
        shares.append(counts / max(counts.sum(), 1))
    names = ["(other)", *column.levels, *(["(missing)"] if column.missing else [])]
    texts = [f"{names[int(share.argmax())]} ({100 * share.max():.0f}%)" for share in shares]
    difference = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return ColumnComparison(column.name, "category", difference, *texts)


def _correlation_difference(
    rows: GeneratedRows, real: Float64Array, generated: Float64Array
) -> float:
    varies = (real.std(axis=0) > _MIN_SPREAD) & (generated.std(axis=0) > _MIN_SPREAD)
    owners = np.repeat(np.arange(len(rows.columns)), [column.width for column in rows.columns])
    owners = owners[varies]
    pairs = owners[:, None] != owners
    if not pairs.any():
        return 0.0
    matrices = [np.corrcoef(values[:, varies], rowvar=False) for values in (real, generated)]
    return float(np.abs(matrices[0] - matrices[1])[pairs].mean())


def _detection_auc(real: Float64Array, generated: Float64Array) -> float:
    """Return the ROC AUC of a classifier on the odd rows, fitted on the even ones."""
    count = min(len(real), len(generated))
    x = np.concatenate([real[:count], generated[:count]]).astype(np.float32)
    codes = np.repeat(np.arange(2), count)
    even = np.arange(len(x)) % count % 2 == 0
    if count < 4:
        return float("nan")
    scores = classifier_probabilities(x[even], codes[even], 2, x[~even])[:, 1]
    positive, negative = scores[codes[~even] == 1], scores[codes[~even] == 0]
    order = np.sort(negative)
    below = np.searchsorted(order, positive, side="left")
    upto = np.searchsorted(order, positive, side="right")
    return float((below + upto).mean() / 2 / len(negative))


def _copies(rows: GeneratedRows, training: pl.DataFrame, frame: pl.DataFrame) -> float:
    """Return the share of rows that are equal to a training row."""
    known = {row.tobytes() for row in rows.encode(training)}
    encoded = rows.encode(frame)
    return sum(row.tobytes() in known for row in encoded) / max(len(encoded), 1)
