"""Decisions of a run as text, and labels of metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.report.run_files import NOW, make_run, scores, settings
from trainer.report.decisions import (
    MetricLabels,
    class_weight_text,
    common_label,
    decision_lines,
    read_decision_summary,
)
from trainer.report.tables import load_report
from trainer.runs.decisions import Decisions, write_decisions
from trainer.runs.directory import RunDirectory


@pytest.mark.parametrize(
    ("labels", "name", "label"),
    [
        (MetricLabels(), "loss", "loss"),
        (MetricLabels("binary"), "f1", "f1"),
        (MetricLabels("multiclass"), "f1", "f1 (macro)"),
        (MetricLabels("multiclass"), "accuracy", "accuracy"),
        (MetricLabels("multiclass"), "f1_weighted", "f1_weighted"),
        (MetricLabels("multilabel"), "auc", "auc (macro)"),
        (MetricLabels("binary", is_calibrated=True), "loss", "loss (before calibration)"),
        (MetricLabels("binary", is_calibrated=True), "log_loss", "log_loss (calibrated)"),
        (MetricLabels("binary", is_calibrated=True), "auc", "auc"),
        (MetricLabels("regression", is_scaled=True), "loss", "loss (of the scaled target)"),
        (MetricLabels("regression", is_scaled=True), "rmse", "rmse"),
        (MetricLabels("regression"), "loss", "loss"),
    ],
)
def test_labels(labels: MetricLabels, name: str, label: str) -> None:
    assert labels.display_name(name) == label


def test_common_label_of_several_runs() -> None:
    scaled, plain = MetricLabels("regression", is_scaled=True), MetricLabels("regression")
    assert common_label([scaled, scaled], "loss") == "loss (of the scaled target)"
    assert common_label([scaled, plain], "loss") == "loss"
    assert common_label([], "loss") == "loss"


@pytest.mark.parametrize(
    ("chosen", "lines"),
    [
        (Decisions(), []),
        (Decisions(0.25), ["threshold 0.2500, set in the config"]),
        (
            Decisions(0.3, "f1", {"precision": 0.5, "f1": None}, temperature=1.5),
            [
                "threshold 0.3000, chosen for f1 (precision 0.5000, f1 – on the validation rows)",
                "temperature 1.500, fitted on the validation rows",
            ],
        ),
        # A chosen threshold can be 0.5.
        (
            Decisions(0.5, "cost", {"recall": 1.0}, source="runs/a/b"),
            ["threshold 0.5000, chosen for cost (recall 1.0000 on the validation rows of a/b)"],
        ),
        # No threshold reaches the precision; the note explains it.
        (Decisions(0.5, "precision", note="no threshold reaches a precision of 0.99"), []),
        (
            Decisions(coverage=0.9, half_widths={"price": 12.5, "rent": 3}),
            [
                "90% prediction intervals: price ± 12.50, rent ± 3, fitted on the validation rows",
            ],
        ),
    ],
)
def test_decision_lines(chosen: Decisions, lines: list[str]) -> None:
    assert list(decision_lines(chosen)) == lines


def test_intervals_of_a_transformed_target_are_factors() -> None:
    curve = {"kind": "log", "exponent": 0.0, "low": 1.0, "high": 100.0}
    target = {"columns": ["price"], "transforms": [curve]}
    chosen = Decisions(coverage=0.8, half_widths={"price": 0.6418538861723947})
    (line,) = decision_lines(chosen, {"target": target})
    assert line == (
        "80% prediction intervals: price multiplied or divided by 1.9, fitted on the "
        "validation rows"
    )
    damaged = {"target": {"columns": ["price"], "transforms": [{"kind": "log"}]}}
    assert list(decision_lines(chosen, damaged)) == []


@pytest.mark.parametrize(
    ("setting", "classes", "counts", "text"),
    [
        (None, ("no", "yes"), (50, 10), ""),
        ("balanced", ("no", "yes"), (50, 10), "no 0.6000, yes 3 (balanced)"),
        ({"no": 1.0, "yes": 12.5}, ("no", "yes"), (50, 10), "no 1.0000, yes 12.50"),
        ("balanced", (), (), ""),
        (
            "balanced",
            tuple(map(str, range(14))),
            (1,) * 14,
            f"{', '.join(f'{at} 1.0000' for at in range(12))} and 2 more (balanced)",
        ),
    ],
)
def test_class_weights(setting: Any, classes: Any, counts: Any, text: str) -> None:
    assert class_weight_text(setting, classes, counts) == text


def preprocessing(**target: Any) -> dict[str, Any]:
    defaults = {
        "task": "binary",
        "columns": ["y"],
        "classes": ["no", "yes"],
        "class_counts": [30, 10],
        "offset": [],
        "scale": [],
    }
    return {"columns": [], "target": {**defaults, **target}}


def test_summary_of_a_run(tmp_path: Path) -> None:
    config = settings(fit={"class_weight": "balanced"})
    run = make_run(tmp_path, config=config, evaluations=scores(loss=0.5))
    run.write_preprocessing(preprocessing())
    write_decisions(run, Decisions(0.3, "youden", temperature=2.0, note="a note"))
    result = read_decision_summary(run)
    assert result.labels == MetricLabels("binary", is_scaled=False, is_calibrated=True)
    assert result.class_weights == "no 0.6667, yes 2 (balanced)"
    assert [line.split(",")[0] for line in result.decisions] == [
        "threshold 0.3000",
        "temperature 2",
    ]
    assert result.notes == ("a note",)


def test_summary_of_a_run_with_members(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_decisions(run, Decisions(0.4, "f1", {"f1": 0.75}))
    for number, temperature in enumerate((1.25, 1.5), start=1):
        member = RunDirectory.open_or_create(run.member(number))
        member.write_preprocessing(preprocessing())
        write_decisions(member, Decisions(0.2 * number, "f1", temperature=temperature))
    result = read_decision_summary(run)
    assert result.labels.is_calibrated
    assert result.decisions == (
        "threshold 0.4000, chosen for f1 (f1 0.7500 on the validation rows)",
        "temperature 1.250 to 1.500, one per network (2)",
    )


def test_scaled_targets(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for target, is_scaled in (
        ({"offset": [0.0], "scale": [1.0]}, False),
        ({"offset": [3.0], "scale": [2.0]}, True),
        ({"offset": [0.0], "scale": [1.0], "transforms": [{"kind": "log"}]}, True),
    ):
        run.write_preprocessing(preprocessing(task="regression", classes=[], **target))
        assert read_decision_summary(run).labels == MetricLabels("regression", is_scaled=is_scaled)


def test_damaged_files_are_ignored(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert read_decision_summary(run).labels == MetricLabels()
    for content in ("[]", "{", '{"target": 3}', '{"target": {"task": 3}}'):
        run.preprocessing.write_text(content)
        run.decisions.write_text(content)
        result = read_decision_summary(run)
        assert result.decisions == ()
        # The damaged file is reported by load_report.
        problems = load_report(run, NOW).problems
        assert [problem.where for problem in problems] == [str(run.decisions)]
        assert result.labels == MetricLabels()
