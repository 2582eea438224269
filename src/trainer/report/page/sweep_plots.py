"""Plots of a sweep: objective by trial and by setting, parallel coordinates, importance, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.config.domains import Choices
from trainer.report.page.content import Plot
from trainer.report.page.figures import (
    COLORS,
    DASHES,
    INK,
    LINE,
    PAPER,
    SOFT,
    dots,
    use_integer_x,
    use_log_x,
)
from trainer.report.page.training import series, thinned
from trainer.report.sweeps.axes import Axis
from trainer.report.text import cell, number, short_name
from trainer.sweep.forest import InputImportance
from trainer.sweep.leaderboard import Leaderboard, TrialRow

Float64Array = npt.NDArray[np.float64]
_DESCRIBED = 10
"""The number of best trials in text alternatives."""
_MAX_TICKS = 12
_NAME_LENGTH = 18
_SCALE_FACTOR = 3.0
"""The scale ends at this multiple of the distance between the best trial and the 90th percentile."""
_UNSET = -0.14


@dataclass(frozen=True)
class Trials:
    """The ranked trials of a sweep, the best first.

    Attributes:
        rows: The trials.
        objective: Their objectives, clipped to the scale.
        name: The name of the objective.
        is_higher_better: Whether higher values are better.
        clipped: The number of trials that were clipped.
    """

    rows: tuple[TrialRow, ...]
    objective: Float64Array
    name: str
    is_higher_better: bool
    clipped: int

    @property
    def marker_size(self) -> float:
        """The marker size of a trial."""
        return 5.0 if len(self.rows) < 100 else 3.2

    @property
    def is_complete(self) -> npt.NDArray[np.bool_]:
        """Whether each trial was trained to the end, not eliminated."""
        statuses = [row.ended.status for row in self.rows if row.ended is not None]
        return np.array([status != "eliminated" for status in statuses], bool)


def ranked_trials(leaderboard: Leaderboard) -> Trials:
    """Return the ranked trials, on a scale that ignores a few very bad ones."""
    rows = leaderboard.ranks
    values = np.array([row.ended.objective for row in rows if row.ended is not None], np.float64)
    higher = leaderboard.direction == "higher"
    if not len(values):
        return Trials(rows, values, leaderboard.objective, higher, 0)
    losses = -values if higher else values
    best = float(losses.min())
    limit = best + _SCALE_FACTOR * (float(np.quantile(losses, 0.9)) - best)
    beyond = (losses > limit) if limit > best else np.zeros(len(values), bool)
    losses = np.minimum(losses, limit) if limit > best else losses
    return Trials(
        rows, -losses if higher else losses, leaderboard.objective, higher, int(beyond.sum())
    )


def order_plot(trials: Trials) -> Plot:
    """Plot the objective by trial number, and the best so far."""
    order = np.argsort([row.trial.number for row in trials.rows])
    numbers = np.array([trials.rows[index].trial.number for index in order], np.float64)
    values, complete = trials.objective[order], trials.is_complete[order]
    candidates = np.where(complete, values, -np.inf if trials.is_higher_better else np.inf)
    best = (np.maximum if trials.is_higher_better else np.minimum).accumulate(candidates)
    finite = np.isfinite(best)
    size = trials.marker_size

    def draw(axes: Any) -> None:
        dots(axes, numbers[complete], values[complete], COLORS[0], size, label="completed")
        if not complete.all():
            dots(axes, numbers[~complete], values[~complete], SOFT, size, label="eliminated")
        axes.step(
            numbers[finite],
            best[finite],
            where="post",
            color=COLORS[1],
            linewidth=1.4,
            label="best so far",
        )
        use_integer_x(axes, "trial")
        axes.set_ylabel(trials.name)
        axes.legend(loc="lower right" if trials.is_higher_better else "upper right")

    first = trials.rows[0]
    assert first.ended is not None
    description = (
        f"{trials.name} of {len(trials.rows)} trials by trial number; the best is trial "
        f"{first.trial.number} with {number(first.ended.objective)}."
    )
    return Plot("trials", f"{trials.name} by trial", description, draw)


def setting_plot(index: int, axis: Axis, trials: Trials) -> Plot:
    """Plot the objective by a setting: points, for choices with jitter and medians."""
    values = [axis.value(row.trial.settings) for row in trials.rows]
    is_set = np.array([value is not None for value in values], bool)
    x = np.array([0.0 if value is None else value for value in values], np.float64)[is_set]
    y, complete = trials.objective[is_set], trials.is_complete[is_set]
    numbers = np.array([row.trial.number for row in trials.rows], np.float64)[is_set]
    is_choice = isinstance(axis.domain, Choices)
    # Deterministic jitter.
    jittered = x + 0.5 * (numbers * 0.618034 % 1 - 0.5) if is_choice else x
    size = trials.marker_size

    def draw(axes: Any) -> None:
        if axis.is_log:
            use_log_x(axes)
        dots(axes, jittered[complete], y[complete], COLORS[0], size)
        dots(axes, jittered[~complete], y[~complete], SOFT, size)
        if is_choice:
            for choice in np.unique(x):
                median = float(np.median(y[x == choice]))
                axes.plot(
                    (choice - 0.35, choice + 0.35), (median, median), color=INK, linewidth=1.4
                )
            ticks = _ticks(len(axis.names))
            axes.set_xticks(ticks)
            axes.set_xticklabels([short_name(axis.names[tick], _NAME_LENGTH) for tick in ticks])
            axes.set_xlim(*axis.limits)
        if len(x):
            ring = {
                "marker": "o",
                "markersize": 8,
                "markerfacecolor": "none",
                "markeredgewidth": 1.6,
            }
            axes.plot(jittered[:1], y[:1], color=COLORS[1], linestyle="", **ring)
        axes.set_xlabel(short_name(axis.label, 40))
        axes.set_ylabel(trials.name)

    scale = " on a logarithmic scale" if axis.is_log else ""
    description = f"{trials.name} by {axis.label}{scale}. {_best_values_text(axis, trials)}"
    return Plot(f"setting-{index}", cell(", ".join(axis.keys)), description, draw)


def _best_values_text(axis: Axis, trials: Trials) -> str:
    """Describe the values of the best trials in a sentence."""
    all_values = [axis.value(row.trial.settings) for row in trials.rows[:_DESCRIBED]]
    values = [value for value in all_values if value is not None]
    if not values:
        return "None of the best trials sets it."
    several = len(all_values) > 1
    best = f"The best {len(all_values)} trials have" if several else "The only trial has"
    if isinstance(axis.domain, Choices):
        names = dict.fromkeys(axis.names[int(value)] for value in values)
        return f"{best} {', '.join(names)}; the ring marks the best."
    low, high = number(min(values)), number(max(values))
    return f"{best} {low} to {high}; the ring marks the best."


def parallel_plot(settings_axes: Sequence[Axis], trials: Trials) -> Plot:
    """Plot trials in parallel coordinates, the objective last; the best on top."""
    positions = [
        [axis.position(row.trial.settings) for axis in settings_axes] for row in trials.rows
    ]
    columns = np.array(
        [[_UNSET if value is None else value for value in row] for row in positions], np.float64
    ).reshape(len(trials.rows), len(settings_axes))
    low, high = float(trials.objective.min()), float(trials.objective.max())
    last = (trials.objective - low) / (high - low) if high > low else np.full(len(columns), 0.5)
    lines = np.column_stack([columns, last])
    best = max(1, min(20, len(lines) // 10))
    labels = [short_name(axis.label, 16) for axis in settings_axes]

    def draw(axes: Any) -> None:
        x = np.arange(lines.shape[1], dtype=np.float64)
        _paths(axes, x, lines[best:], SOFT, 0.5, 0.3 if len(lines) < 200 else 0.15)
        _paths(axes, x, lines[1:best], COLORS[0], 1.2, 0.8)
        _paths(axes, x, lines[:1], COLORS[1], 2.4, 1.0)
        for index, axis in enumerate(settings_axes):
            axes.axvline(index, color=LINE, linewidth=1)
            for position, text in _axis_labels(axis):
                _draw_label(axes, index, position, text)
        axes.axvline(len(settings_axes), color=LINE, linewidth=1)
        for position, value in ((0.0, low), (1.0, high)):
            _draw_label(axes, len(settings_axes), position, number(value))
        if any(value is None for row in positions for value in row):
            _draw_label(axes, 0, _UNSET, "not set")
        axes.set_xticks(x)
        axes.set_xticklabels([*labels, trials.name])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(-0.1, len(settings_axes) + 0.55)
        axes.set_ylim(-0.2, 1.08)

    settings = ", ".join(axis.label for axis in settings_axes)
    top = "the best one" if best == 1 else f"the best {best}"
    description = (
        f"Parallel coordinates of {len(lines)} trials on the axes {settings} and {trials.name}; {top} "
        f"{'is' if best == 1 else 'are'} highlighted."
    )
    title = f"Parallel coordinates; {top} {'is' if best == 1 else 'are'} highlighted"
    width = max(8.0, 1.25 * (len(settings_axes) + 1))
    size = {"width": width, "height": 4.0, "left": 0.5, "bottom": 0.4}
    return Plot("parallel", title, description, draw, is_wide=True, **size)


def _draw_label(axes: Any, index: int, position: float, text: str) -> None:
    """Draw a label next to an axis, readable over the lines."""
    background = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
    axes.text(index + 0.03, position, text, fontsize=8, va="center", bbox=background)


def _paths(
    axes: Any, x: Float64Array, lines: Float64Array, color: str, width: float, alpha: float
) -> None:
    """Draw lines as one path, which takes a fraction of the bytes of separate lines."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as MplPath

    if not len(lines):
        return
    points = np.stack([np.broadcast_to(x, lines.shape), lines], axis=2).reshape(-1, 2)
    codes = np.full(lines.shape, MplPath.LINETO, np.uint8)
    codes[:, 0] = MplPath.MOVETO
    style = {"facecolor": "none", "edgecolor": color, "linewidth": width, "alpha": alpha}
    axes.add_patch(PathPatch(MplPath(points, codes.reshape(-1)), **style))


