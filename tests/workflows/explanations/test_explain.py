"""Explanations: equality with scikit-learn on the same model, the files, invalid requests."""

import dataclasses
import json
import shutil
import sys
from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.metrics import roc_auc_score

from tests.marks import slow_except
from tests.workflows.conftest import evaluate_run, open_on_cpu, run_fit, run_members, write_small
from trainer.data import streams
from trainer.data.sampling import draw_row_sample
from trainer.data.values import number_matrix
from trainer.engine import selection
from trainer.errors import DataError, RunError, UsageError
from trainer.explain.importance import PermutationSettings, compute_importance
from trainer.explain.perturbations import EncodedRows
from trainer.inputs import keras_inputs
from trainer.prediction.trained_runs import load_network, load_run_table, open_trained
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_json
from trainer.workflows.explanations.explain import explain

# Not `importorskip`: shap reads NUMBA_DISABLE_JIT, which trainer sets, when it is first imported.
needs_shap = pytest.mark.skipif(find_spec("shap") is None, reason="needs shap")


def explain_run(run, **settings):
    settings = {"split": None, "repeats": 5, "columns": (), "shap_rows": None, **settings}
    return explain(open_on_cpu(run), **settings)


def read(run, name):
    return read_json(RunDirectory(run).explanation / name)


class RunEstimator(ClassifierMixin, BaseEstimator):
    """A run as a scikit-learn estimator with the features (size, index of the color)."""

    colors = ("blue", "green", "red", None)

    def __init__(self, run):
        self.run = run

    def fit(self, x, y):
        self.classes_ = np.array([0, 1])
        opened = open_trained(self.run)
        self.encoder, self.network = opened.preprocessing, load_network(opened, allow_custom=False)
        return self

    def predict_proba(self, x):
        colors = [self.colors[int(index)] for index in x[:, 1]]
        frame = pl.DataFrame({"size": x[:, 0], "color": pl.Series(colors, dtype=pl.String)})
        inputs = keras_inputs(self.encoder.transform(frame).inputs)
        p = np.asarray(self.network(inputs, training=False))
        return np.concatenate([1 - p, p], axis=1)


def estimator_rows(run, split):
    """Return a split as the estimator reads it, and its classes."""
    sample = draw_row_sample(load_run_table(open_trained(run)), split, 1000, 0)
    size = number_matrix(sample.frame, ["size"])[:, 0]
    color = [RunEstimator.colors.index(name) for name in sample.frame["color"]]
    return np.stack([size, color], axis=1), sample.y[:, 0]


def test_importance_and_curves_match_sklearn(encoded, tmp_path):
    run = shutil.copytree(encoded.run, tmp_path / "run")
    result = explain_run(run, repeats=15, split="test")
    x, y = estimator_rows(run, "test")
    estimator = RunEstimator(run).fit(x, y)
    expected = permutation_importance(
        estimator, x, y, scoring="roc_auc", n_repeats=15, random_state=0
    )
    columns = {column["column"]: column for column in result.importance["columns"]}
    assert result.importance["baseline"] == pytest.approx(encoded.metrics["test"]["auc"])
    for index, name in enumerate(("size", "color")):
        error = expected.importances_std[index] * np.sqrt(2 / 15)
        assert columns[name]["drop"] == pytest.approx(
            expected.importances_mean[index], abs=4 * error
        )
    curves = {curve["column"]: curve for curve in read(run, "partial_dependence.json")["columns"]}
    assert curves["color"]["kind"] == "categorical"
    assert curves["color"]["values"] == list(RunEstimator.colors)
    assert len(curves["size"]["values"]) == 24 == len(set(curves["size"]["values"]))
    assert len(curves["size"]["rug"]) == 9
    for index, name in enumerate(("size", "color")):
        values = np.array(curves[name]["values"]) if name == "size" else np.arange(4)
        expected = partial_dependence(
            estimator, x, [index], custom_values={index: values}, method="brute",
            response_method="predict_proba",
        )  # fmt: skip
        np.testing.assert_allclose(
            np.array(curves[name]["predictions"])[:, 0], expected["average"][0], atol=1e-5
        )


def test_files(copied):
    result = explain_run(copied)
    assert result.files == ("importance.json", "partial_dependence.json")
    assert sorted(path.name for path in result.folder.iterdir()) == [*result.files]
    importance = read(copied, "importance.json")
    assert importance == json.loads(json.dumps(result.importance))
    assert (importance["split"], importance["metric"], importance["rows"]) == (
        "validation", "auc", 24,
    )  # fmt: skip
    assert [set(column) for column in importance["columns"]] == [
        {"column", "drop", "low", "high", "is_significant"}
    ] * 2
    drops = [column["drop"] for column in importance["columns"]]
    assert drops == sorted(drops, reverse=True)
    assert read(copied, "partial_dependence.json")["names"] == ["probability_yes"]


