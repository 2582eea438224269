"""What compression has changed: sizes, times and metrics before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trainer.report.decisions import MetricLabels, read_decision_summary
from trainer.report.page.content import Block, Paragraph, Section, section, table_block
from trainer.report.page.metrics import difference_text, interval_text
from trainer.report.page.run_content import RunContent
from trainer.report.text import format_bytes
from trainer.runs.compression import CompressionRecord, ExportRecord, MetricChange, Size

_MISSING = "–"


def compression_section(content: RunContent) -> Section:
    """Make the section of a run whose network was compressed."""
    record = content.compression
    blocks = () if record is None else _blocks(content, record)
    return section("compression", "Compression", blocks)


def _blocks(content: RunContent, record: CompressionRecord) -> Iterator[Block]:
    yield Paragraph(record.sentence)
    labels = read_decision_summary(content.run).labels
    if record.metrics:
        title = f"Metrics, {record.split} rows"
        yield _metrics_table(title, record.metrics, labels, ("before", "after"))
    yield table_block(
        "Size and time of one row", SIZE_HEADERS, size_rows(record), right=range(1, 8)
    )
    yield Paragraph(
        "Compressed: by deflate, like a .zip file; weights are first coded as integers where that is "
        "possible without loss, as in the export to numpy. Times are medians with one thread; zeros are "
        "multiplied like other weights."
    )
    for name, changes in record.exported.items():
        title = f"The export to {name}, {record.split} rows"
        yield _metrics_table(title, changes, labels, ("run", "export"))
    rows = [
        (
            kernel.name,
            f"{kernel.weights:,}",
            f"{kernel.zeros / kernel.weights:.4f}",
            f"{kernel.values:,}",
        )
        for kernel in record.kernels
    ]
    headers = ("weights", "number", "share of zeros", "distinct values")
    yield table_block("Compressed weights", headers, rows, right=(1, 2, 3), is_collapsed=True)
    for note in record.notes:
        yield Paragraph(note, "warning")


SIZE_HEADERS = (
    "", "bytes before", "after", "compressed before", "after", "ratio", "µs before", "after",
)  # fmt: skip


def size_rows(record: CompressionRecord) -> list[tuple[str, ...]]:
    """Return a row for the weights and for each export, with the columns of `SIZE_HEADERS`."""
    before = None if record.before is None else record.before.weights
    rows = [_size_row("weights", before, record.after.weights, _MISSING, _MISSING)]
    earlier = {} if record.before is None else {item.name: item for item in record.before.exports}
    for export in record.after.exports:
        other = earlier.get(export.name) or earlier.get(export.name.partition(" ")[0])
        size = None if other is None else other.size
        rows.append(_size_row(export.name, size, export.size, _time(other), _time(export)))
    return rows


def _size_row(name: str, before: Size | None, after: Size, *times: str) -> tuple[str, ...]:
    if before is None:
        sizes = (_MISSING, format_bytes(after.bytes), _MISSING, format_bytes(after.compressed))
        return (name, *sizes, _MISSING, *times)
    return (
        name,
        format_bytes(before.bytes),
        format_bytes(after.bytes),
        format_bytes(before.compressed),
        format_bytes(after.compressed),
        f"{before.compressed / after.compressed:.1f}",
        *times,
    )


def _time(export: ExportRecord | None) -> str:
    return _MISSING if export is None else f"{export.microseconds:,.0f}"


def _metrics_table(
    title: str, changes: Mapping[str, MetricChange], labels: MetricLabels, names: tuple[str, str]
) -> Block:
    rows = [
        (
            labels.display_name(name),
            _MISSING if change.before is None else interval_text(change.before),
            interval_text(change.after),
            difference_text(change.difference, name),
        )
        for name, change in changes.items()
    ]
    return table_block(title, ("metric", *names, "difference"), rows, right=(1, 2, 3))
