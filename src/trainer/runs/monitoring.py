"""`monitoring/`: counts of the inputs and predictions that were served, beside those of training.

Each server process writes a file of its own, so that several can serve a run, one after the other or at
the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from trainer.runs.directory import RunDirectory
from trainer.runs.files import json_bytes, storage_errors, write_atomically
from trainer.runs.records import read_record, to_json


@dataclass(frozen=True, slots=True)
class MonitoredColumn:
    """The values of a column, counted in bins.

    Attributes:
        name: The column of the input, or of the prediction.
        role: Which of them.
        bins: The bins in words: `≤ 3`, `3 to 5`, a category, `(other)`, `(missing)`.
        reference: The rows in each bin before serving: training rows for an input, and rows that were
            not used for training, if any, for a prediction.
        served: The served rows in each bin.
    """

    name: str
    role: Literal["input", "prediction"]
    bins: tuple[str, ...]
    reference: tuple[int, ...]
    served: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Monitoring:
    """What a server counted.

    Attributes:
        weights_sha256: The hash of the weights that were served.
        started: When the server started.
        updated: When the counts were written.
        rows: The number of predicted rows.
        columns: The inputs and predictions.
    """

    weights_sha256: str
    started: datetime
    updated: datetime
    rows: int
    columns: tuple[MonitoredColumn, ...]


def write_monitoring(run: RunDirectory, name: str, monitoring: Monitoring) -> None:
    """Write the counts of a server process.

    Args:
        run: The run.
        name: A name that no other process uses.
        monitoring: The counts.

    Raises:
        StorageError: The file cannot be written.
    """
    folder = monitoring_folder(run)
    with storage_errors(folder, "make this directory"):
        folder.mkdir(exist_ok=True)
    write_atomically(folder / f"{name}.json", json_bytes(to_json(monitoring)))


def monitoring_folder(run: RunDirectory) -> Path:
    """Return the directory of the counts."""
    return run.path / "monitoring"


def read_monitoring(run: RunDirectory) -> Monitoring | None:
    """Return the sums of all counts of a run's newest weights; None if it was never monitored.

    Raises:
        RunError: A file is damaged.
    """
    paths = sorted(monitoring_folder(run).glob("*.json"))
    fix = "delete it: its counts are then left out"
    records = [read_record(path, Monitoring, fix) for path in paths]
    found = [record for record in records if record is not None]
    if not found:
        return None
    newest = max(found, key=lambda record: record.updated)
    return _sum([record for record in found if _is_same(record, newest)])


def _is_same(first: Monitoring, second: Monitoring) -> bool:
    """Return whether the counts are of the same weights in the same bins."""
    return first.weights_sha256 == second.weights_sha256 and _bins(first) == _bins(second)


def _bins(monitoring: Monitoring) -> list[tuple[object, ...]]:
    return [
        (column.name, column.role, column.bins, column.reference) for column in monitoring.columns
    ]


def _sum(records: Sequence[Monitoring]) -> Monitoring:
    columns = [
        replace(same[0], served=_sums(column.served for column in same))
        for same in zip(*(record.columns for record in records), strict=True)
    ]
    return Monitoring(
        weights_sha256=records[0].weights_sha256,
        started=min(record.started for record in records),
        updated=max(record.updated for record in records),
        rows=sum(record.rows for record in records),
        columns=tuple(columns),
    )


def _sums(counts: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*counts, strict=True)))
