"""`example.json`: a row of a run in plain values, from which the report makes its example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.runs.directory import RunDirectory
from trainer.runs.records import read_record, to_json


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """A row before anything that was fitted is applied.

    Attributes:
        split: The split that it is of.
        row: Its number in the source, from 0.
        values: Feature column → a number, the text of a level, true or false, a date as ISO 8601; None
            where it is missing.
    """

    split: str
    row: int
    values: Mapping[str, str | bool | float | None]


def write_example(run: RunDirectory, example: ExampleRow) -> None:
    """Write `example.json`.

    Raises:
        StorageError: It cannot be written.
    """
    run.write_example(to_json(example))


def read_example(run: RunDirectory) -> ExampleRow | None:
    """The example of a run; None where it has none.

    Raises:
        RunError: The file is damaged.
    """
    return read_record(run.example, ExampleRow, "remove it: the report is then without an example")
