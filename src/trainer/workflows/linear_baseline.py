"""The linear baseline of a run: fitted on the training rows of its network, weighted as they were.

It sees the same columns, each as a straight line: numbers are imputed and standardised, without the
quantiles and the smooth clip that bound them for a network. Values that `data.clean.outliers` clips are
clipped here too: that setting corrects the data, whatever is fitted on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.config.schema import Config
from trainer.data.arrays import Float32Array
from trainer.data.prepare import Dataset
from trainer.data.splits import SplitName
from trainer.evaluation.baselines import fit_linear
from trainer.evaluation.predictions import FloatArray, Predictions
from trainer.workflows.task import Task, apply_class_weights

_LEVELS = 256
"""Of a column with more levels that the network embeds, the linear model sees nothing."""
_PART_ROWS = 65_536


def linear_predictions(
    config: Config, task: Task, dataset: Dataset, splits: Sequence[SplitName]
) -> dict[SplitName, Predictions]:
    """The predictions of a linear model, fitted on the training rows, for some splits.

    Args:
        config: The run's; its class weights hold for the linear model too.
        task: What is predicted.
        dataset: The table, split and encoded for the network.
        splits: Those to predict; without rows they are left out.
    """
    encoder = dataset.preprocessing.with_linear_scaling()
    table = dataset if encoder == dataset.preprocessing else dataset.with_preprocessing(encoder)
    train = table.samples("train")
    assert train is not None, "a run has training rows"
    train = apply_class_weights(train, task.class_weights(config.fit.class_weight))
    target = task.target
    # On a curve the line is fitted, too: prices over orders of magnitude are no sum of their features.
    y = train.y if target.curves else task.actual(task.encode_targets(train))
    weight = None if train.weight is None else train.weight.astype(np.float64)
    embeddings = encoder.embeddings
    model = fit_linear(target.task, _widened(train.x, embeddings), y, weight)
    found: dict[SplitName, Predictions] = {}
    for split in splits:
        samples = table.samples(split)
        if samples is None:
            continue
        parts: list[FloatArray] = [
            model.predict(_widened(samples.x[start : start + _PART_ROWS], embeddings))
            for start in range(0, len(samples.x), _PART_ROWS)
        ]
        predictions: FloatArray = np.concatenate(parts)
        if target.curves:
            predictions = target.inverse_transform(predictions)
        # Probabilities as the network's are: the log loss looks as near to 0 and 1.
        if target.task != "regression":
            predictions = predictions.astype(np.float32)
        found[split] = task.answered(task.encode_targets(samples), predictions)
    return found


def _widened(x: Float32Array, embeddings: Sequence[tuple[int, int]]) -> Float32Array:
    """The rows with a column for each level of what the network embeds."""
    if not embeddings:
        return x
    first = x.shape[1] - len(embeddings)
    parts = [x[:, :first]]
    for number, (levels, _) in enumerate(embeddings):
        if levels <= _LEVELS:
            ids = x[:, first + number].astype(np.int64)
            parts.append(np.eye(levels, dtype=np.float32)[ids])
    return np.concatenate(parts, axis=1)
