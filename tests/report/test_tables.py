import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import Problem
from trainer.report.listing import run_json
from trainer.report.tables import load_report, report_json, report_tables
from trainer.report.text import Table, plain_lines
from trainer.runs.directory import RunDirectory
from trainer.runs.listing import list_runs
from trainer.runs.log import MetricsLog
from trainer.runs.machine import GitState
from trainer.runs.manifest import DataFile, Resumption, new_manifest

NOW = datetime(2026, 11, 22, 14, 15, 30, tzinfo=UTC)


def finished(root: Path, name: str = "wine", epochs: int = 20) -> RunDirectory:
    run = RunDirectory.create(root, name, "", NOW)
    initial = new_manifest(
        name=name, command=["fit", "x.yaml"], seed=7, config_directory=root, now=NOW
    )
    manifest = replace(
        initial,
        git=GitState("0123456789abcdef", dirty=True),
        data=(DataFile("data/x.csv", 12_345, 1000, "f" * 64),),
        splits={"train": 600, "validation": 200, "test": 190},
        dropped={"missing target": 10},
        epochs=epochs,
        best_epoch=12,
        stopped_because="val_loss did not improve for 10 epochs",
        parameters=1234,
        weights_sha256="ab" * 32,
        timings={"read": 0.5, "train": 70.0},
        warnings=("column 'id\x1b' is constant",),
    )
    run.write_manifest(manifest.with_end("finished", NOW + timedelta(seconds=90)))
    with MetricsLog(run.metrics) as log:
        for epoch in range(1, epochs + 1):
            log.append({"epoch": epoch, "loss": 1 / epoch, "val_loss": 2 / epoch, "auc": None})
    metrics = {"accuracy": 0.965, "auc": 0.993, "f1": 0.96, "recall": 0.95}
    run.write_evaluation("test", {"rows": 190, "metrics": metrics})
    run.write_evaluation("validation", {"rows": 200, "metrics": {"accuracy": 0.97, "brier": None}})
    return run


def text_of(tables: Sequence[Table]) -> str:
    return "\n".join(line for table in tables for line in plain_lines(table))


def named(tables: Sequence[Table], title: str) -> Table:
    (table,) = (table for table in tables if table.title == title)
    return table


def test_finished_run(tmp_path: Path) -> None:
    run = finished(tmp_path)
    tables = report_tables(load_report(run, NOW))
    values = {row[0]: row[1] for row in tables[0].rows}
    assert values["run"] == str(run.path)
    assert values["status"] == "finished"
    assert values["epochs"] == "20, best 12"
    assert values["stopped because"].startswith("val_loss")
    assert values["took"] == "1 min 30 s"
    assert values["phases"] == "read 0.5 s, train 1 min 10 s"
    assert values["git"] == "0123456789ab, modified"
    assert "device" not in values
    assert named(tables, "rows").rows[-1] == ("dropped: missing target", "10")
    assert named(tables, "data").rows == (("data/x.csv", "1,000", "12.3 kB", "f" * 12),)
    evaluation = named(tables, "evaluation")
    assert evaluation.columns == ("metric", "validation", "test")
    assert evaluation.rows[:3] == (
        ("rows", "200", "190"),
        ("accuracy", "0.9700", "0.9650"),
        ("brier", "–", "–"),
    )
    assert named(tables, "warnings").rows == (("column 'id\\x1b' is constant",),)
    assert [row[0] for row in named(tables, "learning curve").rows] == ["loss", "val_loss"]
    assert "\x1b" not in text_of(tables)


def test_history_shows_head_best_and_tail(tmp_path: Path) -> None:
    history = named(report_tables(load_report(finished(tmp_path), NOW)), "history")
    assert history.columns == ("epoch", "loss", "val_loss", "auc")
    assert [row[0] for row in history.rows] == [
        *("1", "2", "3", "…", "best 12", "…", "16", "17", "18", "19", "20"),
    ]
    assert history.rows[0] == ("1", "1.0000", "2", "–")


def test_short_history_is_shown_in_full(tmp_path: Path) -> None:
    history = named(report_tables(load_report(finished(tmp_path, epochs=9), NOW)), "history")
    assert [row[0] for row in history.rows] == [str(n) for n in range(1, 10)]


def test_run_that_has_just_started(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "wine", "", NOW)
    run.write_manifest(
        new_manifest(name="wine", command=["fit"], seed=7, config_directory=tmp_path, now=NOW)
    )
    tables = report_tables(load_report(run, NOW))
    assert [table.title for table in tables] == [""]
    assert ("status", "running") in tables[0].rows


def test_failed_run_shows_the_error(tmp_path: Path) -> None:
    run = finished(tmp_path)
    problem = Problem("epoch 3", "a finite loss", "nan", "lower the learning rate")
    run.write_manifest(run.read_manifest().with_end("failed", NOW, [problem]))
    tables = report_tables(load_report(run, NOW))
    assert "lower the learning rate" in text_of([named(tables, "errors")])


