"""The form of targets and predictions of each task, compared with scikit-learn's encoders."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from sklearn.preprocessing import LabelBinarizer

from trainer.config.task_rules import TASK_RULES
from trainer.metrics.labels import class_indices, class_totals, encode_classes
from trainer.task_names import TaskName
from trainer.tasks.base import ExclusiveTask
from trainer.tasks.registry import get_task_kind

CODES = np.array([1, 0, 0, 1, 1])


PREDICTING = [name for name in get_args(TaskName) if not TASK_RULES[name].is_generated]


@pytest.mark.parametrize("name", PREDICTING)
def test_every_task_with_predictions_is_registered(name: TaskName) -> None:
    kind = get_task_kind(name)
    assert kind.name == name
    assert kind.rules is TASK_RULES[name]
    assert isinstance(kind, ExclusiveTask) == kind.rules.is_exclusive


def test_prediction_names() -> None:
    assert get_task_kind("binary").prediction_names(("no", "yes")) == ["probability_yes"]
    columns = ["probability_a", "probability_b"]
    assert get_task_kind("multiclass").prediction_names(("a", "b")) == columns
    assert get_task_kind("multilabel").prediction_names(("a", "b")) == columns
    assert get_task_kind("regression").prediction_names(("x",)) == ["predicted_x"]


def test_head_units() -> None:
    assert get_task_kind("binary").head_units("sigmoid", 1) == 1
    assert get_task_kind("binary").head_units("softmax", 1) == 2
    assert get_task_kind("multiclass").head_units("softmax", 5) == 5
    assert get_task_kind("multilabel").head_units("sigmoid", 3) == 3
    assert get_task_kind("regression").head_units("linear", 2) == 2


@pytest.mark.parametrize(
    ("name", "codes"), [("binary", CODES), ("multiclass", np.array([2, 0, 1, 1, 2]))]
)
def test_class_indices(name: TaskName, codes: np.ndarray) -> None:
    classes = int(codes.max()) + 1
    columns = len(TASK_RULES[name].scored_names(["x"] * classes))
    y = encode_classes(codes, columns, np.float64)
    np.testing.assert_array_equal(y, LabelBinarizer().fit_transform(codes))
    np.testing.assert_array_equal(class_indices(y), codes)
    np.testing.assert_array_equal(class_totals(name, y), np.bincount(codes))
    texts = [f"class {code}" for code in range(classes)]
    assert get_task_kind(name).json_values(y, texts) == [f"class {code}" for code in codes]


@pytest.mark.parametrize("units", [1, 2])
def test_binary_head(units: int) -> None:
    kind, y = get_task_kind("binary"), CODES[:, None].astype(np.float32)
    encoded = kind.encode_for_head(y, units)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, np.eye(2)[CODES] if units == 2 else y)
    np.testing.assert_array_equal(kind.decode_from_head(encoded), y)


def test_labels_and_numbers_keep_their_columns() -> None:
    y = np.array([[1.0, 0.0], [1.0, 1.0]])
    for name in ("multilabel", "regression"):
        kind = get_task_kind(name)  # type: ignore[arg-type]
        assert kind.encode_for_head(y, 2) is y
        assert kind.decode_from_head(y) is y
        assert kind.json_values(y, ()) == [[1.0, 0.0], [1.0, 1.0]]
        assert class_totals(kind.name, y).tolist() == [2, 1]
