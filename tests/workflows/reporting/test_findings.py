"""Findings: they follow from a run's files and agree with scikit-learn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.workflows.conftest import run_fit, run_members
from trainer.assessment import boosting_baseline
from trainer.assessment.boosting_baseline import BoostingResult, fit_boosting_baseline
from trainer.config.load import load_config
from trainer.config.schema import Config
from trainer.engine.events import EpochEnd
from trainer.errors import ConfigError
from trainer.runs.directory import RunDirectory
from trainer.runs.findings import read_findings
from trainer.workflows.events import MembersFinished, PackEpochEnded, RunFinished
from trainer.workflows.fit import fit_run
from trainer.workflows.members import fit_members
from trainer.workflows.plan import make_plan
from trainer.workflows.reporting.findings import write_missing_findings
from trainer.workflows.session import Session


def read(run: Path) -> dict[str, Any]:
    findings: dict[str, Any] = json.loads((run / "findings.json").read_text())
    return findings


@pytest.fixture(scope="module")
def reported(trained: Callable[..., RunFinished]) -> RunFinished:
    """A run with findings and a report."""
    return trained("evaluate.report=true")


def test_metrics_are_those_of_the_saved_predictions(reported: RunFinished) -> None:
    findings = read(reported.run)
    assert list(findings["splits"]) == ["train", "validation", "test"]
    for split, results in findings["splits"].items():
        frame = pl.read_parquet(reported.run / "predictions" / f"{split}.parquet")
        is_yes = frame["actual"].cast(pl.String) == "yes"
        assert results["rows"] == frame.height
        auc = results["metrics"]["auc"]
        assert auc["value"] == pytest.approx(roc_auc_score(is_yes, frame["probability_yes"]))
        assert auc["value"] == pytest.approx(reported.metrics[split]["auc"])
        assert auc["low"] <= auc["value"] <= auc["high"]
    worst = findings["worst_rows"]
    assert worst[0]["loss"] == max(row["loss"] for row in worst)
    assert reported.sentence == findings["sentence"]
    assert reported.sentence.startswith("On 24 test rows, ROC AUC is ")
    importance = json.loads((reported.run / "explanation" / "importance.json").read_text())
    assert (importance["split"], importance["rows"], importance["metric"]) == (
        "validation",
        24,
        "auc",
    )
    assert {column["column"] for column in importance["columns"]} == {"size", "color"}


def test_baselines_match_sklearn(reported: RunFinished) -> None:
    table = reported.run.parents[2] / "small.csv"
    dataset = make_plan(load_config(table.with_name("config.yaml"))).dataset
    train, test = dataset.samples("train"), dataset.samples("test")
    assert train is not None
    assert test is not None
    model = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8, max_iter=1_000))
    expected = model.fit(train.inputs["features"], train.y[:, 0]).predict_proba(
        test.inputs["features"]
    )[:, 1]
    results = read(reported.run)["splits"]["test"]
    linear = pl.read_parquet(reported.run / "predictions" / "test_linear.parquet")
    np.testing.assert_allclose(linear["probability_yes"], expected, atol=2e-3)
    loss = log_loss(test.y[:, 0], expected)
    assert results["linear"]["log_loss"] == pytest.approx(loss, abs=1e-3)
    prior = log_loss(test.y[:, 0], np.full(len(test.y), train.y.mean()))
    assert results["prior"]["log_loss"] == pytest.approx(prior, rel=1e-6)
    assert results["vs_prior"]["log_loss"]["value"] == pytest.approx(
        results["metrics"]["log_loss"]["value"] - prior, rel=1e-4
    )


def test_boosting_matches_sklearn(
    reported: RunFinished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(reported.run, run)
    (run / "findings.json").unlink()
    monkeypatch.setattr(boosting_baseline, "fit_boosting_baseline", fit_boosting_baseline)
    write_missing_findings(run)
    results = read(run)["splits"]["test"]
    test = pl.read_parquet(run / "predictions" / "test.parquet")
    boosting = pl.read_parquet(run / "predictions" / "test_boosting.parquet")
    assert boosting["row"].to_list() == test["row"].to_list()
    is_yes = test["actual"].cast(pl.String) == "yes"
    auc = roc_auc_score(is_yes, boosting["probability_yes"])
    assert results["boosting"]["auc"] == pytest.approx(auc)
    difference = results["vs_boosting"]["auc"]
    assert difference["value"] == pytest.approx(results["metrics"]["auc"]["value"] - auc)
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert f"gradient boosting ({auc:.4f})" in read(run)["sentence"]
    linear = read(reported.run)["splits"]["test"]["linear"]
    assert results["linear"] == linear
    assert "gradient boosting" not in reported.sentence


@pytest.mark.parametrize("folds", [(), ("fit.folds=2",)], ids=["alone", "folds"])
def test_boosting_is_fitted_while_the_network_trains(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: tuple[str, ...]
) -> None:
    """Once, before the first epoch; a run that is stopped has no findings."""
    started: list[int] = []
    is_started = Event()

    def fit(config: Config, parts: Any, max_seconds: float) -> BoostingResult:
        started.append(len(parts))
        is_started.set()
        return BoostingResult(note="Fitted.")

    monkeypatch.setattr(boosting_baseline, "fit_boosting_baseline", fit)
    loaded = load_config(small, ["evaluate={report: true, resamples: 100}", "fit.epochs=1", *folds])
    train = fit_members if folds else fit_run
    for event in train(loaded, Session(), tmp_path / "runs"):
        if isinstance(event, EpochEnd | PackEpochEnded):
            assert is_started.wait(20)
    assert isinstance(event, RunFinished | MembersFinished)
    assert started == [2 if folds else 1]
    assert read(event.run)["notes"] == ["Fitted."]


def test_without_linear_baseline(
    reported: RunFinished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(reported.run, run)
    (run / "findings.json").unlink()
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("baselines: auto", "baselines: [boosting]"))
    failed = BoostingResult(note="A note.", warning="It failed.")
    monkeypatch.setattr(boosting_baseline, "fit_boosting_baseline", lambda *_: failed)
    write_missing_findings(run)
    findings = read(run)
    assert (findings["notes"], findings["warnings"]) == (["A note."], ["It failed."])
    results = findings["splits"]["test"]
    assert "auc" in results["vs_prior"]
    for name in ("linear", "vs_linear", "boosting", "vs_boosting"):
        assert not results.get(name)
    assert "a linear model" not in findings["sentence"]


@pytest.mark.slow
def test_report_written_later_has_the_same_findings(small: Path, tmp_path: Path) -> None:
    settings = (
        "fit.epochs=1",
        "data.categorical.encode=embedding",
        "data.split={by: group, column: id, test: 0.2, validation: 0.2}",
        "evaluate.slices=[id, color]",
        "evaluate.resamples=100",
    )
    first = read(run_fit(small, tmp_path / "runs", *settings, "evaluate.report=true").run)
    later = run_fit(small, tmp_path / "runs", *settings)
    assert later.sentence == ""
    assert not (later.run / "findings.json").exists()
    assert not (later.run / "report.html").exists()
    assert not (later.run / "explanation").exists()
    write_missing_findings(later.run)
    assert read(later.run) == first
    slices = [part["where"] for part in first["slices"]["slices"]]
    colors = {where["color"] for where in slices if "color" in where}
    assert colors == {"red", "green", "blue", "(missing)"}


def test_unknown_slice_column_is_refused(small: Path) -> None:
    with pytest.raises(
        ConfigError, match="expected a column of the table, found 'colour'; did you m"
    ):
        make_plan(load_config(small, ["evaluate.slices=[colour]"]))


@pytest.mark.slow
def test_folds_are_evaluated_on_out_of_fold_predictions(small: Path, tmp_path: Path) -> None:
    result = run_members(
        small,
        tmp_path / "runs",
        "fit.folds=3",
        "fit.epochs=2",
        "evaluate={threshold: f1, report: true}",
    )
    findings = read(result.run)
    assert findings["splits"]["validation"]["rows"] == 96
    out_of_fold = pl.read_parquet(result.run / "predictions" / "out_of_fold.parquet")
    is_yes = out_of_fold["label"] == "yes"
    assert findings["splits"]["validation"]["metrics"]["auc"]["value"] == pytest.approx(
        roc_auc_score(is_yes, out_of_fold["probability_yes"].cast(pl.Float32))
    )
    means = np.mean(
        [
            pl.read_parquet(path / "predictions" / "test.parquet")["probability_yes"].to_numpy()
            for path in sorted((result.run / "members").iterdir())
        ],
        axis=0,
    )
    together = pl.read_parquet(result.run / "predictions" / "test.parquet")
    np.testing.assert_allclose(together["probability_yes"], means, rtol=1e-6)
    assert result.sentence == findings["sentence"]
    decisions = json.loads((result.run / "decisions.json").read_text())
    assert decisions["criterion"] == "f1"


REGRESSION = """\
seed: 3
data: {source: numbers.csv, target: TARGETS, split: {test: 0.3, validation: 0.3}}
model: {layers: [{dense: 3}]}
fit: {epochs: 1, batch_size: 16}
evaluate: {report: true, resamples: 100}
"""


@pytest.mark.parametrize(
    ("engine", "targets"),
    [
        ("resident", ["price", "other"]),
        pytest.param("streaming", ["price"], marks=pytest.mark.slow),
    ],
)
def test_regression_findings_have_the_values_of_the_table(
    tmp_path: Path, engine: str, targets: list[str]
) -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "size": rng.normal(size=60),
            "color": rng.normal(size=60),
            # Scaling to float32 and back changes both.
            "price": (rng.integers(1, 10_000, 60) / 100 + 100_000).round(2),
            "other": rng.integers(100, 400, 60),
        }
    )
    frame.write_csv(tmp_path / "numbers.csv")
    text = REGRESSION.replace("TARGETS", f"[{', '.join(targets)}]")
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    features = "data.features.include=[size, color]"
    run = run_fit(
        tmp_path / "config.yaml", tmp_path / "runs", features, f"runtime.engine={engine}"
    ).run
    findings = read_findings(RunDirectory(run))
    assert findings is not None
    assert findings.worst_rows
    for worst in findings.worst_rows:
        assert worst.actual == tuple(frame.select(targets).row(worst.row))
    for split in ("train", "validation", "test"):
        predictions = pl.read_parquet(run / "predictions" / f"{split}.parquet")
        actual = predictions.select(f"actual_{name}" for name in targets)
        assert actual.rows() == frame[predictions["row"]].select(targets).cast(pl.Float64).rows()
    if engine == "streaming":
        return  # A streamed run has no surface: its features are not in memory.
    surface = json.loads((run / "explanation" / "surface.json").read_text())
    rows = {tuple(map(float, row)) for row in frame.select(targets).rows()}
    assert {tuple(point) for point in surface["points"]["actual"]} <= rows