def test_damaged_run_is_shown_partially(tmp_path: Path) -> None:
    run = finished(tmp_path)
    run.manifest.write_text("")
    run.metrics.write_text('{\n{"epoch": 1}\n')
    (run.evaluation / "test.json").write_text("[]")
    report = load_report(run, NOW)
    tables = report_tables(report)
    damage = text_of([named(tables, "damaged files")])
    for name in ("manifest.json", "metrics.jsonl:1", "test.json"):
        assert name in damage
    assert named(tables, "evaluation").columns == ("metric", "validation")
    json.dumps(report_json(report), allow_nan=False)


def test_malformed_histories_are_shown(tmp_path: Path) -> None:
    run = finished(tmp_path, epochs=0)
    records: list[dict[str, Any]] = [{}, {"epoch": "x"}, {"loss": [1]}, {"epoch": 3, "flag": True}]
    with MetricsLog(run.metrics) as log:
        for record in records * 5:
            log.append(record)
    assert text_of(report_tables(load_report(run, NOW)))


def test_json_is_complete(tmp_path: Path) -> None:
    run = finished(tmp_path)
    (summary,) = list_runs(tmp_path, NOW)
    listed = json.loads(json.dumps(run_json(summary), allow_nan=False))
    assert listed["run"] == str(run.path)
    assert listed["status"] == "finished"
    assert listed["epochs"] == 20
    assert listed["started"] == "2026-11-22T14:15:30+00:00"
    assert listed["metrics"]["test"]["auc"] == 0.993
    shown = json.loads(json.dumps(report_json(load_report(run, NOW)), allow_nan=False))
    assert shown.items() >= listed.items()
    assert shown["manifest"] == json.loads(run.manifest.read_text())
    assert len(shown["history"]) == 20


def test_json_of_a_resumed_run(tmp_path: Path) -> None:
    run = finished(tmp_path)
    manifest = run.read_manifest()
    resumption = Resumption(NOW, ("trainer", "resume"), 4, 40, "last", {"fit.epochs": "4 → 20"})
    run.write_manifest(manifest.with_resumption(resumption, manifest.process))
    shown = json.loads(json.dumps(report_json(load_report(run, NOW)), allow_nan=False))
    assert shown["manifest"] == json.loads(run.manifest.read_text())


def test_metrics_of_a_run_with_members_have_intervals(tmp_path: Path) -> None:
    run = finished(tmp_path)
    metrics = {"accuracy": 0.965, "auc": 0.993}
    interval = {"mean": 0.965, "std": 0.01, "low": 0.95, "high": 0.98}
    run.write_evaluation("test", {"metrics": metrics, "intervals": {"accuracy": interval}})
    evaluation = named(report_tables(load_report(run, NOW)), "evaluation")
    rows = {row[0]: row[1:] for row in evaluation.rows}
    assert rows["accuracy"] == ("0.9700", "0.9650 [0.9500, 0.9800]")
    assert rows["auc"] == ("–", "0.9930")


def test_unfinished_run_shows_the_next_command(tmp_path: Path) -> None:
    def shown(run: RunDirectory) -> str:
        return text_of(report_tables(load_report(run, NOW)))

    run = finished(tmp_path / "my runs")
    assert "trainer resume" not in shown(run)
    run.write_manifest(replace(run.read_manifest(), status="stopped"))
    assert "trainer fit" not in shown(run)  # there is no config
    run.write_config("name: wine\n")
    assert f"train again with trainer fit '{run.config}'" in shown(run)
    run.last.mkdir(parents=True)
    assert f"trainer resume '{run.path}'" in shown(run)


def test_members_and_trials_are_resumed_by_their_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(part: Path) -> str:
        return text_of(report_tables(load_report(RunDirectory(part), NOW)))

    def stopped(part: RunDirectory, target_path: Path) -> Path:
        part.write_config("name: wine\n")
        part.write_manifest(replace(part.read_manifest(), status="stopped"))
        target_path.parent.mkdir(parents=True)
        return part.path.rename(target_path)

    parent_run = finished(tmp_path / "a")
    member = stopped(finished(tmp_path / "b"), parent_run.member(2))
    assert f"trainer resume {parent_run.path}\n" in shown(member)
    sweep = tmp_path / "sweeps" / "wine" / "1"
    trial = stopped(finished(tmp_path / "c"), sweep / "trials" / "3")
    assert "train again with trainer fit" in shown(trial)  # the sweep is missing
    (sweep / "sweep.yaml").write_text("name: wine\n")
    assert f"trainer resume {sweep}\n" in shown(trial)
    monkeypatch.chdir(trial.parent)
    assert f"trainer resume {sweep}\n" in shown(Path("3"))
    # Resuming a sweep does not repeat failed trials.
    failed = RunDirectory(trial)
    failed.write_manifest(replace(failed.read_manifest(), status="failed"))
    assert "trainer resume" not in shown(trial)
