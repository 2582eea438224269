"""`journal.jsonl` of a sweep: what was decided and what came of it, a line each, in order.

    {"event": "sweep", …}   how the sweep was begun; the first line
    {"event": "batch", …}   trials that are trained now, with their settings
    {"event": "rung", …}    what halving decided after an epoch of trials that are trained together
    {"event": "end", …}     a trial has ended

A line is on the disk before anything follows from it. A last line written in part is left off: what it
would have said is decided again, the same.

Owns: the records and their form in JSON. Does not own: how lines are written (`trainer.runs.log`), what
follows from them (`study`, `standing`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from trainer.errors import Problem, RunError
from trainer.runs import readers
from trainer.runs.log import MetricsLog, read_log
from trainer.sweep.halving import Direction
from trainer.sweep.trials import Trial, TrialEnded, TrialStatus

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SweepBegun:
    """How a sweep was begun; it holds for whoever goes on with it.

    Attributes:
        objective: The measure that trials are compared by.
        direction: Which way it is better.
        batch_size: Trials a batch.
        jobs: Packs that are trained at a time, which their sizes depend on.
        is_distinct: Whether no trial is suggested twice; those that version 0.1.0 began have repeats.
    """

    objective: str
    direction: Direction
    batch_size: int
    jobs: int
    is_distinct: bool = False


@dataclass(frozen=True, slots=True)
class BatchAsked:
    """The next trials."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class RungDecided:
    """Halving after an epoch: the trials that were compared, and those of them that are ended."""

    epoch: int
    compared: tuple[int, ...]
    eliminated: tuple[int, ...]


Record = SweepBegun | BatchAsked | RungDecided | TrialEnded
_EVENTS: Mapping[type[Record], str] = {
    SweepBegun: "sweep",
    BatchAsked: "batch",
    RungDecided: "rung",
    TrialEnded: "end",
}


class Journal:
    """A journal that is gone on with.

    Attributes:
        records: What stands in it.
        elapsed_seconds: Seconds that the sweep had taken when the last line was written.

    Raises:
        RunError: It is damaged.
        StorageError: It cannot be written; `write` and `close` raise it too.
    """

    def __init__(self, path: Path) -> None:
        self.records, self.elapsed_seconds = _read(path)
        self._log = MetricsLog(path, flush_seconds=0.0)

    def write(self, record: Record, elapsed_seconds: float) -> None:
        """Adds a record; when this returns it is on the disk."""
        self._log.append(_line(record, elapsed_seconds))
        self._log.sync()
        self.records.append(record)
        self.elapsed_seconds = elapsed_seconds

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_journal(path: Path) -> list[Record]:
    """What stands in a journal that another process may write; nothing where there is none.

    Raises:
        RunError: It is damaged.
    """
    return _read(path)[0]


def read_progress(path: Path) -> tuple[list[Record], float]:
    """What stands in a journal, and the seconds that the sweep had taken when it was last written.

    Raises:
        RunError: It is damaged.
    """
    return _read(path)


def _read(path: Path) -> tuple[list[Record], float]:
    records: list[Record] = []
    asked: set[int] = set()
    ended: set[int] = set()
    elapsed = 0.0
    for number, line in enumerate(read_log(path), start=1):
        try:
            record = _record(line)
            elapsed = readers.read_fields(line, {"elapsed_seconds": readers.number})[
                "elapsed_seconds"
            ]
            if isinstance(record, SweepBegun) != (number == 1):
                raise readers.DamageError("the event 'sweep' in the first line", line["event"])
            match record:
                case BatchAsked(trials):
                    numbers = [trial.number for trial in trials]
                    if numbers != list(range(len(asked), len(asked) + len(numbers))):
                        raise readers.DamageError(f"trials from {len(asked)} on", numbers)
                    asked.update(numbers)
                case TrialEnded(ending):
                    if ending not in asked - ended:
                        raise readers.DamageError("a trial that is trained", ending)
                    ended.add(ending)
                case _:
                    pass
        except readers.DamageError as error:
            fix = "take the file from a copy of the sweep"
            raise RunError(Problem(f"{path}:{number}", error.expected, error.found, fix)) from error
        records.append(record)
    return records, elapsed


def _line(record: Record, elapsed_seconds: float) -> dict[str, Any]:
    match record:
        case BatchAsked(trials):
            facts: dict[str, Any] = {
                "trials": [{"number": trial.number, "settings": trial.settings} for trial in trials]
            }
        case SweepBegun():
            facts = {"format": FORMAT, **asdict(record)}
        case _:
            facts = asdict(record)
    return {"event": _EVENTS[type(record)], **facts, "elapsed_seconds": elapsed_seconds}


def _record(line: Mapping[str, Any]) -> Record:
    events = tuple(_EVENTS.values())
    event = readers.read_fields(line, {"event": readers.one_of(*events)})["event"]
    record: Record = _READERS[event](line)
    return record


def _objective(value: Any) -> float:
    return math.nan if value is None else readers.number(value)


def _settings(value: Any) -> dict[str, Any]:
    return dict(readers.by_name(lambda setting: setting)(value))


def _format(value: Any) -> Any:
    if value != FORMAT:
        raise readers.DamageError(f"format {FORMAT}, which this version of trainer writes", value)
    return value


def _begun(line: Mapping[str, Any]) -> SweepBegun:
    readers.read_fields(line, {"format": _format})
    begun: SweepBegun = readers.made(
        SweepBegun,
        {
            "objective": readers.text,
            "direction": readers.one_of(*get_args(Direction)),
            "batch_size": readers.count,
            "jobs": readers.count,
            "is_distinct": readers.flag,
        },
    )({"is_distinct": False, **line})
    return begun


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "sweep": _begun,
    "batch": readers.made(
        BatchAsked,
        {
            "trials": readers.each(
                readers.made(Trial, {"number": readers.count, "settings": _settings})
            )
        },
    ),
    "rung": readers.made(
        RungDecided,
        {
            "epoch": readers.count,
            "compared": readers.each(readers.count),
            "eliminated": readers.each(readers.count),
        },
    ),
    "end": readers.made(
        TrialEnded,
        {
            "number": readers.count,
            "status": readers.one_of(*get_args(TrialStatus)),
            "objective": _objective,
            "epochs": readers.count,
            "best_epoch": readers.maybe(readers.count),
            "run": readers.maybe(readers.text),
            "seconds": readers.number,
            "reason": readers.text,
        },
    ),
}


def begun_of(records: Sequence[Record]) -> SweepBegun | None:
    """How the sweep was begun; None in an empty journal."""
    return next((record for record in records if isinstance(record, SweepBegun)), None)
