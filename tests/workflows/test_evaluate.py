"""Evaluation of a run's own splits gives the run's numbers; other rows give sklearn's."""

import polars as pl
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from tests.workflows.conftest import run_fit, write_table
from trainer.data import streams
from trainer.data.streaming import StreamedDataset
from trainer.errors import DataError, RunError
from trainer.workflows import engines
from trainer.workflows.evaluate import evaluate, load_run_table
from trainer.workflows.predict import predict
from trainer.workflows.trained_runs import open_trained


def judge(run, *splits, data=None):
    return evaluate(run, splits=splits, data=data, device="cpu", allow_custom=False).results


def test_own_splits_give_the_runs_numbers(finished):
    found = judge(finished.run, "train", "validation", "test")
    assert [one.split for one in found] == ["train", "validation", "test"]
    for one in found:
        assert one.checkpoint == "best"
        assert one.metrics == pytest.approx(finished.metrics[one.split], rel=1e-6)


def test_a_checkpoint_can_be_named(finished):
    (last,) = judge(finished.run / "checkpoints" / "last", "test")
    assert last.checkpoint == "last"


def test_other_rows_are_judged_as_sklearn_does(finished, tmp_path):
    other = tmp_path / "other.csv"
    write_table(other, rows=80, seed=9)
    (one,) = judge(finished.run, data=other)
    assert (one.rows, one.split, one.data) == (80, None, other)
    predicted = predict(finished.run, other, keep=(), device="cpu", allow_custom=False).frame
    truth = pl.read_csv(other)["label"]
    assert one.metrics["accuracy"] == pytest.approx(accuracy_score(truth, predicted["label"]))
    assert one.metrics["auc"] == pytest.approx(
        roc_auc_score(truth == "yes", predicted["probability_yes"])
    )


def test_a_table_larger_than_memory_has_the_same_scores(finished, tmp_path, monkeypatch):
    other = tmp_path / "other.csv"
    write_table(other, rows=10_000, seed=9)
    with other.open("a") as table:
        table.write("px,1,red,\npy,1,violet,yes\n")
    splits = ("train", "validation", "test")

    def scores():
        found = evaluate(finished.run, splits=(), data=other, device="cpu", allow_custom=False)
        return found, judge(finished.run, *splits)

    at_once = scores()
    assert at_once[0].results[0].rows == 10_001
    assert len(at_once[0].warnings) == 2
    monkeypatch.setattr(engines, "available_memory", lambda: 1_000)
    monkeypatch.setattr(streams, "BATCH_ROWS", 50)
    assert scores() == at_once


def test_the_splits_of_a_streamed_run_stay_on_disk(small, tmp_path):
    done = run_fit(small, tmp_path / "runs", "fit.epochs=1", "runtime.engine=streaming")
    assert isinstance(load_run_table(open_trained(done.run)), StreamedDataset)
    for one in judge(done.run, "train", "test"):
        assert one.metrics == pytest.approx(done.metrics[one.split], rel=1e-6)


def test_data_that_changed_since_are_refused(small, tmp_path):
    done = run_fit(small, tmp_path / "runs", "fit.epochs=1")
    with (tmp_path / "small.csv").open("a") as table:
        table.write("px,1,red,yes\n")
    with pytest.raises(DataError, match="--data"):
        judge(done.run, "test")


def test_a_split_without_rows_is_refused(small, tmp_path):
    done = run_fit(small, tmp_path / "runs", "fit.epochs=1", "data.split.test=0")
    with pytest.raises(RunError, match="test"):
        judge(done.run, "test")
