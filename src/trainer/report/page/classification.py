"""Classification: confusion matrix, ROC and precision-recall curves, calibration, thresholds.

The points of the curves come from `trainer.evaluation`.
"""

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
from trainer.report.page.figures import COLOURS, DASHES, INK, SOFT
from trainer.report.text import number, short_name

_DRAWN = 6
"""The most classes with curves of their own: there are as many colours."""
_FEWEST_ROWS = 5
"""Of many classes only those with this many rows are drawn, if there are enough such."""
_POINTS = 200
_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_BINS = 10
_POINT = ("precision", "recall", "specificity", "F1", "share predicted positive")
Float64Array = npt.NDArray[np.float64]


def classes(facts: RunFacts) -> Section:
    """Confusion matrix, ROC and precision-recall curves of the last split."""
    return section("classes", "Classification", _classes(facts))


def calibration(facts: RunFacts) -> Section:
    """Reliability of the probabilities, and metrics by threshold."""
    return section("calibration", "Calibration and thresholds", _calibration(facts))


def _answers(facts: RunFacts) -> Predictions | None:
    if facts.split is None or facts.task == "regression":
        return None
    answers = facts.answers[facts.split]
    has_weight = answers.weight is None or answers.weight.sum() > 0
    return answers if has_weight and np.isfinite(answers.p).all() else None


def _classes(facts: RunFacts) -> Iterator[Block]:
    answers = _answers(facts)
    if answers is None:
        return
    matrices = confusion_matrices(answers, facts.threshold)
    split = facts.split or ""
    if answers.task == "multilabel":
        yield column_counts(matrices, answers, split)
    else:
        yield from confusion_blocks(matrices, answers, split)
    yield from _order_plots(facts, answers)


def _order_plots(facts: RunFacts, answers: Predictions) -> Iterator[Block]:
    """ROC and precision-recall of the positive class, or of the worst classes or columns."""
    parts = _positives(answers)
    linear = facts.linear.get(facts.split or "")
    if len(parts) > 1 or linear is None or not _same_rows(linear, answers):
        linear = None
    known = [
        (name, place)
        for name, place in parts
        if 0 < answers.y[:, place].sum() < len(answers) and np.isfinite(answers.p[:, place]).all()
    ]
    if not known:
        return
    what = "columns" if answers.task == "multilabel" else "classes"
    of = ""
    if len(known) > _DRAWN:
        frequent = [part for part in known if answers.y[:, part[1]].sum() >= _FEWEST_ROWS]
        rows = f" with {_FEWEST_ROWS} rows or more" if len(frequent) > _DRAWN else ""
        known = frequent if rows else known
        of = f"; the {_DRAWN} worst of {len(known):,} {what}{rows}"
    yield _roc_plot(answers, _worst(facts, answers, known, "auc"), linear, of)
    worst = _worst(facts, answers, known, "average_precision")
    yield _precision_recall_plot(answers, worst, linear, of)


def _worst(
    facts: RunFacts, answers: Predictions, known: list[tuple[str, int]], metric: str
) -> list[tuple[str, int]]:
    """The classes or columns with the lowest value of a metric, the lowest first."""
    if len(known) <= _DRAWN:
        return known
    found = facts.split_findings.measures if facts.split_findings else {}
    compute = _area if metric == "auc" else _precision

    def value(part: tuple[str, int]) -> float:
        name, place = part
        measured = found.get(f"{name}/{metric}")
        if measured is not None and measured.value is not None:
            return measured.value
        return compute(answers, place)

    return sorted(known, key=value)[:_DRAWN]


def _positives(answers: Predictions) -> list[tuple[str, int]]:
    if answers.task == "binary":
        return [(answers.names[1], 0)]
    return [(name, place) for place, name in enumerate(answers.names)]


def _same_rows(linear: Predictions, answers: Predictions) -> bool:
    return len(linear) == len(answers) and bool(
        np.array_equal(np.sort(linear.rows), np.sort(answers.rows))
    )


