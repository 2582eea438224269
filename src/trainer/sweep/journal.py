"""`journal.jsonl` of a sweep: suggested trials and their results, one JSON object per line, in order.

    {"event": "sweep", …}   settings of the sweep; the first line
    {"event": "batch", …}   trials to train next, with their settings
    {"event": "rung", …}    the trials that halving eliminated after an epoch of a pack
    {"event": "end", …}     the result of a trial

A line is on disk before anything depends on it. A partial last line is ignored: its decision is made
again, with the same outcome.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from trainer.errors import Problem, RunError
from trainer.runs import readers
from trainer.runs.log import MetricsLog, read_log
from trainer.runs.records import from_json, optional_field, to_json
from trainer.sweep.halving import Direction
from trainer.sweep.trials import Trial, TrialEnded

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SweepHeader:
    """Settings of a sweep that stay fixed when it is resumed.

    Attributes:
        objective: The metric that trials are ranked by.
        direction: Whether higher or lower is better.
        batch_size: Number of trials per batch.
        jobs: Number of packs trained in parallel, which determines their sizes.
        is_distinct: Whether no trial is suggested twice; sweeps started by version 0.1.0 have repeats.
    """

    objective: str
    direction: Direction
    batch_size: int
    jobs: int
    is_distinct: bool = optional_field(False)


@dataclass(frozen=True, slots=True)
class BatchSuggested:
    """The next trials, as suggested by the search."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class RungResult:
    """Result of halving after an epoch: the compared trials, and those of them to eliminate."""

    epoch: int
    compared: tuple[int, ...]
    eliminated: tuple[int, ...]


Record = SweepHeader | BatchSuggested | RungResult | TrialEnded
_EVENTS: Mapping[type[Record], str] = {
    SweepHeader: "sweep",
    BatchSuggested: "batch",
    RungResult: "rung",
    TrialEnded: "end",
}


class Journal:
    """A journal opened for appending.

    Attributes:
        records: All records.
        elapsed_seconds: Total seconds of the sweep when the last line was written.

    Raises:
        RunError: The journal is damaged.
        StorageError: The journal cannot be written; also raised by `write` and `close`.
    """

    def __init__(self, path: Path) -> None:
        self.records, self.elapsed_seconds = _read(path)
        self._log = MetricsLog(path, flush_seconds=0.0)

    def write(self, record: Record, elapsed_seconds: float) -> None:
        """Append a record and flush it to disk."""
        self._log.append(_line(record, elapsed_seconds))
        self._log.sync()
        self.records.append(record)
        self.elapsed_seconds = elapsed_seconds

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_journal(path: Path) -> list[Record]:
    """Return the records of a journal, which another process may be writing; empty if missing.

    Raises:
        RunError: The journal is damaged.
    """
    return _read(path)[0]


def read_progress(path: Path) -> tuple[list[Record], float]:
    """Return the records of a journal, and the sweep's total seconds when it was last written.

    Raises:
        RunError: The journal is damaged.
    """
    return _read(path)


def _read(path: Path) -> tuple[list[Record], float]:
    records: list[Record] = []
    suggested: set[int] = set()
    ended: set[int] = set()
    elapsed = 0.0
    for number, line in enumerate(read_log(path), start=1):
        try:
            record = _record(line)
            fields = readers.read_fields(line, {"elapsed_seconds": readers.number})
            elapsed = fields["elapsed_seconds"]
            if isinstance(record, SweepHeader) != (number == 1):
                raise readers.DamageError("the event 'sweep' in the first line", line["event"])
            match record:
                case BatchSuggested(trials):
                    numbers = [trial.number for trial in trials]
                    first = len(suggested)
                    if numbers != list(range(first, first + len(numbers))):
                        raise readers.DamageError(f"trials numbered from {first}", numbers)
                    suggested.update(numbers)
                case TrialEnded(ending):
                    if ending not in suggested - ended:
                        raise readers.DamageError("a trial in training", ending)
                    ended.add(ending)
                case _:
                    pass
        except readers.DamageError as error:
            fix = "restore the file from a copy of the sweep"
            raise RunError(Problem(f"{path}:{number}", error.expected, error.found, fix)) from error
        records.append(record)
    return records, elapsed


def _line(record: Record, elapsed_seconds: float) -> dict[str, Any]:
    head: dict[str, Any] = {"event": _EVENTS[type(record)]}
    if isinstance(record, SweepHeader):
        head["format"] = FORMAT
    return {**head, **to_json(record), "elapsed_seconds": elapsed_seconds}


def _record(line: dict[str, Any]) -> Record:
    kinds = {event: kind for kind, event in _EVENTS.items()}
    event = readers.read_fields(line, {"event": readers.one_of(*kinds)})["event"]
    if event == "sweep":
        readers.read_fields(line, {"format": _format})
    if event == "end" and line.get("objective", 0) is None:
        line = {**line, "objective": math.nan}
    return from_json(kinds[event], line)


def _format(value: Any) -> Any:
    if value != FORMAT:
        raise readers.DamageError(f"format {FORMAT}, which this version of trainer writes", value)
    return value


def header_of(records: Sequence[Record]) -> SweepHeader | None:
    """Return the header of a journal; None if the journal is empty."""
    return next((record for record in records if isinstance(record, SweepHeader)), None)
