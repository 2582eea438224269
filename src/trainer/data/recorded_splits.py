"""The record of the splits of a run, `splits.parquet`; load a dataset with them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.data.arrays import Assignment
from trainer.data.dataset import BROKEN_IMAGE, LATER, REASONS, Dataset
from trainer.data.opening import open_table
from trainer.data.preprocessing import Preprocessing
from trainer.data.pseudonyms import Pseudonyms
from trainer.data.splits import DROPPED, SPLIT_NAMES, TEST, TRAIN, VALIDATION
from trainer.data.tables import Table
from trainer.data.values import number_matrix
from trainer.errors import DataError, Problem, RunError, did_you_mean, pluralize


class Assigned(Protocol):
    """A table whose rows are split."""

    @property
    def assignment(self) -> Assignment: ...
    @property
    def reasons(self) -> Assignment: ...


def split_frame(dataset: Assigned) -> pl.DataFrame:
    """Return the split of every row as a table.

    Its columns are `row` (int64, from 0), `split` (train, validation, test or dropped) and `reason`
    (why it is dropped, otherwise null).
    """
    # An Enum, as 20 million rows of text would take most of a gigabyte.
    names, reasons = [*SPLIT_NAMES, "dropped"], dict(REASONS)
    for code in (LATER, BROKEN_IMAGE):
        if not (dataset.reasons == code).any():
            # The Enum's categories are stored in the file, whose bytes must not change without them.
            del reasons[code]
    split = pl.Series(dataset.assignment).replace_strict(
        [TRAIN, VALIDATION, TEST, DROPPED], names, return_dtype=pl.Enum(names)
    )
    reason = pl.Series(dataset.reasons).replace_strict(
        list(reasons), list(reasons.values()), default=None, return_dtype=pl.Enum(reasons.values())
    )
    rows = pl.Series(np.arange(len(dataset.assignment), dtype=np.int64))
    return pl.DataFrame({"row": rows, "split": split, "reason": reason})


def load_recorded_dataset(
    data: Data,
    preprocessing: Preprocessing,
    recorded: bytes,
    fingerprints: Mapping[str, str],
    *,
    streamed: bool,
) -> Dataset:
    """Return the dataset of a run, with its recorded splits.

    Args:
        data: The run's `data` section.
        preprocessing: The fitted preprocessing of the run.
        recorded: The content of `splits.parquet`.
        fingerprints: File → SHA-256 at the time of the run.
        streamed: Whether to leave the features on disk.

    Raises:
        DataError: If the files are missing or have changed.
        RunError: If the recorded splits are damaged.
    """
    Pseudonyms.from_settings(data).check_key(preprocessing.pseudonym_key)
    source = open_table(data, streamed=streamed)
    available = source.header.frame.columns
    image = preprocessing.image
    keys = [*preprocessing.target.columns, *([] if data.weight is None else [data.weight])]
    keys += [] if image is None else [image.name]
    table = source.read_columns([name for name in keys if name in available] or available[:1])
    _check_files(table, fingerprints)
    missing = [name for name in keys if name not in available]
    if missing:
        raise RunError(
            Problem(
                "",
                f"a column of {table.name}, as at the time of the run",
                f"'{name}'",
                did_you_mean(name, available, "restore the files from a copy of the run"),
            )
            for name in missing
        )
    weight = None
    if data.weight is not None:
        weight = number_matrix(table.frame, [data.weight])[:, 0].astype(np.float32)
    assignment = read_assignment(recorded, table.frame.height)
    return Dataset(
        source=source,
        table=table,
        assignment=assignment,
        reasons=np.zeros_like(assignment),
        preprocessing=preprocessing,
        warnings=table.warnings,
        weight=weight,
    )


def _check_files(table: Table, fingerprints: Mapping[str, str]) -> None:
    changed = [
        file.path
        for file in table.files
        if file.path not in fingerprints or fingerprints[file.path] != file.sha256
    ]
    if changed or len(table.files) != len(fingerprints):
        raise DataError(
            Problem(
                changed[0] if changed else table.name,
                "the data of the run",
                "different content" if changed else f"{len(table.files)} files",
                "restore the original file, or evaluate other rows with --data FILE",
            )
        )


def read_assignment(recorded: bytes, rows: int) -> Assignment:
    """Return the split of each row.

    Args:
        recorded: The content of `splits.parquet`.
        rows: Number of rows of the table.

    Raises:
        RunError: The content is damaged.
    """
    try:
        split = pl.read_parquet(io.BytesIO(recorded))["split"].cast(pl.String)
        numbers = split.replace_strict(
            [*SPLIT_NAMES, "dropped"], [TRAIN, VALIDATION, TEST, DROPPED], return_dtype=pl.Int8
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(str(error).splitlines()[0]) from error
    assigned = len(numbers) - numbers.null_count()
    if assigned != rows or len(numbers) != rows:
        raise _damaged(f"{assigned:,} of {pluralize(rows, 'row')}")
    return np.array(numbers.to_numpy(), dtype=np.int8)


def _damaged(found: str) -> RunError:
    fix = "restore the file from a copy of the run"
    return RunError(Problem("splits.parquet", "a split for every row", found, fix))