def _roc_plot(
    answers: Predictions, known: list[tuple[str, int]], linear: Predictions | None, of: str
) -> Plot:
    curves = [(name, _roc(answers, place), _area(answers, place)) for name, place in known]
    if linear is not None:
        curves.append(("linear model", _roc(linear, 0), _area(linear, 0)))

    def draw(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color=SOFT, linewidth=0.8, linestyle=":")
        for place, (name, (x, y), area) in enumerate(curves):
            label = f"{short_name(name)} ({number(area)})"
            axes.plot(x, y, color=COLOURS[place % 6], linestyle=DASHES[place % 6], label=label)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        _unit_square(axes)
        axes.legend(loc="lower right")

    areas = "; ".join(f"{name} {number(area)}" for name, _, area in curves)
    description = f"ROC curves. Area under the curve: {areas}. A random classifier scores 0.5."
    return Plot("roc", f"ROC curve (AUC{of})", description, draw)


def _precision_recall_plot(
    answers: Predictions, known: list[tuple[str, int]], linear: Predictions | None, of: str
) -> Plot:
    curves = [(name, _recall(answers, place), _precision(answers, place)) for name, place in known]
    if linear is not None:
        curves.append(("linear model", _recall(linear, 0), _precision(linear, 0)))
    share = float(np.average(answers.y[:, known[0][1]], weights=answers.weight))

    def draw(axes: Any) -> None:
        if len(known) == 1:
            axes.axhline(share, color=SOFT, linewidth=0.8, linestyle=":")
        for place, (name, (x, y), mean) in enumerate(curves):
            label = f"{short_name(name)} ({number(mean)})"
            colour, dash = COLOURS[place % 6], DASHES[place % 6]
            axes.plot(x, y, color=colour, linestyle=dash, label=label, drawstyle="steps-pre")
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        _unit_square(axes)
        axes.legend(loc="lower left")

    means = "; ".join(f"{name} {number(mean)}" for name, _, mean in curves)
    chance = f" A random classifier scores {number(share)}." if len(known) == 1 else ""
    description = f"Precision against recall. Average precision: {means}.{chance}"
    title = f"Precision-recall curve (average precision{of})"
    return Plot("precision-recall", title, description, draw)


def _roc(answers: Predictions, place: int) -> tuple[Float64Array, Float64Array]:
    curve = roc_curve(answers.y[:, place], answers.p[:, place], answers.weight, _POINTS)
    return curve.x, curve.y


def _area(answers: Predictions, place: int) -> float:
    return roc_auc(answers.y[:, place], answers.p[:, place], answers.weight)


def _recall(answers: Predictions, place: int) -> tuple[Float64Array, Float64Array]:
    curve = precision_recall_curve(
        answers.y[:, place], answers.p[:, place], answers.weight, _POINTS
    )
    return np.append(0.0, curve.x), np.append(curve.y[:1], curve.y)


def _precision(answers: Predictions, place: int) -> float:
    return average_precision(answers.y[:, place], answers.p[:, place], answers.weight)


def _unit_square(axes: Any) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)


def _calibration(facts: RunFacts) -> Iterator[Block]:
    answers = _answers(facts)
    if answers is None:
        return
    decided = facts.decided
    if decided is not None and decided.temperature != 1:
        were = "overconfident" if decided.temperature > 1 else "underconfident"
        yield Prose(
            f"Temperature scaling: the logits are divided by {number(decided.temperature)}, fitted on "
            f"{decided.rows}, where the uncalibrated probabilities were {were}."
        )
    yield _reliability_plot(facts, answers)
    if answers.task == "binary":
        trade = threshold_curve(answers.y, answers.p, answers.weight)
        yield _threshold_plot(trade, answers, facts.threshold)
        yield _threshold_grid(facts, answers, facts.threshold)


