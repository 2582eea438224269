"""What a run's answers come to follows from its files, and agrees with scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from tests.workflows.conftest import CONFIG, run_fit, write_table
from trainer.config.load import load_config
from trainer.errors import ConfigError
from trainer.report.findings import read_findings
from trainer.runs.directory import RunDirectory
from trainer.workflows.members import MembersFinished, fit_members
from trainer.workflows.plan import make_plan
from trainer.workflows.reporting import write_missing_findings
from trainer.workflows.training import RunFinished


def findings_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "findings.json").read_text())
    return found


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> RunFinished:
    """A run that has been reported on."""
    folder = tmp_path_factory.mktemp("reported")
    write_table(folder / "small.csv")
    (folder / "config.yaml").write_text(CONFIG.replace("ENCODE", "onehot"), encoding="utf-8")
    return run_fit(folder / "config.yaml", folder / "runs", "evaluate.report=true")


def test_they_are_those_of_the_answers(reported: RunFinished) -> None:
    found = findings_of(reported.run)
    assert list(found["splits"]) == ["train", "validation", "test"]
    for split, of in found["splits"].items():
        frame = pl.read_parquet(reported.run / "predictions" / f"{split}.parquet")
        truth = frame["actual"].cast(pl.String) == "yes"
        assert of["rows"] == frame.height
        auc = of["metrics"]["auc"]
        assert auc["value"] == pytest.approx(roc_auc_score(truth, frame["probability_yes"]))
        assert auc["value"] == pytest.approx(reported.metrics[split]["auc"])
        assert auc["low"] <= auc["value"] <= auc["high"]
    worst = found["worst_rows"]
    assert worst[0]["loss"] == max(one["loss"] for one in worst)
    assert reported.sentence == found["sentence"]
    assert reported.sentence.startswith("On 24 test rows, ROC AUC is ")
    importance = json.loads((reported.run / "explanation" / "importance.json").read_text())
    assert (importance["split"], importance["rows"], importance["metric"]) == (
        "validation",
        24,
        "auc",
    )
    assert {one["column"] for one in importance["columns"]} == {"size", "colour"}


def test_the_baselines_are_those_of_the_same_rows(reported: RunFinished) -> None:
    table = reported.run.parents[2] / "small.csv"
    dataset = make_plan(load_config(table.with_name("config.yaml"))).dataset
    train, test = dataset.samples("train"), dataset.samples("test")
    assert train is not None
    assert test is not None
    scaled = (train.x - train.x.mean(axis=0)) / np.where(
        train.x.std(axis=0), train.x.std(axis=0), 1
    )
    other = (test.x - train.x.mean(axis=0)) / np.where(train.x.std(axis=0), train.x.std(axis=0), 1)
    model = LogisticRegression(tol=1e-8, max_iter=1_000).fit(scaled, train.y[:, 0])
    expected = model.predict_proba(other)[:, 1]
    of = findings_of(reported.run)["splits"]["test"]
    linear = pl.read_parquet(reported.run / "predictions" / "test_linear.parquet")
    np.testing.assert_allclose(linear["probability_yes"], expected, atol=2e-3)
    assert of["linear"]["log_loss"] == pytest.approx(log_loss(test.y[:, 0], expected), abs=1e-3)
    share = train.y.mean()
    prior = log_loss(test.y[:, 0], np.full(len(test.y), share))
    assert of["prior"]["log_loss"] == pytest.approx(prior, rel=1e-6)
    assert of["vs_prior"]["log_loss"]["value"] == pytest.approx(
        of["metrics"]["log_loss"]["value"] - prior, rel=1e-4
    )


def test_a_report_made_later_says_the_same(small: Path, tmp_path: Path) -> None:
    settings = (
        "fit.epochs=1",
        "data.categorical.encode=embedding",
        "data.split={by: group, column: id, test: 0.2, validation: 0.2}",
        "evaluate.slices=[id, colour]",
        "evaluate.resamples=100",
    )
    at_once = run_fit(small, tmp_path / "runs", *settings, "evaluate.report=true")
    first = findings_of(at_once.run)
    later = run_fit(small, tmp_path / "runs", *settings)
    assert later.sentence == ""
    assert not (later.run / "findings.json").exists()
    assert not (later.run / "report.html").exists()
    assert not (later.run / "explanation").exists()
    write_missing_findings(later.run)
    assert findings_of(later.run) == first
    colours = {
        one["where"]["colour"] for one in first["slices"]["slices"] if "colour" in one["where"]
    }
    assert colours == {"red", "green", "blue", "(missing)"}


def test_slices_are_columns(small: Path) -> None:
    with pytest.raises(
        ConfigError, match="expected a column of the table, found 'color'; did you m"
    ):
        make_plan(load_config(small, ["evaluate.slices=[color]"]))


def test_folds_are_judged_by_rows_nobody_was_trained_on(small: Path, tmp_path: Path) -> None:
    events = list(
        fit_members(
            load_config(
                small, ["fit.folds=3", "fit.epochs=2", "evaluate={threshold: f1, report: true}"]
            ),
            runs=tmp_path / "runs",
            command=("trainer",),
            allow_custom=False,
            interrupted=lambda: None,
        )
    )
    done = events[-1]
    assert isinstance(done, MembersFinished)
    found = findings_of(done.run)
    assert found["splits"]["validation"]["rows"] == 96
    out_of_fold = pl.read_parquet(done.run / "predictions" / "out_of_fold.parquet")
    truth = out_of_fold["label"] == "yes"
    assert found["splits"]["validation"]["metrics"]["auc"]["value"] == pytest.approx(
        roc_auc_score(truth, out_of_fold["probability_yes"].cast(pl.Float32))
    )
    means = np.mean(
        [
            pl.read_parquet(path / "predictions" / "test.parquet")["probability_yes"].to_numpy()
            for path in sorted((done.run / "members").iterdir())
        ],
        axis=0,
    )
    together = pl.read_parquet(done.run / "predictions" / "test.parquet")
    np.testing.assert_allclose(together["probability_yes"], means, rtol=1e-6)
    assert done.sentence == found["sentence"]
    decisions = json.loads((done.run / "decisions.json").read_text())
    assert decisions["criterion"] == "f1"


REGRESSION = """\
seed: 3
data: {source: numbers.csv, target: TARGETS, split: {test: 0.3, validation: 0.3}}
model: {layers: [{dense: 3}]}
fit: {epochs: 1, batch_size: 16}
evaluate: {report: true, resamples: 100}
"""


@pytest.mark.parametrize("engine", ["resident", "streaming"])
@pytest.mark.parametrize("targets", [["price"], ["price", "other"]])
def test_findings_of_numbers_are_read_with_the_values_of_the_table(
    tmp_path: Path, engine: str, targets: list[str]
) -> None:
    draw = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "size": draw.normal(size=60),
            "colour": draw.normal(size=60),
            # Neither is a number of float32 once it is scaled and scaled back.
            "price": (draw.integers(1, 10_000, 60) / 100 + 100_000).round(2),
            "other": draw.integers(100, 400, 60),
        }
    )
    frame.write_csv(tmp_path / "numbers.csv")
    text = REGRESSION.replace("TARGETS", f"[{', '.join(targets)}]")
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    features = "data.features.include=[size, colour]"
    done = run_fit(
        tmp_path / "config.yaml", tmp_path / "runs", features, f"runtime.engine={engine}"
    )
    found = read_findings(RunDirectory(done.run))
    assert found is not None
    assert found.worst_rows
    for one in found.worst_rows:
        assert one.actual == tuple(frame.select(targets).row(one.row))
    for split in ("train", "validation", "test"):
        said = pl.read_parquet(done.run / "predictions" / f"{split}.parquet")
        actual = said.select(f"actual_{name}" for name in targets)
        assert actual.rows() == frame[said["row"]].select(targets).cast(pl.Float64).rows()
    if engine == "streaming":
        return  # Its features are not in memory for a surface.
    surface = json.loads((done.run / "explanation" / "surface.json").read_text())
    known = {tuple(map(float, row)) for row in frame.select(targets).rows()}
    assert {tuple(one) for one in surface["points"]["actual"]} <= known
