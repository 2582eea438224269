"""Rows that a network was not trained with: to judge it by, or to ask it about.

    files ─ read ─► table of test rows ─ samples ─► to judge by
                ─► parts of all rows ─ transform ─► to ask about

A table larger than memory is read a part at a time, and gives the same numbers.

Owns: which columns other files need, the parts. Does not own: reading (`tables`, `streams`), encoding
(`preprocessing`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.yaml_writer import flow_text
from trainer.data.csv_advice import NO_HEADER, advice
from trainer.data.csv_files import first_line_is_data
from trainer.data.label_lists import is_list_type
from trainer.data.missing_values import no_target_problem
from trainer.data.ndjson_files import NESTED
from trainer.data.nested_columns import nested_problem
from trainer.data.prepare import NO_TARGET, REASONS, Dataset, InMemoryDataset
from trainer.data.preprocessing import EncodedRows, Preprocessing
from trainer.data.row_checks import row_weights, rows_with_target
from trainer.data.splits import DROPPED, TEST
from trainer.data.streaming import StreamedDataset
from trainer.data.streams import batch_rows, open_stream
from trainer.data.tables import Table, read_table
from trainer.data.target_fitting import check_targets
from trainer.errors import DataError, Problem, did_you_mean

_AS_TRAINED = "give it one value a row, as in training"


@dataclass(frozen=True, slots=True)
class PredictionBatch:
    """Rows that follow each other in the files.

    Attributes:
        first: The number of the first, from 0.
        kept: The columns that are passed through, as they are written.
        encoded: The rows as numbers.
        warnings: What is odd in how the files are written.
    """

    first: int
    kept: pl.DataFrame
    encoded: EncodedRows
    warnings: tuple[str, ...] = ()


def evaluation_dataset(data: Data, preprocessing: Preprocessing, *, streamed: bool) -> Dataset:
    """The rows of other files that have a target, as test rows.

    Args:
        data: The `data` section of the run, whose source is those files.
        preprocessing: What the run fitted.
        streamed: Leave the features on disk.

    Raises:
        DataError: Files, missing columns, no row with a target, a class that was not in training.
    """
    target = preprocessing.target
    keys = [*target.columns, *([] if data.weight is None else [data.weight])]
    stream = open_stream(data) if streamed else None
    table = read_table(data.source, data) if stream is None else stream.empty_table
    lists = target.columns if target.listed else ()
    _check_columns(table, data, [column.name for column in preprocessing.columns], keys, lists)
    if stream is not None:
        table = stream.read_columns(keys)
    known = rows_with_target(table, target.columns, data, listed=target.listed)
    if not known.any():
        raise DataError(no_target_problem(table, target.columns))
    weight = None if data.weight is None else row_weights(table, data.weight, known)
    assignment = np.where(known, TEST, DROPPED).astype(np.int8)
    unknown = check_targets(table, target, assignment)
    lost = len(known) - int(np.count_nonzero(known))
    found = InMemoryDataset(
        table=table,
        assignment=assignment,
        reasons=np.where(known, 0, NO_TARGET).astype(np.int8),
        preprocessing=preprocessing,
        warnings=(*table.warnings, *unknown),
        dropped={REASONS[NO_TARGET]: lost} if lost else {},
        weight=weight,
    )
    return found if stream is None else StreamedDataset(**vars(found), stream=stream)


def prediction_batches(
    data: Data, preprocessing: Preprocessing, keep: Sequence[str], *, streamed: bool
) -> Iterator[PredictionBatch]:
    """All rows of other files in their order, at once or a part at a time.

    Args:
        data: The `data` section of the run, whose source is those files.
        preprocessing: What the run fitted.
        keep: Columns that are passed through; "*" for all.
        streamed: Have one part in memory at a time.

    Raises:
        DataError: Files, missing columns.
    """
    names = [column.name for column in preprocessing.columns]
    stream = open_stream(data) if streamed else None
    table = read_table(data.source, data) if stream is None else stream.empty_table
    _check_columns(table, data, names)
    kept = _kept(table, keep)
    parts: Iterator[pl.DataFrame] = iter([table.frame])
    if stream is not None:
        columns = list(dict.fromkeys([*names, *kept]))
        width = max(len(columns), preprocessing.width)
        # A power of two is a whole number of the batches that rows are predicted in: each row is in
        # the company that it has when all are there at once.
        rows = 1 << (batch_rows(width).bit_length() - 1)
        parts = _even((frame for _, frame in stream.batches(columns)), rows)
    first = 0
    schema = table.frame.schema
    # NDJSON has the JSON of a nested value as the only item of a list.
    plain = [
        pl.col(name).list.first()
        if schema[name] == NESTED and "ndjson" in table.formats
        else pl.col(name)
        for name in kept
    ]
    for frame in parts:
        yield PredictionBatch(
            first, frame.select(plain), preprocessing.transform(frame), table.warnings
        )
        first += frame.height
    if not first:
        expected, fix = "a table with rows", "is this the right file?"
        raise DataError(Problem(table.name, expected, "no rows", fix))


def _even(frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows, so many at a time."""
    rest: pl.DataFrame | None = None
    for frame in frames:
        rest = frame if rest is None else rest.vstack(frame)
        while rest.height >= rows:
            yield rest[:rows]
            rest = rest[rows:]
    if rest is not None and rest.height:
        yield rest