def _reliability_plot(facts: RunFacts, answers: Predictions) -> Plot:
    level = 0.95 if facts.findings is None else facts.findings.level
    if answers.task == "multiclass":
        truth, predicted = top_class(answers.y, answers.p)
        weight, what = answers.weight, "the predicted class"
    else:
        truth = answers.y.reshape(-1).astype(np.float64)
        predicted = answers.p.reshape(-1).astype(np.float64)
        wide = answers.y.shape[1]
        weight = None if answers.weight is None else np.repeat(answers.weight, wide)
        what = answers.names[1] if answers.task == "binary" else "a positive label"
    found = reliability_curve(truth, predicted, bins=_BINS, weight=weight, confidence_level=level)
    error = calibration_error(answers.task, answers.y, answers.p, weight=answers.weight)

    def draw(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color=SOFT, linewidth=0.8, linestyle=":")
        ends = np.abs(
            np.stack([found.observed - found.observed_low, found.observed_high - found.observed])
        )
        axes.errorbar(
            found.predicted,
            found.observed,
            yerr=ends,
            color=COLOURS[0],
            marker="o",
            markersize=4,
            elinewidth=1,
            capsize=2,
            linewidth=1,
        )
        axes.set_xlabel(f"mean predicted probability of {short_name(what)}")
        axes.set_ylabel("observed frequency")
        _unit_square(axes)

    apart = np.abs(found.predicted - found.observed)
    widest = int(apart.argmax())
    description = (
        f"Reliability of the probability of {what} in {len(found.predicted)} bins with {100 * level:g}% "
        f"Wilson intervals. Expected calibration error {number(error)}. The largest gap is at a "
        f"mean prediction of {number(float(found.predicted[widest]))}, where the observed frequency is "
        f"{number(float(found.observed[widest]))} in {int(found.count[widest]):,} rows."
    )
    title = f"Reliability diagram (expected calibration error {number(error)})"
    return Plot("reliability", title, description, draw)


def _threshold_plot(trade: ThresholdCurve, answers: Predictions, threshold: float) -> Plot:
    curves = (
        ("precision", trade.precision),
        ("recall", trade.recall),
        ("specificity", trade.specificity),
        ("F1", trade.f1),
    )

    def draw(axes: Any) -> None:
        for place, (name, values) in enumerate(curves):
            colour, dash = COLOURS[place], DASHES[place]
            axes.plot(trade.threshold, values, color=colour, linestyle=dash, label=name)
        axes.axvline(
            threshold, color=INK, linewidth=1, linestyle=":", label=f"current, {number(threshold)}"
        )
        axes.set_xlabel("threshold")
        _unit_square(axes)
        axes.legend(loc="lower center", ncols=2)

    description = (
        f"Precision, recall, specificity and F1 by threshold. At {number(threshold)}, the current "
        f"threshold: {_point_words(_at(answers, threshold))}."
    )
    return Plot("thresholds", "Metrics by threshold", description, draw)


def _point_words(point: Sequence[float]) -> str:
    return ", ".join(f"{name} {number(one)}" for name, one in zip(_POINT, point, strict=True))


def _at(answers: Predictions, threshold: float) -> tuple[float, ...]:
    """The metrics of `_POINT` at a threshold."""
    found = compute_metrics(
        ("precision", "recall", "specificity", "f1"),
        "binary",
        answers.y,
        answers.p,
        answers.weight,
        threshold,
    )
    called = predicted_positive(answers.p[:, 0], threshold)
    return (*found.values(), float(np.average(called, weights=answers.weight)))


def _threshold_grid(facts: RunFacts, answers: Predictions, threshold: float) -> Grid:
    thresholds = sorted({*_THRESHOLDS, threshold})
    rows = [(number(one), *map(number, _at(answers, one))) for one in thresholds]
    decided = facts.decided
    aim = decided.chosen_for if decided else None
    chosen = f", chosen for {aim} on {decided.rows}" if decided and aim else ""
    title = (
        f"Metrics by threshold, {facts.split} rows; current threshold {number(threshold)}{chosen}"
    )
    heads = ("threshold", *_POINT)
    marked = (thresholds.index(threshold),)
    return grid(title, heads, rows, right=range(6), marked=marked)
