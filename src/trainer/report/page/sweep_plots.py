"""The plots of a sweep: trials in order, objective against each setting, parallel coordinates,
importance, learning curves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.config.domains import Choices
from trainer.evaluation.forest import InputImportance
from trainer.report.page.content import Plot
from trainer.report.page.figures import (
    COLOURS,
    DASHES,
    INK,
    LINE,
    PAPER,
    SOFT,
    across_by_magnitude,
    count_across,
    dots,
)
from trainer.report.page.training import series, thinned
from trainer.report.sweeps.axes import Axis
from trainer.report.text import cell, number, short_name
from trainer.sweep.leaderboard import Leaderboard, TrialRow

Float64Array = npt.NDArray[np.float64]
_BEST = 10
"""Trials whose values a description names."""
_NAMES = 12
_NAME_LENGTH = 18
_CUT = 3.0
"""The scale ends this many times as far from the best as nine in ten trials lie."""
_UNSET = -0.14


@dataclass(frozen=True)
class Trials:
    """The trials of a sweep that can be compared, the best first.

    Attributes:
        rows: The trials.
        objective: Their objectives, within the ends of the scale.
        name: The measure.
        higher: Whether a higher value is better.
        cut: How many lie beyond the scale and are drawn at its end.
    """

    rows: tuple[TrialRow, ...]
    objective: Float64Array
    name: str
    higher: bool
    cut: int

    @property
    def dot(self) -> float:
        """The size of a trial's point."""
        return 5.0 if len(self.rows) < 100 else 3.2

    @property
    def is_whole(self) -> npt.NDArray[np.bool_]:
        """Which were not eliminated."""
        statuses = [row.ended.status for row in self.rows if row.ended is not None]
        return np.array([status != "eliminated" for status in statuses], bool)


def trials_of(leaderboard: Leaderboard) -> Trials:
    """The trials that can be compared, with a scale that a few very bad ones do not set."""
    rows = leaderboard.ranks
    values = np.array([row.ended.objective for row in rows if row.ended is not None], np.float64)
    higher = leaderboard.direction == "higher"
    if not len(values):
        return Trials(rows, values, leaderboard.objective, higher, 0)
    badness = -values if higher else values
    best = float(badness.min())
    end = best + _CUT * (float(np.quantile(badness, 0.9)) - best)
    beyond = (badness > end) if end > best else np.zeros(len(values), bool)
    badness = np.minimum(badness, end) if end > best else badness
    return Trials(
        rows, -badness if higher else badness, leaderboard.objective, higher, int(beyond.sum())
    )


def order_plot(trials: Trials) -> Plot:
    """The objective by the trial's number, and the best so far."""
    order = np.argsort([row.trial.number for row in trials.rows])
    numbers = np.array([trials.rows[place].trial.number for place in order], np.float64)
    values, whole = trials.objective[order], trials.is_whole[order]
    known = np.where(whole, values, -np.inf if trials.higher else np.inf)
    best = (np.maximum if trials.higher else np.minimum).accumulate(known)
    shown = np.isfinite(best)

    def draw(axes: Any) -> None:
        dots(
            axes, numbers[whole], values[whole], COLOURS[0], trials.dot, label="trained to the end"
        )
        if not whole.all():
            dots(axes, numbers[~whole], values[~whole], SOFT, trials.dot, label="eliminated")
        axes.step(
            numbers[shown], best[shown], where="post", color=COLOURS[1], linewidth=1.4, label="best"
        )
        count_across(axes, "trial")
        axes.set_ylabel(trials.name)
        axes.legend(loc="lower right" if trials.higher else "upper right")

    first = trials.rows[0]
    assert first.ended is not None
    description = (
        f"{trials.name} of {len(trials.rows)} trials in the order they were begun; the best is "
        f"trial {first.trial.number} with {number(first.ended.objective)}."
    )
    return Plot("trials", f"{trials.name} by trial", description, draw)


