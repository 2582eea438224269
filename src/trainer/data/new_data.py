"""New data, to evaluate a trained network on or to predict.

    files ─ read ─► table of test rows ─ samples ─► evaluation
                ─► batches of all rows ─ transform ─► prediction

A table larger than memory is read in batches, with the same results.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.yaml_writer import flow_text
from trainer.data.csv_advice import NO_HEADER, advice
from trainer.data.csv_files import first_line_is_data
from trainer.data.dataset import BROKEN_IMAGE, NO_TARGET, Dataset
from trainer.data.label_lists import is_list_type
from trainer.data.missing_values import no_target_problem
from trainer.data.ndjson_files import NESTED
from trainer.data.nested_columns import nested_problem
from trainer.data.opening import open_table
from trainer.data.preprocessing import EncodedRows, Preprocessing
from trainer.data.pseudonyms import Pseudonyms
from trainer.data.row_checks import row_weights, rows_with_target
from trainer.data.splits import DROPPED, TEST
from trainer.data.streams import batch_rows
from trainer.data.table_images import broken_images
from trainer.data.tables import Table
from trainer.data.target_fitting import check_targets
from trainer.errors import DataError, Problem, did_you_mean, pluralize

_AS_TRAINED = "provide one value per row, as in training"


@dataclass(frozen=True, slots=True)
class PredictionBatch:
    """Consecutive rows to predict.

    Attributes:
        first: The number of the first row, from 0.
        kept: The columns that are passed through unchanged.
        encoded: The encoded rows.
        warnings: Warnings about the format of the files.
    """

    first: int
    kept: pl.DataFrame
    encoded: EncodedRows
    warnings: tuple[str, ...] = ()


def evaluation_dataset(data: Data, preprocessing: Preprocessing, *, streamed: bool) -> Dataset:
    """Return the rows of new files that have a target, as test rows.

    Args:
        data: The `data` section of the run, with these files as its source.
        preprocessing: The fitted preprocessing of the run.
        streamed: Whether to leave the features on disk.

    Raises:
        DataError: If there are problems with the files, columns are missing, no row has a target, or a
            class does not occur in training.
    """
    Pseudonyms.from_settings(data).check_key(preprocessing.pseudonym_key)
    target = preprocessing.target
    keys = [*target.columns, *([] if data.weight is None else [data.weight])]
    source = open_table(data, streamed=streamed)
    lists = target.columns if target.has_label_lists else ()
    features = [column.name for column in preprocessing.columns]
    _check_columns(source.header, data, features, keys, lists)
    image = preprocessing.image
    table = source.read_columns([*keys, *([] if image is None else [image.name])])
    has_target = rows_with_target(
        table, target.columns, data, has_label_lists=target.has_label_lists
    )
    if not has_target.any():
        raise DataError(no_target_problem(table, target.columns))
    weight = None if data.weight is None else row_weights(table, data.weight, has_target)
    broken, broken_lines = np.zeros_like(has_target), list[str]()
    if image is not None and image.drop_broken:
        broken, broken_lines = broken_images(table, image.name, data)
    assignment = np.where(has_target & ~broken, TEST, DROPPED).astype(np.int8)
    unknown = check_targets(table, target, assignment)
    return Dataset(
        source=source,
        table=table,
        assignment=assignment,
        reasons=np.where(has_target, BROKEN_IMAGE * broken, NO_TARGET).astype(np.int8),
        preprocessing=preprocessing,
        warnings=(*table.warnings, *broken_lines, *unknown),
        weight=weight,
    )


def prediction_batches(
    data: Data, preprocessing: Preprocessing, keep: Sequence[str], *, streamed: bool
) -> Iterator[PredictionBatch]:
    """Yield all rows of new files in order, in one or several batches.

    Args:
        data: The `data` section of the run, with these files as its source.
        preprocessing: The fitted preprocessing of the run.
        keep: Columns to pass through; "*" for all. The path of an image always is.
        streamed: Whether to keep one batch in memory at a time.

    Raises:
        DataError: If there are problems with the files, or columns are missing.
    """
    Pseudonyms.from_settings(data).check_key(preprocessing.pseudonym_key)
    source = open_table(data, streamed=streamed)
    names = [column.name for column in preprocessing.columns]
    _check_columns(source.header, data, names)
    kept = _kept(source.header, keep)
    image = preprocessing.image
    if image is not None and image.name not in kept:
        kept = [image.name, *kept]
    columns = list(dict.fromkeys([*names, *kept]))
    parts: Iterator[pl.DataFrame] = (frame for _, frame in source.batches(columns))
    if not source.in_memory:
        # A power of two is a multiple of the prediction batch size, so that each row is predicted in
        # the same batch as when all rows are in memory.
        width = max(len(columns), preprocessing.width)
        parts = _rebatched(parts, 1 << (batch_rows(width).bit_length() - 1))
    yield from _batches(source.header, parts, kept, preprocessing)


def prediction_batch(
    table: Table, data: Data, preprocessing: Preprocessing, keep: Sequence[str]
) -> PredictionBatch:
    """Return all rows of a table in memory.

    Args:
        table: The table.
        data: The `data` section of the run.
        preprocessing: The fitted preprocessing of the run.
        keep: Columns to pass through; "*" for all.

    Raises:
        DataError: If columns are missing, have no single values, or there are no rows.
    """
    Pseudonyms.from_settings(data).check_key(preprocessing.pseudonym_key)
    hidden = Pseudonyms.from_settings(data).apply(table.frame, table.name)
    table = replace(table, frame=hidden)
    _check_columns(table, data, [column.name for column in preprocessing.columns])
    (batch,) = _batches(table, [hidden], _kept(table, keep), preprocessing)
    return batch


def _batches(
    table: Table, parts: Iterable[pl.DataFrame], kept: Sequence[str], preprocessing: Preprocessing
) -> Iterator[PredictionBatch]:
    first = 0
    schema = table.frame.schema
    # In NDJSON tables, a nested value is a list that contains its JSON.
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


def _rebatched(frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Yield the same rows in batches of `rows`."""
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
    """Check that the features and other columns exist and are not nested.

    Args:
        table: The table.
        data: The `data` section.
        features: The feature columns.
        others: The target and weight columns.
        lists: Columns whose cells may be lists.

    Raises:
        DataError: If columns are missing or contain lists or objects.
    """
    names = [*features, *others]
    available = table.frame.columns
    missing = [name for name in names if name not in available]
    if not missing:
        schema = table.frame.schema
        nested = [
            nested_problem(table, name, schema[name], feature=False)
            for name in names
            if name not in lists or not is_list_type(schema[name])
        ]
        problems = [replace(problem, fix=_AS_TRAINED) for problem in nested if problem is not None]
        if problems:
            raise DataError(problems)
        return
    if table.formats[0] == "csv":
        better = _csv_format_problem(table, data, features, missing)
        if better is not None:
            raise DataError(better)
    raise DataError(
        Problem(
            table.name,
            f"a column '{name}', as in training",
            "no such column",
            did_you_mean(
                name,
                [other for other in available if other not in names],
                "add it, empty where the value is unknown",
            ),
        )
        for name in missing
    )


