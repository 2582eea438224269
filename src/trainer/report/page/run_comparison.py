"""Several runs side by side: summaries, settings that differ, metrics with intervals, curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.assessment.bootstrap import paired_bootstrap
from trainer.assessment.curves import roc_curve
from trainer.assessment.resampling import Resampling, bounded_resamples, rows_per_resample
from trainer.config.task_rules import TASK_RULES
from trainer.config.yaml_writer import flow_text
from trainer.metrics.evaluator import split_metric_name
from trainer.metrics.predictions import Predictions
from trainer.metrics.ranking import roc_auc
from trainer.report.comparison import Comparison, Row
from trainer.report.comparison_tables import run_label
from trainer.report.decisions import common_label, read_decision_summary
from trainer.report.page.content import Block, Page, Paragraph, Plot, Section, section, table_block
from trainer.report.page.figures import COLORS, DASHES, SOFT, use_integer_x
from trainer.report.page.metrics import difference_text, interval_text
from trainer.report.page.run_content import SPLITS, RunContent
from trainer.report.page.training import scale_loss, series, thinned
from trainer.report.tables import metric_text
from trainer.report.text import number, truncate
from trainer.runs.findings import MetricDifference

_MAX_CURVES = 12
_MISSING = "–"
_MAX_LENGTH = 80
_RESAMPLES = 500
_DRAWN_ROWS = 50_000_000


def comparison_page(comparison: Comparison, runs: Sequence[RunContent]) -> Page:
    """Make the page that compares two or more runs, in the given order.

    Args:
        comparison: What differs.
        runs: The content of the same runs.
    """
    sections = (
        _runs_section(runs),
        _settings_section(comparison),
        _metrics_section(runs),
        _curves_section(runs),
        _details_section(comparison),
    )
    return Page(
        f"Comparison of {len(runs)} runs",
        (),
        tuple(section for section in sections if section.blocks),
    )


def side_by_side(
    comparison: Comparison, runs: Sequence[RunContent], names: Sequence[str]
) -> Iterator[Block]:
    """Yield the blocks that compare runs, as a part of another page.

    Args:
        comparison: What differs.
        runs: The content of the same runs.
        names: The names of the runs.
    """
    rows = [
        (run_label(index), name, str(content.run.path))
        for index, (name, content) in enumerate(zip(names, runs, strict=True))
    ]
    yield table_block("", ("", "name", "run"), rows)
    for part in (_settings_section(comparison), _metrics_section(runs)):
        yield from part.blocks


def _runs_section(runs: Sequence[RunContent]) -> Section:
    rows = []
    for index, content in enumerate(runs):
        summary = content.report.summary
        epochs = f"{summary.manifest.epochs:,}" if summary.manifest else _MISSING
        sentence = content.findings.sentence if content.findings else ""
        label = run_label(index)
        rows.append((label, summary.name, str(content.run.path), summary.status, epochs, sentence))
    blocks: list[Block] = [
        table_block("", ("", "name", "run", "status", "epochs", "findings"), rows, right=(4,))
    ]
    for index, content in enumerate(runs):
        blocks += [
            Paragraph(f"Damaged file of {run_label(index)}: {problem}", "warning")
            for problem in content.problems
        ]
    return section("runs", "Runs", blocks)


def _settings_section(comparison: Comparison) -> Section:
    count = len(comparison.runs)
    if not comparison.settings:
        return section("settings", "Settings", [Paragraph("All settings are the same.")])
    rows = [(key, *_cells(row, count, flow_text)) for key, row in comparison.settings.items()]
    headers = ("setting", *map(run_label, range(count)))
    return section("settings", "Settings", [table_block("Settings that differ", headers, rows)])


def _details_section(comparison: Comparison) -> Section:
    count = len(comparison.runs)
    rows = [(key, *_cells(row, count, _detail_text)) for key, row in comparison.details.items()]
    headers = ("", *map(run_label, range(count)))
    title = "Differences in data, rows, packages and device"
    return section("details", "Other differences", [table_block(title, headers, rows)])


def _cells(row: Row, count: int, text: Callable[[Any], str]) -> Iterator[str]:
    """Yield the values of one key as text, in the order of the runs; a dash where missing."""
    for index in range(count):
        yield truncate(text(row[index]), _MAX_LENGTH) if index in row else _MISSING


def _detail_text(value: Any) -> str:
    return value if isinstance(value, str) else flow_text(value)


def _metrics_section(runs: Sequence[RunContent]) -> Section:
    return section("scores", "Metrics", _metric_blocks(runs))


def _metric_blocks(runs: Sequence[RunContent]) -> Iterator[Block]:
    headers = ("metric", *map(run_label, range(len(runs))))
    labels = [read_decision_summary(content.run).labels for content in runs]
    for split in SPLITS:
        columns = [_metric_texts(content, split) for content in runs]
        names = list(dict.fromkeys(name for column in columns for name in column))
        rows = [
            (common_label(labels, name), *(column.get(name, _MISSING) for column in columns))
            for name in names
        ]
        title = f"{split.capitalize()} rows"
        yield table_block(
            title, headers, rows, right=range(1, len(headers)), is_collapsed=split == "train"
        )
    yield from _against_first(runs)


def _metric_texts(content: RunContent, split: str) -> Mapping[str, str]:
    """Return metrics with intervals by name, from the findings or else from `evaluation/`."""
    summary = content.report.summary
    texts = {
        name: metric_text(summary, split, name)
        for name in (*summary.metrics.get(split, {}), *summary.intervals.get(split, {}))
    }
    if content.findings is not None and split in content.findings.splits:
        metrics = content.findings.splits[split].metrics
        texts |= {
            name: interval_text(metric)
            for name, metric in metrics.items()
            if not split_metric_name(name)[0]
        }
    return texts


def _against_first(runs: Sequence[RunContent]) -> Iterator[Block]:
    """Yield the differences of the other runs from the first, on the same bootstrap resamples."""
    first = runs[0]
    if first.task is None or first.split is None:
        return
    split = first.split
    # The metrics used to compare the first run with its baselines, the headline first.
    names = () if first.findings is None else first.findings.compared_metrics
    names = names or TASK_RULES[first.task].compared_metrics
    columns = [
        metric_differences(first, content, split, names) if index else {}
        for index, content in enumerate(runs)
    ]
    others = [index for index, column in enumerate(columns) if column]
    if not others:
        return
    yield Paragraph(
        "Differences are computed on the same bootstrap resamples of the rows. A difference whose "
        "interval contains 0 is not significant. Variation between random seeds is not included."
    )
    headers = ("metric", *(f"{run_label(index)} - A" for index in others))
    rows = [
        (name, *(difference_text(columns[index].get(name), name) for index in others))
        for name in names
    ]
    yield table_block(
        f"Differences from A, {split} rows", headers, rows, right=range(1, len(headers))
    )


def metric_differences(
    first: RunContent, content: RunContent, split: str, names: Sequence[str]
) -> dict[str, MetricDifference]:
    """Return the differences of metrics from those of the first run; empty if the rows differ."""
    if split not in content.predictions or split not in first.predictions:
        return {}
    predictions, reference = content.predictions[split], first.predictions[split]
    if not _are_comparable(predictions, reference):
        return {}
    rows = rows_per_resample(len(predictions))
    differences = paired_bootstrap(
        predictions,
        reference,
        threshold=content.threshold,
        other_threshold=first.threshold,
        names=names,
        resampling=Resampling(bounded_resamples(_RESAMPLES, rows, _DRAWN_ROWS)),
    )
    return {
        name: MetricDifference(entry.value, entry.low, entry.high, entry.is_significant)
        for name, entry in differences.items()
        if np.isfinite((entry.value, entry.low, entry.high)).all()
    }


def _are_comparable(a: Predictions, b: Predictions) -> bool:
    if (a.task, a.names, len(a)) != (b.task, b.names, len(b)):
        return False
    order_a, order_b = np.argsort(a.rows, kind="stable"), np.argsort(b.rows, kind="stable")
    return bool(
        np.array_equal(a.rows[order_a], b.rows[order_b])
        and np.array_equal(a.y[order_a], b.y[order_b])
        and np.isfinite(a.p).all()
        and np.isfinite(b.p).all()
    )


def _curves_section(runs: Sequence[RunContent]) -> Section:
    return section("curves", "Curves", _curve_blocks(runs))


def _curve_blocks(runs: Sequence[RunContent]) -> Iterator[Block]:
    if len(runs) > _MAX_CURVES:
        yield Paragraph(f"Curves are drawn for the first {_MAX_CURVES} runs.")
    runs = runs[:_MAX_CURVES]
    for name in ("loss", "val_loss"):
        curves = [
            (run_label(index), *series(content.report.history, name))
            for index, content in enumerate(runs)
        ]
        curves = [curve for curve in curves if len(curve[2]) > 1]
        if curves:
            yield _history_plot(name, curves)
    binary = [
        (run_label(index), content.predictions["test"])
        for index, content in enumerate(runs)
        if content.task is not None
        and TASK_RULES[content.task].has_positive_class
        and "test" in content.predictions
        and _has_roc(content.predictions["test"])
    ]
    if binary:
        yield _roc_plot(binary)


def _has_roc(predictions: Predictions) -> bool:
    has_both_classes = 0 < predictions.y.sum(dtype=np.float64) < len(predictions)
    return has_both_classes and bool(np.isfinite(predictions.p).all())


def _history_plot(name: str, curves: Sequence[tuple[str, Any, Any]]) -> Plot:
    def draw(axes: Any) -> None:
        for index, (label, epochs, values) in enumerate(curves):
            style = {"color": COLORS[index % 6], "linestyle": DASHES[(index + index // 6) % 6]}
            axes.plot(*thinned(epochs, values), label=label, linewidth=1.2, **style)
        scale_loss(axes, [values for _, _, values in curves])
        use_integer_x(axes, "epoch")
        axes.legend(loc="upper right", ncols=2)

    minima = "; ".join(
        f"{label} minimum {number(float(values.min()))}, last {number(float(values[-1]))}"
        for label, _, values in curves
    )
    title = f"{name} by epoch"
    return Plot(f"curves-{name.replace('_', '-')}", title, f"{title}: {minima}.", draw)


def _roc_plot(runs: Sequence[tuple[str, Predictions]]) -> Plot:
    areas = [roc_auc(run.y[:, 0] > 0.5, run.p[:, 0], run.weight) for _, run in runs]

    def draw(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color=SOFT, linewidth=0.8, linestyle=":")
        for index, ((label, run), area) in enumerate(zip(runs, areas, strict=True)):
            curve = roc_curve(run.y[:, 0], run.p[:, 0], run.weight, 200)
            style = {"color": COLORS[index % 6], "linestyle": DASHES[(index + index // 6) % 6]}
            text = f"{label} ({number(area)})"
            axes.plot(curve.x, curve.y, label=text, linewidth=1.2, **style)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.legend(loc="lower right")

    texts = "; ".join(
        f"{label} {number(area)}" for (label, _), area in zip(runs, areas, strict=True)
    )
    title = "ROC curves, test rows (AUC)"
    return Plot("roc", title, f"ROC curves of the test rows. AUC: {texts}.", draw)
