"""Regression: predicted against actual values, residuals, prediction intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.evaluation.answers import Answers
from trainer.report.page.content import Block, Plot, Section, grid, section
from trainer.report.page.facts import Facts
from trainer.report.page.figures import COLOURS, SOFT, dots
from trainer.report.text import cell, number, shortened

_DRAWN_COLUMNS = 4
_DRAWN_ROWS = 1_500
_BARS = 40
Doubles = npt.NDArray[np.float64]


def numbers(facts: Facts) -> Section:
    """Predictions and residuals of the last split, for each of the first target columns."""
    return section("numbers", "Predictions and residuals", _numbers(facts))


def _numbers(facts: Facts) -> Iterator[Block]:
    if facts.task != "regression" or facts.split is None:
        return
    answers = facts.answers[facts.split]
    half_widths = facts.decided.half_widths if facts.decided else {}
    for place, name in enumerate(answers.names[:_DRAWN_COLUMNS]):
        y = answers.y[:, place].astype(np.float64)
        p = answers.p[:, place].astype(np.float64)
        known = np.isfinite(y) & np.isfinite(p)
        if not known.any():
            continue
        half_width = half_widths.get(name)
        yield _against_actual(place, name, y[known], p[known], half_width)
        yield _residual_plot(place, name, y[known], p[known], half_width)
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
    place: int, name: str, y: Doubles, p: Doubles, half_width: float | None
) -> Plot:
    rows = _sampled(len(y))

    def draw(axes: Any) -> None:
        low, high = float(min(y.min(), p.min())), float(max(y.max(), p.max()))
        if half_width is not None:
            axes.fill_between(
                (low, high),
                (low - half_width, high - half_width),
                (low + half_width, high + half_width),
                color=COLOURS[5],
                alpha=0.18,
                linewidth=0,
            )
        axes.plot((low, high), (low, high), color=SOFT, linewidth=1, linestyle=":")
        dots(axes, p[rows], y[rows], COLOURS[0])
        axes.set_xlabel(f"predicted {_label(name)}")
        axes.set_ylabel(f"actual {_label(name)}")

    together = float(np.corrcoef(y, p)[0, 1]) if y.std() > 0 and p.std() > 0 else float("nan")
    band = ""
    if half_width is not None:
        band = f" The band is the prediction interval, ± {number(half_width)}."
    description = (
        f"Actual against predicted {name}, {_of_rows(len(y))}. Correlation {number(together)}."
        f"{band}"
    )
    title = f"Actual vs. predicted {name}"
    return Plot(f"predicted-{place}", title, description, draw)


def _residual_plot(place: int, name: str, y: Doubles, p: Doubles, half_width: float | None) -> Plot:
    rows = _sampled(len(y))
    residuals = y - p

    def draw(axes: Any) -> None:
        axes.axhline(0, color=SOFT, linewidth=1, linestyle=":")
        if half_width is not None:
            axes.axhspan(-half_width, half_width, color=COLOURS[5], alpha=0.18, linewidth=0)
        dots(axes, p[rows], residuals[rows], COLOURS[0])
        axes.set_xlabel(f"predicted {_label(name)}")
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


def _residual_bars(place: int, name: str, residuals: Doubles) -> Plot:
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


def _quantiles(facts: Facts, answers: Answers) -> Block:
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


def _coverage(facts: Facts) -> Block:
    decided, findings = facts.decided, facts.split_findings
    rows = []
    if decided is not None and decided.coverage is not None:
        for name, half_width in decided.half_widths.items():
            covered = findings.covered.get(name) if findings is not None else None
            share = "–" if covered is None else f"{number(covered.value)}"
            ends = "–"
            if covered is not None and covered.low is not None and covered.high is not None:
                ends = f"[{number(covered.low)}, {number(covered.high)}]"
            rows.append((name, f"± {number(half_width)}", f"{decided.coverage:g}", share, ends))
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


def _label(name: str) -> str:
    """A name for an axis or a legend."""
    return shortened(cell(name), 30)