def test_importance_computed_by_fit_matches_explain(copied):
    from trainer.engine.batches import Evaluator
    from trainer.engine.supervised import SupervisedLearner
    from trainer.models.losses import build_loss

    opened = open_trained(copied)
    network = load_network(opened, allow_custom=False)
    evaluator = Evaluator(SupervisedLearner(network, build_loss(opened.task.loss)))
    samples = load_run_table(opened).samples("validation")
    importance = compute_importance(
        opened.task.name,
        EncodedRows(samples.inputs, opened.preprocessing.input_columns),
        opened.task.target_values(opened.task.encode_targets(samples)),
        samples.weight,
        lambda encoded: opened.task.decode_outputs(evaluator.predict(encoded[0])),
        "validation",
        PermutationSettings(seed=opened.loaded.config.seed),
    )
    expected = explain_run(copied).importance
    expected.pop("seconds")
    assert importance == expected


def test_columns_and_checkpoint_can_be_selected(copied):
    result = explain_run(copied / "checkpoints" / "last", columns=("color",))
    assert result.checkpoint == "last"
    curves = read(copied, "partial_dependence.json")["columns"]
    assert [curve["column"] for curve in curves] == ["color"]
    explain_run(copied, columns=("color,size",))
    curves = read(copied, "partial_dependence.json")["columns"]
    assert [curve["column"] for curve in curves] == ["color", "size"]
    with pytest.raises(UsageError, match="did you mean 'color'"):
        explain_run(copied, columns=("colour,size",))


def test_table_larger_than_memory_has_the_same_explanation(copied, monkeypatch):
    in_memory = explain_run(copied)
    monkeypatch.setattr(selection, "available_memory", lambda: 1_000)
    monkeypatch.setattr(streams, "BATCH_ROWS", 50)
    streamed = explain_run(copied)
    for result in (in_memory, streamed):
        result.importance.pop("seconds")
    assert streamed == in_memory


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """A linear model of two numeric columns; the second has an indicator of missing values."""
    folder = tmp_path_factory.mktemp("linear")
    config = write_small(folder)
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 150))
    pl.DataFrame(
        {
            "first": first,
            "second": [None if row % 9 == 4 else value for row, value in enumerate(second)],
            "label": 3 * first - second + 0.1 * rng.normal(size=150) + 10,
        }
    ).write_csv(folder / "small.csv")
    return run_fit(
        config, folder / "runs", "model.layers=[]", "fit.epochs=60", "data.features.exclude=[]",
        "data.numeric.indicator=true",
    )  # fmt: skip


def test_surface_of_two_numeric_columns(linear, tmp_path):
    result = explain_run(linear.run)
    assert result.importance["metric"] == "r2"
    assert [column["column"] for column in result.importance["columns"]] == ["first", "second"]
    assert result.importance["columns"][0]["is_significant"]
    surface = read(linear.run, "surface.json")
    assert surface["columns"] == ["first", "second"]
    predictions = np.array(surface["predictions"])
    assert predictions.shape == (len(surface["y"]), len(surface["x"]))
    # A plane that rises along the first column and falls along the second, in the target's unit.
    assert np.allclose(np.diff(predictions, n=2, axis=0), 0, atol=1e-3)
    assert predictions[0, -1] - predictions[0, 0] > 5
    assert predictions[-1, 0] < predictions[0, 0]
    points = surface["points"]
    assert len(points["x"]) == len(points["y"]) == len(points["actual"]) > 20
    assert 5 < np.mean(points["actual"]) < 15
    point = pl.DataFrame({"first": [surface["x"][3]], "second": [surface["y"][5]]})
    opened = open_trained(linear.run)
    network = load_network(opened, allow_custom=False)
    outputs = np.asarray(network(opened.preprocessing.transform(point).inputs["features"]))
    expected = opened.task.decode_outputs(outputs)[0, 0]
    assert predictions[5, 3] == pytest.approx(expected, rel=1e-5)


@needs_shap
@pytest.mark.parametrize("source", slow_except(["rows"], ["rows", "file"]))
def test_shap_values_of_a_linear_model_are_exact(linear, tmp_path, source):
    """SHAP values of a linear model are weight × (value - background mean), summed by column."""
    opened = open_trained(linear.run)
    table = load_run_table(opened)
    shap_rows = 8
    sample = draw_row_sample(table, "test", 8, opened.loaded.config.seed)
    if source == "file":
        shap_rows = tmp_path / "few.csv"
        sample.frame.write_csv(shap_rows)
    result = explain_run(linear.run, shap_rows=shap_rows)
    frame = pl.read_parquet(result.folder / "shap.parquet")
    assert frame.columns == ["row", "prediction", "column", "value", "shap"]
    encoder, task = opened.preprocessing, opened.task
    background = draw_row_sample(table, "train", 100, opened.loaded.config.seed).frame
    x, background_x = (
        encoder.transform(sample.frame).inputs["features"],
        encoder.transform(background).inputs["features"],
    )
    kernel = load_network(opened, allow_custom=False).get_weights()[0][:, 0].astype(float)
    parts = (x - background_x.mean(axis=0, dtype=float)) * kernel * task.target.scale[0]
    rows = sample.rows.tolist() if source == "rows" else list(range(8))
    for name, place in encoder.input_columns.items():
        values = frame.filter(pl.col("column") == name).sort("row")
        assert values["row"].to_list() == rows
        np.testing.assert_allclose(values["shap"], parts[:, place.columns].sum(axis=1), atol=1e-4)
        written, expected = (
            [None if value is None else float(value) for value in column]
            for column in (values["value"], sample.frame[name])
        )
        assert written == expected
    shap = read(linear.run, "shap.json")
    assert shap["rows"] == rows
    assert shap["largest_gap"] < 1e-5
    assert shap["orders"] is None
    predictions = np.array(shap["predictions"])[:, 0]
    sums = frame.group_by("row").agg(pl.col("shap").sum()).sort("row")["shap"]
    np.testing.assert_allclose(shap["base"][0] + sums.to_numpy(), predictions, atol=1e-4)


