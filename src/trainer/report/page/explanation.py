"""Feature importance, partial dependence, the predictions as a function of two features, SHAP values.

The data are in `explanation/*.json` (`trainer.runs.explanations`), written by `trainer explain`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.config.task_rules import TASK_RULES
from trainer.data.ngrams import unspaced_share
from trainer.errors import Problem
from trainer.report.page.content import (
    Block,
    Highlights,
    Paragraph,
    Plot,
    Section,
    section,
    table_block,
)
from trainer.report.page.figures import COLORS, DASHES, INK, PAPER, SOFT, dots
from trainer.report.page.run_content import RunContent
from trainer.report.text import format_interval, number, short_name
from trainer.runs import readers
from trainer.runs.explanations import (
    FILES,
    ColumnDrop,
    DependenceCurve,
    DependenceFile,
    ExplainedText,
    ImportanceFile,
    ShapFile,
    SurfaceFile,
    SurfacePoints,
    TextsFile,
)
from trainer.runs.records import from_json

_MAX_BARS = 20
_MAX_CURVES = 8
_MAX_LINES = 6
_MAX_POINTS = 600
_LEVELS = 15
_MAX_WORDS = 5
_UNSPACED_SHARE = 0.3
Float64Array = npt.NDArray[np.float64]


def explanation_section(content: RunContent) -> Section:
    """Make the section with the content of each file in `explanation/`."""
    return section("explanation", "Feature importance", _explanation(content))


def _explanation(content: RunContent) -> Iterator[Block]:
    parts: dict[str, Callable[[Any, RunContent], Iterator[Block]]] = {
        "importance": _importance,
        "partial_dependence": _dependence,
        "surface": _surface,
        "shap": _shap,
        "texts": _texts,
    }
    for name, blocks in parts.items():
        if content.explanation.get(name) is None:
            continue
        try:
            yield from list(blocks(from_json(FILES[name], content.explanation[name]), content))
        except readers.DamageError as error:
            path = content.run.path / "explanation" / f"{name}.json"
            fix = "write it again with `trainer explain`"
            problem = Problem(str(path), error.expected, error.found, fix)
            yield Paragraph(f"Damaged file: {problem}", "warning")


def _is_significant(column: ColumnDrop) -> bool:
    return column.low is not None and column.low > 0


def _importance(importance: ImportanceFile, content: RunContent) -> Iterator[Block]:
    columns = importance.columns
    if not columns:
        return
    shown = columns[:_MAX_BARS]

    def draw(axes: Any) -> None:
        y = np.arange(len(shown))[::-1]
        drops = np.array([column.drop or 0.0 for column in shown])
        axes.barh(y, drops, color=COLORS[0], alpha=0.75, height=0.7)
        for height, column in zip(y, shown, strict=True):
            if column.low is not None and column.high is not None:
                axes.plot((column.low, column.high), (height, height), color=INK, linewidth=1)
        axes.axvline(0, color=SOFT, linewidth=0.8)
        axes.set_yticks(y, [short_name(column.column) for column in shown])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"decrease in {short_name(importance.metric)}")

    left = 0.2 + 0.075 * max(len(short_name(column.column)) for column in shown)
    largest = "; ".join(f"{column.column} {number(column.drop)}" for column in shown[:5])
    significant = sum(map(_is_significant, columns))
    description = (
        f"Decrease in {importance.metric} (baseline {number(importance.baseline)}) when one column is "
        f"shuffled, on {importance.rows:,} {importance.split} rows. The largest: {largest}. "
        f"The decrease is significant for {significant} of {len(columns)} columns."
    )
    title = f"Permutation importance (decrease in {importance.metric})"
    yield Plot("importance", title, description, draw, 4.0, 0.9 + 0.2 * len(shown), left)
    rows = [
        (
            column.column,
            number(column.drop),
            format_interval(column.low, column.high),
            "" if _is_significant(column) else "not significant",
        )
        for column in columns
    ]
    caption = (
        f"Permutation importance: decrease in {importance.metric} from "
        f"{number(importance.baseline)}, {importance.repeats} shuffles per column, "
        f"{importance.split} rows"
    )
    headers = ("column", "decrease", "interval", "")
    yield table_block(caption, headers, rows, right=(1, 2), is_collapsed=len(rows) > 10)


def _dependence(dependence: DependenceFile, content: RunContent) -> Iterator[Block]:
    for index, curve in enumerate(dependence.columns[:_MAX_CURVES]):
        predictions = _matrix(curve.predictions)
        if len(predictions) != len(curve.values) or not len(predictions):
            expected = f"{max(1, len(curve.values))} predictions for the values of '{curve.column}'"
            raise readers.DamageError(expected, len(predictions))
        outputs = _output_names(content, predictions.shape[1])
        yield _dependence_plot(index, curve, predictions, outputs)


def _output_names(content: RunContent, count: int) -> list[str]:
    names = (
        content.names
        if content.task is None
        else TASK_RULES[content.task].scored_names(content.names)
    )
    return list(names) if len(names) == count else [f"output {index + 1}" for index in range(count)]


def _dependence_plot(
    index: int, curve: DependenceCurve, predictions: Float64Array, outputs: Sequence[str]
) -> Plot:
    lines = outputs[:_MAX_LINES]
    is_numeric = all(isinstance(value, int | float) for value in curve.values)
    values = np.array(curve.values, np.float64) if is_numeric else np.arange(len(predictions))

    def draw(axes: Any) -> None:
        for k, name in enumerate(lines):
            style = {"color": COLORS[k], "label": short_name(name)}
            if is_numeric:
                axes.plot(values, predictions[:, k], linestyle=DASHES[k], **style)
            else:
                axes.plot(values, predictions[:, k], linestyle="", marker="osD^vP"[k], **style)
        if is_numeric:
            for tick in curve.rug:
                if tick is not None:
                    axes.axvline(tick, ymax=0.03, color=SOFT, linewidth=0.8)
        else:
            names = [short_name(str(value)) for value in curve.values]
            axes.set_xticks(values, names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_xlabel(short_name(curve.column))
        if len(lines) > 1:
            axes.legend()

    longest = 0 if is_numeric else max(len(short_name(str(value))) for value in curve.values)
    title, bottom = f"Partial dependence on {curve.column}", 0.5 + 0.05 * longest
    first = predictions[:, 0]
    low, high = int(first.argmin()), int(first.argmax())
    description = (
        f"Mean prediction of {outputs[0]} with {curve.column} set to each value: the minimum is "
        f"{number(float(first[low]))} at {_value_text(curve.values[low])}, the maximum "
        f"{number(float(first[high]))} at {_value_text(curve.values[high])}."
    )
    return Plot(f"dependence-{index}", title, description, draw, 3.6, 2.6, bottom=bottom)


def _value_text(value: float | str | None) -> str:
    return str(value) if isinstance(value, str) or value is None else number(value)


def _surface(surface: SurfaceFile, content: RunContent) -> Iterator[Block]:
    if len(surface.columns) != 2:
        raise readers.DamageError("two columns", surface.columns)
    count = min(len(surface.x), len(surface.y))
    if count < 2:
        raise readers.DamageError("at least two values of each column", count)
    x, y = np.array(surface.x), np.array(surface.y)
    cells = _cells(surface.predictions, (len(y), len(x)))
    if not np.isfinite(cells).all():
        yield Paragraph("No surface plot: some predictions are not finite.", "warning")
        return
    yield _surface_plot(surface.columns, x, y, cells, surface.points, content)


def _cells(rows: Any, shape: tuple[int, int]) -> Float64Array:
    """Return predictions (y, x); with several outputs the index of the largest."""
    try:
        cells: Float64Array = np.array(rows, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise readers.DamageError("numbers for 'predictions'", rows) from None
    if cells.shape[:2] != shape or cells.ndim > 3:
        raise readers.DamageError(f"predictions of shape {shape}", cells.shape)
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
    content: RunContent,
) -> Plot:
    groups = _groups(points)
    rules = None if content.task is None else TASK_RULES[content.task]
    is_binary = rules is not None and rules.has_positive_class
    limits = (0.0, 1.0) if is_binary else (float(cells.min()), float(cells.max()))
    what = (
        "the predicted class"
        if rules is not None and rules.predicts_most_likely
        else "the prediction"
    )
    if is_binary and len(content.names) == 2:
        what = f"the probability of {content.names[1]}"

    def draw(axes: Any) -> None:
        low, high = limits if limits[0] < limits[1] else (limits[0] - 0.5, limits[1] + 0.5)
        contours = axes.contourf(x, y, cells, np.linspace(low, high, _LEVELS), cmap="cividis")
        if is_binary and cells.min() < 0.5 < cells.max():
            axes.contour(x, y, cells, (0.5,), colors=[PAPER], linewidths=1.5)
        for index, (name, (points_x, points_y)) in enumerate(groups.items()):
            dots(axes, points_x, points_y, PAPER, size=6)
            dots(axes, points_x, points_y, COLORS[index % 6], size=4, label=short_name(name))
        axes.set_xlabel(short_name(names[0]))
        axes.set_ylabel(short_name(names[1]))
        axes.figure.colorbar(contours, ax=axes, pad=0.03)
        if len(groups) > 1:
            axes.legend(loc="upper right", title="actual")

    title = f"{what[0].upper()}{what[1:]} as a function of {names[0]} and {names[1]}"
    description = (
        f"{title}: from {number(float(cells.min()))} to {number(float(cells.max()))}. The points are "
        "rows of the table."
    )
    return Plot("surface", title, description, draw, 4.4, 3.6)


def _groups(points: SurfacePoints | None) -> Mapping[str, tuple[Float64Array, Float64Array]]:
    """Group the points by actual class, if there are few."""
    if points is None or not len(points.x) == len(points.y) == len(points.actual):
        return {}
    x, y, actual = np.array(points.x), np.array(points.y), points.actual
    labels = [value if isinstance(value, str) else number(_first(value)) for value in actual]
    names = sorted(set(labels))
    if len(names) > 6:
        labels, names = ["rows"] * len(labels), ["rows"]
    groups = {}
    for name in names:
        mask = np.array([label == name for label in labels]) & np.isfinite(x) & np.isfinite(y)
        index = np.flatnonzero(mask)[:: max(1, int(mask.sum()) // _MAX_POINTS)]
        groups[name] = (x[index], y[index])
    return groups


def _first(value: tuple[float | None, ...] | float | None) -> float | None:
    if isinstance(value, tuple):
        return value[0] if value else None
    return value


def _shap(shap: ShapFile, content: RunContent) -> Iterator[Block]:
    rows = [
        (column.column, *map(number, column.mean_absolute))
        for column in shap.columns
        if len(column.mean_absolute) == len(shap.names)
    ]
    count = f", {len(shap.rows):,} rows" if shap.rows else ""
    headers = ("column", *shap.names)
    yield table_block(
        f"Mean absolute SHAP value of each column{count}",
        headers,
        rows,
        right=range(1, len(headers)),
        is_collapsed=len(rows) > 15,
    )


def _texts(texts: TextsFile, content: RunContent) -> Iterator[Block]:
    for column, explained in texts.columns.items():
        rows = [
            (
                f"{item.row:,}",
                item.actual,
                f"{item.name} {number(item.prediction)}",
                "".join(text for text, _ in highlighted_parts(item)),
                _strongest(item, 1),
                _strongest(item, -1),
            )
            for item in explained
        ]
        headers = ("row", "actual", "prediction", column, "raised by", "lowered by")
        block = table_block(
            f"Influential words of {column}: the change of the prediction without each word, of the "
            f"{len(rows)} of {texts.rows:,} {texts.split} rows with the largest loss",
            headers,
            rows,
        )
        highlights = {(row, 3): highlighted_parts(item) for row, item in enumerate(explained)}
        yield replace(block, highlights=highlights)


def highlighted_parts(item: ExplainedText) -> Highlights:
    """Return the parts of a text with their influence, relative to the largest one."""
    words = [word.text for word in item.words]
    blank = "" if unspaced_share(words) > _UNSPACED_SHARE else " "
    influences = [word.influence or 0.0 for word in item.words]
    largest = max(map(abs, influences), default=0.0) or 1.0
    return tuple(
        (f"{word}{blank}", influence / largest)
        for word, influence in zip(words, influences, strict=True)
    )


def _strongest(item: ExplainedText, sign: int) -> str:
    """Return the words with the largest influence in one direction."""
    words = [(sign * (word.influence or 0.0), word.text) for word in item.words]
    largest = sorted((pair for pair in words if pair[0] > 0), reverse=True)[:_MAX_WORDS]
    return ", ".join(f"{text} {number(sign * influence)}" for influence, text in largest)


def _matrix(rows: Sequence[Sequence[float | None]]) -> Float64Array:
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths == {0}:
        raise readers.DamageError("the same number of predictions for each value", sorted(widths))
    return np.array(
        [[np.nan if value is None else value for value in row] for row in rows], np.float64
    )
