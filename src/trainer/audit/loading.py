"""Load the rows to audit for a config."""

from __future__ import annotations

import numpy as np

from trainer.audit.audited_table import AuditedTable, make_audited_table
from trainer.config.resolve import resolved_split_seed
from trainer.config.schema import Config
from trainer.data.arrays import Assignment, RowIndex
from trainer.data.dataset import Dataset
from trainer.data.features import target_columns
from trainer.data.fitting import ColumnFit
from trainer.data.hashing import mix64, row_keys
from trainer.data.opening import gather_rows, open_table
from trainer.data.prepare import split_and_fit, validated_features
from trainer.data.splits import DROPPED, TRAIN
from trainer.data.tables import Table
from trainer.data.values import is_nested

SAMPLED_ROWS = 200_000
SAMPLED_CELLS = 20_000_000
_MIN_ROWS = 2_000


def read_audited_table(config: Config, *, streamed: bool = False) -> tuple[Dataset, AuditedTable]:
    """Read and split the table of a config, and select the rows to audit.

    Args:
        config: Its `data.source` paths are absolute, or relative to the working directory.
        streamed: Whether to read the table in batches instead of loading it into memory.

    Raises:
        DataError: The table cannot be read or split, or its target is invalid.
    """
    source = open_table(config.data, streamed=streamed)
    names = validated_features(source.header, config.data)
    dataset = split_and_fit(config, source, names, _unfitted)
    schema, used = source.header.frame.schema, {*names, *target_columns(config.data)}
    columns = [name for name in schema if name in used or not is_nested(schema[name])]
    rows = sampled_rows(dataset.assignment, len(columns), resolved_split_seed(config))
    frame = gather_rows(source, columns, rows)
    return dataset, make_audited_table(dataset, frame, rows, names, config.data)


def sampled_rows(assignment: Assignment, width: int, seed: int) -> RowIndex:
    """Return the rows to audit, in order: all that are not dropped, or a sample drawn by a hash.

    Args:
        assignment: int8 (rows,): split number, or DROPPED.
        width: Columns of the table.
        seed: Seed of the sample.
    """
    rows: RowIndex = np.flatnonzero(assignment != DROPPED)
    max_rows = min(SAMPLED_ROWS, max(_MIN_ROWS, SAMPLED_CELLS // max(1, width)))
    if len(rows) <= max_rows:
        return rows
    # Hashed again, as the splits are drawn with the same keys.
    keys = mix64(row_keys(seed, rows))
    return np.sort(rows[np.argpartition(keys, max_rows)[:max_rows]])


def _unfitted(_: Table, assignment: Assignment) -> ColumnFit:
    """Return all training rows without fitting a column; the audit reports what fitting would reject."""
    rows: RowIndex = np.flatnonzero(assignment == TRAIN)
    return ColumnFit((), rows, rows[:0], rows[:0], ())
