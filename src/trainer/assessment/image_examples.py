"""Choose the rows whose images a report shows: mistakes, correct predictions, and confusions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trainer.assessment.curves import confusion_matrices
from trainer.assessment.slices import worst_rows
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import BoolArray, Float64Array, Int64Array
from trainer.metrics.confusion import confused_pairs
from trainer.metrics.labels import class_indices, predicted_labels
from trainer.metrics.predictions import Predictions

MATRIX_CLASSES = 12
"""Maximum number of classes for examples of every cell of the confusion matrix."""
_MISTAKES, _SHOWN = 12, 24
_PAIRS, _OF_PAIR, _OF_MATRIX = 20, 3, 24


@dataclass(frozen=True, slots=True)
class ImageExamples:
    """Positions of rows in predictions.

    Attributes:
        mistakes: The wrong predictions with the highest probability, for labels and numbers those with
            the largest loss, in descending order.
        wrong: Other wrong predictions, of the actual classes in turn; none for numbers.
        correct: Correct predictions, of the classes in turn; for numbers, others than `mistakes`.
        confusions: (actual class, predicted class) → the predictions with the highest probability:
            for every pair if there are few classes, else for the most frequent mistakes.
    """

    mistakes: tuple[int, ...]
    wrong: tuple[int, ...]
    correct: tuple[int, ...]
    confusions: Mapping[tuple[int, int], tuple[int, ...]]

    @property
    def positions(self) -> tuple[int, ...]:
        """All positions, each once, in ascending order."""
        of_pairs = [position for pair in self.confusions.values() for position in pair]
        return tuple(sorted({*self.mistakes, *self.wrong, *self.correct, *of_pairs}))


def choose_image_examples(predictions: Predictions, threshold: float) -> ImageExamples:
    """Choose rows to show. The choice is the same for the same predictions.

    Args:
        predictions: The predictions of a split.
        threshold: The threshold of the positive class, or of labels.
    """
    rules = TASK_RULES[predictions.task]
    rows = len(predictions)
    by_loss = worst_rows(predictions, rows)[0].astype(np.int64)
    if not rules.has_classes:
        others = _of_classes(by_loss[_MISTAKES:], np.zeros(rows, np.int64))
        return ImageExamples(_plain(by_loss[:_MISTAKES]), (), others, {})
    labels = predicted_labels(predictions.task, predictions.p, threshold)
    if not rules.is_exclusive:
        is_wrong = np.any(labels != (predictions.y > 0.5), axis=1)
        return _examples(by_loss, is_wrong, np.zeros(rows, np.int64), {})
    actual, predicted = class_indices(predictions.y), class_indices(labels)
    order = np.lexsort((predictions.rows, -predicted_probabilities(predictions, predicted)))
    confusions = _confusions(predictions, threshold, order, actual, predicted)
    return _examples(order, actual != predicted, actual, confusions)


def predicted_probabilities(predictions: Predictions, predicted: Int64Array) -> Float64Array:
    """Return the probability of a class of each row, (n,).

    Args:
        predictions: The predictions, of exclusive classes.
        predicted: (n,) the index of the class.
    """
    p = predictions.p.astype(np.float64)
    if p.shape[1] == 1:
        return np.where(predicted == 1, p[:, 0], 1 - p[:, 0])
    probabilities: Float64Array = p[np.arange(len(p)), predicted]
    return probabilities


def _examples(
    order: Int64Array,
    is_wrong: BoolArray,
    classes: Int64Array,
    confusions: Mapping[tuple[int, int], tuple[int, ...]],
) -> ImageExamples:
    """Return examples of rows in the order in which mistakes are shown."""
    wrong = order[is_wrong[order]]
    return ImageExamples(
        mistakes=_plain(wrong[:_MISTAKES]),
        wrong=_of_classes(wrong[_MISTAKES:], classes),
        correct=_of_classes(np.flatnonzero(~is_wrong), classes),
        confusions=confusions,
    )


def _of_classes(positions: Int64Array, classes: Int64Array) -> tuple[int, ...]:
    """Draw some positions, of the classes in turn."""
    drawn = np.random.default_rng(0).permutation(np.sort(positions))
    order = np.argsort(classes[drawn], kind="stable")
    of_class = classes[drawn][order]
    first = np.searchsorted(of_class, of_class)
    turn = np.empty(len(drawn), np.int64)
    turn[order] = np.arange(len(drawn)) - first
    chosen = drawn[np.lexsort((classes[drawn], turn))][:_SHOWN]
    return _plain(chosen)


def _confusions(
    predictions: Predictions,
    threshold: float,
    order: Int64Array,
    actual: Int64Array,
    predicted: Int64Array,
) -> dict[tuple[int, int], tuple[int, ...]]:
    count = len(predictions.names)
    if count <= MATRIX_CLASSES:
        pairs = [(row, column) for row in range(count) for column in range(count)]
        each = max(1, min(6, _OF_MATRIX // count))
    else:
        pairs = confused_pairs(confusion_matrices(predictions, threshold))[:_PAIRS]
        each = _OF_PAIR
    cells = actual[order] * count + predicted[order]
    chosen = {pair: order[cells == pair[0] * count + pair[1]][:each] for pair in pairs}
    return {pair: _plain(positions) for pair, positions in chosen.items() if len(positions)}


def _plain(positions: Int64Array) -> tuple[int, ...]:
    return tuple(map(int, positions))
