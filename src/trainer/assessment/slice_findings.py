"""Slices of the rows on which a run performs worse than on all rows.

Chooses the columns and turns them into levels; `trainer.assessment.slices` searches the slices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from trainer.assessment.resampling import Resampling
from trainer.assessment.slice_search import find_worst_slices
from trainer.assessment.slices import Slice, SliceColumn, bin_numeric, evaluate_slices
from trainer.config.schema import Config
from trainer.data.dataset import Dataset
from trainer.data.values import is_date_type, number_expr, to_text
from trainer.errors import Problem, did_you_mean
from trainer.metrics.predictions import Predictions
from trainer.runs.findings import MetricValue, NamedSlices, SliceRecord, WorstSlices

_SEARCHED_COLUMNS = 24
"""Maximum number of columns searched; the number of pairs grows with its square."""
_FEW = 10
"""Numeric columns with at most this many distinct values are not binned."""
_LEVELS, _SEARCHED_LEVELS = 30, 8
"""Maximum number of levels; rarer values are combined."""
_OTHERS = "(others)"
_SHOWN = 10
_LISTED = 20
"""Maximum number of columns in a message."""


def slice_problems(config: Config, dataset: Dataset) -> list[Problem]:
    """Return problems for columns of `evaluate.slices` that are not in the table."""
    available = dataset.table.frame.columns
    more = ", …" if len(available) > _LISTED else ""
    columns_text = f"the columns are {', '.join(available[:_LISTED])}{more}"
    return [
        Problem(
            where="",
            expected="a column of the table",
            found=f"'{name}'",
            fix=did_you_mean(name, available, columns_text),
            key=f"evaluate.slices.{index}",
        )
        for index, name in enumerate(config.evaluate.slices)
        if name not in available
    ]


def find_slices(
    config: Config, dataset: Dataset, predictions: Predictions, threshold: float
) -> tuple[NamedSlices, WorstSlices]:
    """Evaluate the slices named in the config and find the worst ones.

    Args:
        config: The config of the run.
        dataset: The table.
        predictions: Predictions for some of its rows.
        threshold: Minimum probability at which the positive class is predicted.
    """
    settings = config.evaluate
    frame = dataset.preprocessing.parse_number_columns(dataset.table.frame)
    resampling = Resampling(settings.resamples, settings.confidence_level, config.seed)
    named = _columns(
        frame, [name for name in settings.slices if name in frame.columns], predictions, _LEVELS
    )
    features = [column.name for column in dataset.preprocessing.columns]
    available = [name for name in features if name in frame.columns][:_SEARCHED_COLUMNS]
    texts = set(dataset.preprocessing.text_names)
    others = [name for name in available if name not in texts]
    searched = _columns(frame, others, predictions, _SEARCHED_LEVELS)
    lengths = {
        f"length of {name}": to_text(frame[name].gather(predictions.rows)).str.len_chars()
        for name in available
        if name in texts
    }
    searched = {**searched, **{name: _column(item, _LEVELS) for name, item in lengths.items()}}
    worst = find_worst_slices(
        predictions,
        {**searched, **named},
        limit=_SHOWN,
        threshold=threshold,
        resampling=resampling,
    )
    slices = evaluate_slices(predictions, named, threshold=threshold, resampling=resampling)
    overall = MetricValue.from_floats(worst.overall, math.nan, math.nan).value
    return (
        NamedSlices(worst.metric, overall, _slice_findings(slices)),
        WorstSlices(worst.metric, overall, _slice_findings(worst.slices), worst.searched),
    )


def _columns(
    frame: pl.DataFrame, names: list[str], predictions: Predictions, levels: int
) -> Mapping[str, SliceColumn]:
    kept = [name for name in names if not is_date_type(frame.schema[name])]
    return {name: _column(frame[name].gather(predictions.rows), levels) for name in kept}


def _column(series: pl.Series, max_levels: int) -> SliceColumn:
    """Return quartile bins of numbers, or levels: the values if they are few, else the most frequent
    ones.
    """
    numbers = series.to_frame().select(number_expr(series.name, series.dtype)).to_series()
    if numbers.null_count() == series.null_count() and numbers.n_unique() > _FEW:
        return bin_numeric(numbers.fill_null(np.nan).to_numpy())
    labels = to_text(series)
    counts = labels.drop_nulls().alias("level").value_counts()
    counts = counts.sort("count", "level", descending=[True, False])
    levels = sorted(counts["level"].head(max_levels))
    codes = labels.replace_strict(
        levels, range(len(levels)), default=len(levels), return_dtype=pl.Int64
    )
    missing = labels.is_null().to_numpy()
    has_others = len(levels) < len(counts)
    names = (*levels, _OTHERS) if has_others else tuple(levels)
    return SliceColumn(np.where(missing, -1, codes.to_numpy()).astype(np.int16), names)


def _slice_findings(slices: Iterable[Slice]) -> tuple[SliceRecord, ...]:
    findings = []
    for item in slices:
        value = MetricValue.from_floats(item.value.value, item.value.low, item.value.high)
        interval = (value.value, value.low, value.high)
        findings.append(SliceRecord(dict(item.where), item.rows, *interval, item.p_value))
    return tuple(findings)
