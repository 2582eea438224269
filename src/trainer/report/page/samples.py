"""Samples of a generator: those of the same random numbers after each epoch, and the comparison of
generated columns with real ones.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trainer.errors import RunError
from trainer.report.generation import read_sample_findings
from trainer.report.page.content import (
    Block,
    Gallery,
    Paragraph,
    Picture,
    Section,
    section,
    table_block,
)
from trainer.report.page.run_content import RunContent
from trainer.report.text import number
from trainer.runs.files import read_bytes

_SHOWN_EPOCHS = 8
_SHOWN_ROWS = 8
_MAX_COLUMNS = 30
_MAX_BYTES = 400_000
_NAME = re.compile(r"\d{4,}\.(png|csv)")


def samples_section(content: RunContent) -> Section:
    """Make the section with samples; empty for other runs."""
    return section("samples", "Samples", _samples(content))


def _samples(content: RunContent) -> Iterator[Block]:
    files = sample_files(content.run.samples)
    if not files:
        return
    try:
        findings = read_sample_findings(content.run) or {}
    except RunError as error:
        yield Paragraph(f"Damaged file: {error.problems[0]}", "warning")
        findings = {}
    if sentence := findings.get("sentence"):
        yield Paragraph(str(sentence))
    manifest = content.report.summary.manifest
    best = manifest.best_epoch if manifest else None
    if files[0].suffix == ".png":
        yield Gallery(
            "Samples of the same random numbers after each epoch",
            tuple(_filmstrip(files, best)),
            True,
        )
    else:
        yield from _rows(files, best)
    yield from _comparison(findings)


def sample_files(folder: Path) -> list[Path]:
    """Return the samples of each epoch, in the order of the epochs."""
    if not folder.is_dir():
        return []
    files = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(files, key=lambda path: int(path.stem))


def _filmstrip(files: Sequence[Path], best: int | None) -> Iterator[Picture]:
    """Yield the pictures of some epochs: the first, the last, the best, and others in between."""
    chosen = np.unique(np.linspace(0, len(files) - 1, _SHOWN_EPOCHS).round().astype(int))
    epochs = {int(files[index].stem) for index in chosen} | ({best} if best else set())
    for path in files:
        epoch = int(path.stem)
        if epoch not in epochs:
            continue
        try:
            picture = read_bytes(path, _MAX_BYTES)
        except RunError:
            continue
        caption = f"epoch {epoch:,}" + (" (best)" if epoch == best else "")
        yield Picture(picture, f"Samples after {caption}", caption)


def _rows(files: Sequence[Path], best: int | None) -> Iterator[Block]:
    path = next((file for file in files if int(file.stem) == best), files[-1])
    try:
        frame = pl.read_csv(io.BytesIO(read_bytes(path)), infer_schema=False)
    except (RunError, pl.exceptions.PolarsError, OSError):
        return
    frame = frame.select(frame.columns[:_MAX_COLUMNS]).head(_SHOWN_ROWS)
    rows = [["" if value is None else value for value in row] for row in frame.rows()]
    yield table_block(f"Generated rows after epoch {int(path.stem):,}", frame.columns, rows)


def _comparison(findings: Mapping[str, Any]) -> Iterator[Block]:
    match findings.get("comparison"):
        case {"columns": [*columns]}:
            split = str(findings.get("split"))
        case _:
            return
    rows = [
        (
            str(column.get("name")),
            str(column.get("kind")),
            str(column.get("real")),
            str(column.get("generated")),
            number(column.get("difference")),
        )
        for column in columns
        if isinstance(column, dict)
    ]
    rows.sort(key=lambda row: row[-1], reverse=True)
    headers = ("column", "kind", f"{split} rows", "generated rows", "difference")
    title = (
        "Columns of real and generated rows: mean or most frequent value, and the Kolmogorov-Smirnov or "
        "total variation distance"
    )
    yield table_block(title, headers, rows, right=(4,), is_collapsed=len(rows) > 30)
