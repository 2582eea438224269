"""`trainer ls`: filters, formats and refusals."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.run_files import SETTINGS, make_run, scores, settings
from trainer.runs.directory import RunDirectory

SECRET = "seen"


@pytest.fixture
def runs(folder: Path) -> list[RunDirectory]:
    """Three runs: adam at 0.9, adam at 0.7, sgd without a metric."""
    root = folder / "runs"
    sgd = settings(optimizer={"name": "sgd", "learning_rate": 0.01})
    return [
        make_run(root, evaluations=scores(auc=0.9)),
        make_run(root, evaluations=scores(auc=0.7), minutes=1),
        make_run(root, "größe, é", config=sgd, minutes=2),
    ]


def test_runs_are_filtered_and_sorted(runs: list[RunDirectory], trainer: Callable) -> None:
    arguments = (
        "--where",
        "optimizer.name == adam",
        "--where",
        "val_auc > 0.5",
        "--sort",
        "-val_auc",
    )
    result = trainer("ls", *arguments, "--columns", "run,val_auc,optimizer.learning_rate")
    assert result.code == 0
    head, *lines = [line.split() for line in result.out.splitlines()]
    assert head == ["run", "val_auc", "optimizer.learning_rate"]
    paths = [f"runs/wine/{run.path.name}" for run in runs]
    assert lines == [[paths[1], "0.7000", "0.001"], [paths[0], "0.9000", "0.001"]]
    assert result.err == ""


def test_column_of_the_sort_key_is_added(runs: list[RunDirectory], trainer: Callable) -> None:
    lines = trainer("ls", "--sort", "optimizer.learning_rate").out.splitlines()
    assert lines[0].split()[-3:] == ["optimizer.learning_rate", "metrics", "age"]
    assert [line.split()[0] for line in lines[1:]] == ["finished"] * 3
    assert "größe" in lines[3]


def test_csv(runs: list[RunDirectory], trainer: Callable) -> None:
    result = trainer("ls", "--csv", "--sort", "started")
    rows = list(csv.DictReader(result.out.splitlines()))
    assert [row["name"] for row in rows] == ["wine", "wine", "größe, é"]
    assert [row["val_auc"] for row in rows] == ["0.9", "0.7", ""]
    assert [row["run"] for row in rows] == [
        f"runs/{run.path.parent.name}/{run.path.name}" for run in runs
    ]
    filtered = trainer("ls", "--csv", "--columns", "model.layers", "--where", "name == wine").out
    assert json.loads(next(csv.reader(filtered.splitlines()[1:]))[0]) == SETTINGS["model"]["layers"]


def test_json(runs: list[RunDirectory], trainer: Callable) -> None:
    arguments = ("ls", "--json", "--sort", "-name")
    lines = [json.loads(line) for line in trainer(*arguments).out.splitlines()]
    assert [line["name"] for line in lines] == ["wine", "wine", "größe, é"]
    some = trainer(*arguments, "--columns", "optimizer.clip_norm,val_auc,seed").out.splitlines()
    assert json.loads(some[0]) == {"optimizer.clip_norm": None, "val_auc": 0.7, "seed": 7}
    assert json.loads(some[2]) == {"optimizer.clip_norm": None, "val_auc": None, "seed": 7}


def test_no_run_matches(runs: list[RunDirectory], trainer: Callable) -> None:
    result = trainer("ls", "--where", "epochs > 1000")
    assert (result.code, result.out) == (0, "")
    assert result.err == "no run in runs matches (3 runs)\n"
    assert trainer("ls", "--where", "epochs > 1000", "--json").out == ""
    head = trainer("ls", "--where", "epochs > 1000", "--csv", "--columns", "run,epochs").out
    assert head == "run,epochs\n"


def test_no_runs(folder: Path, trainer: Callable) -> None:
    result = trainer("ls", "--sort", "val_auc", "--where", "optimizer.name == adam")
    assert (result.code, result.out, result.err) == (0, "", "no runs in runs\n")


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (["--sort", "val_acu"], ["--sort", "'val_acu'", "did you mean 'val_auc'?"]),
        (["--columns", "run,lr"], ["--columns", "'lr'", "did you mean 'optimizer.learning_rate'?"]),
        (["--where", "optimizer.nam == adam"], ["did you mean 'optimizer.name'?"]),
        (["--where", "status = dead", "--sort", ""], ["write 'status == dead'", "--sort"]),
        (["--where", "val_auc > much"], ["a number, as val_auc is", "'much'"]),
        (["--where", "val_auc"], ["OPERATOR", "'val_auc'"]),
        (["--columns", ","], ["names separated by commas"]),
        (["--where"], ["--where"]),
        (["--csv"], ["either --csv or --json"]),
        (["--filter", "a == 1"], ["'--filter'"]),
    ],
)
def test_invalid_arguments(
    arguments: list[str], mentions: list[str], runs: list[RunDirectory], refused: Callable
) -> None:
    refused("ls", *arguments, mentions=mentions, kind="usage")


def test_hostile_config_is_not_executed(
    runs: list[RunDirectory], trainer: Callable, folder: Path
) -> None:
    runs[0].config.write_text(f"optimizer: !!python/object/apply:os.system ['touch {SECRET}']\n")
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(code)}: &{chr(code)} [*{chr(code - 1)}, *{chr(code - 1)}]\n"
        for code in range(ord("b"), ord("z"))
    )
    runs[1].config.write_text(f"{bomb}optimizer: *y\n")
    result = trainer("ls", "--where", "optimizer.name in adam,sgd", "--columns", "run")
    assert result.code == 0
    assert len(result.out.splitlines()) == 2
    assert "warning: settings that cannot be read: " in result.err
    assert "(and 1 more)" in result.err
    assert not (folder / SECRET).exists()
    listed = [
        json.loads(line)
        for line in trainer("ls", "--json", "--sort", "optimizer.name").out.splitlines()
    ]
    assert [len(line["problems"]) for line in listed] == [0, 1, 1]  # sgd, then those without


def test_members_and_trials(folder: Path, trainer: Callable) -> None:
    parent = make_run(folder / "runs", evaluations=scores(auc=0.8))
    for code in (parent.path / "members", folder / "sweeps" / "wine" / "now" / "trials"):
        for number in range(3):
            run = make_run(folder / "made", minutes=number)
            code.mkdir(parents=True, exist_ok=True)
            run.path.rename(code / f"{number:04}")

    def listed(path: str | Path) -> list[str]:
        return [json.loads(line)["run"] for line in trainer("ls", path, "--json").out.splitlines()]

    assert listed("runs") == [f"runs/wine/{parent.path.name}"]
    assert len(listed(parent.path / "members")) == 3
    assert listed("sweeps/wine/now")[0] == "sweeps/wine/now/trials/0002"
    assert len(listed("sweeps/wine/now/trials")) == 3
    (parent.manifest).unlink()
    (listed_run,) = map(json.loads, trainer("ls", "--json").out.splitlines())
    assert listed_run["status"] == "damaged"
