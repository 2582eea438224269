"""Feature importance, partial dependence, the surface over two features, SHAP values.

Draws `explanation/*.json`, which `trainer explain` writes (`trainer.report.explanations`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.errors import Problem
from trainer.report.explanations import (
    FILES,
    ColumnDrop,
    DependenceCurve,
    DependenceFile,
    ImportanceFile,
    ShapFile,
    SurfaceFile,
    SurfacePoints,
)
from trainer.report.page.content import Block, Plot, Prose, Section, grid, section
from trainer.report.page.facts import RunFacts
from trainer.report.page.figures import COLOURS, DASHES, INK, PAPER, SOFT, dots
from trainer.report.text import format_interval, number, short_name
from trainer.runs import readers
from trainer.runs.records import from_json

_BARS = 20
_CURVES = 8
_LINES = 6
_POINTS = 600
_LEVELS = 15
Float64Array = npt.NDArray[np.float64]


def explanation(facts: RunFacts) -> Section:
    """A block for each file of `explanation/`."""
    return section("explanation", "Feature importance", _explanation(facts))


def _explanation(facts: RunFacts) -> Iterator[Block]:
    parts: dict[str, Callable[[Any, RunFacts], Iterator[Block]]] = {
        "importance": _importance,
        "partial_dependence": _dependence,
        "surface": _surface,
        "shap": _shap,
    }
    for name, blocks in parts.items():
        if facts.explanation.get(name) is None:
            continue
        try:
            yield from list(blocks(from_json(FILES[name], facts.explanation[name]), facts))
        except readers.DamageError as error:
            path = facts.run.path / "explanation" / f"{name}.json"
            problem = Problem(
                str(path), error.expected, error.found, "write it again with `trainer explain`"
            )
            yield Prose(f"Damaged: {problem}", "warning")


def _is_noise(one: ColumnDrop) -> bool:
    return one.low is None or one.high is None or one.low <= 0 <= one.high


def _importance(found: ImportanceFile, facts: RunFacts) -> Iterator[Block]:
    drops = found.columns
    if not drops:
        return
    shown = drops[:_BARS]

    def draw(axes: Any) -> None:
        places = np.arange(len(shown))[::-1]
        sizes = np.array([one.drop or 0.0 for one in shown])
        axes.barh(places, sizes, color=COLOURS[0], alpha=0.75, height=0.7)
        for place, one in zip(places, shown, strict=True):
            if one.low is not None and one.high is not None:
                axes.plot((one.low, one.high), (place, place), color=INK, linewidth=1)
        axes.axvline(0, color=SOFT, linewidth=0.8)
        axes.set_yticks(places, [short_name(one.column) for one in shown])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"decrease in {short_name(found.measure)}")

    left = 0.2 + 0.075 * max(len(short_name(one.column)) for one in shown)
    most = "; ".join(f"{one.column} {number(one.drop)}" for one in shown[:5])
    noise = sum(map(_is_noise, drops))
    description = (
        f"Decrease in {found.measure} (baseline {number(found.baseline)}) when one column is "
        f"shuffled, on {found.rows:,} {found.split} rows. The largest: {most}. For {noise} of "
        f"{len(drops)} columns it is within noise."
    )
    title = f"Permutation importance (decrease in {found.measure})"
    yield Plot("importance", title, description, draw, 4.0, 0.9 + 0.2 * len(shown), left)
    rows = [
        (
            one.column,
            number(one.drop),
            format_interval(one.low, one.high),
            "noise" if _is_noise(one) else "",
        )
        for one in drops
    ]
    caption = (
        f"Permutation importance: decrease in {found.measure} from {number(found.baseline)}, "
        f"{found.repeats} shuffles a column, {found.split} rows"
    )
    heads = ("column", "decrease", "interval", "")
    yield grid(caption, heads, rows, right=(1, 2), is_folded=len(rows) > 10)


def _dependence(found: DependenceFile, facts: RunFacts) -> Iterator[Block]:
    for place, one in enumerate(found.columns[:_CURVES]):
        answers = _matrix(one.answers)
        if len(answers) != len(one.values) or not len(answers):
            raise readers.DamageError("a prediction for each value", one.column)
        yield _dependence_plot(place, one, answers, _outputs(facts, answers.shape[1]))


def _outputs(facts: RunFacts, count: int) -> list[str]:
    names = facts.names[1:] if facts.task == "binary" else facts.names
    return list(names) if len(names) == count else [f"output {place + 1}" for place in range(count)]


def _dependence_plot(
    place: int, one: DependenceCurve, answers: Float64Array, outputs: Sequence[str]
) -> Plot:
    lines = outputs[:_LINES]
    is_numeric = all(isinstance(value, int | float) for value in one.values)
    values = np.array(one.values, np.float64) if is_numeric else np.arange(len(answers))

    def draw(axes: Any) -> None:
        for at, name in enumerate(lines):
            look = {"color": COLOURS[at], "label": short_name(name)}
            if is_numeric:
                axes.plot(values, answers[:, at], linestyle=DASHES[at], **look)
            else:
                axes.plot(values, answers[:, at], linestyle="", marker="osD^vP"[at], **look)
        if is_numeric:
            for tick in one.rug:
                if tick is not None:
                    axes.axvline(tick, ymax=0.03, color=SOFT, linewidth=0.8)
        else:
            names = [short_name(str(value)) for value in one.values]
            axes.set_xticks(values, names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_xlabel(short_name(one.column))
        if len(lines) > 1:
            axes.legend()

    longest = 0 if is_numeric else max(len(short_name(str(value))) for value in one.values)
    title, bottom = f"Partial dependence on {one.column}", 0.5 + 0.05 * longest
    first = answers[:, 0]
    low, high = int(first.argmin()), int(first.argmax())
    description = (
        f"Mean prediction of {outputs[0]} with {one.column} set to each value: the minimum is "
        f"{number(float(first[low]))} at {_shown(one.values[low])}, the maximum "
        f"{number(float(first[high]))} at {_shown(one.values[high])}."
    )
    return Plot(f"dependence-{place}", title, description, draw, 3.6, 2.6, bottom=bottom)


def _shown(value: float | str | None) -> str:
    return str(value) if isinstance(value, str) or value is None else number(value)


def _surface(found: SurfaceFile, facts: RunFacts) -> Iterator[Block]:
    if len(found.columns) != 2 or min(len(found.x), len(found.y)) < 2:
        raise readers.DamageError("two columns with values", found.columns)
    x, y = np.array(found.x), np.array(found.y)
    cells = _cells(found.answers, (len(y), len(x)))
    if not np.isfinite(cells).all():
        yield Prose("The predictions over the two features are not all finite: no plot.", "warning")
        return
    yield _surface_plot(found.columns, x, y, cells, found.points, facts)


def _cells(rows: Any, shape: tuple[int, int]) -> Float64Array:
    """(y, x) numbers; of several outputs the index of the largest."""
    try:
        cells: Float64Array = np.array(rows, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise readers.DamageError("numbers for 'answers'", rows) from None
    if cells.shape[:2] != shape or cells.ndim > 3:
        raise readers.DamageError(f"{shape[0]} × {shape[1]} predictions", cells.shape)
    if cells.ndim == 2:
        return cells
    if cells.shape[2] == 1 or not np.isfinite(cells).all():
        return np.asarray(cells[:, :, 0], np.float64)
    return np.asarray(cells.argmax(axis=2), np.float64)


def _surface_plot(
    names: Sequence[str],
    x: Float64Array,
    y: Float64Array,
    cells: Float64Array,
    points: SurfacePoints | None,
    facts: RunFacts,
) -> Plot:
    groups = _groups(points)
    is_share = facts.task == "binary"
    limits = (0.0, 1.0) if is_share else (float(cells.min()), float(cells.max()))
    what = "the predicted class" if facts.task == "multiclass" else "the prediction"
    if facts.task == "binary" and len(facts.names) == 2:
        what = f"the probability of {facts.names[1]}"

    def draw(axes: Any) -> None:
        low, high = limits if limits[0] < limits[1] else (limits[0] - 0.5, limits[1] + 0.5)
        drawn = axes.contourf(x, y, cells, np.linspace(low, high, _LEVELS), cmap="cividis")
        if is_share and cells.min() < 0.5 < cells.max():
            axes.contour(x, y, cells, (0.5,), colors=[PAPER], linewidths=1.5)
        for place, (name, (at_x, at_y)) in enumerate(groups.items()):
            dots(axes, at_x, at_y, PAPER, size=6)
            dots(axes, at_x, at_y, COLOURS[place % 6], size=4, label=short_name(name))
        axes.set_xlabel(short_name(names[0]))
        axes.set_ylabel(short_name(names[1]))
        axes.figure.colorbar(drawn, ax=axes, pad=0.03)
        if len(groups) > 1:
            axes.legend(loc="upper right", title="actual")

    description = (
        f"{what.capitalize()} over {names[0]} and {names[1]}: from {number(float(cells.min()))} to "
        f"{number(float(cells.max()))}. Points are rows of the table."
    )
    title = f"{what.capitalize()} over {names[0]} and {names[1]}"
    return Plot("surface", title, description, draw, 4.4, 3.6)


def _groups(points: SurfacePoints | None) -> Mapping[str, tuple[Float64Array, Float64Array]]:
    """The points by their actual class, where there are few classes."""
    if points is None or not len(points.x) == len(points.y) == len(points.actual):
        return {}
    x, y, actual = np.array(points.x), np.array(points.y), points.actual
    truths = [one if isinstance(one, str) else number(_first(one)) for one in actual]
    names = sorted(set(truths))
    if len(names) > 6:
        truths, names = ["rows"] * len(truths), ["rows"]
    found = {}
    for name in names:
        inside = np.array([truth == name for truth in truths]) & np.isfinite(x) & np.isfinite(y)
        index = np.flatnonzero(inside)[:: max(1, int(inside.sum()) // _POINTS)]
        found[name] = (x[index], y[index])
    return found


def _first(value: tuple[float | None, ...] | float | None) -> float | None:
    if isinstance(value, tuple):
        return value[0] if value else None
    return value


def _shap(found: ShapFile, facts: RunFacts) -> Iterator[Block]:
    rows = [
        (one.column, *map(number, one.mean_absolute))
        for one in found.columns
        if len(one.mean_absolute) == len(found.names)
    ]
    of = f" of {len(found.rows):,} rows" if found.rows else ""
    heads = ("column", *found.names)
    yield grid(
        f"Mean absolute SHAP value of each column{of}",
        heads,
        rows,
        right=range(1, len(heads)),
        is_folded=len(rows) > 15,
    )


def _matrix(rows: Sequence[Sequence[float | None]]) -> Float64Array:
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths == {0}:
        raise readers.DamageError("as many predictions for each value", sorted(widths))
    return np.array([[np.nan if one is None else one for one in row] for row in rows], np.float64)