def setting_plot(place: int, axis: Axis, trials: Trials) -> Plot:
    """The objective against a setting: points, for choices in strips with their medians."""
    found = [axis.value(row.trial.settings) for row in trials.rows]
    known = np.array([value is not None for value in found], bool)
    x = np.array([0.0 if value is None else value for value in found], np.float64)[known]
    y, whole = trials.objective[known], trials.is_whole[known]
    numbers = np.array([row.trial.number for row in trials.rows], np.float64)[known]
    is_choice = isinstance(axis.domain, Choices)
    # Points side by side, the same on every drawing.
    drawn = x + 0.5 * (numbers * 0.618034 % 1 - 0.5) if is_choice else x

    def draw(axes: Any) -> None:
        if axis.is_log:
            across_by_magnitude(axes)
        dots(axes, drawn[whole], y[whole], COLOURS[0], trials.dot)
        dots(axes, drawn[~whole], y[~whole], SOFT, trials.dot)
        if is_choice:
            for choice in np.unique(x):
                middle = float(np.median(y[x == choice]))
                axes.plot(
                    (choice - 0.35, choice + 0.35), (middle, middle), color=INK, linewidth=1.4
                )
            shown = _tick_places(len(axis.names))
            axes.set_xticks(shown)
            axes.set_xticklabels([short_name(axis.names[one], _NAME_LENGTH) for one in shown])
            axes.set_xlim(*axis.ends)
        if len(x):
            ring = {
                "marker": "o",
                "markersize": 8,
                "markerfacecolor": "none",
                "markeredgewidth": 1.6,
            }
            axes.plot(drawn[:1], y[:1], color=COLOURS[1], linestyle="", **ring)
        axes.set_xlabel(short_name(axis.label, 40))
        axes.set_ylabel(trials.name)

    scale = " on a logarithmic scale" if axis.is_log else ""
    description = f"{trials.name} against {axis.label}{scale}. {_where_best(axis, trials)}"
    return Plot(f"setting-{place}", cell(", ".join(axis.keys)), description, draw)


def _where_best(axis: Axis, trials: Trials) -> str:
    """In which values the best trials lie, as a sentence."""
    values = [axis.value(row.trial.settings) for row in trials.rows[:_BEST]]
    known = [value for value in values if value is not None]
    if not known:
        return "None of the best trials sets it."
    best = f"The best {len(values)} trials" if len(values) > 1 else "The one trial"
    if isinstance(axis.domain, Choices):
        names = dict.fromkeys(axis.names[int(value)] for value in known)
        return f"{best} have {', '.join(names)}; the ring marks the best."
    low, high = number(min(known)), number(max(known))
    return f"{best} have {low} to {high}; the ring marks the best."


