"""Rows whose images a report shows."""

import numpy as np
import pytest

from trainer.assessment.image_examples import choose_image_examples
from trainer.metrics.predictions import Predictions


def multiclass(classes, rows, seed=0):
    generator = np.random.default_rng(seed)
    actual = generator.integers(0, classes, rows)
    p = generator.dirichlet(np.ones(classes), rows).astype(np.float32)
    names = tuple(f"class {index}" for index in range(classes))
    numbers = np.arange(rows) * 3
    return Predictions("multiclass", names, np.eye(classes)[actual], p, numbers), actual


@pytest.mark.parametrize("classes", [3, 40])
def test_classes(classes):
    predictions, actual = multiclass(classes, 400)
    predicted, confidence = predictions.p.argmax(axis=1), predictions.p.max(axis=1)
    examples = choose_image_examples(predictions, 0.5)
    wrong = np.flatnonzero(predicted != actual)
    by_confidence = wrong[np.argsort(-confidence[wrong])].tolist()
    assert list(examples.mistakes) == by_confidence[:12]
    assert set(examples.wrong) <= set(by_confidence[12:])
    assert len(examples.wrong) == len(set(examples.wrong)) == 24
    assert all(predicted[list(examples.correct)] == actual[list(examples.correct)])
    counts = np.bincount(actual[list(examples.wrong)], minlength=classes)
    assert counts.max() - counts.min() <= 1
    for (row, column), positions in examples.confusions.items():
        cell = np.flatnonzero((actual == row) & (predicted == column))
        assert positions[0] == cell[confidence[cell].argmax()]
        assert set(positions) <= set(cell.tolist())
    if classes == 3:
        assert len(examples.confusions) == 9
        assert examples.confusions.keys() == {(row, col) for row in range(3) for col in range(3)}
    else:
        pairs = np.zeros((classes, classes))
        np.add.at(pairs, (actual, predicted), 1)
        np.fill_diagonal(pairs, 0)
        assert len(examples.confusions) == 20
        assert min(pairs[pair] for pair in examples.confusions) >= np.sort(pairs.ravel())[-20]
    assert list(examples.positions) == sorted(set(examples.positions))
    assert choose_image_examples(predictions, 0.5) == examples


def test_two_classes_and_a_threshold():
    y = np.array([[0.0], [0], [1], [1]])
    p = np.array([[0.1], [0.4], [0.35], [0.9]], np.float32)
    predictions = Predictions("binary", ("no", "yes"), y, p, np.arange(4))
    examples = choose_image_examples(predictions, 0.3)
    assert examples.mistakes == (1,)
    assert set(examples.correct) == {0, 2, 3}
    assert examples.confusions == {(0, 0): (0,), (0, 1): (1,), (1, 1): (3, 2)}
    assert choose_image_examples(predictions, 0.5).mistakes == (2,)


def test_labels():
    y = np.array([[1.0, 0], [1, 1], [0, 0]])
    p = np.array([[0.8, 0.1], [0.9, 0.2], [0.99, 0.1]], np.float32)
    examples = choose_image_examples(Predictions("multilabel", ("a", "b"), y, p, np.arange(3)), 0.5)
    assert examples.mistakes == (2, 1)
    assert examples.correct == (0,)
    assert examples.confusions == {}


def test_numbers():
    y = np.arange(50.0)[:, None]
    p = y + np.where(np.arange(50)[:, None] % 2, 1, -1) * np.arange(50)[:, None] / 10
    examples = choose_image_examples(Predictions("regression", ("x",), y, p, np.arange(50)), 0.5)
    assert examples.mistakes == tuple(range(49, 37, -1))
    assert not set(examples.correct) & set(examples.mistakes)
    assert (len(examples.correct), examples.wrong) == (24, ())
