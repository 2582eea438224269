"""Output of the commands when nothing is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.run_files import make_run
from trainer_cli.progress import metrics_text

SMALL = ("model.layers=[]", "fit.epochs=1")


def test_monitored_metrics_are_shown_first() -> None:
    names = ("loss", "accuracy", "auc", "f1", "mcc")
    metrics = {**dict.fromkeys(names, 0.5), **{f"val_{name}": 0.25 for name in names}}
    shown = metrics_text(metrics, ("val_mcc", "val_loss")).split()[::2]
    assert shown == ["loss", "val_loss", "val_mcc", "val_accuracy", "val_auc"]
    assert metrics_text(metrics, ("accuracy",)).split()[::2][2] == "accuracy"
    assert metrics_text({"loss": 1.0, "auc": 0.5}, ()).split()[::2] == ["loss", "auc"]


def test_problems_of_all_configs_are_reported_at_once(folder: Path, refused: Callable) -> None:
    (folder / "bad.yaml").write_text("data: {source: table.csv, target: answer}\nfits: {}\n")
    (folder / "worse.yaml").write_text("data: {source: table.csv}\n")
    mentions = ["bad.yaml:2:1", "worse.yaml:1:7", "missing.yaml"]
    refused("fit", "bad.yaml", "good.yaml", "worse.yaml", "missing.yaml", mentions=mentions)


def test_singular_counts(folder: Path, trainer: Callable) -> None:
    result = trainer("check", "good.yaml", "data.features.include=[age]", *SMALL)
    assert "1 column, 1 input\n" in result.out
    assert "1 epoch of 3 steps: 3 steps" in result.out


@pytest.mark.parametrize(
    ("setting", "is_warned"), [("fit.folds=3", False), ("fit.repeats=3", True)]
)
def test_missing_test_rows_are_a_warning_without_folds(
    folder: Path, trainer: Callable, setting: str, is_warned: bool
) -> None:
    result = trainer("check", "good.yaml", "data.split.test=0", setting, *SMALL)
    assert ("there are no test rows" in result.out + result.err) == is_warned


@pytest.mark.parametrize(
    ("settings", "is_warned"),
    [
        ([], True),
        (["fit.folds=5"], False),
        (["data.split.validation=0"], False),
    ],
)
def test_few_validation_rows_are_a_warning_without_folds(
    folder: Path, trainer: Callable, settings: list[str], is_warned: bool
) -> None:
    result = trainer("check", "good.yaml", *settings, *SMALL)
    warning = "12 validation rows are too few to choose the best epoch by: fit.folds=5 trains "
    assert (warning in result.err) == is_warned


def test_check_reports_the_number_of_models(folder: Path, trainer: Callable) -> None:
    def last(*settings: str) -> str:
        return trainer("check", "good.yaml", *settings, *SMALL).out.splitlines()[-1]

    assert last("fit.folds=5", "fit.repeats=4") == "5 folds × 4 repeats: 20 networks"
    assert last("fit.folds=5") == "5 folds: 5 networks"
    assert last("fit.repeats=4") == "4 repeats: 4 networks"
    assert last().startswith("memory:")
    output = json.loads(trainer("check", "good.yaml", "fit.folds=3", *SMALL, "--json").out)
    assert output["networks"] == 3
    assert output["rows"]["validation"] * 2 == output["rows"]["train"]
    assert json.loads(trainer("check", "good.yaml", *SMALL, "--json").out)["networks"] == 1


def test_doctor_reports_threads(trainer: Callable) -> None:
    output = json.loads(trainer("doctor", "--json").out)
    assert set(output["threads"].values()) == {1, output["cores"]}
    assert "threads" in trainer("doctor").out


def test_eval_warns_of_rows_without_a_target(
    folder: Path, finished: Path, trainer: Callable
) -> None:
    lines = (folder / "table.csv").read_text().splitlines()
    lines[1] = lines[1].rpartition(",")[0] + ","
    (folder / "other.csv").write_text("\n".join(lines) + "\n")
    result = trainer("eval", finished, "--data", "other.csv", "--json")
    assert json.loads(result.out)["rows"] == 59
    assert "warning: 1 row dropped: no target" in result.err


def test_absolute_paths_in_the_root_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, trainer: Callable
) -> None:
    monkeypatch.chdir("/")
    result = trainer("check", folder / "good.yaml", f"data.source={folder}/nothing/x.csv")
    assert f"there is no directory {folder}/nothing" in result.err
    assert f": {folder}/nothing/x.csv; there is" in result.err


def test_only_the_start_of_a_path_is_shortened(folder: Path, trainer: Callable) -> None:
    nested = folder / "deep" / str(folder).lstrip("/")
    result = trainer("check", "good.yaml", f"data.source={nested}/more/x.csv")
    assert f": deep{folder}/more/x.csv; there is" in result.err
    assert f"there is no directory deep{folder}/more" in result.err


@pytest.mark.parametrize("monitor", ["fit.early_stopping", "fit.checkpoint"])
def test_monitor_without_a_value(
    folder: Path, refused_by_check_and_fit: Callable, monitor: str
) -> None:
    rows = [f"{index},{'yes' if index % 2 else 'no'},train" for index in range(20)]
    rows += [f"{index},yes,validation" for index in range(5)]
    (folder / "one_sided.csv").write_text("\n".join(["age,answer,part", *rows]) + "\n")
    refused_by_check_and_fit(
        "good.yaml",
        "data.source=one_sided.csv",
        "data.split={by: column, column: part}",
        f"{monitor}.monitor=val_auc",
        mentions=["val_auc", "no validation rows of 'no'", "val_loss"],
    )


def test_multilabel_rows_are_stratified_by_combination(folder: Path, trainer: Callable) -> None:
    lines = ["age,a,b"]
    lines += [f"{index},{int(index % 4 == 0)},{int(index % 2)}" for index in range(80)]
    (folder / "several.csv").write_text("\n".join(lines) + "\n")
    arguments = ("data.source=several.csv", "data.target=[a, b]", "data.split.by=stratified")
    output = json.loads(trainer("check", "good.yaml", *arguments, "--json").out)
    assert output["rows"] == {"train": 48, "validation": 16, "test": 16}
    assert output["classes"]["test"] == {"a": 4, "b": 8}
    assert output["classes"]["validation"] == {"a": 4, "b": 8}


def test_commands_that_do_not_train_do_not_import_tensorflow(folder: Path) -> None:
    root, found = folder / "runs", {"test": {"metrics": {"auc": 0.9}}}
    run, other = (str(make_run(root, "good", evaluations=found).path) for _ in range(2))
    lines = [
        ["--help"],
        ["fit", "--help"],
        ["ls"],
        ["compare", run, other],
        ["schema"],
        ["schema", "--markdown"],
        ["init", "table.csv", "--target", "answer"],
        ["check", "good.yaml"],
        ["check", "--data", "good.yaml", "data.features.exclude=[age]"],
        ["ls", "--sort", "test_auc", "--where", "optimizer.name == adam"],
        ["ls", "--columns", "run,seed", "--csv"],
        ["show", run],
        ["report", "--format", "md", run],
    ]
    program = (
        "import json, sys\n"
        "from trainer_cli.main import run\n"
        # Else --help takes three times as long, and numpy starts threads that main() is to forbid.
        "early = {'numpy', 'polars', 'pydantic', 'yaml'} & set(sys.modules)\n"
        "assert not early, early\n"
        "for number, line in enumerate(json.loads(sys.argv[1])):\n"
        "    assert run(line) == 0, line\n"
        "    heavy = {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)\n"
        "    assert not heavy, (line, heavy)\n"
        # The first ones need no configs.
        "    assert number > 3 or 'trainer.config.schema' not in sys.modules, line\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(lines)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
