"""Regression: predicted against actual values, residuals, prediction intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.errors import pluralize
from trainer.metrics.predictions import Predictions
from trainer.report.page.content import Block, Plot, Section, section, table_block
from trainer.report.page.figures import COLORS, SOFT, dots
from trainer.report.page.run_content import RunContent
from trainer.report.prediction_intervals import IntervalWidth, interval_widths
from trainer.report.text import format_interval, number, short_name

_MAX_COLUMNS = 4
_MAX_ROWS = 1_500
_BARS = 40
_BAND_POINTS = 200
Float64Array = npt.NDArray[np.float64]


def regression_section(content: RunContent) -> Section:
    """Make the section with predictions and residuals of the first target columns."""
    return section("numbers", "Predictions and residuals", _blocks(content))


def _blocks(content: RunContent) -> Iterator[Block]:
    if content.split is None or content.rules is None or content.rules.has_classes:
        return
    predictions = content.predictions[content.split]
    widths = interval_widths(content.preprocessing, content.decisions)
    for index, name in enumerate(predictions.names[:_MAX_COLUMNS]):
        y = predictions.y[:, index].astype(np.float64)
        p = predictions.p[:, index].astype(np.float64)
        finite = np.isfinite(y) & np.isfinite(p)
        if not finite.any():
            continue
        width = widths.get(name)
        yield _actual_plot(index, name, y[finite], p[finite], width)
        yield _residual_plot(index, name, y[finite], p[finite], width)
        yield _residual_histogram(index, name, y[finite] - p[finite])
    yield _quantiles_table(content, predictions)
    yield _coverage_table(content)


def _sample(count: int) -> npt.NDArray[np.intp]:
    """Return the rows to draw: a fixed sample of at most `_MAX_ROWS`."""
    if count <= _MAX_ROWS:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, _MAX_ROWS, replace=False))


def _rows_text(count: int) -> str:
    return f"{_MAX_ROWS:,} of {count:,} rows" if count > _MAX_ROWS else pluralize(count, "row")


def _actual_plot(
    index: int, name: str, y: Float64Array, p: Float64Array, width: IntervalWidth | None
) -> Plot:
    rows = _sample(len(y))

    def draw(axes: Any) -> None:
        low, high = float(min(y.min(), p.min())), float(max(y.max(), p.max()))
        if width is not None:
            x = _band_x(p, low, high, width)
            axes.fill_between(x, *width.ends(x), color=COLORS[5], alpha=0.18, linewidth=0)
        axes.plot((low, high), (low, high), color=SOFT, linewidth=1, linestyle=":")
        dots(axes, p[rows], y[rows], COLORS[0])
        axes.set_xlabel(f"predicted {short_name(name)}")
        axes.set_ylabel(f"actual {short_name(name)}")

    correlation = float(np.corrcoef(y, p)[0, 1]) if y.std() > 0 and p.std() > 0 else float("nan")
    band = ""
    if width is not None:
        band = f" The band is the prediction interval, {width}."
    description = (
        f"Actual vs. predicted {name}, {_rows_text(len(y))}. Correlation {number(correlation)}."
        f"{band}"
    )
    title = f"Actual vs. predicted {name}"
    return Plot(f"predicted-{index}", title, description, draw)


def _band_x(p: Float64Array, low: float, high: float, width: IntervalWidth) -> Float64Array:
    """Return x values of the band: both ends if its width is constant, else a grid of predictions."""
    if width.transform is None:
        return np.array([low, high])
    return np.linspace(float(p.min()), float(p.max()), _BAND_POINTS)


def _residual_plot(
    index: int, name: str, y: Float64Array, p: Float64Array, width: IntervalWidth | None
) -> Plot:
    rows = _sample(len(y))
    residuals = y - p

    def draw(axes: Any) -> None:
        axes.axhline(0, color=SOFT, linewidth=1, linestyle=":")
        if width is not None and width.transform is None:
            axes.axhspan(-width.half, width.half, color=COLORS[5], alpha=0.18, linewidth=0)
        elif width is not None:
            x = _band_x(p, 0.0, 0.0, width)
            low, high = width.ends(x)
            axes.fill_between(x, low - x, high - x, color=COLORS[5], alpha=0.18, linewidth=0)
        dots(axes, p[rows], residuals[rows], COLORS[0])
        axes.set_xlabel(f"predicted {short_name(name)}")
        axes.set_ylabel("residual (actual - predicted)")

    is_upper = p >= np.median(p)
    stds = ", ".join(
        f"{number(float(residuals[mask].std()))} in the {half} half of the predictions"
        for half, mask in (("lower", ~is_upper), ("upper", is_upper))
        if mask.any()
    )
    description = (
        f"Residuals vs. predicted {name}, {_rows_text(len(y))}. Standard deviation {stds}."
    )
    return Plot(f"residuals-{index}", f"Residuals vs. predicted {name}", description, draw)


def _residual_histogram(index: int, name: str, residuals: Float64Array) -> Plot:
    low, high = np.quantile(residuals, (0.005, 0.995))
    if not low < high:
        low, high = float(residuals.min()) - 0.5, float(residuals.max()) + 0.5
    counts, edges = np.histogram(np.clip(residuals, low, high), _BARS, (low, high))

    def draw(axes: Any) -> None:
        axes.stairs(counts, edges, fill=True, color=COLORS[0], alpha=0.75)
        axes.axvline(0, color=SOFT, linewidth=1, linestyle=":")
        axes.set_xlabel("residual (actual - predicted)")
        axes.set_ylabel("rows")

    median = float(np.median(residuals))
    quartiles = np.quantile(residuals, (0.25, 0.75))
    description = (
        f"Histogram of the residuals of {name}. Median {number(median)}, quartiles "
        f"{number(float(quartiles[0]))} and {number(float(quartiles[1]))}."
    )
    title = f"Distribution of the residuals of {name}"
    return Plot(f"errors-{index}", title, description, draw)


def _quantiles_table(content: RunContent, predictions: Predictions) -> Block:
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    rows = []
    for index, name in enumerate(predictions.names):
        residuals = (predictions.y[:, index] - predictions.p[:, index]).astype(np.float64)
        finite = residuals[np.isfinite(residuals)]
        if len(finite):
            rows.append((name, *(number(float(value)) for value in np.quantile(finite, levels))))
    headers = ("column", *(f"{100 * level:g}%" for level in levels))
    title = f"Quantiles of the residuals (actual - predicted), {content.split} rows"
    return table_block(title, headers, rows, right=range(1, 6))


def _coverage_table(content: RunContent) -> Block:
    decisions, findings = content.decisions, content.split_findings
    rows = []
    if decisions is not None and decisions.coverage is not None:
        widths: dict[str, object] = dict(interval_widths(content.preprocessing, decisions))
        if decisions.quantiles:
            halves = decisions.half_widths.items()
            widths = {name: decisions.width_text(name, number(half), half) for name, half in halves}
        for name, width in widths.items():
            coverage = findings.interval_coverage.get(name) if findings is not None else None
            fraction = "–" if coverage is None else number(coverage.value)
            interval = "–" if coverage is None else format_interval(coverage.low, coverage.high)
            rows.append((name, str(width), f"{decisions.coverage:g}", fraction, interval))
    headers = (
        "column",
        "half width",
        "nominal coverage",
        f"coverage on the {content.split} rows",
        "confidence interval",
    )
    fitted_on = "the validation rows" if decisions is None else decisions.rows_text
    title = f"Prediction intervals (split conformal, fitted on {fitted_on})"
    return table_block(title, headers, rows, right=range(1, 5))
