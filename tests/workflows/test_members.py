"""Folds and repeats of one config: their runs, their joint metrics and their joint predictions."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.kill.comparison import IGNORED, differences
from tests.workflows.conftest import evaluate_run, predict_table, run_fit, run_members
from trainer.config.load import load_config
from trainer.errors import InputError, RunError, TrainingError
from trainer.runs.directory import RunDirectory
from trainer.workflows.events import MembersFinished
from trainer.workflows.existing_runs import find_run, read_finished
from trainer.workflows.members import (
    resume_members,
)
from trainer.workflows.session import Session


def resume(run: Path) -> MembersFinished:
    *_, last = resume_members(run, Session(("trainer", "resume")))
    assert isinstance(last, MembersFinished)
    return last


def read_evaluation(run: Path, split: str) -> dict:
    return json.loads((run / "evaluation" / f"{split}.json").read_text(encoding="utf-8"))


def probabilities(run: Path, table: Path) -> np.ndarray:
    return predict_table(run, table).frame["probability_yes"].to_numpy()


def test_one_run_per_fold_and_repeat(folds_run):
    assert [member.number for member in folds_run.members] == [1, 2, 3, 4]
    configs = [load_config(member.run / "config.yaml").config for member in folds_run.members]
    assert [config.data.split.fold for config in configs] == ["1/2", "2/2"] * 2
    assert len({config.seed for config in configs}) == 2
    splits = [pl.read_parquet(member.run / "splits.parquet") for member in folds_run.members]
    test_rows = [set(frame.filter(pl.col("split") == "test")["row"]) for frame in splits]
    assert all(rows == test_rows[0] for rows in test_rows)
    for first, second in zip(splits[:2], splits[2:], strict=True):
        assert first.equals(second)


@pytest.mark.slow
def test_member_equals_a_single_run_of_its_config(folds_run, tmp_path):
    member = folds_run.members[1].run
    single = run_fit(member / "config.yaml", tmp_path / "runs")
    for split in ("train", "validation", "test"):
        loss = read_evaluation(member, split)["metrics"]["loss"]
        assert loss == pytest.approx(single.metrics[split]["loss"], rel=1e-4)
    names, expected = (
        {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
        for run in (member, single.run)
    )
    assert "predictions/validation.parquet" in names
    assert names == {name for name in expected if "/last-" not in name and name != "lock"}


def test_metrics_are_aggregated(folds_run):
    aggregate = read_evaluation(folds_run.run, "validation")
    accuracies = [
        read_evaluation(member.run, "validation")["metrics"]["accuracy"]
        for member in folds_run.members
    ]
    assert aggregate["metrics"]["accuracy"] == pytest.approx(np.mean(accuracies))
    assert aggregate["intervals"]["accuracy"]["std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert aggregate["intervals"]["accuracy"]["n"] == aggregate["members"] == 4
    mean = folds_run.aggregates["validation"]["accuracy"].mean
    assert mean == pytest.approx(np.mean(accuracies))


def test_out_of_fold_predictions_are_from_members_not_trained_on_the_row(folds_run, tmp_path):
    frame = pl.read_parquet(folds_run.run / "predictions" / "out_of_fold.parquet")
    splits = pl.read_parquet(folds_run.members[0].run / "splits.parquet")
    assert frame["row"].to_list() == splits.filter(pl.col("split") != "test")["row"].to_list()
    table = pl.read_csv(folds_run.run.parents[2] / "small.csv")
    row = frame.row(7, named=True)
    assert row["label"] == table["label"][row["row"]]
    table[[row["row"]]].write_csv(tmp_path / "row.csv")
    predicted = [
        probabilities(member.run, tmp_path / "row.csv")[0]
        for member in folds_run.members
        if load_config(member.run / "config.yaml").config.data.split.fold == f"{row['fold']}/2"
    ]
    assert len(predicted) == 2
    assert row["probability_yes"] == pytest.approx(np.mean(predicted), abs=1e-5)
    assert row["probability_yes_std"] == pytest.approx(np.std(predicted, ddof=1), abs=1e-5)


def test_members_predict_together(folds_run):
    table = folds_run.run.parents[2] / "small.csv"
    together = predict_table(folds_run.run, table, "id").frame
    member_predictions = np.stack(
        [probabilities(member.run, table) for member in folds_run.members]
    )
    assert together.columns == [
        "row", "id", "label", "probability_no", "probability_yes", "probability_yes_std", "unseen",
    ]  # fmt: skip
    np.testing.assert_allclose(
        together["probability_yes"], member_predictions.mean(axis=0), atol=1e-6
    )
    std = member_predictions.std(axis=0, ddof=1)
    np.testing.assert_allclose(together["probability_yes_std"], std, atol=1e-6)
    is_yes = (together["probability_yes"] >= 0.5).to_list()
    assert (together["label"] == "yes").to_list() == is_yes


def test_members_are_evaluated_together(folds_run, tmp_path):
    (evaluation,) = evaluate_run(folds_run.run, "train", "validation", "test").results
    splits = pl.read_parquet(folds_run.members[0].run / "splits.parquet")
    test_rows = splits.filter(pl.col("split") == "test")["row"].to_list()
    table = pl.read_csv(folds_run.run.parents[2] / "small.csv")[test_rows]
    table.write_csv(tmp_path / "test.csv")
    predicted = predict_table(folds_run.run, tmp_path / "test.csv").frame
    accuracy = (predicted["label"] == table["label"]).mean()
    assert (evaluation.split, evaluation.rows) == ("test", len(test_rows))
    assert evaluation.metrics["accuracy"] == pytest.approx(accuracy)
    other = evaluate_run(folds_run.run, data=tmp_path / "test.csv").results[0]
    assert other.metrics == pytest.approx(evaluation.metrics)
    with pytest.raises(RunError, match="the test rows, which its members share"):
        evaluate_run(folds_run.run, "train")


@pytest.mark.slow
def test_interrupted_members_resume_exactly(folds_run, tmp_path):
    config = folds_run.run.parents[2] / "config.yaml"
    overrides = ["fit.folds=2", "fit.repeats=2"]
    stopped = run_members(config, tmp_path / "runs", *overrides, stop_after=3)
    assert (stopped.status, stopped.members, stopped.aggregates) == ("stopped", (), {})
    assert read_finished(RunDirectory(stopped.run)) is None
    loaded = load_config(config, overrides)
    assert find_run(loaded, tmp_path / "runs") == RunDirectory(stopped.run)
    with pytest.raises(RunError, match="finished members"):
        predict_table(stopped.run, config.with_name("small.csv"))
    resumed = resume(stopped.run)
    assert resumed.status == "finished"
    assert [
        difference
        for difference in differences(stopped.run, folds_run.run)
        if not difference.partition(":")[0].endswith(IGNORED)
    ] == []
    assert find_run(loaded, tmp_path / "runs") == RunDirectory(stopped.run)
    read = read_finished(RunDirectory(stopped.run))
    assert read.members == resumed.members
    after, before = (result.aggregates["test"]["accuracy"] for result in (read, resumed))
    assert (after.mean, after.low) == pytest.approx((before.mean, before.low))
    with pytest.raises(RunError, match="training left to do"):
        resume(stopped.run)


@pytest.mark.slow
def test_repeats_have_the_same_splits(small, tmp_path):
    repeats = run_members(small, tmp_path / "runs", "fit.repeats=2", "fit.epochs=1")
    first, second = (pl.read_parquet(member.run / "splits.parquet") for member in repeats.members)
    assert first.equals(second)
    assert not (repeats.run / "predictions" / "out_of_fold.parquet").exists()
    assert repeats.aggregates["validation"]["loss"].n == 2


@pytest.mark.slow
def test_run_fails_if_all_members_fail(small, tmp_path):
    overrides = ["fit.repeats=2", "optimizer={name: sgd, learning_rate: 1e30}"]
    with pytest.raises(TrainingError, match="a finite loss"):
        run_members(small, tmp_path / "runs", *overrides)
    (manifest,) = tmp_path.glob("runs/*/*/manifest.json")
    assert json.loads(manifest.read_text())["status"] == "failed"


def test_invalid_input_leaves_no_run(small, tmp_path):
    with pytest.raises(InputError):
        run_members(small, tmp_path / "runs", "fit.folds=3", "data.features.exclude=[nothing]")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("spellings", ["Yes yes No no", "A a B b C c"])
def test_folds_may_spell_the_classes_differently(tmp_path, spellings):
    spelled = spellings.split()
    rows = [
        f"{row * 7 % 90 / 90},{spelled[row * 7 % 90 * len(spelled) // 90]}" for row in range(90)
    ]
    (tmp_path / "t.csv").write_text("x,y\n" + "\n".join(rows) + "\n")
    config = tmp_path / "c.yaml"
    config.write_text(
        "data: {source: t.csv, target: y, columns: {y: {ignore_case: true}}, split: {by: random}}\n"
        "model: {layers: [{dense: 4}]}\nfit: {epochs: 1, folds: 3, repeats: 2}\n"
        "evaluate: {report: false}\n"
    )
    result = run_members(config, tmp_path / "runs")
    classes = [
        json.loads((member.run / "preprocessing.json").read_text())["target"]["classes"]
        for member in result.members
    ]
    assert len(set(map(tuple, classes))) > 1
    assert len({tuple(name.lower() for name in names) for names in classes}) == 1
    test = [
        pl.read_parquet(member.run / "predictions/test.parquet").select("^prob.*$").to_numpy()
        for member in result.members
    ]
    together = pl.read_parquet(result.run / "predictions/test.parquet")
    assert set(together["actual"]) <= set(classes[0])
    mean = np.mean(test, axis=0)
    np.testing.assert_allclose(together.select("^prob.*$").to_numpy(), mean, atol=1e-6)
    assert pl.read_parquet(result.run / "predictions/out_of_fold.parquet").height == 72
