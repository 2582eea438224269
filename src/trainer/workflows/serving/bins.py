"""The bins in which a server counts inputs and predictions: from the rows of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from trainer.config.locations import locate_problems
from trainer.config.resolve import resolved_split_seed
from trainer.data.arrays import RowIndex
from trainer.data.dataset import Dataset
from trainer.data.hashing import mix64, row_keys
from trainer.data.opening import gather_rows
from trainer.data.splits import TEST, TRAIN, VALIDATION
from trainer.errors import DataError, RunError
from trainer.export.rows import input_arrays
from trainer.prediction.trained_runs import load_run_table, open_members, read_run_config
from trainer.serving.monitoring import fit_bins
from trainer.serving.monitoring_bins import ColumnBins
from trainer.serving.onnx_model import OnnxModel

_MAX_ROWS, _MAX_IMAGES = 100_000, 1_000


def bins_of_run(path: Path, model: OnnxModel) -> tuple[ColumnBins, ...]:
    """Return the bins of the inputs and predictions of a run.

    Inputs are compared with the training rows, predictions with those for rows that were not used for
    training: test rows, else validation rows, else the training rows. Of more than 100,000 rows (1,000
    images), a sample is used. For a run with folds, the training rows are those of any fold.

    Args:
        path: The run.
        model: Its exported model.

    Raises:
        RunError: The data of the run are missing or have changed.
    """
    run, members = open_members(path)
    first = members[0]
    try:
        with locate_problems(first.loaded):
            dataset = load_run_table(first)
    except DataError as error:
        raise RunError(error.problems) from error
    seed = resolved_split_seed(first.loaded.config)
    has_folds = read_run_config(run).config.fit.folds is not None
    training = (TRAIN, VALIDATION) if has_folds else (TRAIN,)
    has_images = any(field.kind == "image" for field in model.schema.inputs)
    limit = _MAX_IMAGES if has_images else _MAX_ROWS
    rows = _sample(dataset, training, seed, limit)
    held_out = rows
    for split in (TEST, VALIDATION):
        sampled = _sample(dataset, (split,), seed, limit)
        if len(sampled):
            held_out = sampled
            break
    columns = list(dict.fromkeys(field.column for field in model.schema.inputs))
    inputs = input_arrays(model.schema, _frame(dataset, columns, held_out), has_pseudonyms=True)
    predictions = model.predict(dict(inputs), len(held_out))
    arrays = input_arrays(model.schema, _frame(dataset, columns, rows), has_pseudonyms=True)
    return fit_bins(model.schema, dict(arrays), predictions, rows=len(rows))


def _frame(dataset: Dataset, columns: list[str], rows: RowIndex) -> pl.DataFrame:
    return gather_rows(dataset.source, columns, rows)


def _sample(dataset: Dataset, splits: tuple[int, ...], seed: int, limit: int) -> RowIndex:
    """Return the rows of some splits, or a sample drawn by a hash."""
    rows: RowIndex = np.flatnonzero(np.isin(dataset.assignment, splits))
    if len(rows) <= limit:
        return rows
    keys = mix64(row_keys(seed, rows))
    return np.sort(rows[np.argpartition(keys, limit)[:limit]])
