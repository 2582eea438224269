"""The network that `trainer init` proposes, by the size of the table and the effort.

The rules come from measurements on 15 public tables of 200 to 50,000 rows.
"""

from __future__ import annotations

from typing import Literal

from trainer.config.task_rules import TASK_RULES
from trainer.config.template import Recipe
from trainer.data.table_inspection import ColumnFinding, TableFindings

Effort = Literal["quick", "balanced", "best"]

_FOLDS = 5
# With folds, all rows are used for training and predictions are averaged; a single validation split
# of a small table is too small to choose an epoch by. Larger tables gain less and take longer.
_MIN_ROWS_FOR_FOLDS, _MAX_ROWS_FOR_FOLDS = 50, 100_000
_MAX_ROWS_FOR_QUICK_FOLDS = 1_000
_MIN_ROWS_FOR_VALIDATION = 300
_MIN_ROWS_FOR_TEST = 20
# With this many numeric columns, wider layers reduce the error, and bins would multiply the inputs. For
# other tables, larger networks took three times as long without a lower error.
_WIDE, _MAX_BINNED = 100, 200
# Fine bins need many rows: with 10,000 or more, 64 bins had up to 10% less error than 16; with fewer,
# 32 had more on noisy tables and on tables with many columns.
_BINS, _FINE_BINS, _MIN_ROWS_FOR_FINE_BINS = 16, 64, 10_000
_ROWS_PER_BIN, _MAX_BIN_INPUTS = 20, 3_200
# On one table of spectra (193 rows, 100 columns), starting with principal components instead of the
# columns divided the error by four, without dropout.
_MAX_COMPONENTS, _ROWS_PER_COMPONENT = 20, 10
# Minimum number of rows, batch size, epochs, patience: large tables need few epochs.
_TRAINING = (
    (0, 16, 200, 20),
    (500, 32, 200, 15),
    (2_000, 64, 100, 10),
    (10_000, 128, 100, 8),
    (30_000, 256, 100, 6),
    (200_000, 1024, 50, 5),
)
# For classes and between these numbers of rows, the learning rate falls from this value to 0 over a few
# epochs: on three tables, the error was from 2% lower to 1% higher than with a constant rate, in half
# the epochs. With numbers, it was up to 2% higher.
_MIN_ROWS_FOR_DECAY, _MAX_ROWS_FOR_DECAY = 10_000, 200_000
_DECAYED_RATE, _DECAY_EPOCHS = 3e-3, 12
# For single networks: later epochs of tables that need more of them gain little.
_QUICK_EPOCHS = 40

# Without hidden layers, a network on n-grams is a regression with as many factors as its vectors have
# dimensions. On 4,000 reviews, it was as accurate as logistic regression.
_TEXT_BATCH, _TEXT_EPOCHS, _TEXT_PATIENCE, _TEXT_DROPOUT = 32, 60, 3, 0.3

# Beside the mean, quantiles for 90% intervals that adapt to the row. On five of six tables, they lowered
# the score of the intervals by 19% to 42%; on one of 193 rows, they raised it by 7%. The error of the
# mean fell by up to 7%, and with five quantiles more than with two.
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Gradient boosting takes about 0.01 s for each column, class and fold.
_MAX_QUICK_BOOSTING = 400
# Logistic regression takes about 6e-6 s for each row and class, and 1.8e-7 s more for each input.
_MAX_QUICK_LINEAR, _LINEAR_OUTPUT, _LINEAR_INPUT = 1.5, 6e-6, 1.8e-7
# Inputs of a date, and the maximum for a category.
_DATE_INPUTS, _LEVEL_INPUTS = 30, 25


