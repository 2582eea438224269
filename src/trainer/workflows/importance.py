"""Permutation importance of a network that is trained: when it is worth its time, and as a file has it.

Owns: the rows it is measured on, its JSON. Does not own: shuffling (`trainer.evaluation.importance`).
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
    """Whether a fit ends with it; auto: up to 20 million cells, rows × columns × repeats.

    Args:
        setting: `evaluate.importance`.
        rows: Of the validation split.
        columns: Of the table, those that are features.
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
    """What `explanation/importance.json` holds, of a network that is in memory; but for the seconds,
    which no two runs have alike.

    Args:
        evaluator: Of the network, with the weights that are judged.
        samples: Rows of the split as the table gives them, the targets not laid out for the head.
        preprocessing: What encoded them.
        task: What the network answers.
        split: Their name.
        seed: Of the shuffles, and of the rows where there are more than 200,000.
        level: Of the intervals, as 0.95.
        repeats: Shuffles of each column.
    """
    x, y, weight = samples.x, task.actual(task.encode_targets(samples)), samples.weight
    if len(x) > MAX_ROWS:
        drawn = np.random.default_rng(seed).choice(len(x), MAX_ROWS, replace=False)
        rows = np.sort(drawn)
        x, y, weight = x[rows], y[rows], None if weight is None else weight[rows]

    found = permutation_importance(
        task.target.task,
        [EncodedRows(x, preprocessing.places)],
        y,
        weight,
        prediction_function(evaluator, task),
        repeats=repeats,
        seed=seed,
        confidence_level=level,
    )
    return importance_json(found, split, len(samples.x), level)


def prediction_function(evaluator: Evaluator, task: Task) -> PredictFn:
    """Asks a network that is in memory, about rows of one encoding."""

    def ask(encoded: Sequence[Float32Array]) -> FloatArray:
        return task.answers(evaluator.predict(encoded[0]))

    return ask


def importance_json(
    found: PermutationImportance, split: SplitName, of_rows: int, level: float
) -> dict[str, Any]:
    """An importance as a file has it.

    Args:
        found: What was found.
        split: The split its rows are of.
        of_rows: How many rows that has.
        level: Of the intervals.
    """
    columns = tuple(
        ColumnDrop(one.column, one.drop, one.low, one.high, one.is_noise) for one in found.columns
    )
    record = ImportanceFile(
        split=split,
        rows=found.rows,
        repeats=found.repeats,
        measure=found.metric,
        baseline=found.baseline,
        columns=columns,
        of_rows=of_rows,
        level=level,
    )
    facts: dict[str, Any] = to_json(record)
    del facts["seconds"]  # Of what is written with training every byte is the same again.
    return facts