def _axis_labels(axis: Axis) -> list[tuple[float, str]]:
    """Return the labels of an axis of the parallel coordinates with their positions."""
    if isinstance(axis.domain, Choices):
        count = len(axis.names)
        return [
            ((tick + 0.5) / count, short_name(axis.names[tick], _NAME_LENGTH))
            for tick in _ticks(count)
        ]
    return [(0.0, f"{axis.domain.low:g}"), (1.0, f"{axis.domain.high:g}")]


def _ticks(count: int) -> list[int]:
    if count <= _MAX_TICKS:
        return list(range(count))
    return sorted({round(tick) for tick in np.linspace(0, count - 1, _MAX_TICKS)})


def importance_plot(settings_axes: Sequence[Axis], importance: InputImportance) -> Plot:
    """Plot the importance of each setting, the largest on top."""
    order = np.argsort(importance.share, kind="stable")
    labels = [short_name(settings_axes[index].label, 24) for index in order]
    shares, stds = importance.share[order], importance.std[order]

    def draw(axes: Any) -> None:
        y = np.arange(len(order))
        # Error bars end at 0.
        errors = np.stack([np.minimum(stds, shares), stds])
        axes.barh(y, shares, color=COLORS[0], height=0.6, xerr=errors,
                  error_kw={"ecolor": INK, "elinewidth": 1})  # fmt: skip
        axes.set_yticks(y)
        axes.set_yticklabels(labels)
        axes.set_xlim(0, max(0.05, float((shares + stds).max()) * 1.05))
        axes.set_xlabel("fraction of the variance")

    texts = ", ".join(
        f"{settings_axes[index].label} {number(float(importance.share[index]))}"
        for index in order[::-1]
    )
    height = max(1.6, 0.9 + 0.28 * len(order))
    description = (
        f"Fraction of the variance of the trials' ranks explained by each setting: {texts}."
    )
    title = "Importance of the settings"
    return Plot("shares", title, description, draw, height=height, left=1.5)


def curves_plot(name: str, histories: Mapping[int, Sequence[Mapping[str, Any]]]) -> Plot | None:
    """Plot the objective of some trials by epoch; None if all have fewer than two epochs."""
    curves = [(trial, *series(history, name)) for trial, history in histories.items()]
    curves = [curve for curve in curves if len(curve[2]) > 1]
    if not curves:
        return None

    def draw(axes: Any) -> None:
        for index, (trial, epochs, values) in enumerate(curves):
            style = {"color": COLORS[index % 6], "linestyle": DASHES[index % 6]}
            axes.plot(*thinned(epochs, values), label=f"trial {trial}", linewidth=1.4, **style)
        use_integer_x(axes, "epoch")
        axes.set_ylabel(name)
        axes.legend(loc="best", ncols=2)

    texts = "; ".join(
        f"trial {trial} {number(float(values[0]))} in the first epoch, "
        f"{number(float(values[-1]))} in the last"
        for trial, _, values in curves
    )
    title = f"{name} of the best trials by epoch"
    return Plot("best-curves", title, f"{name} by epoch: {texts}.", draw, width=5.4)
