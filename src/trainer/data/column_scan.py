"""Read the training rows of feature columns in batches, and infer the kind of each column from them.

Columns are read again if text differs in kind from its first batch, or invalid values have to be
shown. Columns in memory are read in blocks, so that accumulating them takes little memory; those of a
stream are read together, so that there are few passes over the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trainer.config.data import ColumnKind, Data
from trainer.data.arrays import BoolArray, RowIndex
from trainer.data.column_accumulators import ColumnAccumulator
from trainer.data.column_kinds import (
    MAX_SHOWN,
    InvalidValues,
    almost_numeric_problem,
    invalid_mask,
    invalid_values_problem,
)
from trainer.data.hashing import row_keys
from trainer.data.nested_columns import nested_problem
from trainer.data.number_formats import NumberFormat, parse_number_columns
from trainer.data.opening import Rows, RowsInMemory
from trainer.data.tables import Table
from trainer.data.text_formats import ParseSpec, TextFormatDetector
from trainer.data.values import column_blocks, number_expr
from trainer.errors import Problem

_SEED = 0

Accumulators = Mapping[str, ColumnAccumulator]


@dataclass(frozen=True, slots=True)
class InferredKinds:
    """The inferred kinds of the columns that have training values.

    Attributes:
        kinds: Kind by column, in the table's order.
        empty: Columns without a value in the training rows.
        parse_specs: How each column is parsed.
    """

    kinds: dict[str, ColumnKind]
    empty: tuple[str, ...]
    parse_specs: dict[str, ParseSpec]

    @property
    def number_formats(self) -> dict[str, NumberFormat]:
        """The number formats of the columns that are not plain numbers."""
        return {
            name: spec.number_format
            for name, spec in self.parse_specs.items()
            if spec.number_format is not None
        }


def infer_kinds(
    table: Table, names: Sequence[str], rows: RowIndex, data: Data
) -> tuple[InferredKinds, list[Problem]]:
    """Return the kind of each column, configured or inferred, and problems with invalid values.

    Args:
        table: The table.
        names: Feature columns.
        rows: The training rows.
        data: The `data` section; `columns.<name>.kind` sets a kind.
    """
    training = np.zeros(table.frame.height, dtype=np.bool_)
    training[rows] = True
    scan = ColumnScan(RowsInMemory(table), table, data, training, limit=None)
    flat, problems = scan.flat_columns(names)
    accumulators: dict[str, ColumnAccumulator] = {}
    for block in scan.blocks(flat):
        scanned, block_problems = scan.accumulate(block, counts_only=True)
        accumulators |= scanned
        problems += block_problems
    return inferred_kinds(accumulators), problems


def inferred_kinds(accumulators: Accumulators) -> InferredKinds:
    """Return the kinds that accumulators of all training rows determined."""
    full = {name: column for name, column in accumulators.items() if not column.is_empty}
    kinds = {name: column.inferred_kind for name, column in full.items()}
    return InferredKinds(
        {name: kind for name, kind in kinds.items() if kind is not None},
        tuple(name for name in accumulators if name not in full),
        {name: column.spec for name, column in full.items() if kinds[name] is not None},
    )


@dataclass(frozen=True)
class ColumnScan:
    """Passes over the training rows of feature columns.

    Attributes:
        source: All rows.
        table: Locates rows, for messages.
        data: The `data` section.
        mask: bool (rows,): the training rows.
        limit: Maximum sample size of a column; None to keep all values.
    """

    source: Rows
    table: Table
    data: Data
    mask: BoolArray
    limit: int | None

    def flat_columns(self, names: Sequence[str]) -> tuple[list[str], list[Problem]]:
        """Return the columns with single values, and problems for the others."""
        schema = self.source.header.frame.schema
        nested = {name: nested_problem(self.table, name, schema[name]) for name in names}
        flat = [name for name in names if nested[name] is None]
        return flat, [problem for problem in nested.values() if problem is not None]

    def blocks(self, names: Sequence[str]) -> Iterator[list[str]]:
        """Yield the columns that are read together."""
        if self.source.in_memory:
            yield from column_blocks(names, int(np.count_nonzero(self.mask)))
        elif names:
            yield list(names)

    def batches(
        self, names: Sequence[str], number_formats: Mapping[str, NumberFormat] = {}
    ) -> Iterator[tuple[RowIndex, pl.DataFrame]]:
        """Yield the training rows in batches, with their row numbers and formatted numbers parsed."""
        if not names:
            return
        for start, frame in self.source.batches(names):
            rows = np.flatnonzero(self.mask[start : start + frame.height])
            if len(rows):
                part = frame if len(rows) == frame.height else frame[rows]
                yield rows + start, parse_number_columns(part, number_formats)

    def accumulate(
        self, names: Sequence[str], *, counts_only: bool = False
    ) -> tuple[dict[str, ColumnAccumulator], list[Problem]]:
        """Accumulate each column by its kind, and return the problems with invalid values.

        Args:
            names: Columns with single values.
            counts_only: Whether to only infer the kinds.
        """
        schema = self.source.header.frame.schema
        accumulators = {
            name: ColumnAccumulator(name, schema[name], self.data, self.limit, counts_only)
            for name in names
        }
        self.add_rows(accumulators)
        self._detect_formats(accumulators)
        problems: list[Problem] = []
        for name, values in self._invalid_values(accumulators).items():
            column = accumulators[name]
            if column.inferred_kind is None:
                problems.append(
                    almost_numeric_problem(self.table, name, values, column.known, column.numeric)
                )
                del accumulators[name]
            else:
                problems.append(
                    invalid_values_problem(self.table, name, values, column.spec, self.data)
                )
        if not problems and not counts_only:
            accumulators |= self.accumulate_again(
                column for column in accumulators.values() if column.needs_another_pass
            )
        return accumulators, problems

    def accumulate_again(
        self, columns: Iterable[ColumnAccumulator]
    ) -> dict[str, ColumnAccumulator]:
        """Accumulate columns of known kinds and formats."""
        again = {column.name: column.for_next_pass() for column in columns}
        self.add_rows(again)
        return again

    def add_rows(self, accumulators: Accumulators) -> None:
        """Add all training rows, with one batch in memory at a time."""
        formats = {
            name: column.detected_spec.number_format
            for name, column in accumulators.items()
            if column.detected_spec is not None and column.detected_spec.number_format is not None
        }
        for rows, frame in self.batches(list(accumulators), formats):
            keys = row_keys(_SEED, rows)
            for names in column_blocks(frame.columns, frame.height):
                block = frame.select(names)
                numbers = block.select(
                    number_expr(name, dtype) for name, dtype in block.schema.items()
                )
                for name in names:
                    accumulators[name].add(block[name], numbers[name], rows, keys)

    def _detect_formats(self, accumulators: Accumulators) -> None:
        """Detect the formats of text columns whose kind is not known yet."""
        detectors = {
            name: TextFormatDetector(self.data)
            for name, column in accumulators.items()
            if column.needs_detection
        }
        for _, frame in self.batches(list(detectors)):
            for name, detector in detectors.items():
                detector.add(frame[name])
        for name, detector in detectors.items():
            accumulators[name].set_detected_formats(detector)

    def _invalid_values(self, accumulators: Accumulators) -> dict[str, InvalidValues]:
        """Return the first values that cannot be parsed, of the columns that have any."""
        specs = {
            name: column.spec if column.inferred_kind is not None else ParseSpec("numeric")
            for name, column in accumulators.items()
            if not column.is_empty and (column.invalid or column.inferred_kind is None)
        }
        invalid: dict[str, InvalidValues] = {}
        for rows, frame in self.batches(list(specs)):
            for name, spec in specs.items():
                invalid_cells = invalid_mask(frame[name], spec, self.data)
                if not invalid_cells.any():
                    continue
                more = InvalidValues.at(frame[name], rows, invalid_cells)
                if name in invalid:
                    earlier = invalid[name]
                    more = InvalidValues(
                        (earlier.rows + more.rows)[:MAX_SHOWN],
                        (earlier.values + more.values)[:MAX_SHOWN],
                        earlier.count + more.count,
                    )
                invalid[name] = more
        # In the order of the table, not of the first invalid value.
        return {name: invalid[name] for name in specs if name in invalid}
