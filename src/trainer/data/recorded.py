"""The rows of a run's own splits, as recorded row by row when it was made.

Owns: going back from `splits.parquet` to samples. Does not own: making splits (`assignment`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.data.preprocessing import Preprocessing
from trainer.data.samples import Samples
from trainer.data.splits import SplitName
from trainer.data.tables import read_table
from trainer.data.values import number_matrix
from trainer.errors import DataError, Problem, RunError, did_you_mean


def recorded_samples(
    data: Data,
    preprocessing: Preprocessing,
    recorded: bytes,
    fingerprints: Mapping[str, str],
    splits: Sequence[SplitName],
) -> dict[SplitName, Samples]:
    """The samples of recorded splits; splits without rows are left out.

    Args:
        data: The run's `data` section.
        preprocessing: What the run fitted.
        recorded: The content of `splits.parquet`.
        fingerprints: File → SHA-256 when the run was made.
        splits: Which ones.

    Raises:
        DataError: The files are gone, or are not what they were.
        RunError: The record is damaged.
    """
    table = read_table(data.source, data)
    changed = [
        file.path
        for file in table.files
        if file.path not in fingerprints or fingerprints[file.path] != file.sha256
    ]
    if changed or len(table.files) != len(fingerprints):
        raise DataError(
            Problem(
                changed[0] if changed else table.name,
                "the data the run was made with",
                "other content" if changed else f"{len(table.files)} files",
                "put the former file back, or evaluate other rows with --data FILE",
            )
        )
    wanted = [*preprocessing.target.columns, *([] if data.weight is None else [data.weight])]
    lacking = [name for name in wanted if name not in table.frame.columns]
    if lacking:
        known = table.frame.columns
        raise RunError(
            Problem(
                "",
                f"a column of {table.name}, as when the run was made",
                f"'{name}'",
                did_you_mean(name, known, "take the run's files from a whole copy of it"),
            )
            for name in lacking
        )
    try:
        part = pl.read_parquet(io.BytesIO(recorded))["split"]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(str(error)) from error
    if len(part) != table.frame.height:
        raise _damaged(f"{len(part)} rows of {table.frame.height}")
    weight = None if data.weight is None else number_matrix(table.frame, [data.weight])[:, 0]
    found: dict[SplitName, Samples] = {}
    for split in splits:
        at = np.flatnonzero((part == split).to_numpy())
        if not len(at):
            continue
        encoded = preprocessing.transform(table.frame, at)
        target = preprocessing.target
        y, _ = target.encode(table.frame.select(target.columns)[at])
        found[split] = Samples(
            x=encoded.x,
            y=y,
            weight=None if weight is None else weight[at].astype(np.float32),
            rows=at,
            unseen=encoded.unseen,
            warnings=encoded.warnings,
        )
    return found


def _damaged(found: str) -> RunError:
    fix = "take the file from a whole copy of the run"
    return RunError(Problem("splits.parquet", "a split for every row", found, fix))
