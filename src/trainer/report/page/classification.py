"""Classification: confusion matrix, ROC and precision-recall curves, calibration, thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.evaluation.calibration import calibration_error, reliability_curve, top_class
from trainer.evaluation.curves import confusion_matrices, precision_recall_curve, roc_curve
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.thresholds import ThresholdCurve, threshold_curve
from trainer.models.metrics import compute_metrics, predicted_positive
from trainer.models.ranking_metrics import average_precision, roc_auc
from trainer.report.page.confusion import column_counts, confusion_blocks
from trainer.report.page.content import Block, Grid, Plot, Prose, Section, grid, section
from trainer.report.page.facts import RunFacts
from trainer.report.page.figures import COLORS, DASHES, INK, SOFT
from trainer.report.text import number, short_name

_MAX_CURVES = 6
"""Maximum number of classes with curves; the number of colors."""
_MIN_ROWS = 5
"""With many classes, those with fewer rows are not drawn, if enough others remain."""
_POINTS = 200
_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_BINS = 10
_THRESHOLD_METRICS = ("precision", "recall", "specificity", "F1", "share predicted positive")
Float64Array = npt.NDArray[np.float64]


def classes(facts: RunFacts) -> Section:
    """Make the section with the confusion matrix, ROC and precision-recall curves."""
    return section("classes", "Classification", _classes(facts))


def calibration(facts: RunFacts) -> Section:
    """Make the section with the reliability diagram and metrics by threshold."""
    return section("calibration", "Calibration and thresholds", _calibration(facts))


def _predictions(facts: RunFacts) -> Predictions | None:
    if facts.split is None or facts.task == "regression":
        return None
    answers = facts.answers[facts.split]
    has_weight = answers.weight is None or answers.weight.sum() > 0
    return answers if has_weight and np.isfinite(answers.p).all() else None


def _classes(facts: RunFacts) -> Iterator[Block]:
    answers = _predictions(facts)
    if answers is None:
        return
    matrices = confusion_matrices(answers, facts.threshold)
    split = facts.split or ""
    if answers.task == "multilabel":
        yield column_counts(matrices, answers, split)
    else:
        yield from confusion_blocks(matrices, answers, split)
    yield from _curve_plots(facts, answers)


def _curve_plots(facts: RunFacts, answers: Predictions) -> Iterator[Block]:
    """Yield ROC and precision-recall plots of the positive class, or the worst classes or columns."""
    parts = _parts(answers)
    linear = facts.linear.get(facts.split or "")
    if len(parts) > 1 or linear is None or not _same_rows(linear, answers):
        linear = None
    parts = [
        (name, column)
        for name, column in parts
        if 0 < answers.y[:, column].sum() < len(answers) and np.isfinite(answers.p[:, column]).all()
    ]
    if not parts:
        return
    what = "columns" if answers.task == "multilabel" else "classes"
    selection = ""
    if len(parts) > _MAX_CURVES:
        frequent = [part for part in parts if answers.y[:, part[1]].sum() >= _MIN_ROWS]
        rows = f" with at least {_MIN_ROWS} rows" if len(frequent) > _MAX_CURVES else ""
        parts = frequent if rows else parts
        selection = f"; the {_MAX_CURVES} worst of {len(parts):,} {what}{rows}"
    yield _roc_plot(answers, _worst(facts, answers, parts, "auc"), linear, selection)
    worst = _worst(facts, answers, parts, "average_precision")
    yield _precision_recall_plot(answers, worst, linear, selection)


def _worst(
    facts: RunFacts, answers: Predictions, parts: list[tuple[str, int]], metric: str
) -> list[tuple[str, int]]:
    """Return the classes or columns with the lowest values of a metric, in ascending order."""
    if len(parts) <= _MAX_CURVES:
        return parts
    metrics = facts.split_findings.measures if facts.split_findings else {}
    compute = _auc if metric == "auc" else _average_precision

    def value(part: tuple[str, int]) -> float:
        name, column = part
        stored = metrics.get(f"{name}/{metric}")
        if stored is not None and stored.value is not None:
            return stored.value
        return compute(answers, column)

    return sorted(parts, key=value)[:_MAX_CURVES]


def _parts(answers: Predictions) -> list[tuple[str, int]]:
    """Return names and columns: of the positive class, or of every class or column."""
    if answers.task == "binary":
        return [(answers.names[1], 0)]
    return [(name, column) for column, name in enumerate(answers.names)]


def _same_rows(linear: Predictions, answers: Predictions) -> bool:
    return len(linear) == len(answers) and bool(
        np.array_equal(np.sort(linear.rows), np.sort(answers.rows))
    )


def _roc_plot(
    answers: Predictions, parts: list[tuple[str, int]], linear: Predictions | None, selection: str
) -> Plot:
    curves = [(name, _roc(answers, column), _auc(answers, column)) for name, column in parts]
    if linear is not None:
        curves.append(("linear model", _roc(linear, 0), _auc(linear, 0)))

    def draw(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color=SOFT, linewidth=0.8, linestyle=":")
        for index, (name, (x, y), area) in enumerate(curves):
            label = f"{short_name(name)} ({number(area)})"
            axes.plot(x, y, color=COLORS[index % 6], linestyle=DASHES[index % 6], label=label)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        _unit_square(axes)
        axes.legend(loc="lower right")

    areas = "; ".join(f"{name} {number(area)}" for name, _, area in curves)
    description = f"ROC curves. AUC: {areas}. A random classifier has an AUC of 0.5."
    return Plot("roc", f"ROC curve (AUC{selection})", description, draw)


def _precision_recall_plot(
    answers: Predictions, parts: list[tuple[str, int]], linear: Predictions | None, selection: str
) -> Plot:
    curves = [
        (name, _precision_recall(answers, column), _average_precision(answers, column))
        for name, column in parts
    ]
    if linear is not None:
        curves.append(("linear model", _precision_recall(linear, 0), _average_precision(linear, 0)))
    share = float(np.average(answers.y[:, parts[0][1]], weights=answers.weight))

    def draw(axes: Any) -> None:
        if len(parts) == 1:
            axes.axhline(share, color=SOFT, linewidth=0.8, linestyle=":")
        for index, (name, (x, y), mean) in enumerate(curves):
            label = f"{short_name(name)} ({number(mean)})"
            color, dash = COLORS[index % 6], DASHES[index % 6]
            axes.plot(x, y, color=color, linestyle=dash, label=label, drawstyle="steps-pre")
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        _unit_square(axes)
        axes.legend(loc="lower left")

    means = "; ".join(f"{name} {number(mean)}" for name, _, mean in curves)
    chance = f" A random classifier has {number(share)}." if len(parts) == 1 else ""
    description = f"Precision-recall curves. Average precision: {means}.{chance}"
    title = f"Precision-recall curve (average precision{selection})"
    return Plot("precision-recall", title, description, draw)


def _roc(answers: Predictions, column: int) -> tuple[Float64Array, Float64Array]:
    curve = roc_curve(answers.y[:, column], answers.p[:, column], answers.weight, _POINTS)
    return curve.x, curve.y


def _auc(answers: Predictions, column: int) -> float:
    return roc_auc(answers.y[:, column], answers.p[:, column], answers.weight)


def _precision_recall(answers: Predictions, column: int) -> tuple[Float64Array, Float64Array]:
    curve = precision_recall_curve(
        answers.y[:, column], answers.p[:, column], answers.weight, _POINTS
    )
    return np.append(0.0, curve.x), np.append(curve.y[:1], curve.y)


def _average_precision(answers: Predictions, column: int) -> float:
    return average_precision(answers.y[:, column], answers.p[:, column], answers.weight)


def _unit_square(axes: Any) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)


def _calibration(facts: RunFacts) -> Iterator[Block]:
    answers = _predictions(facts)
    if answers is None:
        return
    decisions = facts.decided
    if decisions is not None and decisions.temperature != 1:
        bias = "overconfident" if decisions.temperature > 1 else "underconfident"
        yield Prose(
            f"The probabilities are calibrated by temperature scaling: the logits are divided by "
            f"{number(decisions.temperature)}, fitted on {decisions.rows}. Without it they were {bias}."
        )
    yield _reliability_plot(facts, answers)
    if answers.task == "binary":
        curve = threshold_curve(answers.y, answers.p, answers.weight)
        yield _threshold_plot(curve, answers, facts.threshold)
        yield _threshold_table(facts, answers, facts.threshold)


def _reliability_plot(facts: RunFacts, answers: Predictions) -> Plot:
    level = 0.95 if facts.findings is None else facts.findings.level
    if answers.task == "multiclass":
        y, p = top_class(answers.y, answers.p)
        weight, what = answers.weight, "the predicted class"
    else:
        y = answers.y.reshape(-1).astype(np.float64)
        p = answers.p.reshape(-1).astype(np.float64)
        columns = answers.y.shape[1]
        weight = None if answers.weight is None else np.repeat(answers.weight, columns)
        what = answers.names[1] if answers.task == "binary" else "a positive label"
    curve = reliability_curve(y, p, bins=_BINS, weight=weight, confidence_level=level)
    error = calibration_error(answers.task, answers.y, answers.p, weight=answers.weight)

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


def _threshold_plot(curve: ThresholdCurve, answers: Predictions, threshold: float) -> Plot:
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
        f"{number(threshold)}: {_metrics_text(_metrics_at(answers, threshold))}."
    )
    return Plot("thresholds", "Metrics by threshold", description, draw)


def _metrics_text(values: Sequence[float]) -> str:
    pairs = zip(_THRESHOLD_METRICS, values, strict=True)
    return ", ".join(f"{name} {number(value)}" for name, value in pairs)


def _metrics_at(answers: Predictions, threshold: float) -> tuple[float, ...]:
    """Compute `_THRESHOLD_METRICS` at a threshold."""
    metrics = compute_metrics(
        ("precision", "recall", "specificity", "f1"),
        "binary",
        answers.y,
        answers.p,
        answers.weight,
        threshold,
    )
    is_positive = predicted_positive(answers.p[:, 0], threshold)
    return (*metrics.values(), float(np.average(is_positive, weights=answers.weight)))


def _threshold_table(facts: RunFacts, answers: Predictions, threshold: float) -> Grid:
    thresholds = sorted({*_THRESHOLDS, threshold})
    rows = [(number(value), *map(number, _metrics_at(answers, value))) for value in thresholds]
    decisions = facts.decided
    criterion = decisions.chosen_for if decisions else None
    chosen = f", chosen for {criterion} on {decisions.rows}" if decisions and criterion else ""
    title = (
        f"Metrics by threshold, {facts.split} rows; current threshold {number(threshold)}{chosen}"
    )
    heads = ("threshold", *_THRESHOLD_METRICS)
    marked = (thresholds.index(threshold),)
    return grid(title, heads, rows, right=range(6), marked=marked)