@pytest.mark.slow
@needs_shap
def test_shap_values_add_up(copied):
    result = explain_run(copied, shap_rows=5)
    assert result.files[-2:] == ("shap.json", "shap.parquet")
    frame = pl.read_parquet(result.folder / "shap.parquet")
    assert set(frame["prediction"]) == {"probability_yes"}
    assert frame.height == 10
    assert result.shap["largest_gap"] < 1e-6
    again = explain_run(copied, shap_rows=5)
    assert again.shap == result.shap


def test_missing_shap_is_named_with_the_command_to_install_it(finished, monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(UsageError, match=r"pip install 'numba.* 'shap"):
        explain_run(finished.run, shap_rows=5)


def test_members_are_explained_together_on_the_test_rows(folds_run, tmp_path):
    run = shutil.copytree(folds_run.run, tmp_path / "run")
    result = explain_run(run)
    assert result.folder == run / "explanation"
    assert result.checkpoint == "best of 4 members"
    assert result.importance["split"] == "test"
    assert {column["column"] for column in result.importance["columns"]} == {"size", "color"}
    member = explain_run(run / "members" / "0001")
    assert member.importance["split"] == "validation"


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [("data.split.test=0",), ("data.split.test=0", "fit.repeats=2")]
)
def test_members_without_test_rows_predict_their_own_validation_rows(small, tmp_path, settings):
    run = run_members(small, tmp_path / "runs", "fit.epochs=1", "fit.folds=2", *settings).run
    importance = explain_run(run).importance
    assert importance["split"] == "validation"
    frame = pl.read_parquet(RunDirectory(run).out_of_fold)
    assert (importance["rows"], importance["split_rows"]) == (frame.height, frame.height)
    assert importance["baseline"] == pytest.approx(
        roc_auc_score(frame["label"] == "yes", frame["probability_yes"])
    )
    assert explain_run(run, split="validation").importance["columns"] == importance["columns"]
    with pytest.raises(RunError, match="--rows FILE"):
        explain_run(run, shap_rows=3)
    with pytest.raises(RunError, match=f"--data FILE; for metrics .*: trainer show {run}"):
        evaluate_run(run, "test")


@pytest.mark.slow
def test_rows_of_a_file_are_suggested_where_there_are_no_test_rows(small, tmp_path):
    run = run_fit(small, tmp_path / "runs", "fit.epochs=1", "data.split.test=0").run
    with pytest.raises(RunError, match="--rows FILE") as refused:
        explain_run(run, shap_rows=3)
    assert "--split" not in str(refused.value)


def test_changed_data_and_missing_rows_are_refused(small, tmp_path):
    run = run_fit(small, tmp_path / "runs", "fit.epochs=1", "data.split.validation=0").run
    with pytest.raises(RunError, match="explain it on other rows with --split test"):
        explain_run(run)
    with (tmp_path / "small.csv").open("a") as table:
        table.write("px,1,red,yes\n")
    with pytest.raises(DataError, match="restore the original file") as refused:
        explain_run(run, split="test")
    assert "--data" not in str(refused.value)
    assert not (run / "explanation").exists()


@pytest.mark.slow
def test_multiclass(small, tmp_path):
    frame = pl.read_csv(tmp_path / "small.csv")
    third = pl.when(pl.col("size") > 1).then(pl.lit("much")).otherwise(pl.col("label"))
    frame.with_columns(third.alias("label")).write_csv(tmp_path / "small.csv")
    run = run_fit(small, tmp_path / "runs", "fit.epochs=1").run
    result = explain_run(run)
    assert result.importance["metric"] == "accuracy"
    curves = read(run, "partial_dependence.json")
    assert curves["names"] == [f"probability_{name}" for name in ("much", "no", "yes")]
    predictions = np.array(curves["columns"][0]["predictions"])
    np.testing.assert_allclose(predictions.sum(axis=1), 1, atol=1e-5)
    assert dataclasses.asdict(result)["shap"] is None
