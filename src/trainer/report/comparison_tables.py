"""A comparison of runs as tables of text that fit a terminal's width.

Runs are columns named A, B, C…, as the first table says; more than four are rows. A table that is too
wide goes on below, and a long text is cut to the part that differs.

Owns: the tables. Does not own: what is compared (`comparison`).
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
_LONGEST = 24
_BEFORE = 4
_NOTHING = "–"

Texts = Mapping[int, str]
"""What stands in the cells of one key, by the position of the run; a run without is left out."""


def comparison_tables(comparison: Comparison, width: int) -> Iterator[Table]:
    """The runs, the settings that differ, the metrics of each split, other facts that differ.

    Args:
        comparison: The runs.
        width: How many characters a line may have, but for the paths of the runs.
    """
    runs = comparison.runs
    yield _runs_table(runs)
    settings = {key: cut_texts(_settings(row)) for key, row in comparison.settings.items()}
    if settings:
        yield from _tables("settings that differ", settings, len(runs), width)
    else:
        yield Table("no setting differs", (), ())
    labels = [read_decision_summary(RunDirectory(run.path)).labels for run in runs]
    for split in dict.fromkeys(split for run in runs for split in run.metrics):
        measured = {
            common_label(labels, name): texts for name, texts in _measured(runs, split).items()
        }
        yield from _tables(split, measured, len(runs), width, right=True)
    facts = {key: cut_texts(_facts(row)) for key, row in comparison.facts.items()}
    yield from _tables("also different", facts, len(runs), width)


def _runs_table(runs: Sequence[RunSummary]) -> Table:
    rows = tuple(
        (
            run_label(place),
            cell(str(run.path)),
            cell(run.name),
            run.status,
            f"{run.manifest.epochs:,}" if run.manifest else _NOTHING,
        )
        for place, run in enumerate(runs)
    )
    return Table("", ("", "run", "name", "status", "epochs"), rows, frozenset({4}))


def run_label(place: int) -> str:
    """A, B, …, Z, AA, AB, …"""
    before, last = divmod(place, len(ascii_uppercase))
    return (run_label(before - 1) if before else "") + ascii_uppercase[last]


def _tables(
    title: str, rows: Mapping[str, Texts], count: int, width: int, *, right: bool = False
) -> Iterator[Table]:
    keys = [cell(key) for key in rows]
    labels = [run_label(place) for place in range(count)]
    grid = [
        [texts[place] if place in texts else _NOTHING for place in range(count)]
        for texts in rows.values()
    ]
    if not grid:
        return
    if count <= _RUNS_AS_COLUMNS:
        lines = [["", *labels], *([key, *row] for key, row in zip(keys, grid, strict=True))]
    else:
        turned = zip(*grid, strict=True)
        lines = [["", *keys], *([label, *row] for label, row in zip(labels, turned, strict=True))]
    yield from _folded(title, lines, width, right=right)


def _folded(title: str, lines: list[list[str]], width: int, *, right: bool) -> Iterator[Table]:
    """As many columns beside the first as fit, then the others below it."""
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


def _measured(runs: Sequence[RunSummary], split: str) -> dict[str, Texts]:
    found = [{**run.metrics.get(split, {}), **run.intervals.get(split, {})} for run in runs]
    return {
        name: {
            place: metric_text(run, split, name)
            for place, run in enumerate(runs)
            if name in found[place]
        }
        for name in dict.fromkeys(name for one in found for name in one)
    }


def _settings(row: Row) -> dict[int, str]:
    return {place: flow_text(value) for place, value in row.items()}


def _facts(row: Row) -> dict[int, str]:
    return {
        place: value if isinstance(value, str) else flow_text(value) for place, value in row.items()
    }


def cut_texts(texts: Texts) -> dict[int, str]:
    """The texts without control characters, long ones from a little before where they differ."""
    shown = {place: cell(text) for place, text in texts.items()}
    if max(map(len, shown.values())) <= _LONGEST:
        return shown
    same = 0
    if len(set(shown.values())) > 1:
        same = len(os.path.commonprefix(list(shown.values())))  # noqa: RUF071 (letters are meant)
    start = same - _BEFORE if same > 2 * _BEFORE else 0
    return {place: _piece(text, start) for place, text in shown.items()}


def _piece(text: str, start: int) -> str:
    piece = f"…{text[start:]}" if start else text
    return piece if len(piece) <= _LONGEST else f"{piece[: _LONGEST - 1]}…"
