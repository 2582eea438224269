"""Metrics with intervals and baselines, and errors: the worst slices and the worst rows.

The values are from `findings.json` and `evaluation/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np

from trainer.config.task_rules import TASK_RULES
from trainer.errors import pluralize
from trainer.metrics.evaluator import split_metric_name
from trainer.report.decisions import MetricLabels, read_decision_summary
from trainer.report.page.content import Block, Paragraph, Section, TableBlock, section, table_block
from trainer.report.page.run_content import SPLITS, RunContent
from trainer.report.summary import compared_baselines, describe_difference
from trainer.report.tables import metric_text
from trainer.report.text import format_with_interval, number
from trainer.runs.findings import (
    Findings,
    MetricDifference,
    MetricValue,
    NamedSlices,
    SliceRecord,
    SplitFindings,
    WorstSlices,
)

_MISSING = "–"
_MAX_PARTS = 100
_MAX_EXPANDED_PARTS = 30
_SIGNIFICANT = 0.05
_AVERAGES = ("_micro", "_weighted")
_MAX_OUTPUTS = 12
_SPLIT_TITLES = {
    "test": "Test rows",
    "validation": "Validation rows (used to choose the best epoch)",
    "train": "Training rows",
}


def metrics_section(content: RunContent) -> Section:
    """Make the section with the metrics of each split."""
    return section("scores", "Metrics", _scores(content))


def _scores(content: RunContent) -> Iterator[Block]:
    findings = content.findings
    if content.members or findings is None:
        yield _evaluation_table(content)
    if findings is None:
        return
    yield Paragraph(_explanation(content, findings))
    labels = read_decision_summary(content.run).labels
    for split in SPLITS:
        if split in findings.splits:
            result = findings.splits[split]
            title = f"{_SPLIT_TITLES[split]}: {result.rows:,}"
            is_collapsed = split != findings.reported_split()
            yield metrics_table(
                result, title, findings.confidence_level, labels, is_collapsed=is_collapsed
            )
    last = findings.reported_split()
    if last is not None:
        yield _averages_table(findings.splits[last], last, content)
        yield _parts_table(findings.splits[last], last, content)


def _explanation(content: RunContent, findings: Findings) -> str:
    level = f"{100 * findings.confidence_level:g}%"
    text = f"Brackets are {level} bootstrap confidence intervals."
    if content.members:
        text += (
            " The metrics are of the ensemble, whose prediction is the mean of the predictions of its "
            "networks."
        )
    names = {
        baseline.name: baseline.description
        for result in findings.splits.values()
        for baseline in compared_baselines(result)
    }
    if names:
        prior = (
            "the class frequencies of the training rows"
            if TASK_RULES[findings.task].has_classes
            else "the mean of the training rows"
        )
        if "constant prediction" in names:
            names["constant prediction"] = f"a constant prediction, {prior}"
        text += (
            f" Baselines: {'; '.join(names.values())}. "
            "A difference whose interval contains 0 is not significant."
        )
    return " ".join((text, *findings.notes, *findings.warnings))


def _evaluation_table(content: RunContent) -> Block:
    """Make a table of the metrics in `evaluation/`; with several networks, their means."""
    run = content.report.summary
    names = dict.fromkeys(name for metrics in run.metrics.values() for name in metrics)
    labels = read_decision_summary(content.run).labels
    rows = [
        (labels.display_name(name), *(metric_text(run, split, name) for split in run.metrics))
        for name in names
    ]
    headers = ("metric", *run.metrics)
    title = "Metrics named in the config"
    if content.members:
        title = f"Mean over {len(content.members)} networks with 95% confidence intervals"
    return table_block(title, headers, rows, right=range(1, len(headers)))


def metrics_table(
    result: SplitFindings,
    title: str,
    level: float,
    labels: MetricLabels,
    *,
    is_collapsed: bool = False,
) -> TableBlock:
    """Make a table of the metrics of a split with intervals and baselines, if any."""
    names = [name for name in result.metrics if _is_default_average(name)]
    # Metrics compared with the baselines come first.
    names.sort(key=lambda name: name not in {**result.vs_prior, **result.vs_copy})
    headers = ["metric", f"value [{100 * level:g}% interval]"]
    baselines = compared_baselines(result)
    headers += [baseline.name for baseline in baselines]
    headers += [f"difference from {baseline.name}" for baseline in baselines]
    rows = []
    for name in names:
        row = [labels.display_name(name), interval_text(result.metrics[name])]
        row += [number(baseline.values.get(name)) for baseline in baselines]
        row += [difference_text(baseline.differences.get(name), name) for baseline in baselines]
        rows.append(row)
    empty = [_MISSING] * (len(headers) - 2)
    for column, coverage in islice(result.interval_coverage.items(), _MAX_PARTS):
        rows.append([f"interval coverage: {column}", interval_text(coverage), *empty])
    if result.calibration_error is not None:
        rows.append(["expected calibration error", number(result.calibration_error), *empty])
    return table_block(
        title, headers, rows, right=range(1, len(headers)), is_collapsed=is_collapsed
    )


def _is_default_average(name: str) -> bool:
    """Return whether a metric is of all classes, with the default averaging."""
    return not split_metric_name(name)[0] and not name.endswith(_AVERAGES)


def interval_text(metric: MetricValue) -> str:
    """Format a metric with its interval: 0.9650 [0.9300, 0.9900]."""
    return format_with_interval(metric.value, metric.low, metric.high)


def difference_text(difference: MetricDifference | None, name: str) -> str:
    """Format a difference: +0.0120 [0.0010, 0.0230] better."""
    if difference is None or difference.value is None:
        return _MISSING
    interval = ""
    if difference.low is not None and difference.high is not None:
        interval = f" [{_fixed(difference.low)}, {_fixed(difference.high)}]"
    sign = "+" if difference.value > 0 else ""
    return f"{sign}{_fixed(difference.value)}{interval} {describe_difference(difference, name)}"


def _fixed(value: float) -> str:
    """Format a difference, small ones with four decimals."""
    return f"{value:.4f}" if abs(value) < 1 else number(value)


def _averages_table(result: SplitFindings, split: str, content: RunContent) -> TableBlock:
    baselines = compared_baselines(result)
    rows = [
        (
            name,
            interval_text(metric),
            *(number(baseline.values.get(name)) for baseline in baselines),
        )
        for name, metric in result.metrics.items()
        if not split_metric_name(name)[0] and not _is_default_average(name)
    ]
    has_columns = content.rules is not None and content.rules.has_several_labels
    parts = "columns" if has_columns else "classes"
    title = f"Other averages over the {parts}, {split} rows"
    headers = ("metric", "value", *(baseline.name for baseline in baselines))
    return table_block(title, headers, rows, right=range(1, len(headers)), is_collapsed=True)


def _parts_table(result: SplitFindings, split: str, content: RunContent) -> TableBlock:
    """Make a table with the number of rows and the metrics of each class or column."""
    by_part: dict[str, dict[str, MetricValue]] = {}
    for name, value in result.metrics.items():
        part, metric = split_metric_name(name)
        if part:
            by_part.setdefault(part, {})[metric] = value
    metrics = list(dict.fromkeys(name for values in by_part.values() for name in values))
    counts = _part_counts(content, split)
    shown = list(by_part)
    rules = content.rules
    is_by_class = rules is not None and rules.is_exclusive
    title = "Metrics by class (one-vs-rest)" if is_by_class else "Metrics by column"
    if len(shown) > _MAX_PARTS:
        shown = sorted(shown, key=lambda part: -counts.get(part, 0))[:_MAX_PARTS]
        selection = f"the {_MAX_PARTS} with the most rows" if counts else f"the first {_MAX_PARTS}"
        title += f", {selection} of {len(by_part):,}"
    rows = [
        (
            part,
            *([f"{counts.get(part, 0):,}"] if counts else []),
            *(
                interval_text(by_part[part][name]) if name in by_part[part] else _MISSING
                for name in metrics
            ),
        )
        for part in shown
    ]
    part_header = "class" if is_by_class else "column"
    rows_header = "positive rows" if rules is not None and rules.has_several_labels else "rows"
    headers = (part_header, *([rows_header] if counts else []), *metrics)
    is_collapsed = len(rows) > _MAX_EXPANDED_PARTS
    return table_block(
        title, headers, rows, right=range(1, len(headers)), is_collapsed=is_collapsed
    )


def _part_counts(content: RunContent, split: str) -> dict[str, int]:
    """Return the rows of each class, or the positive rows of each column."""
    rules = content.rules
    if rules is None or not rules.has_classes or rules.has_positive_class:
        return {}
    if split not in content.predictions:
        return {}
    predictions = content.predictions[split]
    totals = predictions.y.sum(axis=0, dtype=np.float64)
    return {name: int(total) for name, total in zip(predictions.names, totals, strict=True)}


def errors_section(content: RunContent) -> Section:
    """Make the section with slices worse than all rows, and the rows with the largest loss."""
    return section("slices", "Error analysis", _slices(content))


def _slices(content: RunContent) -> Iterator[Block]:
    findings = content.findings
    if findings is None:
        return
    last = findings.reported_split()
    if findings.slices is not None:
        title = f"Slices named in the config, {last} rows"
        yield _slices_table(findings.slices, title, is_search=False)
    worst = findings.worst_slices
    if worst is not None and worst.searched:
        yield Paragraph(_search_text(worst, last))
        yield _slices_table(worst, f"Worst slices, {last} rows", is_search=True)
    yield _worst_rows_table(findings, last)
    yield from _term_tables(findings)


def _term_tables(findings: Findings) -> Iterator[Block]:
    """Make a table of terms for each column of text."""
    for column in dict.fromkeys(item.column for item in findings.terms):
        rows = [
            (item.name, ", ".join(f"{term} {number(weight)}" for term, weight in weights))
            for item in findings.terms
            if item.column == column
            for weights in _by_sign(item.weights)
            if weights
        ]
        title = f"Terms of {column} with the largest weights in the linear model"
        yield table_block(title, ("for", "term and weight"), rows)


def _by_sign(weights: Mapping[str, float]) -> tuple[list[tuple[str, float]], ...]:
    """Return the terms with positive weights, and those with negative ones, the largest first."""
    positive = [(term, weight) for term, weight in weights.items() if weight > 0]
    negative = [(term, weight) for term, weight in weights.items() if weight < 0]
    return positive, negative[::-1]


def _search_text(worst: WorstSlices, split: str | None) -> str:
    significant = sum(map(_is_significant, worst.slices))
    text = (
        f"{pluralize(worst.searched, 'slice')} (rows with the same value of a column, or of two) "
        f"{'was' if worst.searched == 1 else 'were'} searched for a worse {worst.metric} than the "
        f"{number(worst.overall)} of all {split} rows. "
    )
    if significant:
        text += f"{significant} of them {'is' if significant == 1 else 'are'} significantly worse."
    else:
        text += "No difference is statistically significant."
    if worst.slices:
        text += " p-values are adjusted for the number of slices (Bonferroni)."
    return text


def _is_significant(record: SliceRecord) -> bool:
    return record.p_value is not None and record.p_value < _SIGNIFICANT


def _slices_table(slices: NamedSlices | WorstSlices, title: str, *, is_search: bool) -> TableBlock:
    rows = []
    for record in slices.slices:
        where = " and ".join(_condition(column, level) for column, level in record.where.items())
        metric = interval_text(MetricValue(record.value, record.low, record.high))
        p_value = [number(record.p_value)] if is_search else []
        rows.append((where, f"{record.rows:,}", metric, *p_value))
    headers = ("slice", "rows", slices.metric, *(["adjusted p-value"] if is_search else []))
    marked = [index for index, record in enumerate(slices.slices) if _is_significant(record)]
    return table_block(title, headers, rows, right=range(1, len(headers)), marked=marked)


def _condition(column: str, level: str) -> str:
    """Format a condition; bins of numbers start with a comparison sign."""
    return f"{column} {level}" if level.startswith(("≤", ">")) else f"{column} = {level}"


def _worst_rows_table(findings: Findings, split: str | None) -> TableBlock:
    names = TASK_RULES[findings.task].scored_names(findings.names)
    is_wide = len(names) > _MAX_OUTPUTS
    kind = "probability of" if TASK_RULES[findings.task].has_classes else "predicted"
    columns = list(dict.fromkeys(name for row in findings.worst_rows for name in row.texts))
    rows = []
    for row in findings.worst_rows:
        actual = row.actual if isinstance(row.actual, str) else ", ".join(map(number, row.actual))
        outputs: list[str] = []
        if not is_wide:
            outputs = [number(value) for value in row.prediction[: len(names)]]
            outputs += [_MISSING] * (len(names) - len(outputs))
        texts = [row.texts.get(name, "") for name in columns]
        rows.append((f"{row.row:,}", actual, *outputs, number(row.loss), *texts))
    headers = ["row", "actual", *([] if is_wide else [f"{kind} {name}" for name in names]), "loss"]
    numbers = range(2, len(headers))
    headers += columns
    title = f"Worst predictions: {split} rows with the largest loss (rows are counted from 0)"
    return table_block(
        title, headers, rows, right=numbers, is_collapsed=len(rows) > 10 and not columns
    )
