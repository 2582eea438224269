"""Run commands in this process on real files, and check that invalid input is refused properly."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.advice import alternatives, corrected, unsolved
from tests.cli.processes import Process
from tests.cli.runs import SETTINGS, read_manifest
from trainer.config.load import load_config
from trainer.engine.events import EpochEnd
from trainer.sweep.trials import TrialPackEpoch
from trainer.workflows import fit
from trainer.workflows.resuming import resume
from trainer.workflows.session import Session
from trainer.workflows.sweeps import sweep
from trainer_cli.main import run

ERROR = re.compile(r"error: \S.*: expected .+, found .+", re.DOTALL)
INTERNAL = (
    "Traceback",
    "Input should be",
    "value_error",
    "validation error",
    "pydantic",
    "polars",
    "Errno",
    "object at 0x",
    "NoneType",
    "{!r}",
)
"""Text that must never reach the user."""
TRAINED = ("runs", "whole", "sweeps")
"""Directories of the working directory that commands write to."""


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of one command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def trainer(capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Run a command in this process: `trainer("check", "config.yaml")`."""

    def call(*arguments: str | Path) -> CommandResult:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return call


@pytest.fixture
def refused(trainer: Callable[..., CommandResult]) -> Callable[..., CommandResult]:
    """Run a command that must be refused with a message that contains each text in `mentions`."""

    def call(
        *arguments: str | Path, mentions: Sequence[str], kind: str | None = None
    ) -> CommandResult:
        result = trainer(arguments[0], "--json", *arguments[1:])
        assert result.code == 2, result
        for text in INTERNAL:
            assert text not in result.out + result.err
        errors = [line for line in result.err.splitlines() if line.startswith("error:")]
        assert errors, result
        assert all(ERROR.fullmatch(line) for line in errors), errors
        error = result.json["error"]
        assert error["kind"] == (kind or error["kind"]) != "bug"
        assert len(error["problems"]) == len(errors)
        for problem in error["problems"]:
            assert set(problem) == {"where", "expected", "found", "fix"}
            assert problem["where"]
            assert problem["expected"]
            assert problem["found"]
        for text in mentions:
            assert text in result.err
        return result

    return call


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of `folder`; one path per session, so that a kept run still finds its data."""
    return tmp_path_factory.mktemp("cli") / "work"


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that were trained once in this session, for `keep`."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def folder(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a valid table (table.csv) and a valid config for it (good.yaml).

    The table has 60 rows: two numeric columns, a category and the two classes yes and no.
    """
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir()
    monkeypatch.chdir(workspace)
    monkeypatch.delenv("TRAINER_RUNS", raising=False)
    monkeypatch.delenv("TRAINER_ALLOW_CUSTOM", raising=False)
    lines = ["age,income,city,answer"]
    lines += [
        f"{20 + index * 7 % 41},{1000 + index * 131 % 977},{'ABC'[index % 3]},"
        f"{'yes' if index * 7 % 41 > 20 else 'no'}"
        for index in range(60)
    ]
    (workspace / "table.csv").write_text("\n".join(lines) + "\n")
    (workspace / "good.yaml").write_text(
        "data:\n"
        "  source: table.csv\n"
        "  target: answer\n"
        "model:\n"
        "  layers:\n"
        "    - dense: 4\n"
        # Three full batches: the graph of a step for a smaller last one is not traced.
        "fit: {epochs: 2, batch_size: 12}\n"
        # A report takes longer than such a run; tests of the report turn it on.
        "evaluate: {report: false}\n"
    )
    return workspace


@pytest.fixture
def keep(folder: Path, kept: Path) -> Callable[..., Path]:
    """Copy what a training run wrote to a directory; train only the first time in this session.

    `keep(place, key, train)` calls `train`, which writes below `place`, or copies what the same `key`
    wrote before with the same files in `folder`. It returns the result of `train`, a path.
    """

    def call(directory: str, key: Sequence[object], train: Callable[[], Path]) -> Path:
        digest = hashlib.sha256(repr((directory, *key)).encode())
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and name.parts[0] not in TRAINED:
                digest.update(repr((str(name), path.read_bytes())).encode())
        copy = kept / digest.hexdigest()
        if not copy.exists():
            before = set(Path(directory).glob("*/*"))
            result = train()
            for path in set(Path(directory).glob("*/*")) - before:
                shutil.copytree(path, copy / path.relative_to(directory))
            (copy / "result").write_text(str(result))
        else:
            for path in copy.glob("*/*"):
                shutil.copytree(path, Path(directory) / path.relative_to(copy))
        return Path((copy / "result").read_text())

    return call


