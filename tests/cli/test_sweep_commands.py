"""`show`, `ls`, `compare` and `report` of a sweep at the command line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.run_files import make_run, scores
from tests.report.sweep_files import make_sweep
from trainer.runs.sweeps import SweepDirectory


@pytest.fixture
def swept(folder: Path) -> Path:
    directory = make_sweep(Path("sweeps") if folder == Path.cwd() else folder / "sweeps", trials=14)
    return directory.path.relative_to(folder) if directory.path.is_absolute() else directory.path


def test_show_prints_the_next_commands(swept: Path, trainer: Callable) -> None:
    shown = trainer("show", swept)
    assert shown.code == 0, shown.err
    assert "14 of 14 trials ended" in shown.out
    assert f"trainer best {swept}" in shown.out
    output = trainer("show", swept, "--json").json
    assert (output["status"], output["trials"]) == ("finished", 14)
    assert len(output["trials_by_rank"]) == 14
    assert output["best"]["trial"] == output["trials_by_rank"][0]["trial"]
    assert trainer("show", swept / "sweep.yaml").out == shown.out
    # A trial is a run.
    assert "evaluation" in trainer("show", output["best"]["run"]).out


def test_ls_lists_all_trials(swept: Path, trainer: Callable) -> None:
    listed = trainer("ls", swept)
    assert len(listed.out.splitlines()) == 15
    few = trainer("ls", swept, "--where", "model.layers.0.dense.units == 64", "--sort", "-trial")
    numbers = [int(line.split()[0]) for line in few.out.splitlines()[1:]]
    assert numbers == sorted(numbers, reverse=True)
    lines = [json.loads(line) for line in trainer("ls", swept, "--json").out.splitlines()]
    assert {line["trial"] for line in lines} == set(range(14))
    assert trainer("ls", swept, "--csv").out.startswith("trial,status,objective,")
    none = trainer("ls", swept, "--where", "trial > 99")
    assert (none.out, none.err) == ("", f"no trial in {swept} matches (14 trials)\n")


def test_ls_lists_sweeps_after_runs(swept: Path, folder: Path, trainer: Callable) -> None:
    alone = trainer("ls")
    assert "14/14" in alone.out
    assert alone.err == ""
    make_run(folder / "runs", evaluations=scores(auc=0.9))
    both = trainer("ls").out
    assert both.index("runs/wine") < both.index(str(swept))
    assert "14/14" in trainer("ls", "sweeps").out
    (line,) = trainer("ls", "sweeps", "--json").out.splitlines()
    assert json.loads(line)["sweep"] == str(swept)
    # For scripts, only runs are listed.
    (line,) = trainer("ls", "--json").out.splitlines()
    assert "run" in json.loads(line)
    assert str(swept) not in trainer("ls", "--sort", "val_auc").out


def test_compare_compares_the_best_trials(
    swept: Path, folder: Path, trainer: Callable, refused: Callable
) -> None:
    compared = trainer("compare", swept, "--json").json["runs"]
    ranked = trainer("show", swept, "--json").json["trials_by_rank"]
    assert [run["run"] for run in compared] == [run["run"] for run in ranked[:5]]
    assert len(trainer("compare", swept, "--best", "3", "--json").json["runs"]) == 3
    run = make_run(folder / "runs", evaluations=scores(auc=0.7)).path.relative_to(folder)
    both = trainer("compare", run, swept, "--json").json["runs"]
    assert [run["run"] for run in both] == [str(run), ranked[0]["run"]]
    refused("compare", swept, ranked[0]["run"], mentions=["distinct runs"])
    refused("compare", swept, "--best", "1", mentions=["2 or more trials", "use --best 2"])
    assert len(trainer("compare", swept, run, "--best", "1", "--json").json["runs"]) == 2
    refused("compare", swept, "--best", "0", mentions=["--best"])


def test_report_of_a_sweep(swept: Path, folder: Path, trainer: Callable) -> None:
    assert trainer("report", swept).out == f"{swept}/report.html\n"
    page = (folder / swept / "report.html").read_text(encoding="utf-8")
    assert "Importance of the settings" in page
    assert "report" in trainer("show", swept).out
    assert trainer("report", swept, "--json", "-o", "x.html").json == {"report": "x.html"}
    text = trainer("report", swept, "--format", "md").out
    assert text.startswith("# wine-sweep")
    assert "<svg" not in text
    trainer("report", swept, "--png", "plots")
    assert "parallel.png" in {path.name for path in (folder / "plots").iterdir()}
    run = make_run(folder / "runs", evaluations=scores(auc=0.7)).path
    both = trainer("report", run, swept, "-o", "both.html")
    assert both.code == 0, both.err
    assert "Comparison of 2 runs" in (folder / "both.html").read_text(encoding="utf-8")


def test_other_commands_refer_to_the_best_trial(swept: Path, refused: Callable) -> None:
    refused("explain", swept, mentions=["a sweep", f"trainer best {swept}"])
    refused("eval", swept, mentions=["a sweep", f"trainer best {swept}"])
    for command in ("show", "report"):
        refused(command, "sweeps", mentions=["a folder with 1 sweep", str(swept)])


def test_failed_and_damaged_sweeps(folder: Path, trainer: Callable, refused: Callable) -> None:
    failed = make_sweep(
        folder / "sweeps", "failed", trials=3, ending=lambda *_: ("failed", math.nan, "it diverged")
    ).path
    assert "it diverged" in trainer("show", failed).out
    assert trainer("report", failed).code == 0
    refused("compare", failed, mentions=["only failed trials"])
    broken = make_sweep(folder / "sweeps", "broken", trials=3)
    SweepDirectory(broken.path).journal.write_bytes(b"\xff\n{}\n")
    shown = trainer("show", broken.path)
    assert (shown.code, "damaged" in shown.out) == (0, True)
    listed = trainer("ls", broken.path)
    assert listed.out == ""
    assert "journal.jsonl:1" in listed.err