def choose_recipe(findings: TableFindings, effort: Effort) -> Recipe:
    """Choose the network for a table."""
    rows, rules = findings.rows, TASK_RULES[findings.task]
    used = [column for column in findings.columns if column.exclude is None]
    are_texts = bool(used) and all(column.kind == "text" for column in used)
    batch_size, epochs, patience = [size[1:] for size in _TRAINING if rows >= size[0]][-1]
    folds = _folds(findings, effort)
    decays = (
        rules.has_classes and not are_texts and _MIN_ROWS_FOR_DECAY <= rows < _MAX_ROWS_FOR_DECAY
    )
    if decays:
        epochs = _DECAY_EPOCHS
    elif effort == "quick" and folds is None:
        epochs, patience = min(epochs, _QUICK_EPOCHS), patience // 2
    if are_texts:
        batch_size, epochs, patience = _TEXT_BATCH, min(epochs, _TEXT_EPOCHS), _TEXT_PATIENCE
    has_validation = folds is not None or rows >= _MIN_ROWS_FOR_VALIDATION
    numbers = sum(column.kind == "numeric" for column in used)
    without_bins = ""
    if numbers > _MAX_BINNED:
        without_bins = f"{numbers:,} columns would need too many inputs"
    elif findings.are_redundant:
        without_bins = "the columns are nearly linear combinations of a few"
    components = None
    # The layer is for features only, not for the terms of texts.
    if findings.are_redundant and all(column.kind != "text" for column in findings.columns):
        components = min(_MAX_COMPONENTS, rows // _ROWS_PER_COMPONENT, numbers) or None
    smooths = rules.predicts_most_likely and has_validation
    repeats = {"quick": 1, "balanced": 1, "best": 4 if rows < 10_000 else 2}[effort]
    boosted = len(findings.columns) * max(1, len(findings.classes)) * (folds or 1)
    return Recipe(
        components=components,
        learned_scale=not are_texts,
        hidden=() if are_texts else _hidden(findings, components or numbers, effort),
        input_dropout=_TEXT_DROPOUT if are_texts else 0.0,
        dropout=0.1 if rows >= _MIN_ROWS_FOR_TEST and components is None else 0.0,
        piecewise_bins=None if without_bins or not numbers else _bins(rows, numbers),
        without_bins=without_bins,
        label_smoothing=0.05 if smooths else 0.0,
        quantiles=_QUANTILES if has_validation and not rules.has_classes else (),
        decayed_rate=_DECAYED_RATE if decays else None,
        batch_size=batch_size,
        epochs=epochs if has_validation else 100,
        patience=patience if has_validation else None,
        folds=folds,
        repeats=1 if folds is None else repeats,
        test=0.0 if folds is not None or rows < _MIN_ROWS_FOR_TEST else 0.2,
        validation=0.2 if has_validation else 0.0,
        linear=effort != "quick" or _linear_seconds(findings, folds or 1) <= _MAX_QUICK_LINEAR,
        boosting=effort != "quick" or boosted <= _MAX_QUICK_BOOSTING,
    )


def _bins(rows: int, numbers: int) -> int:
    """Return the bins of the piecewise-linear encoding of each number."""
    if rows < _MIN_ROWS_FOR_FINE_BINS:
        return _BINS
    inputs = min(rows // _ROWS_PER_BIN, _MAX_BIN_INPUTS)
    return max(_BINS, min(_FINE_BINS, inputs // numbers))


def estimated_inputs(column: ColumnFinding, bins: int = 0) -> int:
    """Return about how many inputs of the network a column has, with this many bins of a number."""
    match column.kind:
        case "numeric":
            return 1 + bins
        case "datetime":
            return _DATE_INPUTS
        case "categorical":
            return min(column.distinct, _LEVEL_INPUTS)
        case _:
            return 1


def _linear_seconds(findings: TableFindings, folds: int) -> float:
    """Return about how many CPU seconds the linear model of the report takes."""
    if not TASK_RULES[findings.task].has_classes:
        return 0.0
    inputs = sum(estimated_inputs(column) for column in findings.columns if column.exclude is None)
    outputs = 1 if TASK_RULES[findings.task].has_positive_class else len(findings.classes)
    each = _LINEAR_OUTPUT + _LINEAR_INPUT * inputs
    return folds * findings.rows * max(1, outputs) * each


def _folds(findings: TableFindings, effort: Effort) -> int | None:
    """Return the number of folds; None for a single network.

    Rows in order of time are split by time, where later rows are not used for earlier folds.
    """
    rows = findings.rows
    most = _MAX_ROWS_FOR_QUICK_FOLDS if effort == "quick" else _MAX_ROWS_FOR_FOLDS
    is_ordered = findings.order is not None and findings.order.is_sorted
    if is_ordered or not _MIN_ROWS_FOR_FOLDS <= rows <= most:
        return None
    # Each fold needs a row of each class.
    folds = min(_FOLDS, *findings.classes.values()) if findings.classes else _FOLDS
    return folds if folds > 2 else None


def _hidden(findings: TableFindings, numbers: int, effort: Effort) -> tuple[int, ...]:
    """Return the units of the layers after this many numbers."""
    if effort == "quick":
        return (64, 64)
    if numbers >= _WIDE:
        return (256, 256, 256)
    return (128, 128) if findings.rows <= _MAX_ROWS_FOR_FOLDS else (256, 256)
