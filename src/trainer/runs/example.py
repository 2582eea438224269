"""`example.json`: an input row as raw values, for the report's code example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.runs.directory import RunDirectory
from trainer.runs.records import read_record, to_json


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """An input row before preprocessing.

    Attributes:
        split: The split that the row belongs to.
        row: Row number in the data source, from 0.
        values: Feature column → number, category, boolean or ISO 8601 date; None if missing.
    """

    split: str
    row: int
    values: Mapping[str, str | bool | float | None]


def write_example(run: RunDirectory, example: ExampleRow) -> None:
    """Write `example.json`.

    Raises:
        StorageError: The file cannot be written.
    """
    run.write_example(to_json(example))


def read_example(run: RunDirectory) -> ExampleRow | None:
    """Return the example of a run; None if it has none.

    Raises:
        RunError: The file is damaged.
    """
    return read_record(run.example, ExampleRow, "delete it: the report then omits the example")
