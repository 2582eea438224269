"""The summary that `fit` and `show` print."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.page.predicted_runs import make_predicted_run
from trainer_cli.console import Console
from trainer_cli.fit_output import print_summary

WARNING = "No comparison with gradient boosting: its process failed (no memory)."


@pytest.fixture
def run_path(folder: Path) -> Path:
    """A run compared with boosting on the test rows, whose findings have a note and a warning."""
    run = make_predicted_run(folder / "runs")
    findings = json.loads(run.findings.read_text())
    test = findings["splits"]["test"]
    test |= {"boosting": {"accuracy": 0.3125}, "vs_boosting": test["vs_linear"]}
    findings |= {"notes": ["It was fitted on a sample."], "warnings": [WARNING]}
    run.findings.write_text(json.dumps(findings))
    return run.path


def test_summary_with_a_warning(run_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(run_path, "A summary.", Console())
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["A summary.", f"warning: {WARNING}", f"report: {run_path}/report.html", ""]
    print_summary(run_path, "", Console())
    assert capsys.readouterr().err == ""


def test_show_has_a_column_for_each_baseline(run_path: Path, trainer: Callable) -> None:
    result = trainer("show", run_path)
    assert WARNING in result.err
    (header,) = [line for line in result.out.splitlines() if "vs. constant" in line]
    for name in ("constant", "linear", "boosting"):
        assert f"vs. {name}" in header
    (row,) = [
        line for line in result.out.splitlines() if line.startswith("accuracy") and "[" in line
    ]
    assert "0.3125" in row


def test_report_has_notes_and_warnings(run_path: Path, trainer: Callable) -> None:
    result = trainer("report", run_path, "--format", "md")
    assert "| difference from gradient boosting |" in result.out
    text = "A difference whose interval contains 0 is not significant."
    assert (
        f"a linear model; gradient boosting. {text} It was fitted on a sample. {WARNING}"
        in result.out
    )
