"""The summary of a run, its warnings, its data and splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.config.task_rules import TASK_RULES
from trainer.errors import pluralize
from trainer.metrics.labels import class_totals
from trainer.report.decisions import read_decision_summary
from trainer.report.page.content import Block, Paragraph, Section, TableBlock, section, table_block
from trainer.report.page.run_content import SPLITS, RunContent
from trainer.report.text import duration, format_bytes, number
from trainer.runs.manifest import Manifest

_MAX_EXPANDED_COLUMNS = 12
_MAX_COLUMNS = 500
_MAX_EXPANDED_CLASSES = 20
_MAX_CLASSES = 100
_ORDER = ("train", "validation", "test")


def page_title(content: RunContent) -> str:
    """Return the title: the name of the run and of its directory."""
    return f"{content.report.summary.name} – {content.run.path.absolute().name}"


def page_lead(content: RunContent) -> tuple[str, ...]:
    """Return the introduction: what was trained on which data, how it ended, the headline metric."""
    return tuple(_lead(content))


def _lead(content: RunContent) -> Iterator[str]:
    manifest = content.report.summary.manifest
    if manifest is None:
        yield f"This run is damaged: {len(content.problems)} of its files cannot be read."
        return
    what = "A network" if not content.members else f"{len(content.members)} networks"
    task = f" for {TASK_RULES[content.task].title}" if content.task else ""
    target = f" of {content.target}" if content.target else ""
    rows = manifest.splits.get("train")
    trained = f" trained on {pluralize(rows, 'row')}" if rows and not content.members else ""
    yield f"{what}{task}{target}{trained}: {_status_text(content, manifest)}."
    if content.findings is not None:
        yield content.findings.sentence
        return
    for split in SPLITS:
        metrics = content.report.summary.metrics.get(split)
        if metrics:
            labels = read_decision_summary(content.run).labels
            shown = ", ".join(
                f"{labels.display_name(name)} {number(value)}"
                for name, value in list(metrics.items())[:4]
            )
            yield f"On the {split} rows: {shown}."
            return


def _status_text(content: RunContent, manifest: Manifest) -> str:
    status = content.report.summary.status
    text: str = status
    if status == "dead":
        text = "dead (marked as running, but its process has ended)"
    if content.members and manifest.epochs == 0:
        return text
    best = f", best epoch {manifest.best_epoch}" if manifest.best_epoch is not None else ""
    text += f" after {pluralize(manifest.epochs, 'epoch')}{best}"
    return f"{text}; {manifest.stopped_because}" if manifest.stopped_because else text


def warnings_section(content: RunContent) -> Section:
    """Make the section with warnings, errors, damaged files, resumptions and rollbacks."""
    return section("notices", "Warnings", _notices(content))


def _notices(content: RunContent) -> Iterator[Block]:
    manifest = content.report.summary.manifest
    if manifest is not None:
        for problem in manifest.problems:
            yield Paragraph(f"The run failed: {problem}", "warning")
        for warning in manifest.warnings:
            yield Paragraph(warning, "warning")
        resumptions = [
            (
                f"{entry.at:%Y-%m-%d %H:%M} UTC",
                f"{entry.epoch:,}",
                entry.checkpoint,
                "; ".join(
                    (
                        *(f"{key}: {value}" for key, value in entry.changes.items()),
                        *entry.differences,
                    )
                ),
            )
            for entry in manifest.resumptions
        ]
        headers = ("resumed at", "from epoch", "checkpoint", "changes")
        yield table_block("Resumptions", headers, resumptions, right=(1,))
        rollbacks = [
            (f"{entry.epoch:,}", f"{entry.step:,}", number(entry.learning_rate))
            for entry in manifest.rollbacks
        ]
        columns = ("rolled back to epoch", "step", "new learning rate")
        yield table_block("Rollbacks after a non-finite loss", columns, rollbacks, right=(0, 1, 2))
    for problem in content.problems:
        yield Paragraph(f"Damaged file: {problem}", "warning")


def data_section(content: RunContent) -> Section:
    """Make the section with files, rows by split, class frequencies, columns."""
    return section("data", "Data", _data(content))


def _data(content: RunContent) -> Iterator[Block]:
    manifest = content.report.summary.manifest
    if manifest is not None:
        yield _splits_table(manifest)
        yield _classes_table(content, manifest)
        dropped = [(reason, f"{count:,}") for reason, count in manifest.dropped.items()]
        yield table_block("Dropped rows", ("reason", "rows"), dropped, right=(1,))
        files = [
            (file.path, f"{file.rows:,}", format_bytes(file.bytes), file.sha256[:16])
            for file in manifest.data
        ]
        yield table_block("Files", ("file", "rows", "size", "SHA-256 prefix"), files, right=(1, 2))
    yield from _columns_table(content)


def _splits_table(manifest: Manifest) -> TableBlock:
    total = sum(manifest.splits.values())
    rows = [
        (
            split,
            f"{manifest.splits[split]:,}",
            f"{100 * manifest.splits[split] / total:.1f}%" if total else "–",
        )
        for split in _sorted_splits(manifest)
    ]
    return table_block("Rows by split", ("split", "rows", "share"), rows, right=(1, 2))


def _sorted_splits(manifest: Manifest) -> list[str]:
    return sorted(
        manifest.splits, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER)
    )


def _classes_table(content: RunContent, manifest: Manifest) -> TableBlock:
    """Make a table of class counts and shares: classes as rows, splits as columns."""
    splits = [split for split in _sorted_splits(manifest) if split in content.predictions]
    counts = {
        split: class_totals(predictions.task, predictions.y)
        for split, predictions in content.predictions.items()
        if split in splits
    }
    is_exclusive = content.task is not None and TASK_RULES[content.task].is_exclusive
    classes = list(range(len(content.names))) if is_exclusive else []
    title = "Class frequencies"
    if len(classes) > _MAX_CLASSES and splits:
        classes.sort(key=lambda index: -counts[splits[0]][index])
        classes = classes[:_MAX_CLASSES]
        title += f", the {_MAX_CLASSES} most frequent of {len(content.names):,}"
    rows = [
        (content.names[index], *(_with_share(counts[split], index) for split in splits))
        for index in classes
        if splits
    ]
    headers = ("class", *splits)
    is_collapsed = len(rows) > _MAX_EXPANDED_CLASSES
    return table_block(
        title, headers, rows, right=range(1, len(headers)), is_collapsed=is_collapsed
    )


def _with_share(counts: Any, index: int) -> str:
    total = float(counts.sum())
    return f"{int(counts[index]):,} ({100 * counts[index] / total:.1f}%)" if total else "–"


def _columns_table(content: RunContent) -> Iterator[Block]:
    match content.preprocessing:
        case {"columns": [*items]}:
            columns = [column for column in items if isinstance(column, dict)]
        case _:
            return
    rows = [
        (
            str(column.get("name", "–")),
            str(column.get("kind", "–")),
            *(_number_text(column.get(key)) for key in ("missing", "mean", "minimum", "maximum")),
            _number_text(
                len(features) if isinstance(features := column.get("features"), list) else None
            ),
        )
        for column in columns[:_MAX_COLUMNS]
    ]
    title = f"Statistics of the training rows: {len(columns):,} feature columns"
    if len(columns) > _MAX_COLUMNS:
        title += f" (the first {_MAX_COLUMNS} are shown)"
    headers = ("column", "kind", "missing", "mean", "min", "max", "inputs")
    is_collapsed = len(columns) > _MAX_EXPANDED_COLUMNS
    yield table_block(title, headers, rows, right=range(2, len(headers)), is_collapsed=is_collapsed)


def _number_text(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return number(value) if is_number else "–"  # type: ignore[arg-type]


def durations(manifest: Manifest) -> str:
    """Format the duration of the run and of its phases."""
    parts = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in manifest.timings.items())
    if manifest.ended is None:
        return parts
    total = duration((manifest.ended - manifest.started).total_seconds())
    return f"{total} ({parts})" if parts else total
