"""`trainer compare` at the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.run_files import make_run, scores, settings
from trainer.runs.directory import RunDirectory


@pytest.fixture
def runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunDirectory]:
    """Two runs, in a folder whose name has spaces, that differ in learning rate and metric."""
    monkeypatch.delenv("COLUMNS", raising=False)
    root = folder / "all my runs"
    other = settings(optimizer__learning_rate=3e-4)
    return [
        make_run(root, evaluations=scores(auc=0.9)),
        make_run(root, evaluations=scores(auc=0.7), config=other, minutes=1),
    ]


def test_two_runs(runs: list[RunDirectory], trainer: Callable) -> None:
    result = trainer("compare", *(run.path for run in runs))
    assert (result.code, result.err) == (0, "")
    blocks = result.out.split("\n\n")
    assert [line.split() for line in blocks[1].splitlines()] == [
        ["settings", "that", "differ"],
        ["A", "B"],
        ["optimizer.learning_rate", "0.001", "0.0003"],
    ]
    assert [line.split() for line in blocks[2].splitlines()] == [
        ["validation"],
        ["A", "B"],
        ["auc", "0.9000", "0.7000"],
    ]
    assert len(blocks) == 3


def test_table_of_many_runs_fits_eighty_columns(folder: Path, trainer: Callable) -> None:
    runs = [
        make_run(
            folder / "r", config=settings(seed=seed, name=f"n{seed}"), evaluations=scores(a=seed)
        )
        for seed in range(20)
    ]
    result = trainer("compare", *(f"r/wine/{run.path.name}" for run in runs))
    assert max(map(len, result.out.splitlines())) <= 80


def test_csv_and_json(runs: list[RunDirectory], trainer: Callable) -> None:
    paths = [run.path for run in runs]
    rows = list(csv.DictReader(trainer("compare", *paths, "--csv").out.splitlines()))
    assert [row["optimizer.learning_rate"] for row in rows] == ["0.001", "0.0003"]
    assert [row["val_auc"] for row in rows] == ["0.9", "0.7"]
    value = trainer("compare", *paths, "--json").json
    assert [run["settings"]["optimizer.learning_rate"] for run in value["runs"]] == [0.001, 0.0003]
    assert [run["run"] for run in value["runs"]] == [str(path) for path in paths]


def test_damaged_evaluation_is_a_warning(runs: list[RunDirectory], trainer: Callable) -> None:
    (runs[0].evaluation / "validation.json").write_text("{")
    result = trainer("compare", *(run.path for run in runs))
    assert result.code == 0
    assert result.err.startswith("warning: ")
    assert ["auc", "–", "0.7000"] in [line.split() for line in result.out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        ([], ["trainer compare RUN"]),
        (["{one}"], ["two runs or more", "found one"]),
        (["{one}", "{one}/config.yaml"], ["distinct runs"]),
        (["{one}", "{two}s", "all my runs"], ["did you mean '{two}'?", "a folder with 2 runs"]),
        (["{one}", "{two}", "--csv"], ["either --csv or --json"]),
    ],
)
def test_invalid_arguments(
    arguments: list[str], mentions: list[str], runs: list[RunDirectory], refused: Callable
) -> None:
    names = {
        "one": f"all my runs/wine/{runs[0].path.name}",
        "two": f"all my runs/wine/{runs[1].path.name}",
    }
    refused(
        "compare",
        *(word.format(**names) for word in arguments),
        mentions=[text.format(**names) for text in mentions],
    )


def test_diff_suggests_compare(folder: Path, refused: Callable) -> None:
    refused("diff", "a", "b", mentions=["did you mean 'compare'?"])


def test_json_is_one_line(runs: list[RunDirectory], trainer: Callable) -> None:
    (line,) = trainer("compare", *(run.path for run in runs), "--json").out.splitlines()
    assert json.loads(line)["differ"]["settings"] == ["optimizer.learning_rate"]
