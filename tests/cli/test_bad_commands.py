"""Invalid command lines; commands given a path that is not a run, or a damaged run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.processes import COMMAND
from trainer_cli.main import run

# name: (command line, parts of the message)
COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "unknown command": (["fti", "good.yaml"], ["trainer", "'fti'", "did you mean 'fit'?"]),
    "config in place of a command": (
        ["good.yaml"],
        ["a command", "'good.yaml'", "trainer fit good.yaml"],
    ),
    "renamed command": (["train", "good.yaml"], ["a command", "'train'", "fit"]),
    "unknown option": (["fit", "good.yaml", "--quite"], ["trainer fit", "'--quite'", "'--quiet'"]),
    "unknown short option": (["fit", "good.yaml", "-z"], ["trainer fit", "'-z'"]),
    "port of a server": (
        ["serve", "a.onnx", "--port", "70000"],
        ["trainer serve --port", "at most 65535", "'70000'"],
    ),
    "served file": (["serve", "good.yaml"], ["good.yaml", "a run directory"]),
    "unknown option of trainer": (["--jsn"], ["trainer", "'--jsn'"]),
    "setting as an option": (
        ["fit", "good.yaml", "--optimizer.learning_rate=1"],
        ["--optimizer.learning_rate", "write optimizer.learning_rate=1"],
    ),
    "setting as an option and a value": (
        ["fit", "good.yaml", "--optimizer.learning_rate", "1"],
        ["write optimizer.learning_rate=1"],
    ),
    "short name of a setting": (["fit", "good.yaml", "--lr=1"], ["optimizer.learning_rate=1"]),
    "short name and a value": (
        ["fit", "good.yaml", "--epochs", "3"],
        ["'--epochs'", "write fit.epochs=3"],
    ),
    "setting after one dash": (["fit", "good.yaml", "-lr=1"], ["optimizer.learning_rate=1"]),
    "dash and equals sign": (["fit", "good.yaml", "-=1"], ["'-='"]),
    "value of a switch": (["fit", "good.yaml", "--quiet=yes"], ["--quiet"]),
    "no value of an option": (["fit", "good.yaml", "--runs"], ["--runs"]),
    "no config": (["fit"], ["trainer fit", "found nothing"]),
    "no config but settings": (["fit", "fit.epochs=3"], ["a config file", "only settings"]),
    "config named like a section": (["check", "data.yaml"], ["data.yaml: ", "no such file"]),
    "two configs to check": (["check", "good.yaml", "good.yaml"], ["one config file", "found 2"]),
    "setting without an equals sign": (
        ["check", "good.yaml", "fit.epochs:3"],
        ["fit.epochs:3", "write fit.epochs=3"],
    ),
    "setting split into three words": (
        ["check", "good.yaml", "fit.epochs", "=", "3"],
        ["KEY=VALUE"],
    ),
    "config that is not there": (["fit", "goood.yaml"], ["goood.yaml", "'good.yaml'"]),
    "setting before a bad config": (["fit", "fit.epochs=3", "bad"], ["bad", "no such file"]),
    "table in place of a config": (["check", "table.csv"], ["table.csv", "trainer init table.csv"]),
    "file in place of a folder of runs": (
        ["fit", "good.yaml", "--runs", "table.csv"],
        ["table.csv", "a folder"],
    ),
    # init
    "init without a table": (["init"], ["trainer init", "DATA"]),
    "init without a target": (
        ["init", "table.csv"],
        ["trainer init --target", "likely columns", "init table.csv --target answer"],
    ),
    "init of a missing table": (
        ["init", "tabel.csv", "-t", "answer"],
        ["tabel.csv", "'table.csv'"],
    ),
    "init of a missing column": (
        ["init", "table.csv", "-t", "anwser", "-o", "x.yaml"],
        ["'answer'"],
    ),
    "init over a file": (
        ["init", "table.csv", "-t", "answer", "-o", "good.yaml"],
        ["--output", "good.yaml, which exists", "--force"],
    ),
    "init into nowhere": (
        ["init", "table.csv", "-t", "answer", "-o", "no/x.yaml"],
        ["--output", "mkdir"],
    ),
    "init into a directory": (["init", "table.csv", "-t", "answer", "-o", "."], ["--output"]),
    "init of another task": (
        ["init", "table.csv", "--task", "generte"],
        ["trainer init --task", "translate or generate", "'generte'"],
    ),
    "init with two classes": (
        ["init", "table.csv", "--task", "generate", "-t", "answer", "-t", "size"],
        ["trainer init --target", "at most one column", "answer, size"],
    ),
    "sheet of a generator": (
        ["init", "table.csv", "--task", "generate", "--sheet", "s.html"],
        ["no --sheet with --task generate"],
    ),
    "init twice on stdout": (["init", "table.csv", "-t", "answer", "-o", "-"], ["stdout"]),
    "init of a config": (["init", "good.yaml", "-t", "answer"], ["good.yaml"]),
    # commands for runs
    "eval of nothing": (["eval"], ["trainer eval", "RUN"]),
    "eval of a missing run": (
        ["eval", "runs/none"],
        ["runs/none", "a run directory", "no such path"],
    ),
    "eval of a folder": (["eval", "."], ["a run directory", "trainer ls"]),
    "eval of a config": (["eval", "good.yaml"], ["good.yaml", "a run directory"]),
    "eval of an unknown split": (
        ["eval", "x", "--split", "tset"],
        ["--split", "'tset'", "did you mean 'test'?"],
    ),
    "eval of a split of a file": (
        ["eval", "x", "--split", "test", "--data", "table.csv"],
        ["--data or --split"],
    ),
    "eval on an unknown device": (["eval", "x", "--device", "tpu"], ["--device", "'tpu'", "gpu"]),
    "show without a run": (["show"], ["trainer show", "RUN"]),
    "show of a missing run": (["show", "runs/none"], ["runs/none", "a run directory"]),
    "show of a table": (["show", "table.csv"], ["table.csv", "a file outside any run"]),
    "show of a folder": (["show", "."], ["a run directory"]),
    "ls of a file": (["ls", "table.csv"], ["table.csv", "a folder of runs", "a file"]),
    "ls of a missing folder": (["ls", "nowhere"], ["nowhere", "a folder of runs", "no such path"]),
    "ls of two folders": (["ls", "a", "b"], ["trainer ls", "b"]),
    "predict without a file": (["predict", "x", "-o", "y.csv"], ["trainer predict", "FILE"]),
    "predict without an output": (["predict", "x", "table.csv"], ["--output"]),
    "predict of a missing run": (
        ["predict", "x", "table.csv", "-o", "y.csv"],
        ["x", "a run directory"],
    ),
    "predict into a spreadsheet": (
        ["predict", "x", "table.csv", "-o", "y.xlsx"],
        ["--output", "'y.xlsx'", ".csv or .parquet"],
    ),
    "predict into an unknown format": (
        ["predict", "x", "table.csv", "-o", "y"],
        ["--output", "'y'"],
    ),
    "predict into a missing folder": (
        ["predict", "x", "table.csv", "-o", "no/y.csv"],
        ["--output", "mkdir -p no"],
    ),
    "predict over its input": (
        ["predict", "x", "table.csv", "-o", "./table.csv"],
        ["--output", "a file other than the input"],
    ),
    "predict twice on stdout": (["predict", "x", "table.csv", "-o", "-"], ["stdout"]),
    "schema with an argument": (["schema", "good.yaml"], ["trainer schema"]),
    "doctor with an argument": (["doctor", "good.yaml"], ["trainer doctor", "good.yaml"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name: str, folder: Path, refused: Callable) -> None:
    arguments, mentions = COMMANDS[name]
    before = sorted(folder.rglob("*"))
    refused(*arguments, mentions=mentions)
    assert sorted(folder.rglob("*")) == before


def test_no_arguments_show_help(folder: Path, trainer: Callable) -> None:
    result = trainer()
    assert result.code == 0
    assert "fit" in result.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "good.yaml", "fit.epochs=many"],
        pytest.param(["fit", "object.yaml"], marks=pytest.mark.slow),
        pytest.param(["eval", "gone"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_refused_in_a_separate_process(arguments: list[str], folder: Path) -> None:
    (folder / "object.yaml").write_text("!!python/object:os.system [x]\n")
    before = sorted(folder.rglob("*"))
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert all(line.startswith(("error: ", "reading ")) for line in done.stderr.splitlines())
    assert ": expected " in done.stderr
    assert sorted(folder.rglob("*")) == before


# --- runs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a small finished run in `runs/good/first`, its table and its config."""
    directory = tmp_path_factory.mktemp("trained")
    rows = "".join(
        f"{index % 17},{'AB'[index % 2]},{'yes' if index % 17 > 8 else 'no'}\n"
        for index in range(60)
    )
    (directory / "table.csv").write_text("age,city,answer\n" + rows)
    (directory / "good.yaml").write_text(
        "data: {source: table.csv, target: answer}\n"
        "model: {layers: [{dense: 3}]}\n"
        "fit: {epochs: 2, batch_size: 12}\n"
        "evaluate: {report: false}\n"
    )
    assert (
        run(["fit", str(directory / "good.yaml"), "--runs", str(directory / "runs"), "--quiet"])
        == 0
    )
    (trained_run,) = (directory / "runs" / "good").iterdir()
    trained_run.rename(trained_run.with_name("first"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def copied(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that directory as the working directory; the run is `runs/good/first`."""
    directory = tmp_path / "copy"
    shutil.copytree(trained, directory)
    for path in (
        directory / "runs/good/first/config.yaml",
        directory / "runs/good/first/manifest.json",
    ):
        path.write_text(path.read_text().replace(str(trained), str(directory)))
    monkeypatch.chdir(directory)
    return directory


RUN = "runs/good/first"
EVAL = ["eval", RUN]
PREDICT = ["predict", RUN, "table.csv", "-o", "out.csv"]


def _halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _edit(path: Path, change: Callable[[dict], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


# name: (damage, command line, parts of the message)
DAMAGES: dict[str, tuple[Callable[[Path], object], list[str], list[str]]] = {
    "no config": (lambda run: (run / "config.yaml").unlink(), EVAL, ["config.yaml"]),
    "half a config": (lambda run: _halve(run / "config.yaml"), EVAL, ["config.yaml"]),
    "empty config": (lambda run: (run / "config.yaml").write_text(""), EVAL, ["config.yaml"]),
    "config of another task": (
        lambda run: (run / "config.yaml").write_text(
            (run / "config.yaml").read_text().replace("units: 3", "units: 4")
        ),
        EVAL,
        ["model.keras", "the weights of the network in config.yaml"],
    ),
    "no preprocessing": (
        lambda run: (run / "preprocessing.json").unlink(),
        PREDICT,
        ["preprocessing.json"],
    ),
    "half a preprocessing": (
        lambda run: _halve(run / "preprocessing.json"),
        PREDICT,
        ["preprocessing.json", "JSON"],
    ),
    "preprocessing that is a list": (
        lambda run: (run / "preprocessing.json").write_text("[]"),
        PREDICT,
        ["preprocessing.json"],
    ),
    "preprocessing without columns": (
        lambda run: _edit(run / "preprocessing.json", lambda value: value.pop("columns")),
        PREDICT,
        ["preprocessing.json", "columns"],
    ),
    "preprocessing with text in place of a number": (
        lambda run: _edit(
            run / "preprocessing.json", lambda value: value["columns"][0].update(center="x")
        ),
        PREDICT,
        ["preprocessing.json", "center"],
    ),
    "preprocessing with a missing column": (
        lambda run: _edit(run / "preprocessing.json", lambda value: value["columns"].pop()),
        PREDICT,
        ["model.keras", "the weights of the network in config.yaml"],
    ),
    "no manifest": (lambda run: (run / "manifest.json").unlink(), EVAL, ["manifest.json"]),
    "half a manifest": (lambda run: _halve(run / "manifest.json"), EVAL, ["manifest.json", "JSON"]),
    "no splits": (lambda run: (run / "splits.parquet").unlink(), EVAL, ["splits.parquet"]),
    "half the splits": (lambda run: _halve(run / "splits.parquet"), EVAL, ["splits.parquet"]),
    "no checkpoints": (lambda run: shutil.rmtree(run / "checkpoints"), EVAL, [RUN, "checkpoint"]),
    "no best checkpoint": (
        lambda run: shutil.rmtree(run / "checkpoints/best"),
        PREDICT,
        [RUN, "checkpoint"],
    ),
    "half a model": (
        lambda run: _halve(run / "checkpoints/best/model.keras"),
        PREDICT,
        ["best/model.keras", "bytes"],
    ),
    "no model": (
        lambda run: (run / "checkpoints/best/model.keras").unlink(),
        PREDICT,
        ["best/model.keras", "no such file"],
    ),
    "changed model": (
        lambda run: (run / "checkpoints/best/model.keras").write_bytes(
            bytes(len((run / "checkpoints/best/model.keras").read_bytes()))
        ),
        PREDICT,
        ["best/model.keras", "SHA-256"],
    ),
    "no checkpoint metadata": (
        lambda run: (run / "checkpoints/best/checkpoint.json").unlink(),
        EVAL,
        ["checkpoint.json"],
    ),
    "half the checkpoint metadata": (
        lambda run: _halve(run / "checkpoints/best/checkpoint.json"),
        EVAL,
        ["checkpoint.json"],
    ),
    "half a state": (
        lambda run: _halve(run / "checkpoints/last/state.npz"),
        ["eval", f"{RUN}/checkpoints/last"],
        ["last/state.npz", "checkpoints/best"],
    ),
    "misspelled checkpoint": (
        lambda run: None,
        ["eval", f"{RUN}/checkpoints/bets"],
        ["'bets'", "did you mean 'best'?"],
    ),
    "misspelled run": (
        lambda run: None,
        ["eval", "runs/good/frist"],
        ["runs/good/frist", "did you mean 'runs/good/first'?"],
    ),
    "folder of runs": (lambda run: None, ["eval", "runs"], ["a folder with 1 run", RUN]),
    "other data": (
        lambda run: Path("table.csv").write_text("age,city,answer\n1,A,yes\n"),
        EVAL,
        ["table.csv", "the data of the run", "--data"],
    ),
    "missing data": (lambda run: Path("table.csv").unlink(), EVAL, ["table.csv"]),
    "warm start from a damaged run": (
        lambda run: _halve(run / "checkpoints/best/model.keras"),
        ["fit", "good.yaml", f"fit.warm_start={RUN}"],
        ["model.keras"],
    ),
    "warm start from a misspelled run": (
        lambda run: None,
        ["fit", "good.yaml", "fit.warm_start=runs/good/frist"],
        ["runs/good/frist", "did you mean"],
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_runs(name: str, copied: Path, refused: Callable) -> None:
    damage, arguments, mentions = DAMAGES[name]
    damage(copied / RUN)
    before = sorted(copied.rglob("*"))
    refused(*arguments, mentions=mentions)
    assert sorted(copied.rglob("*")) == before


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_runs_are_listed(name: str, copied: Path, trainer: Callable) -> None:
    damage, _, _ = DAMAGES[name]
    damage(copied / RUN)
    result = trainer("ls")
    assert result.code == 0
    assert "Traceback" not in result.err
    for line in trainer("ls", "--json").out.splitlines():
        json.loads(line)


# name: (file to predict, options, parts of the message)
INPUTS: dict[str, tuple[str, list[str], list[str]]] = {
    "missing column": ("age\n1\n", [], ["new.csv", "'city', as in training"]),
    "misspelled column": ("age,citty\n1,A\n", [], ["new.csv", "did you mean 'citty'?"]),
    "empty": ("", [], ["new.csv", "an empty file"]),
    "header only": ("age,city\n", [], ["new.csv", "no rows"]),
    "ragged": ("age,city\n1\n", [], ["new.csv:2", "2 fields"]),
    "unknown column to keep": (
        "age,city\n1,A\n",
        ["--keep", "ctiy"],
        ["new.csv", "'ctiy'", "did you mean 'city'?"],
    ),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_of_predict(name: str, copied: Path, refused: Callable) -> None:
    content, options, mentions = INPUTS[name]
    (copied / "new.csv").write_text(content)
    refused("predict", RUN, "new.csv", "-o", "out.csv", *options, mentions=mentions)
    assert not (copied / "out.csv").exists()


def test_eval_of_a_file_without_targets(copied: Path, refused: Callable) -> None:
    (copied / "new.csv").write_text("age,city\n1,A\n")
    refused("eval", RUN, "--data", "new.csv", mentions=["new.csv", "'answer', as in training"])
    (copied / "new.csv").write_text("age,city,answer\n1,A,\n")
    refused("eval", RUN, "--data", "new.csv", mentions=["new.csv", "rows with a target"])
    (copied / "new.csv").write_text("age,city,answer\n1,A,maybe\n")
    refused("eval", RUN, "--data", "new.csv", mentions=["new.csv:2", "'maybe'", "'no', 'yes'"])


def test_unusual_rows_are_predicted_and_flagged(copied: Path, trainer: Callable) -> None:
    (copied / "new.csv").write_bytes(
        b"\xef\xbb\xbfcity,age,more\r\nA,1,x\r\nZ,2,x\r\n,,\r\nA,inf,x\r\nB,word,\r\n"
    )
    result = trainer("predict", RUN, "new.csv", "-o", "-", "--keep", "city")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "row,city,label,probability_no,probability_yes,unseen"
    unseen = [line.rsplit(",", 1)[1] for line in lines[1:]]
    assert unseen == ["false", "true", "true", "true", "true"]
    assert result.err.count("warning:") == 3


def test_output_that_cannot_be_written(copied: Path, trainer: Callable) -> None:
    """Not even root can create files in `/proc`."""
    if not os.access("/proc/self", os.R_OK):
        pytest.skip("needs /proc")
    result = trainer("predict", RUN, "table.csv", "-o", "/proc/out.csv", "--json")
    assert result.code in (2, 3)
    assert result.json["error"]["kind"] in ("usage", "storage")
    assert "/proc/out.csv" in result.err


def test_folder_of_runs_that_cannot_be_written(copied: Path, trainer: Callable) -> None:
    result = trainer("fit", "good.yaml", "--runs", "/proc/runs", "--json")
    assert result.code in (2, 3)
    assert "/proc/runs" in result.err
    assert "Traceback" not in result.err


def test_bad_table_of_one_config_does_not_affect_the_other(copied: Path, trainer: Callable) -> None:
    (copied / "empty.csv").touch()
    (copied / "bad.yaml").write_text("data: {source: empty.csv, target: answer}\n")
    result = trainer("fit", "bad.yaml", "good.yaml", "--json", "fit.epochs=1")
    assert result.code == 2
    bad, good = map(json.loads, result.out.splitlines())
    assert bad["error"]["problems"][0]["where"] == "empty.csv"
    assert good["status"] == "finished"


@pytest.mark.parametrize(
    ("layer", "mentions"),
    [
        ("mine:missing", "has no attribute 'missing'"),
        ("mine:number", "found int from mine:number"),
        ("mine:fails", "ValueError: no"),
        ("nothing:here", "No module named 'nothing'"),
        ("broken:layer", "SyntaxError"),
    ],
)
def test_invalid_custom_layers(layer: str, mentions: str, copied: Path, refused: Callable) -> None:
    (copied / "mine.py").write_text("def number(): return 3\ndef fails(): raise ValueError('no')\n")
    (copied / "broken.py").write_text("def layer(:\n")
    arguments = ("fit", "good.yaml", f"model.layers=[{{custom: '{layer}'}}]")
    refused(*arguments, mentions=["override 'model.layers=", "--allow-custom"])
    refused(*arguments, "--allow-custom", mentions=["override 'model.layers=", mentions])
    assert len(list((copied / "runs/good").iterdir())) == 1


def test_diverged_training_is_not_invalid_input(copied: Path, trainer: Callable) -> None:
    arguments = ("optimizer.name=sgd", "optimizer.learning_rate=1e30")
    result = trainer("fit", "good.yaml", *arguments, "--json", "--quiet")
    assert result.code == 3
    assert result.json["error"]["kind"] == "diverged"
    assert "\nerror: epoch 1, step 2: expected a finite loss, found " in "\n" + result.err
    listed = [json.loads(line) for line in trainer("ls", "--json").out.splitlines()]
    assert [run["status"] for run in listed] == ["failed", "finished"]
