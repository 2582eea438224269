from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from trainer.config.data import Data
from trainer.data.numeric_targets import recommend_scale, scale_recommendations
from trainer.data.target_fitting import fit_target
from trainer.data.targets import FittedTarget
from trainer.data.tasks import InferredTask, infer_task
from trainer.errors import DataError


def fit(values, task=None, scale="none", **data) -> FittedTarget:
    frame = values if isinstance(values, pl.DataFrame) else pl.DataFrame({"y": values})
    finding = infer_task(frame) if task is None else InferredTask(task, "stated")
    settings = Data(source="x.csv", target="y", **data)
    scales = [scale] * frame.width if isinstance(scale, str) else scale
    return fit_target(frame, frame.columns, finding, settings, scales, lambda row: f"row {row}")


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([0, 1, 1], ("0", "1")),
        ([0.0, 1.0], ("0", "1")),
        (["0.0", "1.0"], ("0.0", "1.0")),
        (["1", "1.0", "0", "1.0"], ("0", "1.0")),
        ([True, False], ("false", "true")),
        (["yes", "no", "yes"], ("no", "yes")),
        (["Yes", "No"], ("No", "Yes")),
        (["+", "-"], ("-", "+")),
        (["malignant", "benign", "benign"], ("benign", "malignant")),
        (["malignant", "malignant", "benign"], ("malignant", "benign")),
        ([2, 1, 1], ("2", "1")),
        (["a", "b"], ("a", "b")),
    ],
)
def test_positive_class(values, classes):
    assert fit(values).classes == classes


@pytest.mark.parametrize(
    ("values", "positive", "classes"),
    [
        ([0, 1], 0, ("1", "0")),
        ([0, 1], 1.0, ("0", "1")),
        (["True", "False"], False, ("True", "False")),
        (["a", "b"], "a", ("b", "a")),
    ],
)
def test_explicit_positive_class(values, positive, classes):
    assert fit(values, positive=positive).classes == classes


def test_classes_in_natural_order():
    assert fit(["class_10", "class_9", "class_1"]).classes == ("class_1", "class_9", "class_10")
    assert fit([10, 9, 1] * 10).classes == ("1", "9", "10")


def test_encoding():
    binary = fit(["yes", "no", "no", "no"])
    y, valid = binary.encode(pl.DataFrame({"y": ["no", None, "yes"]}))
    assert (y.tolist(), valid.tolist()) == ([[0], [0], [1]], [True, False, True])
    assert (y.dtype, binary.prior, binary.class_counts) == (np.float32, (0.25,), (3, 1))
    many = fit(["a", "b", "c"])
    assert many.encode(pl.DataFrame({"y": ["c", None]}))[0].tolist() == [[0, 0, 1], [0, 0, 0]]
    assert many.width == 3
    labels = fit(pl.DataFrame({"p": ["yes", "no", "no"], "q": [1, 1, 0]}))
    assert labels.prior == pytest.approx((1 / 3, 2 / 3))
    assert labels.encode(pl.DataFrame({"p": ["true"], "q": [0.0]}))[0].tolist() == [[1, 0]]


def test_labels_of_another_file_can_be_numbers():
    target = fit(["0", "1", "1"])
    assert target.encode(pl.DataFrame({"y": [1.0, 0.0]}))[0].tolist() == [[1], [0]]
    assert target.encode(pl.DataFrame({"y": ["1.0"]}))[0].tolist() == [[1]]
    words = fit(["True", "False"])
    assert words.encode(pl.DataFrame({"y": [True]}))[0].tolist() == [[1]]


def test_scaling_round_trip():
    values = np.array([1.5, 2.5, 10.0])
    target = fit(values, scale="standard")
    y, _ = target.encode(pl.DataFrame({"y": values}))
    assert y.mean() == pytest.approx(0, abs=1e-6)
    assert y.std() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(target.inverse_transform(y)[:, 0], values, rtol=1e-6)
    assert (target.prior, target.width) == ((0.0,), 1)
    assert fit(values).prior == (pytest.approx(values.mean()),)


def test_json_without_transforms():
    for scale in ("standard", "none"):
        assert "transforms" not in fit([1.5, 2.5, 10.0], scale=scale).model_dump(mode="json")
    labels = fit(["a", "b"]).model_dump(mode="json")
    assert list(labels)[-2:] == ["offset", "scale"]


@pytest.mark.parametrize("scale", ["log", "power"])
def test_transforms_round_trip(scale):
    values = np.array([0.5, 12.0, 300.0, 45_000.0, 2_000_000.0])
    target = fit(values, scale=scale)
    y, _ = target.encode(pl.DataFrame({"y": values}))
    assert y.mean() == pytest.approx(0, abs=1e-6)
    assert y.std() == pytest.approx(1, abs=1e-6)
    assert target.prior == (0.0,)
    np.testing.assert_allclose(target.inverse_transform(y)[:, 0], values, rtol=1e-4)
    again = FittedTarget.model_validate_json(target.model_dump_json())
    assert again == target


