"""`trainer fit TABLE --target Y` trains what `trainer init` proposes, and takes a time limit."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.runs import read_manifest
from tests.kill.comparison import differences

SMALL = (
    "fit.folds=null",
    "fit.epochs=2",
    "data.split={test: 0.2, validation: 0.2}",
    "evaluate.report=false",
)


def problems_of(result) -> list[str]:
    assert result.code == 2, result
    return [
        f"{problem['where']}: {problem['found']}; {problem['fix']}"
        for problem in result.json["error"]["problems"]
    ]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["table.csv"],
         ["trainer fit --target: none; likely columns: 'answer', 'age', 'city', 'income'; "
          "for example: trainer fit table.csv --target answer"]),
        (["table.csv", "--target", "anwser", "--max-seconds", "0"],
         ["data.target: 'anwser'; did you mean 'answer'?",
          "--max-seconds: 0; for example, --max-seconds 60"]),
        (["good.yaml", "--target", "answer", "--effort", "best", "--max-seconds", "-1"],
         ["trainer fit --target: the config good.yaml; set data.target in the config, or with "
          "data.target=COLUMN",
          "trainer fit --effort: the config good.yaml; choose epochs, folds and repeats in the config",
          "--max-seconds: -1; for example, --max-seconds 60"]),
        (["table.csv", "good.yaml", "-t", "answer", "-e", "much"],
         ["trainer fit --effort: 'much'; ",
          "trainer fit: table.csv, good.yaml; use one table, or write a config for each with trainer "
          "init"]),
        (["good.yaml", "--max-seconds", "nan"],
         ["--max-seconds: nan; for example, --max-seconds 60"]),
        (["missing.csv"], ["missing.csv: no such file; ls . shows what is there"]),
        (["table.csv", "--task", "translate"],
         ["trainer fit --target: none; likely columns: 'answer', 'age', 'city', 'income'; "
          "for example: trainer fit table.csv --target answer --task translate"]),
        (["table.csv", "--task", "generate", "-t", "answer", "-t", "age"],
         ["trainer fit --target: answer, age; name one of them, or none"]),
        (["table.csv", "--task", "generate", "-t", "anwser"],
         ["data.target: 'anwser'; did you mean 'answer'?"]),
        (["good.yaml", "--task", "generate"],
         ["trainer fit --task: the config good.yaml; set data.task in the config, or with "
          "data.task=TASK"]),
    ],
)  # fmt: skip
def test_invalid_combinations_are_refused_all_at_once(trainer, folder, arguments, found):
    actual = problems_of(trainer("fit", "--json", *arguments))
    assert sorted(actual) == sorted(found)
    assert not Path("runs").exists()


def test_table_and_config_are_told_apart_by_content(trainer, folder):
    shutil.copy("good.yaml", "good.txt")
    assert "a table" in trainer("fit", "good.txt", "--target", "answer").err
    shutil.copy("table.csv", "table.txt")
    assert "likely columns" in trainer("fit", "table.txt").err


def test_parallel_text_files_are_a_table(trainer, folder):
    for name in ("en", "de"):
        Path(f"pairs.{name}").write_text("one\ntwo\n")
    result = trainer("fit", "pairs.{en,de}", "--task", "translate")
    assert "for example: trainer fit 'pairs.{en,de}' --target de --task translate" in result.err
    result = trainer("init", "pairs.en", "pairs.de", "--target", "de")  # as a shell expands braces
    assert "found no '='; name one file; a path with braces" in result.err


def test_fit_of_a_table_is_repeated_by_its_configs(trainer, folder):
    # The time limit is not reached, and changes nothing.
    result = trainer(
        "fit", "table.csv", "--target", "answer", "--effort", "quick", *SMALL,
        "--max-seconds", "1000",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "binary: 'answer' has 2 distinct text values" in result.err
    run = Path(result.out.strip())
    assert run.parent == Path("runs/table")
    assert read_manifest(run)["stopped_because"] == "all epochs done"
    text = (run / "proposed.yaml").read_text()
    assert "trainer fit proposed.yaml fit.folds=null" in text
    repeated = trainer("fit", run / "proposed.yaml", *SMALL, "--runs", "again")
    assert repeated.code == 0, repeated.err
    (run / "proposed.yaml").unlink()
    assert differences(Path(repeated.out.strip()), run) == []


def test_run_whose_time_is_over_says_so_and_is_resumed(trainer, folder):
    result = trainer("fit", "good.yaml", "fit.epochs=500", "--max-seconds", "1e-3", "--json")
    assert result.code == 0, result.err
    run = Path(result.json["run"])
    assert (result.json["status"], result.json["epochs"]) == ("finished", 1)
    reason = "--max-seconds: 0.001 seconds have passed"
    assert result.json["stopped_because"] == reason
    assert result.json["metrics"]["test"]
    assert f"resume with: trainer resume {run}" in result.err
    assert reason in trainer("show", run).out
    again = trainer(
        "fit", "good.yaml", "fit.epochs=500", "--resume-or-start", "--max-seconds", "1e-3"
    )
    assert again.code == 0, again.err
    assert Path(again.out.strip()) == run
    manifest = read_manifest(run)
    assert (manifest["epochs"], len(manifest["resumptions"])) == (2, 1)
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["epoch"] == 2


def test_resume_refuses_an_invalid_limit(refused, folder):
    refused("resume", "runs/x", "--max-seconds", "0", mentions=["a number of seconds above 0"])
