"""The run in a sentence, its warnings, its data and splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trainer.evaluation.predictions import Predictions
from trainer.report.decisions import read_decision_summary
from trainer.report.page.content import Block, Grid, Prose, Section, grid, section
from trainer.report.page.facts import SPLITS, RunFacts
from trainer.report.text import duration, format_bytes, number, pluralize
from trainer.runs.manifest import Manifest

_MANY_COLUMNS = 12
_MOST_COLUMNS = 500
_MANY_CLASSES = 20
_MOST_CLASSES = 100
_TASK_WORDS = {
    "binary": "binary classification",
    "multiclass": "multiclass classification",
    "multilabel": "multilabel classification",
    "regression": "regression",
}
_ORDER = ("train", "validation", "test")


def title_of(facts: RunFacts) -> str:
    """The name of the run and that of its directory."""
    return f"{facts.report.summary.name} – {facts.run.path.absolute().name}"


def lead_of(facts: RunFacts) -> tuple[str, ...]:
    """What was trained on which data, how it ended, and its main metric."""
    return tuple(_lead(facts))


def _lead(facts: RunFacts) -> Iterator[str]:
    manifest = facts.report.summary.manifest
    if manifest is None:
        yield f"This run is damaged: {len(facts.problems)} of its files cannot be read."
        return
    what = "A network" if not facts.members else f"{len(facts.members)} networks"
    kind = f" for {_TASK_WORDS[facts.task]}" if facts.task else ""
    target = f" of {facts.target}" if facts.target else ""
    rows = manifest.splits.get("train")
    trained = f", trained on {pluralize(rows, 'row')}" if rows and not facts.members else ""
    yield f"{what}{kind}{target}{trained}: {_state(facts, manifest)}."
    if facts.findings is not None:
        yield facts.findings.sentence
        return
    for split in SPLITS:
        metrics = facts.report.summary.metrics.get(split)
        if metrics:
            labels = read_decision_summary(facts.run).labels
            shown = ", ".join(
                f"{labels.of(name)} {number(value)}" for name, value in list(metrics.items())[:4]
            )
            yield f"On the {split} rows: {shown}."
            return


def _state(facts: RunFacts, manifest: Manifest) -> str:
    status = facts.report.summary.status
    words: str = status
    if status == "dead":
        words = "dead (marked as running, but its process is gone)"
    if facts.members and manifest.epochs == 0:
        return words
    best = f", best epoch {manifest.best_epoch}" if manifest.best_epoch is not None else ""
    words += f" after {pluralize(manifest.epochs, 'epoch')}{best}"
    return f"{words}; {manifest.stopped_because}" if manifest.stopped_because else words


def notices(facts: RunFacts) -> Section:
    """Warnings, why the run failed, damaged files, resumptions and rollbacks."""
    return section("notices", "Warnings", _notices(facts))


def _notices(facts: RunFacts) -> Iterator[Block]:
    manifest = facts.report.summary.manifest
    if manifest is not None:
        for problem in manifest.problems:
            yield Prose(f"The run failed: {problem}", "warning")
        for warning in manifest.warnings:
            yield Prose(warning, "warning")
        resumed = [
            (
                f"{one.at:%Y-%m-%d %H:%M} UTC",
                f"{one.epoch:,}",
                one.checkpoint,
                "; ".join((*(f"{key}: {to}" for key, to in one.changes.items()), *one.differences)),
            )
            for one in manifest.resumptions
        ]
        heads = ("resumed at", "from epoch", "checkpoint", "changes")
        yield grid("Resumptions", heads, resumed, right=(1,))
        rewound = [
            (f"{one.epoch:,}", f"{one.step:,}", number(one.learning_rate))
            for one in manifest.rewinds
        ]
        columns = ("rolled back to epoch", "step", "new learning rate")
        yield grid("Rollbacks after a non-finite loss", columns, rewound, right=(0, 1, 2))
    for problem in facts.problems:
        yield Prose(f"Damaged file: {problem}", "warning")


def data(facts: RunFacts) -> Section:
    """Files, rows and splits, class frequencies, columns."""
    return section("data", "Data", _data(facts))


def _data(facts: RunFacts) -> Iterator[Block]:
    manifest = facts.report.summary.manifest
    if manifest is not None:
        yield _splits(manifest)
        yield _classes(facts, manifest)
        dropped = [(reason, f"{count:,}") for reason, count in manifest.dropped.items()]
        yield grid("Dropped rows", ("reason", "rows"), dropped, right=(1,))
        files = [
            (file.path, f"{file.rows:,}", format_bytes(file.bytes), file.sha256[:16])
            for file in manifest.data
        ]
        yield grid("Files", ("file", "rows", "size", "SHA-256 prefix"), files, right=(1, 2))
    yield from _columns(facts)


def _splits(manifest: Manifest) -> Grid:
    total = sum(manifest.splits.values())
    rows = [
        (
            split,
            f"{manifest.splits[split]:,}",
            f"{100 * manifest.splits[split] / total:.1f}%" if total else "–",
        )
        for split in _in_order(manifest)
    ]
    return grid("Rows by split", ("split", "rows", "share"), rows, right=(1, 2))


def _in_order(manifest: Manifest) -> list[str]:
    return sorted(
        manifest.splits, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER)
    )


def _classes(facts: RunFacts, manifest: Manifest) -> Grid:
    """Classes down the page, splits across: rows, and their share of the split."""
    splits = [split for split in _in_order(manifest) if split in facts.answers]
    of_split = {split: _class_rows(facts.answers[split]) for split in splits}
    places = list(range(len(facts.names))) if facts.task in ("binary", "multiclass") else []
    title = "Class frequencies"
    if len(places) > _MOST_CLASSES and splits:
        places.sort(key=lambda place: -of_split[splits[0]][place])
        places = places[:_MOST_CLASSES]
        title += f", the {_MOST_CLASSES} most frequent of {len(facts.names):,}"
    rows = [
        (facts.names[place], *(_with_share(of_split[split], place) for split in splits))
        for place in places
        if splits
    ]
    heads = ("class", *splits)
    folded = len(rows) > _MANY_CLASSES
    return grid(title, heads, rows, right=range(1, len(heads)), is_folded=folded)


def _class_rows(answers: Predictions) -> Any:
    totals = np.sum(answers.y, axis=0, dtype=np.float64)
    return np.concatenate([len(answers) - totals, totals]) if answers.task == "binary" else totals


def _with_share(counts: Any, place: int) -> str:
    total = float(counts.sum())
    return f"{int(counts[place]):,} ({100 * counts[place] / total:.1f}%)" if total else "–"


def _columns(facts: RunFacts) -> Iterator[Block]:
    match facts.preprocessing:
        case {"columns": [*columns]}:
            known = [column for column in columns if isinstance(column, dict)]
        case _:
            return
    rows = [
        (
            str(column.get("name", "–")),
            str(column.get("kind", "–")),
            *(_figure(column.get(key)) for key in ("missing", "mean", "minimum", "maximum")),
            _figure(
                len(features) if isinstance(features := column.get("features"), list) else None
            ),
        )
        for column in known[:_MOST_COLUMNS]
    ]
    title = f"{len(known):,} feature columns, statistics of the training rows"
    if len(known) > _MOST_COLUMNS:
        title += f", the first {_MOST_COLUMNS}"
    heads = ("column", "kind", "missing", "mean", "min", "max", "inputs")
    folded = len(known) > _MANY_COLUMNS
    yield grid(title, heads, rows, right=range(2, len(heads)), is_folded=folded)


def _figure(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return number(value) if is_number else "–"  # type: ignore[arg-type]


def durations(manifest: Manifest) -> str:
    """How long the run took, and how long each phase."""
    parts = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in manifest.timings.items())
    if manifest.ended is None:
        return parts
    whole = duration((manifest.ended - manifest.started).total_seconds())
    return f"{whole} ({parts})" if parts else whole
