"""The linear baseline of a run: fitted on the training rows of its network, weighted as they were.

It sees the same columns, each as a straight line: numbers are imputed and standardised, without the
quantiles and the smooth clip that bound them for a network. Values that `data.clean.outliers` clips are
clipped here too: that setting corrects the data, whatever is fitted on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.config.schema import Config
from trainer.data.arrays import Singles
from trainer.data.prepare import PreparedTable
from trainer.data.splits import SplitName
from trainer.evaluation.answers import Answers, Floats
from trainer.evaluation.baselines import fit_linear
from trainer.workflows.question import Question, weighted

_LEVELS = 256
"""Of a column with more levels that the network embeds, the linear model sees nothing."""
_PART_ROWS = 65_536


def linear_answers(
    config: Config, question: Question, prepared: PreparedTable, splits: Sequence[SplitName]
) -> dict[SplitName, Answers]:
    """The predictions of a linear model, fitted on the training rows, for some splits.

    Args:
        config: The run's; its class weights hold for the linear model too.
        question: What is predicted.
        prepared: The table, split and encoded for the network.
        splits: Those to predict; without rows they are left out.
    """
    encoder = prepared.preprocessing.without_bends()
    table = prepared if encoder == prepared.preprocessing else prepared.encoded_by(encoder)
    train = table.samples("train")
    assert train is not None, "a run has training rows"
    train = weighted(train, question.class_weights(config.fit.class_weight))
    target = question.target
    # On a curve the line is fitted, too: prices over orders of magnitude are no sum of their features.
    y = train.y if target.curves else question.actual(question.head_targets(train))
    weight = None if train.weight is None else train.weight.astype(np.float64)
    embeddings = encoder.embeddings
    model = fit_linear(target.task, _widened(train.x, embeddings), y, weight)
    found: dict[SplitName, Answers] = {}
    for split in splits:
        samples = table.samples(split)
        if samples is None:
            continue
        parts: list[Floats] = [
            model.predict(_widened(samples.x[start : start + _PART_ROWS], embeddings))
            for start in range(0, len(samples.x), _PART_ROWS)
        ]
        predictions: Floats = np.concatenate(parts)
        if target.curves:
            predictions = target.unscale(predictions)
        # Probabilities as the network's are: the log loss looks as near to 0 and 1.
        if target.task != "regression":
            predictions = predictions.astype(np.float32)
        found[split] = question.answered(question.head_targets(samples), predictions)
    return found


def _widened(x: Singles, embeddings: Sequence[tuple[int, int]]) -> Singles:
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
