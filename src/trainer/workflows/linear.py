"""The linear baseline of a run: fitted on the very rows and columns that its network was.

Owns: which numbers of a table it sees. Does not own: the fit (`trainer.evaluation.baselines`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trainer.data.arrays import Singles
from trainer.data.samples import Samples
from trainer.data.splits import SplitName
from trainer.evaluation.answers import Answers, Floats
from trainer.evaluation.baselines import fit_linear
from trainer.workflows.question import Question

SamplesOf = Callable[[SplitName], Samples | None]
_LEVELS = 256
"""Of a column with more levels that the network embeds, the linear model sees nothing."""
_PART_ROWS = 65_536


def linear_answers(
    question: Question,
    embeddings: Sequence[tuple[int, int]],
    samples_of: SamplesOf,
    splits: Sequence[SplitName],
) -> dict[SplitName, Answers]:
    """What a linear model, fitted on the training rows, says of some splits.

    Args:
        question: What is asked.
        embeddings: (ids, dimension) of each embedding; their ids are the last columns of the rows.
        samples_of: The rows of a split.
        splits: Those that are answered; without rows they are left out.
    """
    train = samples_of("train")
    assert train is not None, "a run has training rows"
    target = question.target
    # On a curve the line is fitted, too: prices over orders of magnitude are no sum of their features.
    y = train.y if target.curves else question.actual(question.head_targets(train))
    weight = None if train.weight is None else train.weight.astype(np.float64)
    model = fit_linear(target.task, _widened(train.x, embeddings), y, weight)
    found: dict[SplitName, Answers] = {}
    for split in splits:
        samples = samples_of(split)
        if samples is None:
            continue
        said: list[Floats] = [
            model.answers(_widened(samples.x[start : start + _PART_ROWS], embeddings))
            for start in range(0, len(samples.x), _PART_ROWS)
        ]
        answers: Floats = np.concatenate(said)
        if target.curves:
            answers = target.unscale(answers)
        # Probabilities as the network's are: the log loss looks as near to 0 and 1.
        if target.task != "regression":
            answers = answers.astype(np.float32)
        found[split] = question.answered(question.head_targets(samples), answers)
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
