"""What a run's answers come to, as tables of text for `trainer show`.

Owns: which of the findings a terminal shows. Does not own: the findings, the page's fuller tables
(`page.scores`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.errors import Problem, RunError
from trainer.evaluation.curves import confusion_matrices
from trainer.evaluation.metrics import split_metric_name
from trainer.report.confusion import confusion_table, frequent_confusions
from trainer.report.decisions import MetricLabels, read_decision_summary
from trainer.report.findings import (
    Findings,
    SplitFindings,
    read_findings,
    verdict,
)
from trainer.report.predictions import prediction_columns, read_split_predictions
from trainer.report.text import Table, cell, format_interval, number, plain_lines, short_name, width
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory

_MOST_CLASSES, _WIDEST = 12, 100
"""A wider confusion matrix is replaced by a list of the most frequent confusions."""
_CONFUSIONS, _LONGEST_NAME = 10, 26


@dataclass(frozen=True, slots=True)
class FindingsTables:
    """The sentence, the tables, and what of the files is damaged."""

    sentence: str
    tables: tuple[Table, ...]
    problems: tuple[Problem, ...]


def findings_tables(run: RunDirectory) -> FindingsTables:
    """The findings of a run; of one without there is nothing."""
    try:
        findings = read_findings(run)
    except RunError as error:
        return FindingsTables("", (), error.problems)
    if findings is None:
        return FindingsTables("", (), ())
    split = findings.last()
    tables = []
    if split is not None:
        labels = read_decision_summary(run).labels
        tables.append(_measures(findings, findings.splits[split], split, labels))
    problems: tuple[Problem, ...] = ()
    try:
        tables += _confusion(run, findings, split)
    except RunError as error:
        problems = error.problems
    return FindingsTables(cell(findings.sentence), tuple(tables), problems)


def _measures(findings: Findings, of: SplitFindings, split: str, labels: MetricLabels) -> Table:
    rows = []
    for name, measured in of.measures.items():
        if split_metric_name(name)[0]:
            continue
        ends = format_interval(measured.low, measured.high)
        row = [cell(labels.of(name)), number(measured.value), ends]
        for baseline, over in ((of.prior, of.over_prior), (of.linear, of.over_linear)):
            compared = verdict(over[name], name) if name in over else ""
            row += [number(baseline.get(name)), compared]
        rows.append(tuple(row))
    level = f"{100 * findings.level:g}% interval"
    heads = ("metric", "value", level, "prior", "vs. prior", "linear", "vs. linear")
    title = f"{split} rows: {of.rows:,}; better or worse than each baseline, or noise"
    return Table(title, heads, tuple(rows), frozenset({1, 2, 3, 5}))


def _confusion(run: RunDirectory, findings: Findings, split: str | None) -> Iterator[Table]:
    if findings.task not in ("binary", "multiclass") or split is None:
        return
    columns = prediction_columns(findings.task, findings.names)
    answers = read_split_predictions(run, split, findings.task, findings.names, columns)
    if answers is None or not len(answers):
        return
    decided = read_decisions(run)
    threshold = 0.5 if decided is None else decided.threshold
    matrix = confusion_matrices(answers, threshold)
    what = f"number of {split} rows"
    if len(findings.names) <= _MOST_CLASSES:
        table = confusion_table(matrix, findings.names, what)
        if max(map(width, plain_lines(table))) <= _WIDEST:
            yield table
            return
    names = [short_name(name, _LONGEST_NAME) for name in findings.names]
    yield frequent_confusions(matrix, names, what, most=_CONFUSIONS)
