"""Rows to explain: drawn from a split of a run, or those of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from trainer.data.arrays import BoolArray
from trainer.data.dataset import Dataset
from trainer.data.new_data import prediction_batches
from trainer.data.preprocessing import warning_texts
from trainer.data.sampling import RowSample, draw_row_sample
from trainer.data.splits import SplitName
from trainer.engine.selection import exceeds_memory
from trainer.errors import DataError, Problem, RunError, UsageError
from trainer.prediction.trained_runs import TrainedRun, data_settings_for, validation_rows

MAX_SHAP_ROWS = 10_000
MAX_IMAGES = 1_000


@dataclass(frozen=True, slots=True)
class ExplainedRows:
    """Rows whose predictions are explained.

    Attributes:
        source: Their split or file.
        numbers: Their row numbers.
        frame: Their feature columns.
        are_of_run: Whether they are rows of a split, so that their targets are known.
        warnings: Unexpected values in them.
    """

    source: str
    numbers: Sequence[int]
    frame: pl.DataFrame
    are_of_run: bool
    warnings: tuple[str, ...] = ()


def draw_rows(
    opened: TrainedRun, table: Dataset, split: SplitName, max_rows: int, fix: str = ""
) -> RowSample:
    """Return at most this many rows of a split, drawn with the seed of the run.

    Raises:
        RunError: The split has no rows; `fix` says what else can be explained.
    """
    sample = draw_row_sample(table, split, max_rows, opened.loaded.config.seed)
    if sample is None:
        raise _no_rows(opened, split, fix)
    return sample


def draw_validation_rows(
    members: Sequence[TrainedRun], table: Dataset, max_rows: int, fix: str
) -> tuple[RowSample, BoolArray]:
    """Return at most this many validation rows of any member, and which are rows of which member.

    Returns:
        The rows, and (members, rows) whether a row is a validation row of a member.

    Raises:
        RunError: There are none; `fix` says what else can be explained. Or the record of the splits of a
            member is damaged.
    """
    are_validation = validation_rows(members, len(table.assignment))
    rows, seed = np.flatnonzero(are_validation.any(axis=0)), members[0].loaded.config.seed
    sample = draw_row_sample(table, "validation", max_rows, seed, rows)
    if sample is None:
        raise _no_rows(members[0], "validation", fix)
    return sample, are_validation[:, sample.rows]


def _no_rows(opened: TrainedRun, split: SplitName, fix: str) -> RunError:
    found = "none: the split assigned no rows to it"
    return RunError(Problem(str(opened.run.path), f"{split} rows", found, fix))


def rows_to_explain(
    opened: TrainedRun,
    table: Dataset,
    count_or_file: int | Path,
    read_options: Sequence[str],
) -> ExplainedRows:
    """Return test rows, or all rows of a file.

    Raises:
        DataError: The file is invalid, or has more rows than can be explained.
        UsageError: More rows are requested than can be explained.
        RunError: The run has no test rows.
    """
    limit = MAX_SHAP_ROWS if opened.preprocessing.image is None else MAX_IMAGES
    if isinstance(count_or_file, int):
        if count_or_file > limit:
            expected = f"at most {limit:,} images to explain"
            raise UsageError(Problem("--rows", expected, f"{count_or_file:,}"))
        fix = "name a file of rows to explain: --rows FILE"
        sample = draw_rows(opened, table, "test", count_or_file, fix)
        return ExplainedRows("test", sample.rows.tolist(), sample.frame, are_of_run=True)
    data = data_settings_for(opened, count_or_file, read_options, "trainer explain")
    names = [column.name for column in opened.preprocessing.columns]
    parts: list[pl.DataFrame] = []
    encoding_warnings: Counter[tuple[str, str]] = Counter()
    for part in prediction_batches(
        data, opened.preprocessing, names, streamed=exceeds_memory(data)
    ):
        parts.append(part.kept)
        encoding_warnings.update(part.encoded.encoding_warnings)
        rows = sum(kept.height for kept in parts)
        if rows > limit:
            fix = "use fewer rows: each needs dozens to thousands of predictions"
            expected = f"at most {limit:,} rows to explain"
            raise DataError(Problem(str(count_or_file), expected, f"{rows:,}", fix))
    frame = pl.concat(parts).select(names)
    warnings = warning_texts(encoding_warnings)
    return ExplainedRows(
        str(count_or_file), range(frame.height), frame, are_of_run=False, warnings=warnings
    )
