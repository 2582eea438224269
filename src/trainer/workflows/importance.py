"""Permutation importance of a network in memory: when to compute it, on which rows, and its JSON.

`trainer.evaluation.importance` computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trainer.data.preprocessing import Preprocessing
from trainer.data.samples import Samples
from trainer.data.splits import SplitName
from trainer.evaluation.importance import PermutationImportance, permutation_importance
from trainer.evaluation.perturbations import EncodedRows, Float32Array, PredictFn
from trainer.evaluation.predictions import FloatArray
from trainer.report.explanations import ColumnDrop, ImportanceFile
from trainer.runs.records import to_json
from trainer.workflows.task import Task

if TYPE_CHECKING:
    from trainer.engine.batches import Evaluator

REPEATS = 5
MAX_ROWS = 200_000
_AUTOMATIC_CELLS = 20_000_000


def should_compute_importance(setting: Literal["auto"] | bool, rows: int, columns: int) -> bool:
    """Return whether training ends with permutation importance.

    Auto: for up to 20 million cells, rows × columns × repeats.

    Args:
        setting: `evaluate.importance`.
        rows: Validation rows.
        columns: Feature columns of the table.
    """
    if setting == "auto":
        setting = rows * columns * REPEATS <= _AUTOMATIC_CELLS
    return setting and rows > 0 and columns > 0


def compute_importance(
    evaluator: Evaluator,
    samples: Samples,
    preprocessing: Preprocessing,
    task: Task,
    *,
    split: SplitName,
    seed: int,
    level: float,
    repeats: int = REPEATS,
) -> dict[str, Any]:
    """Compute the content of `explanation/importance.json` for a network in memory, without the
    seconds, which differ between runs.

    Args:
        evaluator: Evaluates the network with its current weights.
        samples: Rows of the split, whose targets are not encoded for the head.
        preprocessing: The preprocessing that encoded them.
        task: The task.
        split: The name of the split.
        seed: The seed of the permutations, and of the rows if there are more than 200,000.
        level: The confidence level of the intervals, for example 0.95.
        repeats: The number of permutations of each column.
    """
    x, y, weight = samples.x, task.target_values(task.encode_targets(samples)), samples.weight
    if len(x) > MAX_ROWS:
        drawn = np.random.default_rng(seed).choice(len(x), MAX_ROWS, replace=False)
        rows = np.sort(drawn)
        x, y, weight = x[rows], y[rows], None if weight is None else weight[rows]

    importance = permutation_importance(
        task.target.task,
        [EncodedRows(x, preprocessing.input_ranges)],
        y,
        weight,
        prediction_function(evaluator, task),
        repeats=repeats,
        seed=seed,
        confidence_level=level,
    )
    return importance_json(importance, split, len(samples.x), level)


def prediction_function(evaluator: Evaluator, task: Task) -> PredictFn:
    """Return a function that predicts rows of one encoding with a network in memory."""

    def predict(encoded: Sequence[Float32Array]) -> FloatArray:
        return task.decode_outputs(evaluator.predict(encoded[0]))

    return predict


def importance_json(
    importance: PermutationImportance, split: SplitName, split_rows: int, level: float
) -> dict[str, Any]:
    """Return the JSON of an importance.

    Args:
        importance: The importance.
        split: The split of its rows.
        split_rows: The number of rows of the split.
        level: The confidence level of the intervals.
    """
    columns = tuple(
        ColumnDrop(column.column, column.drop, column.low, column.high, column.is_noise)
        for column in importance.columns
    )
    record = ImportanceFile(
        split=split,
        rows=importance.rows,
        repeats=importance.repeats,
        metric=importance.metric,
        baseline=importance.baseline,
        columns=columns,
        split_rows=split_rows,
        confidence_level=level,
    )
    facts: dict[str, Any] = to_json(record)
    del facts["seconds"]  # Files written by training must be reproducible byte by byte.
    return facts
