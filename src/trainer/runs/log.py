"""`metrics.jsonl` and `timing.jsonl`: one JSON object per epoch, appended.

The objects are free-form except for `epoch`, the number of the epoch from 1. A last line that a killed
process wrote in part is ignored.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from trainer.errors import Problem, RunError
from trainer.runs.files import (
    DISK,
    FileSystem,
    json_line,
    read_bytes,
    storage_errors,
    write_atomically,
)

_ACTION = "append to the metrics log"
_TAIL_BYTES = 65_536


class MetricsLog:
    """A log opened for appending.

    Lines are buffered and written as a whole, at most every `flush_seconds`: by the first `append` after
    that time, or by `flush`, `sync` or `close`.

    Raises:
        StorageError: From every method, if the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        flush_seconds: float = 0.2,
        clock: Callable[[], float] = time.monotonic,
        disk: FileSystem = DISK,
    ) -> None:
        self._path = path
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._waiting: list[bytes] = []
        self._flushed_at = -float("inf")
        if path.is_file():
            content = read_bytes(path)
            complete = _without_partial_line(content)
            if len(complete) != len(content):
                write_atomically(path, complete, disk)
        with storage_errors(path, _ACTION):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def append(self, record: Mapping[str, Any]) -> None:
        """Append an object; NaN and ±∞ become null."""
        self._waiting.append(json_line(record))
        if self._clock() - self._flushed_at >= self._flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Write buffered lines to the file, where other processes can read them."""
        if self._waiting:
            content = b"".join(self._waiting)
            with storage_errors(self._path, _ACTION):
                self._write(content)
            self._waiting.clear()
        self._flushed_at = self._clock()

    def sync(self) -> None:
        """Flush to disk, so that the lines survive a power failure."""
        self.flush()
        with storage_errors(self._path, _ACTION):
            os.fsync(self._descriptor)

    @property
    def offset(self) -> int:
        """The length of the file in bytes; after `sync` all of it is on disk."""
        with storage_errors(self._path, _ACTION):
            return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Sync and close the file; a second call does nothing."""
        if self._descriptor < 0:
            return
        try:
            self.sync()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, content: bytes) -> None:
        length = os.fstat(self._descriptor).st_size
        try:
            written = 0
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
        except OSError:
            # A partial line would corrupt the next one.
            with suppress(OSError):
                os.ftruncate(self._descriptor, length)
            raise


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a log in order, without a partial last line.

    A missing log is empty.

    Raises:
        RunError: A line before the last is damaged.
    """
    if not path.exists():
        return []
    records: list[dict[str, Any]] = []
    lines = _without_partial_line(read_bytes(path)).split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is None:
            raise RunError(
                Problem(
                    where=f"{path}:{number}",
                    expected="a JSON object",
                    found="a damaged line",
                    fix="delete this line, or restore the file from a copy of the run",
                )
            )
        records.append(record)
    return records


def last_epoch(path: Path) -> int:
    """Return the number of the last complete epoch, reading only the end of the log; 0 if none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return 0
    for line in reversed(lines):
        match _record(line):
            case {"epoch": int(epoch)}:
                return epoch
    return 0


def truncate_log(path: Path, length: int, disk: FileSystem = DISK) -> None:
    """Truncate a log to `length` bytes, removing the epochs that a resumed run trains again.

    Raises:
        RunError: The log is shorter, or no line ends there.
        StorageError: The log could not be written.
    """
    content = read_bytes(path) if path.exists() else b""
    if len(content) < length or not (content[:length].endswith(b"\n") or length == 0):
        found = f"{len(content)} bytes"
        if len(content) >= length:
            found += " and no end of a line there"
        raise RunError(
            Problem(
                where=str(path),
                expected=f"the end of a line at byte {length}, as when the checkpoint was written",
                found=found,
                fix="restore the file from a copy of the run",
            )
        )
    if len(content) > length:
        write_atomically(path, content[:length], disk)


def remove_epochs_after(path: Path, last: int, disk: FileSystem = DISK) -> None:
    """Remove the epochs after `last` from a log whose length no checkpoint records.

    Raises:
        RunError: The log is damaged.
        StorageError: The log could not be written.
    """
    records = read_log(path)
    remaining = [record for record in records if _epoch(record) <= last]
    if len(remaining) != len(records):
        write_atomically(path, b"".join(json_line(record) for record in remaining), disk)


def _epoch(record: Mapping[str, Any]) -> float:
    epoch = record.get("epoch")
    return epoch if isinstance(epoch, int) else 0


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _without_partial_line(content: bytes) -> bytes:
    complete = content[: content.rfind(b"\n") + 1]
    last = complete[complete.rfind(b"\n", 0, -1) + 1 :]
    if last and _record(last) is None:
        return complete[: -len(last)]
    return complete
