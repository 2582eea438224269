"""Classification: confusion matrix, ROC and precision-recall curves, calibration, thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.assessment.calibration import calibration_error, reliability_curve, top_class
from trainer.assessment.curves import confusion_matrices, precision_recall_curve, roc_curve
from trainer.assessment.thresholds import ThresholdCurve, threshold_curve
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.compute import compute_metrics
from trainer.metrics.labels import predicted_positive
from trainer.metrics.predictions import Predictions
from trainer.metrics.ranking import average_precision, roc_auc
from trainer.report.page.confusion import column_counts, confusion_blocks
from trainer.report.page.content import (
    Block,
    Paragraph,
    Plot,
    Section,
    TableBlock,
    section,
    table_block,
)
from trainer.report.page.figures import COLORS, DASHES, INK, SOFT
from trainer.report.page.images import confusion_pictures
from trainer.report.page.run_content import RunContent
from trainer.report.text import number, short_name

_MAX_CURVES = 6
"""Maximum number of classes with curves; the number of colors."""
_MIN_ROWS = 5
"""With many classes, those with fewer rows are not drawn, if enough others remain."""
_POINTS = 200
_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_BINS = 10
_THRESHOLD_METRICS = ("precision", "recall", "specificity", "F1", "fraction predicted positive")
Float64Array = npt.NDArray[np.float64]
_NamedCurve = tuple[str, tuple[Float64Array, Float64Array], float]
"""Its name, its points and the area under it."""


def classification_section(content: RunContent) -> Section:
    """Make the section with the confusion matrix, ROC and precision-recall curves."""
    return section("classes", "Classification", _classes(content))


def calibration_section(content: RunContent) -> Section:
    """Make the section with the reliability diagram and metrics by threshold."""
    return section("calibration", "Calibration and thresholds", _calibration(content))


def _predictions(content: RunContent) -> Predictions | None:
    if content.split is None or content.rules is None or not content.rules.has_classes:
        return None
    predictions = content.predictions[content.split]
    has_weight = predictions.weight is None or predictions.weight.sum() > 0
    return predictions if has_weight and np.isfinite(predictions.p).all() else None


def _classes(content: RunContent) -> Iterator[Block]:
    predictions = _predictions(content)
    if predictions is None:
        return
    matrices = confusion_matrices(predictions, content.threshold)
    split = content.split or ""
    if TASK_RULES[predictions.task].has_several_labels:
        yield column_counts(matrices, predictions, split)
    else:
        pictures = confusion_pictures(content, predictions)
        yield from confusion_blocks(matrices, predictions, split, pictures)
    yield from _curve_plots(content, predictions)


def _curve_plots(content: RunContent, predictions: Predictions) -> Iterator[Block]:
    """Yield ROC and precision-recall plots of the positive class, or the worst classes or columns."""
    parts = _parts(predictions)
    linear = content.linear.get(content.split or "")
    if len(parts) > 1 or linear is None or not _same_rows(linear, predictions):
        linear = None
    parts = [
        (name, column)
        for name, column in parts
        if 0 < predictions.y[:, column].sum(dtype=np.float64) < len(predictions)
        and np.isfinite(predictions.p[:, column]).all()
    ]
    if not parts:
        return
    what = "columns" if TASK_RULES[predictions.task].has_several_labels else "classes"
    selection = ""
    if len(parts) > _MAX_CURVES:
        totals = predictions.y.sum(axis=0, dtype=np.float64)
        frequent = [part for part in parts if totals[part[1]] >= _MIN_ROWS]
        rows = f" with at least {_MIN_ROWS} rows" if len(frequent) > _MAX_CURVES else ""
        parts = frequent if rows else parts
        selection = f"; the {_MAX_CURVES} worst of {len(parts):,} {what}{rows}"
    worst = _worst(content, predictions, parts, "auc")
    yield _roc_plot(_named_curves(worst, predictions, linear, _roc, _auc), selection)
    worst = _worst(content, predictions, parts, "average_precision")
    curves = _named_curves(worst, predictions, linear, _precision_recall, _average_precision)
    actual = predictions.y[:, worst[0][1]].astype(np.float64)
    share = float(np.average(actual, weights=predictions.weight))
    yield _precision_recall_plot(curves, share if len(worst) == 1 else None, selection)


def _worst(
    content: RunContent, predictions: Predictions, parts: list[tuple[str, int]], metric: str
) -> list[tuple[str, int]]:
    """Return the classes or columns with the lowest values of a metric, in ascending order."""
    if len(parts) <= _MAX_CURVES:
        return parts
    metrics = content.split_findings.metrics if content.split_findings else {}
    compute = _auc if metric == "auc" else _average_precision

    def value(part: tuple[str, int]) -> float:
        name, column = part
        stored = metrics.get(f"{name}/{metric}")
        if stored is not None and stored.value is not None:
            return stored.value
        return compute(predictions, column)

    return sorted(parts, key=value)[:_MAX_CURVES]


def _parts(predictions: Predictions) -> list[tuple[str, int]]:
    """Return the names and columns of the positive class, or of every class or column."""
    names = TASK_RULES[predictions.task].scored_names(predictions.names)
    return [(name, column) for column, name in enumerate(names)]


def _same_rows(linear: Predictions, predictions: Predictions) -> bool:
    return len(linear) == len(predictions) and bool(
        np.array_equal(np.sort(linear.rows), np.sort(predictions.rows))
    )


def _roc_plot(curves: Sequence[_NamedCurve], selection: str) -> Plot:
    def draw(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color=SOFT, linewidth=0.8, linestyle=":")
        _draw_curves(axes, curves, drawstyle="default")
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.legend(loc="lower right")

    description = f"ROC curves. AUC: {_areas_text(curves)}. A random classifier has an AUC of 0.5."
    return Plot("roc", f"ROC curve (AUC{selection})", description, draw)


def _precision_recall_plot(
    curves: Sequence[_NamedCurve], share: float | None, selection: str
) -> Plot:
    """Plot the curves, and the share of positive rows unless there are several classes."""

    def draw(axes: Any) -> None:
        if share is not None:
            axes.axhline(share, color=SOFT, linewidth=0.8, linestyle=":")
        _draw_curves(axes, curves, drawstyle="steps-pre")
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        axes.legend(loc="lower left")

    chance = "" if share is None else f" A random classifier has {number(share)}."
    description = f"Precision-recall curves. Average precision: {_areas_text(curves)}.{chance}"
    title = f"Precision-recall curve (average precision{selection})"
    return Plot("precision-recall", title, description, draw)


def _named_curves(
    parts: Sequence[tuple[str, int]],
    predictions: Predictions,
    linear: Predictions | None,
    points: Callable[[Predictions, int], tuple[Float64Array, Float64Array]],
    area: Callable[[Predictions, int], float],
) -> list[_NamedCurve]:
    """Return the curve of each class or column, and that of the linear model."""
    curves = [(name, points(predictions, column), area(predictions, column))
              for name, column in parts]  # fmt: skip
    if linear is not None:
        curves.append(("linear model", points(linear, 0), area(linear, 0)))
    return curves


def _draw_curves(axes: Any, curves: Sequence[_NamedCurve], *, drawstyle: str) -> None:
    for index, (name, (x, y), area) in enumerate(curves):
        label = f"{short_name(name)} ({number(area)})"
        color, dash = COLORS[index % 6], DASHES[index % 6]
        axes.plot(x, y, color=color, linestyle=dash, label=label, drawstyle=drawstyle)
    _unit_square(axes)


def _areas_text(curves: Sequence[_NamedCurve]) -> str:
    return "; ".join(f"{name} {number(area)}" for name, _, area in curves)


def _roc(predictions: Predictions, column: int) -> tuple[Float64Array, Float64Array]:
    curve = roc_curve(
        predictions.y[:, column], predictions.p[:, column], predictions.weight, _POINTS
    )
    return curve.x, curve.y


def _auc(predictions: Predictions, column: int) -> float:
    actual = predictions.y[:, column] > 0.5
    return roc_auc(actual, predictions.p[:, column], predictions.weight)


def _precision_recall(predictions: Predictions, column: int) -> tuple[Float64Array, Float64Array]:
    curve = precision_recall_curve(
        predictions.y[:, column], predictions.p[:, column], predictions.weight, _POINTS
    )
    return np.append(0.0, curve.x), np.append(curve.y[:1], curve.y)


def _average_precision(predictions: Predictions, column: int) -> float:
    actual = predictions.y[:, column] > 0.5
    return average_precision(actual, predictions.p[:, column], predictions.weight)


def _unit_square(axes: Any) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)


def _calibration(content: RunContent) -> Iterator[Block]:
    predictions = _predictions(content)
    if predictions is None:
        return
    decisions = content.decisions
    if decisions is not None and decisions.temperature != 1:
        bias = "overconfident" if decisions.temperature > 1 else "underconfident"
        yield Paragraph(
            f"The probabilities are calibrated by temperature scaling: the logits are divided by "
            f"{number(decisions.temperature)}, fitted on {decisions.rows_text}. "
            f"Without it they were {bias}."
        )
    yield _reliability_plot(content, predictions)
    if TASK_RULES[predictions.task].has_positive_class:
        curve = threshold_curve(predictions.y, predictions.p, predictions.weight)
        yield _threshold_plot(curve, predictions, content.threshold)
        yield _threshold_table(content, predictions, content.threshold)


def _reliability_plot(content: RunContent, predictions: Predictions) -> Plot:
    level = 0.95 if content.findings is None else content.findings.confidence_level
    rules = TASK_RULES[predictions.task]
    if rules.predicts_most_likely:
        y, p = top_class(predictions.y, predictions.p)
        weight, what = predictions.weight, "the predicted class"
    else:
        y = predictions.y.reshape(-1).astype(np.float64)
        p = predictions.p.reshape(-1).astype(np.float64)
        columns = predictions.y.shape[1]
        weight = None if predictions.weight is None else np.repeat(predictions.weight, columns)
        what = predictions.names[1] if rules.has_positive_class else "a positive label"
    curve = reliability_curve(y, p, bins=_BINS, weight=weight, confidence_level=level)
    error = calibration_error(
        predictions.task, predictions.y, predictions.p, weight=predictions.weight
    )

    def draw(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color=SOFT, linewidth=0.8, linestyle=":")
        errors = np.abs(
            np.stack([curve.observed - curve.observed_low, curve.observed_high - curve.observed])
        )
        axes.errorbar(
            curve.predicted,
            curve.observed,
            yerr=errors,
            color=COLORS[0],
            marker="o",
            markersize=4,
            elinewidth=1,
            capsize=2,
            linewidth=1,
        )
        axes.set_xlabel(f"mean predicted probability of {short_name(what)}")
        axes.set_ylabel("observed frequency")
        _unit_square(axes)

    widest = int(np.abs(curve.predicted - curve.observed).argmax())
    description = (
        f"Reliability of the probability of {what} in {len(curve.predicted)} bins with {100 * level:g}% "
        f"Wilson intervals. The expected calibration error is {number(error)}. The largest gap is at a "
        f"mean predicted probability of {number(float(curve.predicted[widest]))}, where the observed "
        f"frequency is {number(float(curve.observed[widest]))} in {int(curve.count[widest]):,} rows."
    )
    title = f"Reliability diagram (expected calibration error {number(error)})"
    return Plot("reliability", title, description, draw)


def _threshold_plot(curve: ThresholdCurve, predictions: Predictions, threshold: float) -> Plot:
    curves = (
        ("precision", curve.precision),
        ("recall", curve.recall),
        ("specificity", curve.specificity),
        ("F1", curve.f1),
    )

    def draw(axes: Any) -> None:
        for index, (name, values) in enumerate(curves):
            color, dash = COLORS[index], DASHES[index]
            axes.plot(curve.threshold, values, color=color, linestyle=dash, label=name)
        axes.axvline(
            threshold, color=INK, linewidth=1, linestyle=":", label=f"current, {number(threshold)}"
        )
        axes.set_xlabel("threshold")
        _unit_square(axes)
        axes.legend(loc="lower center", ncols=2)

    description = (
        f"Precision, recall, specificity and F1 by threshold. At the current threshold, "
        f"{number(threshold)}: {_metrics_text(_metrics_at(predictions, threshold))}."
    )
    return Plot("thresholds", "Metrics by threshold", description, draw)


def _metrics_text(values: Sequence[float]) -> str:
    pairs = zip(_THRESHOLD_METRICS, values, strict=True)
    return ", ".join(f"{name} {number(value)}" for name, value in pairs)


def _metrics_at(predictions: Predictions, threshold: float) -> tuple[float, ...]:
    """Compute `_THRESHOLD_METRICS` at a threshold."""
    metrics = compute_metrics(
        ("precision", "recall", "specificity", "f1"),
        predictions.task,
        predictions.y,
        predictions.p,
        predictions.weight,
        threshold,
    )
    is_positive = predicted_positive(predictions.p[:, 0], threshold)
    return (*metrics.values(), float(np.average(is_positive, weights=predictions.weight)))


def _threshold_table(content: RunContent, predictions: Predictions, threshold: float) -> TableBlock:
    thresholds = sorted({*_THRESHOLDS, threshold})
    rows = [(number(value), *map(number, _metrics_at(predictions, value))) for value in thresholds]
    decisions = content.decisions
    criterion = decisions.chosen_for if decisions else None
    chosen = f", chosen for {criterion} on {decisions.rows_text}" if decisions and criterion else ""
    title = (
        f"Metrics by threshold, {content.split} rows; current threshold {number(threshold)}{chosen}"
    )
    headers = ("threshold", *_THRESHOLD_METRICS)
    marked = (thresholds.index(threshold),)
    return table_block(title, headers, rows, right=range(6), marked=marked)
