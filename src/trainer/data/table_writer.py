"""A table that comes a part at a time → one CSV or Parquet file, there whole or not at all.

Owns: the form of the file, what is kept beside it while it grows. Does not own: what is in it.
"""

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
    """Write a table as CSV or Parquet, by the name's ending, with one part in memory at a time.

    Args:
        parts: They have the same columns.
        out: The file; until the new one is whole, the former one stays.

    Returns:
        How many rows, and the columns.

    Raises:
        StorageError: It could not be written.
    """
    folder = out.with_name(f".{out.name}.{secrets.token_hex(4)}.new")
    whole = folder / f"whole{out.suffix}"
    rows, columns = 0, list[str]()
    with storage_errors(out, "write this file"):
        DISK.make_directory(folder)
    try:
        for number, frame in enumerate(parts):
            with storage_errors(out, "write this file"):
                _add(frame, number, folder, whole)
            rows, columns = rows + frame.height, frame.columns
        with storage_errors(out, "write this file"):
            if whole.suffix == ".parquet":
                _join(sorted(folder.iterdir()), whole)
            DISK.sync(whole)
            DISK.rename(whole, out)
            DISK.sync(out.parent)
    finally:
        with suppress(OSError):
            DISK.remove(folder)
    return rows, columns


def csv_bytes(frame: pl.DataFrame, *, header: bool) -> bytes:
    """A table as CSV; durations in the words of ISO 8601, which polars has no other form for, lists and
    structures as JSON.
    """
    nested = [name for name, dtype in frame.schema.items() if is_nested(dtype)]
    frame = frame.with_columns(json_text(frame[name]) for name in nested)
    spans = [name for name, dtype in frame.schema.items() if dtype == pl.Duration]
    buffer = io.BytesIO()
    frame.with_columns(pl.col(spans).dt.to_string("iso")).write_csv(buffer, include_header=header)
    return buffer.getvalue()


def _add(frame: pl.DataFrame, number: int, folder: Path, whole: Path) -> None:
    """CSV grows; of Parquet, whose end says what is in it, each part is a file until all are there."""
    # By way of memory: what the disk then refuses is an OSError with a number.
    if whole.suffix == ".parquet":
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        (folder / f"{number:09}").write_bytes(buffer.getbuffer())
    else:
        with whole.open("ab") as file:
            file.write(csv_bytes(frame, header=number == 0))


def _join(files: list[Path], whole: Path) -> None:
    if len(files) == 1:
        files[0].rename(whole)
    else:
        pl.scan_parquet(files, glob=False).sink_parquet(whole)