def test_missing_targets_with_log_transform():
    target = fit([1.0, 10.0, 100.0], scale="log")
    y, valid = target.encode(pl.DataFrame({"y": [10.0, None]}))
    np.testing.assert_allclose(y[:, 0], [0, y[1, 0]], atol=1e-6)
    assert valid.tolist() == [True, False]


def test_columns_are_scaled_independently():
    frame = pl.DataFrame({"a": [1.0, 10.0, 100.0], "b": [-5.0, 0.0, 5.0], "c": [0.0, 3.0, 400.0]})
    target = fit(frame, "regression", ["log", "none", "power"])
    y, _ = target.encode(frame)
    np.testing.assert_allclose(y[:, 0], [-1.224745, 0, 1.224745], atol=1e-5)
    np.testing.assert_allclose(y[:, 1], [-5, 0, 5])
    np.testing.assert_allclose(target.inverse_transform(y), frame.to_numpy(), rtol=1e-5, atol=1e-5)


def test_nonpositive_value_with_log_raises():
    with pytest.raises(DataError) as raised:
        fit([10.0, 0.0, -3.0, 200.0], scale="log")
    (problem,) = raised.value.problems
    assert problem.where == "row 1"
    assert problem.found == "0 and 1 more numbers of 0 or less"
    assert "data.target_scale: power" in problem.fix
    fit([10.0, 0.0, -3.0, 200.0], scale="power")
    target = fit([10.5, 200.0], scale="log")
    with pytest.raises(DataError, match="a positive number in 'y'"):
        target.encode(pl.DataFrame({"y": [10.0, 0.0]}))


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        (["a", "a"], {}, "only 'a'"),
        ([3, 3], {}, "only '3'"),
        (["a", "b", "c"], {"task": "binary"}, "3: 'a', 'b', 'c'"),
        (["a", "b"], {"positive": "B"}, "did you mean 'b'"),
        (["a", "b", "c"], {"positive": "a"}, "task multiclass"),
        (
            ["1.5", "x", "2"],
            {"task": "regression"},
            "row 1: expected a finite number in 'y', found 'x'",
        ),
        ([1.5, float("inf")], {"task": "regression"}, "found 'inf'"),
        ([1.5, 1.5], {"task": "regression"}, "the same number in every row"),
        (["a", "no"], {"task": "multilabel"}, "found cells such as 'a'.*task: binary"),
    ],
)
def test_invalid_targets_raise(values, settings, message):
    with pytest.raises(DataError, match=message):
        fit(values, **{"task": None, **settings})


def test_unknown_class_raises():
    with pytest.raises(DataError) as caught:
        fit(["a", "b"]).encode(pl.DataFrame({"y": ["a", "z", "z", "w"]}))
    assert [problem.found for problem in caught.value.problems] == [
        "'w' in 'y' in 1 row",
        "'z' in 'y' in 2 rows",
    ]


DRAWN = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (DRAWN.lognormal(8, 2, 300), "log"),
        (np.where(DRAWN.random(300) < 0.2, 0, DRAWN.lognormal(8, 2, 300)), "power"),
        (np.where(DRAWN.random(300) < 0.02, 0, DRAWN.lognormal(3, 1.5, 300)), "power"),
        (DRAWN.normal(50, 10, 300), None),
        (DRAWN.lognormal(3, 0.5, 300), None),
        (DRAWN.normal(0, 1e6, 300), None),
        (DRAWN.uniform(1, 1_000, 300), None),
        (np.array([1.0, 1e6] * 5), None),
    ],
)
def test_recommended_scale(values, scale):
    assert recommend_scale(values) == scale
    result = list(scale_recommendations(values[:, None], ["y"], ["standard"]))
    assert [f"data.target_scale: {scale}" in line for line in result] == [True] * len(result)
    assert len(result) == (scale is not None)
    assert not list(scale_recommendations(values[:, None], ["y"], ["none"]))


@pytest.mark.parametrize("factor", [1e-200, 1e-300, 1e200, 1e290])
def test_values_whose_squares_overflow_are_scaled(factor):
    values = factor * np.array([1.0, 2.0, 4.0, 9.0])
    target = fit(values, task="regression", scale="standard")
    y, _ = target.encode(pl.DataFrame({"y": values}))
    assert y.mean() == pytest.approx(0, abs=1e-6)
    assert y.std() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(target.inverse_transform(y)[:, 0], values, rtol=1e-6)


def test_column_named_like_count_columns():
    for name in ("count", "len", "rows", "cell", "level"):
        series = pl.DataFrame({name: ["b,a", "a,c", "b,a", "c,b", "a"] * 5})
        assert infer_task(series, Data(source="x.csv", target=name)).task == "multiclass"
