"""Refitting the best trial on its training and validation rows, with the trial's decisions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tests.workflows.conftest import evaluate_run, predict_table, resume_fit, run_members
from trainer.config.load import load_config
from trainer.config.sweep_loading import load_sweep
from trainer.errors import ConfigError, RunError
from trainer.prediction.trained_runs import open_trained
from trainer.runs.decisions import read_decisions, write_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_json
from trainer.sweep.best_trial import best_trial_run, refit_config
from trainer.workflows.events import RunFinished, RunStarted
from trainer.workflows.fit import fit_run
from trainer.workflows.plan import make_plan
from trainer.workflows.session import Session
from trainer.workflows.sweeps.sweep import sweep

# Lamb is never packed; packs are compiled, which takes longer than training here.
TRIALS = ("optimizer.name=lamb", "optimizer.learning_rate=1e-3,1e-2")


def train_best(config: Path, *overrides: str) -> RunDirectory:
    events = list(
        sweep(
            load_sweep(config, (*TRIALS, *overrides)),
            Session(("trainer", "sweep")),
            config.parent / "sweeps",
            jobs=1,
        )
    )
    return best_trial_run(events[-1].sweep)[0]


def refit(run: RunDirectory, runs: Path) -> tuple[RunStarted, RunFinished]:
    events = list(fit_run(refit_config(run).loaded, Session(("trainer", "best")), runs))
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    return events[0], events[-1]


@pytest.mark.slow
def test_threshold_and_temperature_of_the_trial_are_kept(trained: Any, tmp_path: Path) -> None:
    run = trained("fit.epochs=3", "evaluate={threshold: f1, calibrate: true, report: false}").run
    trial = RunDirectory(Path(shutil.copytree(run, tmp_path / "trial")))
    started, finished = refit(trial, tmp_path / "runs")
    manifest = trial.read_manifest()
    assert finished.epochs == finished.best_epoch == manifest.best_epoch
    rows = RunDirectory(finished.run).read_manifest().splits
    assert rows["train"] == manifest.splits["train"] + manifest.splits["validation"]
    assert (rows["validation"], rows["test"]) == (0, manifest.splits["test"])
    expected, decisions = read_decisions(trial), read_decisions(RunDirectory(finished.run))
    assert expected is not None
    assert expected.criterion == "f1"
    assert expected.temperature != 1
    assert decisions == replace(expected, source=str(trial.path))
    (note,) = [note for note in started.notes if "taken from" in note]
    assert f"threshold {expected.threshold:.4g} (chosen for f1), temperature" in note
    # The run has its own copy of the decisions.
    shutil.rmtree(trial.path)
    task = open_trained(finished.run).task
    assert (task.threshold, task.temperature) == (expected.threshold, expected.temperature)
    (evaluation,) = evaluate_run(finished.run, "test").results
    assert evaluation.metrics == pytest.approx(finished.metrics["test"], rel=1e-6)
    resumed = resume_fit(finished.run, "fit.epochs=+1")
    assert read_decisions(RunDirectory(resumed.run)) == decisions


@pytest.mark.slow
def test_prediction_intervals_of_the_trial_are_kept(small: Path) -> None:
    table = small.parent / "small.csv"
    frame = pl.read_csv(table)
    frame.with_columns(label=pl.col("size") * 3 + pl.col("id").str.slice(1).cast(float)).write_csv(
        table
    )
    trial = train_best(small, "fit.epochs=2", "evaluate={prediction_interval: 0.8, report: true}")
    _, finished = refit(trial, small.parent / "runs")
    expected = read_decisions(trial)
    assert expected is not None
    predictions = predict_table(finished.run, table).frame
    width = predictions["predicted_label_high"] - predictions["predicted_label"]
    assert width.to_list() == pytest.approx([expected.half_widths["label"]] * 120, rel=1e-4)
    covered = read_json(RunDirectory(finished.run).findings)["splits"]["test"]["interval_coverage"]
    assert 0 <= covered["label"]["value"] <= 1
    page = (finished.run / "report.html").read_text(encoding="utf-8")
    assert f"validation rows of trials/{trial.path.name}" in page


@pytest.fixture
def trial(finished: Any, tmp_path: Path) -> Callable[..., RunDirectory]:
    """Make a copy of a run with other settings, and with other learning rates in its log."""

    def copy(change: Callable[[dict[str, Any]], None], rates: list[float]) -> RunDirectory:
        copied = tmp_path / "trial"
        shutil.copytree(finished.run, copied)
        run = RunDirectory(copied)
        settings = yaml.safe_load(run.config.read_text(encoding="utf-8"))
        change(settings)
        run.config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        lines = [json.dumps({"epoch": n, "learning_rate": rate}) for n, rate in enumerate(rates, 1)]
        run.metrics.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        run.write_manifest(replace(run.read_manifest(), best_epoch=len(rates) - 1))
        return run

    return copy


@pytest.mark.parametrize(
    ("schedule", "over"),
    [
        ({"cosine": {"warmup": "2 epochs", "final": 0.1}}, "18 epochs"),
        ({"polynomial": {"power": 2.0}}, "20 epochs"),
        ({"cosine": {"over": "7 epochs"}}, "7 epochs"),
    ],
)
def test_schedule_keeps_its_length(
    trial: Callable[..., RunDirectory], schedule: dict[str, Any], over: str
) -> None:
    def change(settings: dict[str, Any]) -> None:
        settings["optimizer"]["schedule"] = schedule
        settings["fit"]["epochs"] = 20

    config = refit_config(trial(change, [0.01] * 5)).loaded.config
    assert config.fit.epochs == 4
    assert config.optimizer.schedule is not None
    (kind,) = schedule
    assert getattr(config.optimizer.schedule, kind).over == over


def test_reduced_learning_rates_are_replayed(trial: Callable[..., RunDirectory]) -> None:
    def change(settings: dict[str, Any]) -> None:
        settings["fit"]["reduce_on_plateau"] = {"patience": 1}
        settings["fit"]["max_seconds"] = 5.0

    refitted = refit_config(trial(change, [0.01, 0.01, 0.005, 0.005, 0.0025, 0.001]))
    config = refitted.loaded.config
    assert config.optimizer.model_dump()["schedule"] == {
        "piecewise": {"warmup": None, "at": ["2 epochs", "4 epochs"], "factors": [0.5, 0.25]}
    }
    assert config.fit.reduce_on_plateau is None
    assert config.fit.max_seconds is None
    assert any("learning rates" in note for note in refitted.notes)


def test_decisions_from_requires_matching_decisions(finished: Any, tmp_path: Path) -> None:
    folder = finished.run.parents[2]
    run = tmp_path / "run"
    shutil.copytree(finished.run, run)
    decisions = read_decisions(RunDirectory(run))
    assert decisions is not None
    write_decisions(RunDirectory(run), replace(decisions, threshold=0.3, criterion="youden"))

    def plan(*overrides: str, source: Path = run) -> Any:
        overrides = ["data.split.validation=0", f"evaluate.decisions_from={source}", *overrides]
        return make_plan(load_config(folder / "config.yaml", overrides))

    assert plan("evaluate.threshold=youden").inherited.threshold == 0.3
    assert plan().inherited.threshold == plan("evaluate.threshold=0.3").inherited.threshold == 0.3
    with pytest.raises(ConfigError, match=r"chosen for f1.*chosen for youden"):
        plan("evaluate.threshold=f1")
    with pytest.raises(ConfigError, match=r"expected 0\.3, the threshold of"):
        plan("evaluate.threshold=0.4")
    with pytest.raises(RunError, match=r"evaluate\.decisions_from.*no such path"):
        plan(source=tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"same task: multiclass, found binary"):
        plan("data.target=color", "data.features.exclude=[id, label]")
    RunDirectory(run).decisions.unlink()
    with pytest.raises(RunError, match="a run that has been evaluated"):
        plan()


def test_recorded_decisions_are_used_only_for_the_same_source(
    finished: Any, tmp_path: Path
) -> None:
    folder, source = finished.run.parents[2], tmp_path / "source"
    shutil.copytree(finished.run, source)
    overrides = ["data.split.validation=0", f"evaluate.decisions_from={source}"]
    loaded = load_config(folder / "config.yaml", overrides)
    read = make_plan(loaded).inherited
    assert read is not None
    recorded = replace(read, threshold=0.9)
    assert make_plan(loaded, recorded_decisions=recorded).inherited == recorded
    other = replace(recorded, source=str(tmp_path / "other"))
    assert make_plan(loaded, recorded_decisions=other).inherited == read


@pytest.mark.slow
def test_repeats_inherit_decisions(finished: Any, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(finished.run, source)
    decisions = read_decisions(RunDirectory(source))
    assert decisions is not None
    inherited = replace(decisions, threshold=0.3, criterion="f1", temperature=2.0)
    write_decisions(RunDirectory(source), inherited)
    overrides = [
        "data.split.validation=0",
        "evaluate={threshold: f1, calibrate: true, report: false}",
        f"evaluate.decisions_from={source}",
        *("fit.repeats=2", "fit.epochs=1"),
    ]
    config = finished.run.parents[2] / "config.yaml"
    run = RunDirectory(run_members(config, tmp_path / "runs", *overrides).run)
    # The mean is of calibrated probabilities.
    assert read_decisions(run) == replace(inherited, temperature=1.0, source=str(source))
    for member in sorted(run.members.iterdir()):
        assert read_decisions(RunDirectory(member)) == replace(inherited, source=str(source))