def _csv_format_problem(
    table: Table, data: Data, features: Sequence[str], missing: Sequence[str]
) -> Problem | None:
    """Return the problem with a CSV file that seems to have a different format than in training."""
    path = Path(table.files[0].path)
    better = advice(path, data.csv)
    if better is not None:
        return better.problem(table.name, data.csv, path)
    columns = table.frame.columns
    headless = data.csv.header and first_line_is_data(path, data.csv)
    if data.csv.header and not (headless and set(missing) >= set(features)):
        return None
    fix = "set data.csv.names to the names of all columns in order"
    if len(columns) == len(features):
        names = flow_text(list(features))
        fix = f"set data.csv.names: {names} if that is their order"
        fix += f" (on the command line {shlex.quote(f'data.csv.names={names}')})"
    if headless:
        expected = f"a header with the columns of training, '{features[0]}' first"
        fix = f"set {NO_HEADER}, and {fix}"
        return Problem(table.name, expected, "a first line that looks like data", fix)
    expected = f"a column '{missing[0]}', as in training, in a file without a header"
    found = f"{pluralize(len(columns), 'column')}, {columns[0]} to {columns[-1]}"
    return Problem(table.name, expected, found, fix, "data.csv.names")


def _kept(table: Table, keep: Sequence[str]) -> list[str]:
    available = table.frame.columns
    if "*" in keep:
        return available
    problems = [
        Problem(
            table.name,
            "the columns to keep",
            f"no '{name}'",
            did_you_mean(name, available, f"remove '{name}'"),
        )
        for name in keep
        if name not in available
    ]
    if problems:
        raise DataError(problems)
    return list(dict.fromkeys(keep))
