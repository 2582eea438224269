"""The output that is explained for each task and head."""

import numpy as np
import pytest

from trainer.config.losses import Loss
from trainer.data.targets import FittedTarget
from trainer.explain.explained_outputs import explained_outputs
from trainer.tasks.task import Task


def task_of(kind, names, outputs, head, **loss):
    has_classes = kind in ("binary", "multiclass")
    target = FittedTarget(
        task=kind,
        reason="",
        columns=("y",) if has_classes else names,
        rows=2,
        classes=names if has_classes else (),
        offset=(),
        scale=(),
        class_counts=(),
        prior=(),
    )
    return Task(target, head, outputs, Loss(**loss), (), 0.3)


@pytest.mark.parametrize(("head", "outputs"), [("sigmoid", 1), ("softmax", 2)])
def test_two_classes(head, outputs):
    task = task_of("binary", ("no", "yes"), outputs, head)
    p = np.array([[0.2], [0.4], [0.9]], np.float32)
    result = explained_outputs(task, p)
    assert result.names == ("no", "yes", "yes")
    np.testing.assert_allclose(result.scores(p), [0.8, 0.4, 0.9])
    np.testing.assert_allclose(result.scores(p[1:], slice(1, 3)), [0.4, 0.9])
    assert result.units.tolist() == ([0, 1, 1] if outputs == 2 else [0, 0, 0])
    assert result.signs.tolist() == ([1, 1, 1] if outputs == 2 else [-1, 1, 1])


@pytest.mark.parametrize("name", ["multiclass", "multilabel"])
def test_classes_and_labels(name):
    task = task_of(name, ("a", "b", "c"), 3, "softmax")
    p = np.array([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]])
    result = explained_outputs(task, p)
    assert (result.names, result.units.tolist()) == (("b", "a"), [1, 0])
    assert result.scores(p).tolist() == [0.7, 0.5]
    assert result.signs.tolist() == [1, 1]


def test_numbers():
    task = task_of("regression", ("x", "y"), 2, "linear")
    result = explained_outputs(task, np.array([[3.0, 9.0]]))
    assert (result.names, result.units.tolist(), result.columns.tolist()) == (("x",), [0], [0])
    assert result.scores(np.array([[3.0, 9.0]])).tolist() == [3.0]
    quantiles = task_of(
        "regression", ("x",), 3, "linear", name="quantile", quantiles=[0.1, 0.5, 0.9]
    )
    assert explained_outputs(quantiles, np.array([[3.0]])).units.tolist() == [1]
    mean = task_of(
        "regression", ("x",), 3, "linear", name="mean_with_quantiles", quantiles=[0.1, 0.9]
    )
    assert explained_outputs(mean, np.array([[3.0]])).units.tolist() == [0]
