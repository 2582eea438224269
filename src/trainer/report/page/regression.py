"""Regression: predicted against actual values, residuals, prediction intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.evaluation.predictions import Predictions
from trainer.report.page.content import Block, Plot, Section, grid, section
from trainer.report.page.facts import RunFacts
from trainer.report.page.figures import COLOURS, SOFT, dots
from trainer.report.prediction_intervals import IntervalWidth, interval_widths
from trainer.report.text import format_interval, number, short_name

_DRAWN_COLUMNS = 4
_DRAWN_ROWS = 1_500
_BARS = 40
_BAND_POINTS = 200
Float64Array = npt.NDArray[np.float64]


def regression_section(facts: RunFacts) -> Section:
    """Predictions and residuals of the last split, for each of the first target columns."""
    return section("numbers", "Predictions and residuals", _numbers(facts))


def _numbers(facts: RunFacts) -> Iterator[Block]:
    if facts.task != "regression" or facts.split is None:
        return
    answers = facts.answers[facts.split]
    widths = interval_widths(facts.preprocessing, facts.decided)
    for place, name in enumerate(answers.names[:_DRAWN_COLUMNS]):
        y = answers.y[:, place].astype(np.float64)
        p = answers.p[:, place].astype(np.float64)
        known = np.isfinite(y) & np.isfinite(p)
        if not known.any():
            continue
        width = widths.get(name)
        yield _against_actual(place, name, y[known], p[known], width)
        yield _residual_plot(place, name, y[known], p[known], width)
        yield _residual_bars(place, name, y[known] - p[known])
    yield _quantiles(facts, answers)
    yield _coverage(facts)


def _sampled(count: int) -> npt.NDArray[np.intp]:
    """The rows to draw: at most `_DRAWN_ROWS`, the same ones every time."""
    if count <= _DRAWN_ROWS:
        return np.arange(count)
    chosen = np.random.default_rng(0).choice(count, _DRAWN_ROWS, replace=False)
    return np.sort(chosen)


def _of_rows(count: int) -> str:
    return f"{_DRAWN_ROWS:,} of {count:,} rows" if count > _DRAWN_ROWS else f"{count:,} rows"


def _against_actual(
    place: int, name: str, y: Float64Array, p: Float64Array, width: IntervalWidth | None
) -> Plot:
    rows = _sampled(len(y))

    def draw(axes: Any) -> None:
        low, high = float(min(y.min(), p.min())), float(max(y.max(), p.max()))
        if width is not None:
            at = _places(p, low, high, width)
            axes.fill_between(at, *width.ends(at), color=COLOURS[5], alpha=0.18, linewidth=0)
        axes.plot((low, high), (low, high), color=SOFT, linewidth=1, linestyle=":")
        dots(axes, p[rows], y[rows], COLOURS[0])
        axes.set_xlabel(f"predicted {short_name(name)}")
        axes.set_ylabel(f"actual {short_name(name)}")

    together = float(np.corrcoef(y, p)[0, 1]) if y.std() > 0 and p.std() > 0 else float("nan")
    band = ""
    if width is not None:
        band = f" The band is the prediction interval, {width}."
    description = (
        f"Actual against predicted {name}, {_of_rows(len(y))}. Correlation {number(together)}."
        f"{band}"
    )
    title = f"Actual vs. predicted {name}"
    return Plot(f"predicted-{place}", title, description, draw)


def _places(p: Float64Array, low: float, high: float, width: IntervalWidth) -> Float64Array:
    """Where the band is drawn: from end to end where it has one width, else over the predictions."""
    if width.curve is None:
        return np.array([low, high])
    return np.linspace(float(p.min()), float(p.max()), _BAND_POINTS)


def _residual_plot(
    place: int, name: str, y: Float64Array, p: Float64Array, width: IntervalWidth | None
) -> Plot:
    rows = _sampled(len(y))
    residuals = y - p

    def draw(axes: Any) -> None:
        axes.axhline(0, color=SOFT, linewidth=1, linestyle=":")
        if width is not None and width.curve is None:
            axes.axhspan(-width.half, width.half, color=COLOURS[5], alpha=0.18, linewidth=0)
        elif width is not None:
            at = _places(p, 0.0, 0.0, width)
            low, high = width.ends(at)
            axes.fill_between(at, low - at, high - at, color=COLOURS[5], alpha=0.18, linewidth=0)
        dots(axes, p[rows], residuals[rows], COLOURS[0])
        axes.set_xlabel(f"predicted {short_name(name)}")
        axes.set_ylabel("residual (actual - predicted)")

    half = p >= np.median(p)
    spread = ", ".join(
        f"{number(float(residuals[part].std()))} in the {which} half of the predictions"
        for which, part in (("lower", ~half), ("upper", half))
        if part.any()
    )
    description = (
        f"Residuals of {name} by predicted value, {_of_rows(len(y))}. Standard deviation {spread}."
    )
    return Plot(f"residuals-{place}", f"Residuals vs. predicted {name}", description, draw)


def _residual_bars(place: int, name: str, residuals: Float64Array) -> Plot:
    low, high = np.quantile(residuals, (0.005, 0.995))
    if not low < high:
        low, high = float(residuals.min()) - 0.5, float(residuals.max()) + 0.5
    counts, edges = np.histogram(np.clip(residuals, low, high), _BARS, (low, high))

    def draw(axes: Any) -> None:
        axes.stairs(counts, edges, fill=True, color=COLOURS[0], alpha=0.75)
        axes.axvline(0, color=SOFT, linewidth=1, linestyle=":")
        axes.set_xlabel("residual (actual - predicted)")
        axes.set_ylabel("rows")

    middle = float(np.median(residuals))
    inner = np.quantile(residuals, (0.25, 0.75))
    description = (
        f"Histogram of the residuals of {name}. Median {number(middle)}, half of them from "
        f"{number(float(inner[0]))} to {number(float(inner[1]))}."
    )
    title = f"Distribution of the residuals of {name}"
    return Plot(f"errors-{place}", title, description, draw)


def _quantiles(facts: RunFacts, answers: Predictions) -> Block:
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    rows = []
    for place, name in enumerate(answers.names):
        residuals = (answers.y[:, place] - answers.p[:, place]).astype(np.float64)
        known = residuals[np.isfinite(residuals)]
        if len(known):
            rows.append((name, *(number(float(one)) for one in np.quantile(known, levels))))
    heads = ("column", *(f"{100 * level:g}%" for level in levels))
    title = f"Quantiles of the residuals (actual - predicted), {facts.split} rows"
    return grid(title, heads, rows, right=range(1, 6))


def _coverage(facts: RunFacts) -> Block:
    decided, findings = facts.decided, facts.split_findings
    rows = []
    if decided is not None and decided.coverage is not None:
        for name, width in interval_widths(facts.preprocessing, decided).items():
            covered = findings.covered.get(name) if findings is not None else None
            share = "–" if covered is None else number(covered.value)
            ends = "–" if covered is None else format_interval(covered.low, covered.high)
            rows.append((name, str(width), f"{decided.coverage:g}", share, ends))
    heads = (
        "column",
        "half width",
        "nominal coverage",
        f"coverage on the {facts.split} rows",
        "confidence interval",
    )
    fitted_on = "the validation rows" if decided is None else decided.rows
    title = f"Prediction intervals (split conformal, fitted on {fitted_on})"
    return grid(title, heads, rows, right=range(1, 5))
