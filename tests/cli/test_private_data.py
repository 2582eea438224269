"""Private run directories, and runs on pseudonymized columns, at the command line."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.runs import run_directories
from trainer.config.pseudonyms import KEY_VARIABLE

KEY = bytes(range(32)).hex()


def test_private_run(folder: Path, trainer: Callable) -> None:
    result = trainer("fit", "good.yaml", "fit.epochs=1", "runs.mode=0700", "--quiet")
    assert result.code == 0, result.err
    (run,) = run_directories()
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    folds = trainer(
        "fit", "good.yaml", "fit.epochs=1", "runs.mode=0750", "fit.folds=2", "-q", "--runs", "folds"
    )
    assert folds.code == 0, folds.err
    assert stat.S_IMODE(Path(folds.out.strip()).stat().st_mode) == 0o750


@pytest.fixture
def patients(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with names of patients; the key of pseudonyms is set."""
    lines = (folder / "table.csv").read_text().splitlines()
    rows = [f"Mustermann-{number % 9},{line}" for number, line in enumerate(lines[1:])]
    (folder / "patients.csv").write_text("\n".join([f"patient,{lines[0]}", *rows]) + "\n")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return folder / "patients.csv"


PSEUDONYMIZED = (
    "data.source=patients.csv", "data.pseudonymize=[patient]",
    "evaluate={report: true, resamples: 100, slices: [patient]}",
    "data.split={by: group, column: patient}", "data.features.include=[patient, age, income]",
)  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        (),
        pytest.param(("runtime.engine=streaming",), marks=pytest.mark.slow),
        pytest.param(("fit.folds=2",), marks=pytest.mark.slow),
    ],
)
def test_no_file_of_a_pseudonymized_run_has_the_values(
    patients: Path, trainer: Callable, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    trained = trainer("fit", "good.yaml", *PSEUDONYMIZED, *settings)
    assert trained.code == 0, trained.err
    run = Path(trained.out.strip())
    results = [
        trained,
        trainer("check", "good.yaml", *PSEUDONYMIZED),
        trainer("check", "--data", "good.yaml", *PSEUDONYMIZED),
        trainer("predict", run, "patients.csv", "-o", "out.csv", "--keep", "patient"),
        trainer("eval", run, "--data", "patients.csv", "--json"),
        trainer("show", run),
        trainer("explain", run, "--quiet"),
    ]
    # The audit finds that the age determines the answer.
    assert [result.code for result in results] == [0, 0, 2, 0, 0, 0, 0], [
        result.err for result in results
    ]
    assert len(re.findall(r"^\d+,p[0-9a-f]{24},", Path("out.csv").read_text(), re.M)) == 60
    texts = [result.out + result.err for result in results]
    written = [path.read_bytes() for path in (*run.rglob("*"), Path("out.csv")) if path.is_file()]
    for content in (*(text.encode() for text in texts), *written):
        assert b"Mustermann" not in content
        assert KEY.encode() not in content
    monkeypatch.setenv(KEY_VARIABLE, "0" * 64)
    for arguments in (("predict", run, "patients.csv", "-o", "x.csv"), ("eval", run)):
        result = trainer(*arguments)
        assert result.code == 2, result
        assert "another key" in result.err
        assert "Mustermann" not in result.err
    assert not Path("x.csv").exists()


@pytest.mark.slow
def test_key_of_a_resumed_run(
    patients: Path, stopped_run: Callable, trainer: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped_run("good.yaml", *PSEUDONYMIZED)
    assert json.loads((run / "preprocessing.json").read_text())["pseudonym_key"]
    monkeypatch.setenv(KEY_VARIABLE, "0" * 64)
    result = trainer("resume", run, "--accept-differences")
    assert result.code == 2
    assert "another key" in result.err
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert trainer("resume", run).code == 0
