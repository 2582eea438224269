"""Loading of the audited rows for a config, in memory or from a table that is read in batches."""

from __future__ import annotations

import numpy as np
import polars as pl

from trainer.audit.audited_table import AuditedTable, make_audited_table
from trainer.config.resolve import resolved_split_seed
from trainer.config.schema import Config
from trainer.data.arrays import Assignment, RowIndex
from trainer.data.features import split_column, target_columns
from trainer.data.fitting import ColumnFit
from trainer.data.hashing import mix64, row_keys
from trainer.data.prepare import SplitTable, split_and_fit, validated_features
from trainer.data.splits import DROPPED, TRAIN
from trainer.data.streams import Stream, open_stream
from trainer.data.tables import read_table
from trainer.data.values import is_nested

SAMPLED_ROWS = 200_000
SAMPLED_CELLS = 20_000_000
_MIN_ROWS = 2_000


def read_audited_table(
    config: Config, *, streamed: bool = False
) -> tuple[SplitTable, AuditedTable]:
    """Read and split the table of a config, and select the rows to audit.

    Args:
        config: Its `data.source` paths are absolute, or relative to the working directory.
        streamed: Whether to read the table in batches instead of loading it into memory.

    Raises:
        DataError: The table cannot be read or split, or its target is invalid.
    """
    split_table, names, frame, rows = _streamed(config) if streamed else _read(config)
    return split_table, make_audited_table(split_table, frame, rows, names, config.data)


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


def _read(config: Config) -> tuple[SplitTable, list[str], pl.DataFrame, RowIndex]:
    table = read_table(config.data.source, config.data)
    names = validated_features(table, config.data)
    split_table = split_and_fit(config, table, names, _unfitted)
    rows = sampled_rows(split_table.assignment, table.frame.width, resolved_split_seed(config))
    frame = table.frame if len(rows) == table.frame.height else table.frame[rows]
    return split_table, names, frame, rows


def _streamed(config: Config) -> tuple[SplitTable, list[str], pl.DataFrame, RowIndex]:
    stream = open_stream(config.data)
    names = validated_features(stream.empty_table, config.data)
    keys = dict.fromkeys(
        [*target_columns(config.data), config.data.weight, split_column(config.data)]
    )
    table = stream.read_columns([name for name in keys if name is not None])
    split_table = split_and_fit(config, table, names, _unfitted)
    schema = stream.empty_table.frame.schema
    columns = [name for name in schema if not is_nested(schema[name]) or name in names]
    rows = sampled_rows(split_table.assignment, len(columns), resolved_split_seed(config))
    return split_table, names, _gather(stream, columns, rows), rows


def _gather(stream: Stream, columns: list[str], rows: RowIndex) -> pl.DataFrame:
    """Return the given rows of all files, in one pass over them."""
    parts = []
    for start, frame in stream.batches(columns):
        first, last = np.searchsorted(rows, [start, start + frame.height])
        parts.append(frame[rows[first:last] - start])
    return pl.concat(parts, rechunk=True)


def _unfitted(assignment: Assignment) -> ColumnFit:
    """Return all training rows without fitting a column; the audit reports what fitting would reject."""
    rows: RowIndex = np.flatnonzero(assignment == TRAIN)
    return ColumnFit((), rows, rows[:0], rows[:0], ())