def _check_columns(
    table: Table,
    data: Data,
    features: Sequence[str],
    others: Sequence[str] = (),
    lists: Sequence[str] = (),
) -> None:
    """Check that there are the features, and other columns, with single values.

    Args:
        table: The table.
        data: The `data` section.
        features: The feature columns.
        others: The target and weight columns.
        lists: Those of them whose cells may be lists.

    Raises:
        DataError: Some are missing or hold lists or objects.
    """
    wanted = [*features, *others]
    known = table.frame.columns
    missing = [name for name in wanted if name not in known]
    if not missing:
        schema = table.frame.schema
        nested = [
            nested_problem(table, name, schema[name], feature=False)
            for name in wanted
            if name not in lists or not is_list_type(schema[name])
        ]
        problems = [replace(one, fix=_AS_TRAINED) for one in nested if one is not None]
        if problems:
            raise DataError(problems)
        return
    if table.formats[0] == "csv":
        better = _read_otherwise(table, data, features, missing)
        if better is not None:
            raise DataError(better)
    raise DataError(
        Problem(
            table.name,
            f"a column '{name}', as in training",
            "none of that name",
            did_you_mean(
                name,
                [one for one in known if one not in wanted],
                "add it, empty where it is not known",
            ),
        )
        for name in missing
    )


def _read_otherwise(
    table: Table, data: Data, features: Sequence[str], missing: Sequence[str]
) -> Problem | None:
    """What is wrong where a CSV file is likely written in another way than those of training."""
    path = Path(table.files[0].path)
    better = advice(path, data.csv)
    if better is not None:
        return better.problem(table.name, data.csv, path)
    known = table.frame.columns
    headless = data.csv.header and first_line_is_data(path, data.csv)
    if data.csv.header and not (headless and set(missing) >= set(features)):
        return None
    fix = "name all its columns, in their order, with data.csv.names"
    if len(known) == len(features):
        names = flow_text(list(features))
        fix = f"set data.csv.names: {names} if that is their order"
        fix += f" (on the command line {shlex.quote(f'data.csv.names={names}')})"
    if headless:
        expected = f"a header with the columns of training, '{features[0]}' first"
        fix = f"set {NO_HEADER}, and {fix}"
        return Problem(table.name, expected, "a first line that looks like data", fix)
    expected = f"a column '{missing[0]}', as in training, in a file without a header"
    found = f"{len(known)} column{'s' if len(known) != 1 else ''}, {known[0]} to {known[-1]}"
    return Problem(table.name, expected, found, fix, "data.csv.names")


def _kept(table: Table, keep: Sequence[str]) -> list[str]:
    known = table.frame.columns
    if "*" in keep:
        return known
    problems = [
        Problem(table.name, "the columns to keep", f"no '{name}'", did_you_mean(name, known))
        for name in keep
        if name not in known
    ]
    if problems:
        raise DataError(problems)
    return list(dict.fromkeys(keep))
