"""Write a table in parts to a single CSV or Parquet file, atomically."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import polars as pl

from trainer.data.json_text import json_text
from trainer.data.values import is_nested
from trainer.runs.files import DISK, storage_errors


def write_table(parts: Iterable[pl.DataFrame], out: Path) -> tuple[int, list[str]]:
    """Write a table as CSV or Parquet, by the file's extension, with one part in memory at a time.

    Args:
        parts: The parts, with the same columns.
        out: The file; an existing one is only replaced once the new one is complete.

    Returns:
        The number of rows, and the columns.

    Raises:
        StorageError: If it cannot be written.
    """
    folder = out.with_name(f".{out.name}.{secrets.token_hex(4)}.new")
    combined = folder / f"whole{out.suffix}"
    rows, columns = 0, list[str]()
    with storage_errors(out, "write this file"):
        DISK.make_directory(folder)
    try:
        for number, frame in enumerate(parts):
            with storage_errors(out, "write this file"):
                _add(frame, number, folder, combined)
            rows, columns = rows + frame.height, frame.columns
        with storage_errors(out, "write this file"):
            if combined.suffix == ".parquet":
                _join(sorted(folder.iterdir()), combined)
            DISK.sync(combined)
            DISK.rename(combined, out)
            DISK.sync(out.parent)
    finally:
        with suppress(OSError):
            DISK.remove(folder)
    return rows, columns


def csv_bytes(frame: pl.DataFrame, *, header: bool) -> bytes:
    """Return a table as CSV, with durations in ISO 8601 and nested values as JSON."""
    nested = [name for name, dtype in frame.schema.items() if is_nested(dtype)]
    frame = frame.with_columns(json_text(frame[name]) for name in nested)
    spans = [name for name, dtype in frame.schema.items() if dtype == pl.Duration]
    buffer = io.BytesIO()
    frame.with_columns(pl.col(spans).dt.to_string("iso")).write_csv(buffer, include_header=header)
    return buffer.getvalue()


def _add(frame: pl.DataFrame, number: int, folder: Path, combined: Path) -> None:
    """Append to CSV; write each part of Parquet to its own file, to be joined later."""
    # Serialize in memory first, so that a disk error is an OSError with an errno.
    if combined.suffix == ".parquet":
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        (folder / f"{number:09}").write_bytes(buffer.getbuffer())
    else:
        with combined.open("ab") as file:
            file.write(csv_bytes(frame, header=number == 0))


def _join(files: list[Path], combined: Path) -> None:
    if len(files) == 1:
        files[0].rename(combined)
    else:
        pl.scan_parquet(files, glob=False).sink_parquet(combined)
