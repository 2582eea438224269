"""Output and exit codes of `trainer check --data`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.report.run_files import make_run
from trainer.config.dump import dump_config
from trainer.config.load import load_config
from trainer.data.prepare import prepare
from trainer.runs.directory import RunDirectory

ROWS = 300


@pytest.fixture
def clean(folder: Path) -> Path:
    """A config whose table has no problems."""
    write(folder / "clean.csv")
    (folder / "clean.yaml").write_text(
        "name: clean\ndata: {source: clean.csv, target: answer}\nmodel: {layers: [dense: 4]}\n"
    )
    return folder / "clean.yaml"


def write(path: Path, **more: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 3))
    label = np.where(x[:, 0] + rng.normal(size=ROWS) > 0, "yes", "no")
    columns = {f"x{index}": x[:, index].round(4) for index in range(3)}
    pl.DataFrame({**columns, **more, "answer": label}).write_csv(path)


def test_clean_data(clean: Path, trainer: Callable) -> None:
    result = trainer("check", "--data", clean.name)
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "clean: 0 errors, 0 warnings in 180 train, 60 validation, 60 test rows, 3 features\n"
    )
    report = trainer("check", "--data", "--json", clean.name).json
    assert report["findings"] == report["notes"] == report["warnings"] == []
    assert (report["rows"], report["audited_rows"]) == (
        {"train": 180, "validation": 60, "test": 60},
        300,
    )


def test_error_finding_exits_with_2(folder: Path, trainer: Callable) -> None:
    result = trainer("check", "--data", "good.yaml")
    assert result.code == 2
    (line,) = [line for line in result.err.splitlines() if line.startswith("error:")]
    assert line.startswith("error: table.csv [target_leakage]: expected ")
    assert line.endswith("if so, set data.features.exclude: [age]")
    assert result.out.startswith("good: 1 error, 0 warnings in 36 train, ")
    fixed = trainer("check", "--data", "good.yaml", "data.features.exclude=[age]")
    assert fixed.code == 0


def test_warning_exits_with_0_or_with_2_if_strict(clean: Path, trainer: Callable) -> None:
    write(clean.with_name("clean.csv"), country="NL")
    result = trainer("check", "--data", "--quiet", clean.name)
    assert (result.code, result.out) == (0, "")
    assert result.err.startswith("warning: clean.csv [constant_column]: expected ")
    result = trainer("check", "--data", "--strict", "--json", clean.name)
    assert result.code == 2
    (found,) = result.json["findings"]
    assert found["columns"] == ["country"]
    assert (found["kind"], found["severity"]) == ("constant_column", "warning")
    assert set(found) == {
        "kind", "severity", "where", "columns", "rows", "count", "expected", "found", "effect", "fix",
    }  # fmt: skip


def test_note_is_not_a_finding(clean: Path, trainer: Callable) -> None:
    write(clean.with_name("clean.csv"), country=["NL"] * (ROWS - 1) + ["DE"])
    result = trainer("check", "--data", "--strict", "--json", clean.name)
    assert result.code == 0
    assert result.json["findings"] == []
    assert [note["kind"] for note in result.json["notes"]] == ["nearly_constant_column"]
    assert trainer("check", "--data", clean.name).err.startswith("note: clean.csv [")


def test_rows_are_named_by_file_and_line(clean: Path, trainer: Callable) -> None:
    lines = clean.with_name("clean.csv").read_text().splitlines()
    clean.with_name("clean.csv").write_text("\n".join([*lines, *lines[1:40]]) + "\n")
    (found,) = trainer("check", "--data", "--json", clean.name).json["findings"]
    assert found["kind"] == "duplicate_rows"
    assert len(found["rows"]) == 5 < found["count"]
    assert all(index.startswith("clean.csv:") for index in found["rows"])


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (["--data", "none.yaml"], "none.yaml"),
        (["--data", "good.yaml", "data.target=nothing"], "'nothing'"),
        (["--data", "good.yaml", "data.features.exclude=[nothing]"], "'nothing'"),
        (["--data", "good.yaml", "good.yaml"], "one config file"),
        (["--strict", "good.yaml"], "--data"),
    ],
)
def test_invalid_arguments(
    folder: Path, refused: Callable, arguments: list[str], mentions: str
) -> None:
    refused("check", *arguments, mentions=[mentions])


def make_trained_run(
    folder: Path, config: Path, predictions: Mapping[str, pl.DataFrame]
) -> RunDirectory:
    """Write a run of a config with these predictions, as training would."""
    loaded = load_config(config, [])
    run = make_run(folder / "runs", "clean")
    run.write_config(dump_config(loaded.config))
    run.write_preprocessing(prepare(loaded.config).preprocessing.to_json())
    run.best.mkdir(parents=True, exist_ok=True)
    for name, frame in predictions.items():
        run.predictions.mkdir(exist_ok=True)
        frame.write_parquet(run.predictions / name)
    return run


def suspect_labels() -> tuple[list[str], list[float]]:
    """Return 20 labels and the probabilities of yes, which contradict the third and the last label."""
    labels = ["yes", "no"] * 10
    probabilities = [0.9, 0.1] * 10
    labels[2], labels[19] = "no", "yes"
    probabilities[19] = 0.02
    return labels, probabilities


@pytest.mark.parametrize("kind", ["out of fold", "splits", "members"])
def test_suspect_labels_of_a_run(clean: Path, folder: Path, trainer: Callable, kind: str) -> None:
    labels, probabilities = suspect_labels()
    rows = list(range(20))
    if kind == "splits":
        parts = {
            f"{name}.parquet": pl.DataFrame(
                {"row": rows[part], "actual": labels[part], "probability_yes": probabilities[part]}
            )
            for name, part in {"validation": slice(0, 10), "test": slice(10, 20)}.items()
        }
        run = make_trained_run(folder, clean, parts)
    else:
        frame = pl.DataFrame(
            {
                "row": rows,
                "answer": labels,
                "fold": [1] * 20,
                "probability_yes": probabilities,
                "probability_yes_std": [None] * 20,
            }
        )
        run = make_trained_run(folder, clean, {"out_of_fold.parquet": frame})
    if kind == "members":
        member = run.member(1)
        member.mkdir(parents=True)
        shutil.copy(run.config, member)
        for path in (run.preprocessing, run.best.parent):
            path.rename(member / path.name)
    result = trainer("check", "--data", "--json", run.path)
    assert result.code == 0, result.err
    report = result.json
    assert [
        (issue["row"], issue["label"], issue["predicted"]) for issue in report["label_issues"]
    ] == [
        (19, "yes", "no"),
        (2, "no", "yes"),
    ]
    (found,) = report["findings"]
    assert (found["kind"], found["count"]) == ("label_issues", 2)
    assert sum(report["rows"].values()) == 20
    assert "2 of 20 labels" in result.err


def test_run_without_predictions(clean: Path, folder: Path, refused: Callable) -> None:
    run = make_trained_run(folder, clean, {})
    refused("check", "--data", run.path, mentions=["fit.folds=5"])
    run.write_manifest(replace(run.read_manifest(), status="stopped"))
    refused("check", "--data", run.path, mentions=[f"finish it: trainer resume {run.path}"])
    numbers_only = pl.DataFrame({"row": [0], "answer_0": [0.5]})
    run = make_trained_run(folder, clean, {"validation.parquet": numbers_only})
    refused("check", "--data", run.path, mentions=["fit.folds=5"])
    refused("check", "--data", run.path, "seed=1", mentions=["no KEY=VALUE"])
    (run.predictions / "out_of_fold.parquet").write_bytes(b"PAR1 no more")
    refused("check", "--data", run.path, mentions=["out_of_fold.parquet", "a copy of the run"])
    pl.DataFrame({"row": [0], "answer": ["yes"]}).write_parquet(run.out_of_fold)
    refused("check", "--data", run.path, mentions=["probability_yes"])
    run.preprocessing.write_text("{}")
    refused("check", "--data", run.path, mentions=["preprocessing.json"])
