"""The findings of a run as text tables for `trainer show`; the page has more (`page.metrics`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.assessment.curves import confusion_matrices
from trainer.config.task_rules import TASK_RULES
from trainer.errors import Problem, RunError
from trainer.metrics.evaluator import split_metric_name
from trainer.report.confusion import confusion_table, frequent_confusions
from trainer.report.decisions import MetricLabels, read_decision_summary
from trainer.report.predictions import read_split_predictions
from trainer.report.summary import compared_baselines, describe_difference
from trainer.report.text import Table, cell, format_interval, number, plain_lines, short_name, width
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.findings import Findings, SplitFindings, read_findings
from trainer.tasks.registry import get_task_kind

_MAX_CLASSES, _MAX_WIDTH = 12, 100
"""Larger confusion matrices are replaced by a list of the most frequent confusions."""
_MAX_CONFUSIONS, _MAX_NAME_LENGTH = 10, 26


@dataclass(frozen=True, slots=True)
class FindingsTables:
    """The summary sentence, warnings, the tables, and problems found in damaged files."""

    sentence: str
    warnings: tuple[str, ...]
    tables: tuple[Table, ...]
    problems: tuple[Problem, ...]


def findings_tables(run: RunDirectory) -> FindingsTables:
    """Read the findings of a run; empty if it has none."""
    try:
        findings = read_findings(run)
    except RunError as error:
        return FindingsTables("", (), (), error.problems)
    if findings is None:
        return FindingsTables("", (), (), ())
    split = findings.reported_split()
    tables = []
    if split is not None:
        labels = read_decision_summary(run).labels
        tables.append(_metrics_table(findings, findings.splits[split], split, labels))
    problems: tuple[Problem, ...] = ()
    try:
        tables += _confusion_tables(run, findings, split)
    except RunError as error:
        problems = error.problems
    return FindingsTables(cell(findings.sentence), findings.warnings, tuple(tables), problems)


def _metrics_table(
    findings: Findings, split_findings: SplitFindings, split: str, labels: MetricLabels
) -> Table:
    baselines = compared_baselines(split_findings)
    rows = []
    for name, metric in split_findings.metrics.items():
        if split_metric_name(name)[0]:
            continue
        interval = format_interval(metric.low, metric.high)
        row = [cell(labels.display_name(name)), number(metric.value), interval]
        for baseline in baselines:
            difference = baseline.differences.get(name)
            comparison = "" if difference is None else describe_difference(difference, name)
            row += [number(baseline.values.get(name)), comparison]
        rows.append(tuple(row))
    level = f"{100 * findings.confidence_level:g}% interval"
    headers = ["metric", "value", level]
    for baseline in baselines:
        headers += [baseline.short, f"vs. {baseline.short}"]
    title = f"{split} rows: {split_findings.rows:,}; compared with the baselines"
    return Table(title, tuple(headers), tuple(rows), frozenset({1, 2, 3, 5, 7}))


def _confusion_tables(run: RunDirectory, findings: Findings, split: str | None) -> Iterator[Table]:
    if split is None or not TASK_RULES[findings.task].is_exclusive:
        return
    columns = get_task_kind(findings.task).prediction_names(findings.names)
    predictions = read_split_predictions(run, split, findings.task, findings.names, columns)
    if predictions is None or not len(predictions):
        return
    decisions = read_decisions(run)
    threshold = 0.5 if decisions is None else decisions.threshold
    matrix = confusion_matrices(predictions, threshold)
    what = f"number of {split} rows"
    if len(findings.names) <= _MAX_CLASSES:
        table = confusion_table(matrix, findings.names, what)
        if max(map(width, plain_lines(table))) <= _MAX_WIDTH:
            yield table
            return
    names = [short_name(name, _MAX_NAME_LENGTH) for name in findings.names]
    yield frequent_confusions(matrix, names, what, limit=_MAX_CONFUSIONS)
