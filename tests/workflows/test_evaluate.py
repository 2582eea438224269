"""Evaluation of a run's splits and of other tables."""

import polars as pl
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from tests.workflows.conftest import evaluate_run, predict_table, run_fit, write_table
from trainer.data import streams
from trainer.engine import selection
from trainer.errors import DataError, RunError
from trainer.prediction.trained_runs import load_run_table, open_trained


def evaluate_splits(run, *splits):
    return evaluate_run(run, *splits).results


def test_splits_have_the_metrics_of_the_run(encoded):
    evaluations = evaluate_splits(encoded.run, "train", "validation", "test")
    assert [evaluation.split for evaluation in evaluations] == ["train", "validation", "test"]
    for evaluation in evaluations:
        assert evaluation.checkpoint == "best"
        assert evaluation.metrics == pytest.approx(encoded.metrics[evaluation.split], rel=1e-6)


def test_checkpoint_can_be_selected(finished):
    (last,) = evaluate_splits(finished.run / "checkpoints" / "last", "test")
    assert last.checkpoint == "last"


def test_metrics_of_another_table_match_sklearn(finished, tmp_path):
    other = tmp_path / "other.csv"
    write_table(other, rows=80, seed=9)
    (evaluation,) = evaluate_run(finished.run, data=other).results
    assert (evaluation.rows, evaluation.split, evaluation.data) == (80, None, other)
    predicted = predict_table(finished.run, other).frame
    actual = pl.read_csv(other)["label"]
    accuracy = accuracy_score(actual, predicted["label"])
    assert evaluation.metrics["accuracy"] == pytest.approx(accuracy)
    auc = roc_auc_score(actual == "yes", predicted["probability_yes"])
    assert evaluation.metrics["auc"] == pytest.approx(auc)


def test_table_larger_than_memory_has_the_same_metrics(finished, tmp_path, monkeypatch):
    other = tmp_path / "other.csv"
    write_table(other, rows=2_000, seed=9)
    with other.open("a") as table:
        table.write("px,1,red,\npy,1,violet,yes\n")

    def evaluations():
        splits = evaluate_splits(finished.run, "train", "validation", "test")
        return evaluate_run(finished.run, data=other), splits

    in_memory = evaluations()
    assert in_memory[0].results[0].rows == 2_001
    assert len(in_memory[0].warnings) == 2
    monkeypatch.setattr(selection, "available_memory", lambda: 1_000)
    monkeypatch.setattr(streams, "BATCH_ROWS", 50)
    assert evaluations() == in_memory


def test_splits_of_a_streamed_run_are_streamed(trained):
    result = trained("fit.epochs=1", "runtime.engine=streaming")
    assert not load_run_table(open_trained(result.run)).source.in_memory
    for evaluation in evaluate_splits(result.run, "train", "test"):
        assert evaluation.metrics == pytest.approx(result.metrics[evaluation.split], rel=1e-6)


def test_changed_data_are_refused(small, tmp_path):
    done = run_fit(small, tmp_path / "runs", "fit.epochs=1")
    with (tmp_path / "small.csv").open("a") as table:
        table.write("px,1,red,yes\n")
    with pytest.raises(DataError, match="--data"):
        evaluate_splits(done.run, "test")


def test_empty_split_is_refused(trained):
    result = trained("fit.epochs=1", "data.split.test=0")
    with pytest.raises(RunError, match="test"):
        evaluate_splits(result.run, "test")
