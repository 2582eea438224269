"""On which rows a run is worse than on all of them.

Owns: which columns of the table are looked at, as levels. Does not own: the search
(`trainer.evaluation.slices`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from trainer.config.schema import Config
from trainer.data.prepare import Dataset
from trainer.data.values import is_date_type, number, text
from trainer.errors import Problem, did_you_mean
from trainer.evaluation import slices as measured
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.slices import SliceColumn, bin_numeric, evaluate_slices, find_worst_slices
from trainer.report.findings import MetricValue, Slice, Slices, WorstSlices

_SEARCHED_COLUMNS = 24
"""Pairs of columns grow with their square."""
_FEW = 10
"""A column of no more numbers has each for a level."""
_LEVELS, _SEARCHED_LEVELS = 30, 8
"""Rarer values are looked at together."""
_OTHERS = "(others)"
_SHOWN = 10


def slice_problems(config: Config, dataset: Dataset) -> list[Problem]:
    """Columns of `evaluate.slices` that the table does not have."""
    known = dataset.table.frame.columns
    return [
        Problem(
            where="",
            expected="a column of the table",
            found=f"'{name}'",
            fix=did_you_mean(name, known),
            key=f"evaluate.slices.{index}",
        )
        for index, name in enumerate(config.evaluate.slices)
        if name not in known
    ]


def find_slices(
    config: Config, dataset: Dataset, answers: Predictions, threshold: float
) -> tuple[Slices, WorstSlices]:
    """The slices named in the config, and the worst ones.

    Args:
        config: The run's.
        dataset: The table.
        answers: To some of its rows.
        threshold: A probability of at least this is a yes.
    """
    settings = config.evaluate
    frame = dataset.preprocessing.parse_number_columns(dataset.table.frame)
    drawn: dict[str, Any] = {
        "threshold": threshold,
        "resamples": settings.resamples,
        "confidence_level": settings.confidence_level,
        "seed": config.seed,
    }
    asked = _columns(
        frame, [name for name in settings.slices if name in frame.columns], answers, _LEVELS
    )
    features = [column.name for column in dataset.preprocessing.columns]
    there = [name for name in features if name in frame.columns][:_SEARCHED_COLUMNS]
    searched = _columns(frame, there, answers, _SEARCHED_LEVELS)
    worst = find_worst_slices(answers, {**searched, **asked}, limit=_SHOWN, **drawn)
    slices = evaluate_slices(answers, asked, **drawn)
    whole = MetricValue.of(worst.overall, math.nan, math.nan).value
    return (
        Slices(worst.metric, whole, _facts(slices)),
        WorstSlices(worst.metric, whole, _facts(worst.slices), worst.searched),
    )


def _columns(
    frame: pl.DataFrame, names: list[str], answers: Predictions, levels: int
) -> Mapping[str, SliceColumn]:
    kept = [name for name in names if not is_date_type(frame.schema[name])]
    return {name: _column(frame[name].gather(answers.rows), levels) for name in kept}


def _column(series: pl.Series, most: int) -> SliceColumn:
    """Numbers in quarters, or where they are few and else the most frequent values as levels."""
    numbers = series.to_frame().select(number(series.name, series.dtype)).to_series()
    if numbers.null_count() == series.null_count() and numbers.n_unique() > _FEW:
        return bin_numeric(numbers.fill_null(np.nan).to_numpy())
    labels = text(series)
    counts = labels.drop_nulls().alias("level").value_counts()
    counts = counts.sort("count", "level", descending=[True, False])
    levels = sorted(counts["level"].head(most))
    codes = labels.replace_strict(
        levels, range(len(levels)), default=len(levels), return_dtype=pl.Int64
    )
    missing = labels.is_null().to_numpy()
    has_others = len(levels) < len(counts)
    names = (*levels, _OTHERS) if has_others else tuple(levels)
    return SliceColumn(np.where(missing, -1, codes.to_numpy()), names)


def _facts(slices: Iterable[measured.Slice]) -> tuple[Slice, ...]:
    found = []
    for one in slices:
        value = MetricValue.of(one.value.value, one.value.low, one.value.high)
        ends = (value.value, value.low, value.high)
        found.append(Slice(dict(one.where), one.rows, *ends, one.p_value))
    return tuple(found)
