"""The commands, the config and the error messages in the README work as shown."""

import re
import shlex
import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.data.images import make_images
from tests.models.pretrained.encoder_folders import write_encoder
from trainer.config.load import load_config
from trainer_cli.main import command_names, run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Create a user's folder: a table, and the data that the example config reads."""
    shutil.copytree(ROOT / "configs" / "data", tmp_path / "data")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    lines = (tmp_path / "data" / "breast_cancer.csv").read_text().splitlines()
    with_id = ["id," + lines[0], *(f"p{number},{line}" for number, line in enumerate(lines[1:]))]
    (tmp_path / "patients.csv").write_text("\n".join(with_id) + "\n")
    (tmp_path / "new.csv").write_text("\n".join(with_id[:20]) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRAINER_RUNS", raising=False)
    return tmp_path


@pytest.mark.slow
def test_readme_commands_run(workspace, capsys):
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
    ran = []
    for line in commands:
        arguments = shlex.split(line, comments=True)
        if arguments[0] != "trainer":
            assert arguments[0] == "make", line
            assert re.search(rf"^{arguments[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
            continue
        runs = sorted(workspace.glob("runs/patients/*"))
        arguments = [
            str(runs[-1]) if word.startswith("runs/patients/") else word for word in arguments
        ]
        assert run(arguments[1:]) == 0, (line, capsys.readouterr().err)
        ran.append(arguments[1])
    assert ran == ["fit", "predict", "init", "check", "fit", "fit", "sweep"]
    lines = (workspace / "predictions.csv").read_text().splitlines()
    assert lines[0].startswith("row,id,label,probability_")
    assert len(lines) == 20
    (code,) = blocks("python")
    (name,) = re.findall(r'"(runs/patients/[^"]+)"', code)
    names = {"frame": pl.read_csv("new.csv")}
    exec(code.replace(name, str(runs[0])), names)
    names["predictions"].write_csv("from_python.csv")
    assert (workspace / "from_python.csv").read_bytes() == (
        workspace / "predictions.csv"
    ).read_bytes()


def test_readme_configs_are_valid(workspace):
    make_images(workspace / "photos")
    shutil.copy(workspace / "data" / "reviews.csv", workspace)
    write_encoder(workspace / "bert-base-chinese", max_position_embeddings=512)
    names = []
    for text in blocks("yaml"):
        (workspace / "config.yaml").write_text(text)
        names.append(load_config(workspace / "config.yaml").config.name)
        assert run(["check", "config.yaml"]) == 0
    assert "breast-cancer" in names


def test_readme_errors_match_the_output(workspace, capsys):
    block = next(block for block in blocks("text") if "expected" in block)
    command, *expected = block.splitlines()
    assert command.startswith("$ trainer ")
    (workspace / "broken.yaml").write_text(
        "data:\n"
        "  source: data/breast_cancer.csv\n"
        "  target: diagnosis\n"
        "optimiser: {learning_rate: 1e-3}\n"
        "model:\n"
        "  layers:\n"
        "    - dense: {units: 64, actvation: relu}\n"
        "fit:\n"
        "  epochs: many\n"
        "  early_stopping: {monitor: val_acuracy}\n"
    )
    assert run(shlex.split(command)[2:]) == 2
    assert capsys.readouterr().err.splitlines() == expected


def test_readme_audit_matches_the_output(workspace, capsys):
    block = next(block for block in blocks("text") if "check --data" in block)
    command, *expected = block.splitlines()
    lines = (workspace / "data" / "breast_cancer.csv").read_text().splitlines()
    visits = [
        f"v{row},P{row * 37 % 120},{'M1' if line.endswith('malignant') else 'B2'},{line}"
        for row, line in enumerate(lines[1:])
    ]
    table = [f"visit,patient,code,{lines[0]}", *visits, *visits[:6]]
    (workspace / "visits.csv").write_text("\n".join(table) + "\n")
    (workspace / "visits.yaml").write_text(
        "name: visits\n"
        "data: {source: visits.csv, target: diagnosis}\n"
        "model: {layers: [dense: 32]}\n"
    )
    assert run(shlex.split(command)[2:]) == 2
    printed = capsys.readouterr()
    assert [*printed.err.splitlines(), *printed.out.splitlines()] == expected


def test_readme_lists_every_command():
    table = README.split("## Commands")[1].split("##")[0]
    for command in command_names():
        assert f"`{command}" in table, command
