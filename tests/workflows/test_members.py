"""Repeats and folds of one config: each network's run, what they score together, what they answer."""

import json
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.kill.comparison import differences
from tests.workflows.conftest import run_fit
from trainer.config.load import load_config
from trainer.errors import InputError, RunError, TrainingError
from trainer.workflows.evaluate import evaluate
from trainer.workflows.members import (
    MembersFinished,
    find_members,
    finished_members,
    fit_members,
    resume_members,
)
from trainer.workflows.predict import predict

OVERRIDES = ["fit.folds=3", "fit.repeats=2"]


def fit_several(
    config: Path, runs: Path, *overrides: str, after: int | None = None
) -> MembersFinished:
    asked = count(1)
    events = list(
        fit_members(
            load_config(config, overrides),
            runs=runs,
            command=("trainer", "fit"),
            allow_custom=False,
            interrupted=lambda: "stopped" if after is not None and next(asked) >= after else None,
        )
    )
    assert isinstance(events[-1], MembersFinished)
    return events[-1]


def resume_several(run: Path) -> MembersFinished:
    events = list(
        resume_members(
            run, command=("trainer", "resume"), allow_custom=False, interrupted=lambda: None
        )
    )
    assert isinstance(events[-1], MembersFinished)
    return events[-1]


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A finished run of three folds, twice, and the folder of its config."""
    from tests.workflows.conftest import CONFIG, write_table

    folder = tmp_path_factory.mktemp("several")
    write_table(folder / "small.csv")
    (folder / "config.yaml").write_text(CONFIG.replace("ENCODE", "onehot"), encoding="utf-8")
    return fit_several(folder / "config.yaml", folder / "runs", *OVERRIDES), folder


def evaluation(run: Path, split: str) -> dict:
    return json.loads((run / "evaluation" / f"{split}.json").read_text(encoding="utf-8"))


def test_it_trains_one_network_a_fold_and_repeat(several):
    done, _ = several
    assert [one.number for one in done.members] == [1, 2, 3, 4, 5, 6]
    configs = [load_config(one.run / "config.yaml").config for one in done.members]
    assert [one.data.split.fold for one in configs] == ["1/3", "2/3", "3/3"] * 2
    assert len({one.seed for one in configs}) == 2
    splits = [pl.read_parquet(one.run / "splits.parquet") for one in done.members]
    tested = [set(one.filter(pl.col("split") == "test")["row"]) for one in splits]
    assert all(rows == tested[0] for rows in tested)


def test_a_member_is_what_fit_makes_of_its_config(several, tmp_path):
    done, _ = several
    alone = run_fit(done.members[1].run / "config.yaml", tmp_path / "runs")
    for split in ("train", "validation", "test"):
        own = evaluation(done.members[1].run, split)
        assert own["metrics"]["loss"] == pytest.approx(alone.metrics[split]["loss"], rel=1e-4)
    names = {str(path.relative_to(alone.run)) for path in alone.run.rglob("*") if path.is_file()}
    assert {"predictions/validation.parquet"} <= names
    assert {
        str(path.relative_to(done.members[1].run))
        for path in done.members[1].run.rglob("*")
        if path.is_file()
    } == {name for name in names if "/last-" not in name and name != "lock"}


def test_their_metrics_are_told_together(several):
    done, _ = several
    found = evaluation(done.run, "validation")
    own = [evaluation(one.run, "validation")["metrics"]["accuracy"] for one in done.members]
    assert found["metrics"]["accuracy"] == pytest.approx(np.mean(own))
    assert found["intervals"]["accuracy"]["sd"] == pytest.approx(np.std(own, ddof=1))
    assert found["intervals"]["accuracy"]["n"] == found["members"] == 6
    assert done.aggregates["validation"]["accuracy"].mean == pytest.approx(np.mean(own))


def test_every_row_that_is_not_tested_has_an_answer_of_a_network_that_did_not_see_it(several):
    done, folder = several
    frame = pl.read_parquet(done.run / "predictions" / "out_of_fold.parquet")
    splits = pl.read_parquet(done.run / "members" / "0001" / "splits.parquet")
    assert frame["row"].to_list() == splits.filter(pl.col("split") != "test")["row"].to_list()
    table = pl.read_csv(folder / "small.csv")
    row = frame.row(7, named=True)
    assert row["label"] == table["label"][row["row"]]
    single = folder / "single.csv"
    table[[row["row"]]].write_csv(single)
    answers = [
        predict(one.run, single, keep=(), device="cpu", allow_custom=False).frame[
            "probability_yes"
        ][0]
        for one in done.members
        if load_config(one.run / "config.yaml").config.data.split.fold == f"{row['fold']}/3"
    ]
    assert len(answers) == 2
    assert row["probability_yes"] == pytest.approx(np.mean(answers), abs=1e-5)
    assert row["probability_yes_spread"] == pytest.approx(np.std(answers, ddof=1), abs=1e-5)


def test_they_answer_together(several):
    done, folder = several
    table = folder / "small.csv"
    together = predict(done.run, table, keep=("id",), device="cpu", allow_custom=False).frame
    each = np.stack(
        [
            predict(one.run, table, keep=(), device="cpu", allow_custom=False).frame[
                "probability_yes"
            ]
            for one in done.members
        ]
    )
    assert together.columns == [
        "row", "id", "label", "probability_no", "probability_yes", "probability_yes_spread", "unseen",
    ]  # fmt: skip
    np.testing.assert_allclose(together["probability_yes"], each.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        together["probability_yes_spread"], each.std(axis=0, ddof=1), atol=1e-6
    )
    yes = (together["probability_yes"] >= 0.5).to_list()
    assert (together["label"] == "yes").to_list() == yes


def test_they_are_evaluated_together(several):
    done, folder = several
    found = evaluate(
        done.run,
        splits=("train", "validation", "test"),
        data=None,
        device="cpu",
        allow_custom=False,
    )
    (one,) = found.results
    splits = pl.read_parquet(done.members[0].run / "splits.parquet")
    tested = splits.filter(pl.col("split") == "test")["row"].to_list()
    table = pl.read_csv(folder / "small.csv")[tested]
    table.write_csv(folder / "tested.csv")
    answers = predict(
        done.run, folder / "tested.csv", keep=(), device="cpu", allow_custom=False
    ).frame
    right = (answers["label"] == table["label"]).mean()
    assert (one.split, one.rows) == ("test", len(tested))
    assert one.metrics["accuracy"] == pytest.approx(right)
    other = evaluate(
        done.run, splits=(), data=folder / "tested.csv", device="cpu", allow_custom=False
    )
    assert other.results[0].metrics == pytest.approx(one.metrics)
    with pytest.raises(RunError, match="the test rows, which its members share"):
        evaluate(done.run, splits=("train",), data=None, device="cpu", allow_custom=False)


def test_stopped_it_goes_on_to_the_same_bytes(several, tmp_path):
    done, folder = several
    stopped = fit_several(folder / "config.yaml", tmp_path / "runs", *OVERRIDES, after=3)
    assert (stopped.status, stopped.members, stopped.aggregates) == ("stopped", (), {})
    assert finished_members(stopped.run) is None
    loaded = load_config(folder / "config.yaml", OVERRIDES)
    assert find_members(loaded, tmp_path / "runs") == stopped.run
    with pytest.raises(RunError, match="finished members"):
        predict(stopped.run, folder / "small.csv", keep=(), device="cpu", allow_custom=False)
    again = resume_several(stopped.run)
    assert again.status == "finished"
    told = [
        one
        for one in differences(stopped.run, done.run)
        if not one.partition(":")[0].endswith(("manifest.json", "timing.jsonl", "report.html"))
    ]
    assert told == []
    assert find_members(loaded, tmp_path / "runs") == stopped.run
    told_again = finished_members(stopped.run)
    assert told_again.members == again.members
    accuracy, before = (one.aggregates["test"]["accuracy"] for one in (told_again, again))
    assert (accuracy.mean, accuracy.low) == pytest.approx((before.mean, before.low))
    with pytest.raises(RunError, match="training left to do"):
        resume_several(stopped.run)


def test_repeats_alone_have_the_same_rows(small, tmp_path):
    done = fit_several(small, tmp_path / "runs", "fit.repeats=2", "fit.epochs=2")
    first, second = (pl.read_parquet(one.run / "splits.parquet") for one in done.members)
    assert first.equals(second)
    assert not (done.run / "predictions" / "out_of_fold.parquet").exists()
    assert done.aggregates["validation"]["loss"].n == 2


def test_all_members_that_fail_are_a_failure(small, tmp_path):
    overrides = ["fit.repeats=2", "optimizer={name: sgd, learning_rate: 1e30}"]
    with pytest.raises(TrainingError, match="a finite loss"):
        fit_several(small, tmp_path / "runs", *overrides)
    (manifest,) = tmp_path.glob("runs/*/*/manifest.json")
    assert json.loads(manifest.read_text())["status"] == "failed"


def test_bad_input_leaves_no_run_behind(small, tmp_path):
    with pytest.raises(InputError):
        fit_several(small, tmp_path / "runs", "fit.folds=3", "data.features.exclude=[nothing]")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", ["Yes yes No no", "A a B b C c"])
def test_folds_in_which_classes_are_spelled_differently(tmp_path, words):
    spelled = words.split()
    rows = [
        f"{row * 7 % 90 / 90},{spelled[row * 7 % 90 * len(spelled) // 90]}" for row in range(90)
    ]
    (tmp_path / "t.csv").write_text("x,y\n" + "\n".join(rows) + "\n")
    config = tmp_path / "c.yaml"
    config.write_text(
        "data: {source: t.csv, target: y, columns: {y: {ignore_case: true}}, split: {by: random}}\n"
        "model: {layers: [{dense: 4}]}\nfit: {epochs: 1, folds: 3, repeats: 2}\n"
    )
    done = fit_several(config, tmp_path / "runs")
    targets = [
        json.loads((one.run / "preprocessing.json").read_text())["target"] for one in done.members
    ]
    classes = [target["classes"] for target in targets]
    assert len(set(map(tuple, classes))) > 1
    assert len({tuple(name.lower() for name in names) for names in classes}) == 1
    test = [pl.read_parquet(one.run / "predictions/test.parquet") for one in done.members]
    together = pl.read_parquet(done.run / "predictions/test.parquet")
    assert set(together["actual"]) <= set(classes[0])
    for place, name in enumerate(name for name in together.columns if name.startswith("prob")):
        each = [frame.to_dict(as_series=False) for frame in test]
        own = [[name for name in frame if name.startswith("prob")][place] for frame in each]
        mean = np.mean([frame[key] for frame, key in zip(each, own, strict=True)], axis=0)
        assert np.allclose(together[name], mean, atol=1e-6)
    assert pl.read_parquet(done.run / "predictions/out_of_fold.parquet").height == 72
