"""A valid run, to be made hostile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.hostile.attack import (
    SETTINGS,
)
from trainer.config.load import load_config
from trainer.workflows.events import RunFinished
from trainer.workflows.fit import fit_run
from trainer.workflows.session import Session


@pytest.fixture(scope="session")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a table, a config and its finished run, to be copied."""
    folder = tmp_path_factory.mktemp("valid")
    lines = ["age,income,city,answer"]
    lines += [
        f"{20 + row * 7 % 41},{1000 + row * 131 % 977},{'ABC'[row % 3]},{'ny'[row % 2]}"
        for row in range(60)
    ]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    (folder / "good.yaml").write_text(
        "data: {source: table.csv, target: answer}\nfit: {batch_size: 12}\n"
    )
    # In this process: the run must have the number of threads that this process has.
    events = fit_run(
        load_config(folder / "good.yaml", SETTINGS),
        Session(("trainer", "fit", "good.yaml")),
        folder,
    )
    *_, finished = events
    assert isinstance(finished, RunFinished)
    finished.run.rename(folder / "run")
    return folder


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """A file that exists once code of the attacker was run."""
    path = tmp_path / "mark"
    yield path
    assert not path.exists(), "code of the attacker was run"


@pytest.fixture
def run(valid: Path, tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, as `run` in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRAINER_RUNS", raising=False)
    monkeypatch.delenv("TRAINER_ALLOW_CUSTOM", raising=False)
    for name in ("table.csv", "good.yaml"):
        shutil.copy(valid / name, tmp_path / name)
    shutil.copytree(valid / "run", tmp_path / "run")
    return Path("run")