@pytest.fixture
def refused_by_check_and_fit(folder: Path, refused: Callable, trainer: Callable) -> Callable:
    """Check that `check` and `fit` refuse a command with the same message, that nothing is written,
    and that the settings which the message proposes help.
    """

    def call(*arguments: str | Path, mentions: list[str]) -> None:
        before = sorted(folder.rglob("*"))
        checked = refused("check", *arguments, mentions=mentions)
        problems = checked.json["error"]["problems"]
        for problem in problems:
            advised = [[*arguments, *overrides] for overrides in alternatives(problem)]
            for better in [*advised, *corrected(problem, list(map(str, arguments)))]:
                result = trainer("check", "--json", *better)
                assert result.code in {0, 2}, result
                remaining = result.json.get("error", {"problems": []})["problems"]
                assert unsolved(problem, better, problems, remaining) == [], problem
        fitted = refused("fit", *arguments, mentions=mentions)
        errors = [line for line in fitted.err.splitlines(True) if not line.startswith("reading ")]
        assert checked == replace(fitted, err="".join(errors))
        assert sorted(folder.rglob("*")) == before

    return call


@pytest.fixture
def after_epoch(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Have the next training or sweep call a function when an epoch (from 1) has been recorded."""
    pending: list[tuple[int, Callable[[], object]]] = []

    def watched(events: Generator[Any, None, None]) -> Iterator[Any]:
        with closing(events):
            for event in events:
                is_epoch = isinstance(event, EpochEnd | TrialPackEpoch)
                if is_epoch and pending and event.epoch >= pending[0][0]:
                    pending.pop()[1]()
                yield event

    for module, train in (
        (fit, fit.fit_run),
        (resume, resume.resume_run),
        (sweep, sweep.sweep),
        (sweep, sweep.resume_sweep),
    ):

        def watching(*given: Any, train: Any = train, **named: Any) -> Iterator[Any]:
            return watched(train(*given, **named))

        monkeypatch.setattr(module, train.__name__, watching)

    def call(number: int, action: Callable[[], object]) -> None:
        pending[:] = [(number, action)]

    return call


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Process]]:
    """Start `trainer` as a process; ended with the test."""
    started: list[Process] = []

    def call(*arguments: str) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield call
    for process in started:
        process.kill()


@pytest.fixture
def whole_run(trainer: Callable, keep: Callable) -> Callable[..., Path]:
    """An uninterrupted run, below `whole`."""

    def call(*overrides: str, config: str = "good.yaml") -> Path:
        def train() -> Path:
            options = ("--runs", "whole", "--quiet", "--allow-custom")
            result = trainer("fit", config, *SETTINGS, *overrides, *options)
            assert result.code == 0, result.err
            return Path(result.out.strip())

        return keep("whole", (config, overrides), train)

    return call


@pytest.fixture
def stopped_run(keep: Callable) -> Callable[..., Path]:
    """A run that was stopped by a signal after some epochs, below `runs`."""

    def call(config: str, *overrides: str, after: int = 3) -> Path:
        def train() -> Path:
            epoch = 0
            session = Session(
                ("trainer", "fit", config),
                allow_custom=True,
                interrupted=lambda: "stopped by SIGTERM" if epoch >= after - 1 else None,
            )
            loaded = load_config(Path(config), [*SETTINGS, *overrides])
            events = fit.fit_run(loaded, session, Path("runs"))
            for event in events:
                if isinstance(event, EpochEnd):
                    epoch = event.epoch
            (run,) = {path.parent for path in Path("runs").glob("*/*/metrics.jsonl")}
            manifest = read_manifest(run)
            assert (manifest["status"], manifest["epochs"]) == ("stopped", after)
            return run

        return keep("runs", (config, overrides, after), train)

    return call


@pytest.fixture
def finished(whole_run: Callable) -> Path:
    return whole_run()
