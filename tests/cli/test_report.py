"""`trainer report` at the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.page.predicted_runs import make_predicted_run
from tests.report.run_files import make_run, scores, settings
from trainer.runs.directory import RunDirectory


@pytest.fixture
def run(folder: Path) -> RunDirectory:
    """A run without predictions, whose report is written quickly."""
    return make_run(folder / "runs", evaluations=scores(auc=0.9))


@pytest.fixture
def other(folder: Path) -> RunDirectory:
    config = settings(optimizer__learning_rate=3e-4)
    return make_run(folder / "runs", config=config, evaluations=scores(auc=0.8), minutes=1)


def test_report_of_one_run(run: RunDirectory, trainer: Callable) -> None:
    result = trainer("report", run.path)
    assert (result.code, result.out, result.err) == (0, f"{run.report}\n", "")
    assert "<!DOCTYPE html>" in run.report.read_text(encoding="utf-8")
    assert trainer("report", run.config, "--json").json == {"report": str(run.report)}
    assert trainer("report", run.path, "-o", "page.html").out == "page.html\n"
    assert Path("page.html").read_bytes() == run.report.read_bytes()


def test_report_of_several_runs_is_written_to_the_working_directory(
    run: RunDirectory, other: RunDirectory, trainer: Callable, refused: Callable
) -> None:
    assert trainer("report", run.path, other.path).out == "report.html\n"
    assert "optimizer.learning_rate" in Path("report.html").read_text(encoding="utf-8")
    refused("report", run.path, other.path, mentions=["report.html", "--out"], kind="usage")
    result = trainer("report", run.path, other.path, "--out", "report.html")
    assert result.code == 0
    assert not run.report.exists()


def test_markdown_is_printed(run: RunDirectory, trainer: Callable, refused: Callable) -> None:
    result = trainer("report", run.path, "--format", "md")
    assert result.code == 0
    assert result.out.startswith("# wine")
    assert "| auc | 0.9000 |" in result.out
    assert trainer("report", run.path, "--format", "md", "--out", "r.md").out == "r.md\n"
    assert Path("r.md").read_text(encoding="utf-8") == result.out
    refused("report", run.path, "--format", "md", mentions=["two", "--json"], kind="usage")


def test_plots_without_a_report(folder: Path, trainer: Callable) -> None:
    pytest.importorskip("matplotlib")
    run = make_predicted_run(folder / "runs")
    result = trainer("report", run.path, "--png", "plots", "--json")
    assert result.json["plots"][0] == "plots/roc.png"
    assert len(list(Path("plots").iterdir())) == len(result.json["plots"])
    assert not run.report.exists()


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (("no-such-run",), ["no-such-run"]),
        (("RUN", "--format", "pdf"), ["--format", "html or md", "'pdf'"]),
        (("RUN", "--out", "."), ["--out", "a file"]),
        (("RUN", "--out", "no/such/page.html"), ["--out", "mkdir -p"]),
        (("RUN", "RUN"), ["same run"]),
    ],
)
def test_invalid_arguments(
    run: RunDirectory, refused: Callable, arguments: tuple[str, ...], mentions: list[str]
) -> None:
    refused(
        "report", *(run.path if word == "RUN" else word for word in arguments), mentions=mentions
    )


def test_show_prints_the_findings(folder: Path, trainer: Callable) -> None:
    run = make_predicted_run(folder / "runs")
    result = trainer("show", run.path)
    assert result.code == 0
    assert result.out.startswith("On 60 test rows, yes is predicted well.\n")
    assert "confusion matrix: number of test rows" in result.out
    assert "better" in result.out
    assert f"{run.predictions} (test, test_linear)\n" in result.out
    assert trainer("show", run.path, "--json").json["findings"]["task"] == "binary"
    (run.path / "findings.json").write_text("[1")
    result = trainer("show", run.path)
    assert result.code == 0
    assert "findings.json" in result.err
    assert trainer("show", run.path, "--json").json["findings"] is None


def test_report_without_findings(folder: Path, trainer: Callable) -> None:
    run = make_predicted_run(folder / "runs")
    run.findings.unlink()
    result = trainer("report", run.path, "--format", "md")
    assert result.code == 0
    assert result.err.startswith("warning: the report has no confidence intervals, ")
    assert "Confusion matrix" in result.out