def parallel_plot(axes_of: Sequence[Axis], trials: Trials) -> Plot:
    """A line a trial through the places of its settings, the objective last; the best on top."""
    shares = [[axis.share(row.trial.settings) for axis in axes_of] for row in trials.rows]
    places = np.array(
        [[_UNSET if share is None else share for share in own] for own in shares], np.float64
    ).reshape(len(trials.rows), len(axes_of))
    low, high = float(trials.objective.min()), float(trials.objective.max())
    last = (trials.objective - low) / (high - low) if high > low else np.full(len(places), 0.5)
    lines = np.column_stack([places, last])
    best = max(1, min(20, len(lines) // 10))
    labels = [short_name(axis.label, 16) for axis in axes_of]

    def draw(axes: Any) -> None:
        x = np.arange(lines.shape[1], dtype=np.float64)
        _paths(axes, x, lines[best:], SOFT, 0.5, 0.3 if len(lines) < 200 else 0.15)
        _paths(axes, x, lines[1:best], COLOURS[0], 1.2, 0.8)
        _paths(axes, x, lines[:1], COLOURS[1], 2.4, 1.0)
        for place, axis in enumerate(axes_of):
            axes.axvline(place, color=LINE, linewidth=1)
            for share, text in _axis_texts(axis):
                _beside(axes, place, share, text)
        axes.axvline(len(axes_of), color=LINE, linewidth=1)
        for share, value in ((0.0, low), (1.0, high)):
            _beside(axes, len(axes_of), share, number(value))
        if any(share is None for own in shares for share in own):
            _beside(axes, 0, _UNSET, "not set")
        axes.set_xticks(x)
        axes.set_xticklabels([*labels, trials.name])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(-0.1, len(axes_of) + 0.55)
        axes.set_ylim(-0.2, 1.08)

    settings = ", ".join(axis.label for axis in axes_of)
    top = "the best one" if best == 1 else f"the best {best}"
    description = (
        f"Each line is one of {len(lines)} trials, through its place on the axes of {settings} and "
        f"{trials.name}; {top} {'is' if best == 1 else 'are'} coloured."
    )
    title = f"Trials by all settings; {top} coloured"
    width = max(8.0, 1.25 * (len(axes_of) + 1))
    size = {"width": width, "height": 4.0, "left": 0.5, "bottom": 0.4}
    return Plot("parallel", title, description, draw, is_wide=True, **size)


def _beside(axes: Any, place: int, share: float, text: str) -> None:
    """A text beside an axis, readable over the lines."""
    ground = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
    axes.text(place + 0.03, share, text, fontsize=8, va="center", bbox=ground)


def _paths(
    axes: Any, x: Float64Array, lines: Float64Array, colour: str, width: float, alpha: float
) -> None:
    """Lines as one path, which takes a fraction of the bytes of as many."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Way

    if not len(lines):
        return
    points = np.stack([np.broadcast_to(x, lines.shape), lines], axis=2).reshape(-1, 2)
    codes = np.full(lines.shape, Way.LINETO, np.uint8)
    codes[:, 0] = Way.MOVETO
    look = {"facecolor": "none", "edgecolor": colour, "linewidth": width, "alpha": alpha}
    axes.add_patch(PathPatch(Way(points, codes.reshape(-1)), **look))


def _axis_texts(axis: Axis) -> list[tuple[float, str]]:
    """The labels of an axis of the parallel coordinates, each with its position."""
    if isinstance(axis.domain, Choices):
        count = len(axis.names)
        return [
            ((place + 0.5) / count, short_name(axis.names[place], _NAME_LENGTH))
            for place in _tick_places(count)
        ]
    return [(0.0, f"{axis.domain.low:g}"), (1.0, f"{axis.domain.high:g}")]


def _tick_places(count: int) -> list[int]:
    if count <= _NAMES:
        return list(range(count))
    return sorted({round(place) for place in np.linspace(0, count - 1, _NAMES)})


def importance_plot(axes_of: Sequence[Axis], found: InputImportance) -> Plot:
    """The share of each setting, the greatest on top."""
    order = np.argsort(found.share, kind="stable")
    labels = [short_name(axes_of[place].label, 24) for place in order]
    shares, deviations = found.share[order], found.std[order]

    def draw(axes: Any) -> None:
        y = np.arange(len(order))
        # No bar reaches below nothing.
        ends = np.stack([np.minimum(deviations, shares), deviations])
        axes.barh(y, shares, color=COLOURS[0], height=0.6, xerr=ends,
                  error_kw={"ecolor": INK, "elinewidth": 1})  # fmt: skip
        axes.set_yticks(y)
        axes.set_yticklabels(labels)
        axes.set_xlim(0, max(0.05, float((shares + deviations).max()) * 1.05))
        axes.set_xlabel("share of the variance")

    words = ", ".join(
        f"{axes_of[place].label} {number(float(found.share[place]))}" for place in order[::-1]
    )
    height = max(1.6, 0.9 + 0.28 * len(order))
    description = f"Share of the variance of the trials' ranks that each setting explains: {words}."
    title = "Importance of the settings"
    return Plot("shares", title, description, draw, height=height, left=1.5)


def curves_plot(name: str, histories: Mapping[int, Sequence[Mapping[str, Any]]]) -> Plot | None:
    """The objective by epoch of some trials; None where none has two epochs."""
    curves = [(trial, *series(history, name)) for trial, history in histories.items()]
    drawn = [(trial, epochs, values) for trial, epochs, values in curves if len(values) > 1]
    if not drawn:
        return None

    def draw(axes: Any) -> None:
        for place, (trial, epochs, values) in enumerate(drawn):
            look = {"color": COLOURS[place % 6], "linestyle": DASHES[place % 6]}
            axes.plot(*thinned(epochs, values), label=f"trial {trial}", linewidth=1.4, **look)
        count_across(axes, "epoch")
        axes.set_ylabel(name)
        axes.legend(loc="best", ncols=2)

    words = "; ".join(
        f"trial {trial} {number(float(values[0]))} in the first epoch, "
        f"{number(float(values[-1]))} in the last"
        for trial, _, values in drawn
    )
    title = f"{name} of the best trials by epoch"
    return Plot("best-curves", title, f"{name} by epoch: {words}.", draw, width=5.4)
