from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.report.page.predicted_runs import make_predicted_run
from tests.report.run_files import make_run
from trainer.errors import RunError
from trainer.runs.decisions import Decisions, read_decisions
from trainer.runs.findings import (
    MetricDifference,
    MetricValue,
    read_findings,
)


def test_round_trip(tmp_path: Path) -> None:
    run = make_predicted_run(tmp_path)
    written = json.loads((run.path / "findings.json").read_text())
    result = read_findings(run)
    assert result is not None
    assert result.names == ("no", "yes")
    assert result.reported_split() == "test"
    of, was = result.splits["test"], written["splits"]["test"]
    assert of.metrics["auc"] == MetricValue(**was["metrics"]["auc"])
    assert of.vs_linear["accuracy"] == MetricDifference(**was["vs_linear"]["accuracy"])
    assert result.worst_slices is not None
    assert result.worst_slices.searched == 12
    assert result.worst_slices.slices[0].p_value == 0.01
    assert result.worst_rows[0].actual == "yes"
    assert read_decisions(run) == Decisions(0.43, "f1", temperature=1.2)


def test_run_without_findings(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert read_findings(run) is None
    assert read_decisions(run) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "guess"}, "'task'"),
        ({"splits": {"test": {"rows": -1}}}, "'metrics'"),
        ({"splits": {"test": {"rows": -1, "metrics": {}}}}, "'rows'"),
        ({"worst_rows": [{"row": 1, "actual": 3, "prediction": [], "loss": 1}]}, "'actual'"),
        ({"slices": {"metric": "auc", "overall": 1, "slices": [{}]}}, "'where'"),
    ],
)
def test_damaged_file_is_reported(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    run = make_predicted_run(tmp_path)
    path = run.path / "findings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RunError, match=message):
        read_findings(run)
