"""A comparison of runs as text tables that fit the width of a terminal.

Runs are columns labeled A, B, C…, as the first table shows; more than four runs are rows. A table that
is too wide is split into several, and long texts are cut to the part that differs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase

from trainer.config.yaml_writer import flow_text
from trainer.report.comparison import Comparison, Row
from trainer.report.decisions import common_label, read_decision_summary
from trainer.report.tables import metric_text
from trainer.report.text import Table, cell
from trainer.runs.directory import RunDirectory
from trainer.runs.listing import RunSummary

_RUNS_AS_COLUMNS = 4
_MAX_LENGTH = 24
_CONTEXT = 4
_MISSING = "–"

Texts = Mapping[int, str]
"""The cells of one key by the index of the run; runs without the key are missing."""


def comparison_tables(comparison: Comparison, width: int) -> Iterator[Table]:
    """Yield tables of the runs, the settings that differ, the metrics of each split, other differences.

    Args:
        comparison: The comparison.
        width: Maximum width of a line, except for paths of runs.
    """
    runs = comparison.runs
    yield _runs_table(runs)
    settings = {key: cut_texts(_setting_texts(row)) for key, row in comparison.settings.items()}
    if settings:
        yield from _tables("settings that differ", settings, len(runs), width)
    else:
        yield Table("no settings differ", (), ())
    labels = [read_decision_summary(RunDirectory(run.path)).labels for run in runs]
    for split in dict.fromkeys(split for run in runs for split in run.metrics):
        metrics = {
            common_label(labels, name): texts for name, texts in _metric_texts(runs, split).items()
        }
        yield from _tables(split, metrics, len(runs), width, right=True)
    details = {key: cut_texts(_detail_texts(row)) for key, row in comparison.details.items()}
    yield from _tables("other differences", details, len(runs), width)


def _runs_table(runs: Sequence[RunSummary]) -> Table:
    rows = tuple(
        (
            run_label(index),
            cell(str(run.path)),
            cell(run.name),
            run.status,
            f"{run.manifest.epochs:,}" if run.manifest else _MISSING,
        )
        for index, run in enumerate(runs)
    )
    return Table("", ("", "run", "name", "status", "epochs"), rows, frozenset({4}))


def run_label(index: int) -> str:
    """Return the label of a run: A, B, …, Z, AA, AB, …"""
    before, last = divmod(index, len(ascii_uppercase))
    return (run_label(before - 1) if before else "") + ascii_uppercase[last]


def _tables(
    title: str, rows: Mapping[str, Texts], count: int, width: int, *, right: bool = False
) -> Iterator[Table]:
    keys = [cell(key) for key in rows]
    labels = [run_label(index) for index in range(count)]
    grid = [
        [texts[index] if index in texts else _MISSING for index in range(count)]
        for texts in rows.values()
    ]
    if not grid:
        return
    if count <= _RUNS_AS_COLUMNS:
        lines = [["", *labels], *([key, *row] for key, row in zip(keys, grid, strict=True))]
    else:
        columns = zip(*grid, strict=True)
        lines = [["", *keys], *([label, *row] for label, row in zip(labels, columns, strict=True))]
    yield from _split(title, lines, width, right=right)


def _split(title: str, lines: list[list[str]], width: int, *, right: bool) -> Iterator[Table]:
    """Split a table into tables that fit the width, each with the first column."""
    head, *rows = lines
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    start = 1
    while start < len(head):
        end = start + 1
        while end < len(head) and sum(widths[start : end + 1]) + 2 * (end - start + 1) <= (
            width - widths[0]
        ):
            end += 1
        yield Table(
            title=title if start == 1 else "",
            columns=(head[0], *head[start:end]),
            rows=tuple((row[0], *row[start:end]) for row in rows),
            right=frozenset(range(1, end - start + 1)) if right else frozenset(),
        )
        start = end


def _metric_texts(runs: Sequence[RunSummary], split: str) -> dict[str, Texts]:
    metrics = [{**run.metrics.get(split, {}), **run.intervals.get(split, {})} for run in runs]
    return {
        name: {
            index: metric_text(run, split, name)
            for index, run in enumerate(runs)
            if name in metrics[index]
        }
        for name in dict.fromkeys(name for run_metrics in metrics for name in run_metrics)
    }


def _setting_texts(row: Row) -> dict[int, str]:
    return {index: flow_text(value) for index, value in row.items()}


def _detail_texts(row: Row) -> dict[int, str]:
    return {
        index: value if isinstance(value, str) else flow_text(value) for index, value in row.items()
    }


def cut_texts(texts: Texts) -> dict[int, str]:
    """Remove control characters, and cut long texts to start shortly before the first difference."""
    shown = {index: cell(text) for index, text in texts.items()}
    if max(map(len, shown.values())) <= _MAX_LENGTH:
        return shown
    common = 0
    if len(set(shown.values())) > 1:
        common = len(os.path.commonprefix(list(shown.values())))  # noqa: RUF071 (characters, not path parts)
    start = common - _CONTEXT if common > 2 * _CONTEXT else 0
    return {index: _cut(text, start) for index, text in shown.items()}


def _cut(text: str, start: int) -> str:
    part = f"…{text[start:]}" if start else text
    return part if len(part) <= _MAX_LENGTH else f"{part[: _MAX_LENGTH - 1]}…"
