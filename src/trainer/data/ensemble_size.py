"""The number of networks that a time limit allows, for the effort `best`."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from trainer.config.template import Recipe
from trainer.data.recipes import estimated_inputs
from trainer.data.table_inspection import TableFindings

_MAX_REPEATS = 20
# Time reserved for startup, compilation, evaluation and report; fraction of the rest that is
# planned for.
_START_SECONDS, _TRAINING_SHARE = 15.0, 0.7
# Early stopping ends training after 15% to 60% of the epochs, unless the learning rate decays; a limit
# that is too short ends it too.
_EPOCH_SHARE = 0.25
# Cautious estimates for one core, as in `trainer.engine.batches`.
_STEP_SECONDS, _OPERATIONS_PER_SECOND = 60e-6, 30e9
# The optimizer updates the vectors of all terms of a column of text.
_TEXT_SECONDS = 2e-3


def with_networks_for(recipe: Recipe, findings: TableFindings, seconds: float) -> Recipe:
    """Return the recipe with as many networks for each fold as can be trained within a time limit.

    Args:
        recipe: The recipe of the effort `best`.
        findings: The table.
        seconds: The time limit.
    """
    if recipe.folds is None:
        return recipe
    bins = recipe.piecewise_bins or 0
    inputs = sum(estimated_inputs(column, bins) for column in findings.columns)
    widths = (inputs, *recipe.hidden)
    parameters = sum(first * second for first, second in pairwise(widths))
    rows = findings.rows * (1 - 1 / recipe.folds)
    share = _EPOCH_SHARE if recipe.decayed_rate is None else 1.0
    steps = rows / recipe.batch_size * recipe.epochs * share
    operations = 6 * parameters * recipe.batch_size
    texts = sum(column.kind == "text" for column in findings.columns)
    per_step = _STEP_SECONDS + operations / _OPERATIONS_PER_SECOND + texts * _TEXT_SECONDS
    per_network = steps * per_step
    training = (seconds - _START_SECONDS) * _TRAINING_SHARE
    repeats = int(training / (recipe.folds * per_network))
    return replace(recipe, repeats=min(max(1, repeats), _MAX_REPEATS))
