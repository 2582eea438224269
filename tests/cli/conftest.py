"""The command run in this process on real files, and what every refusal must look like."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.advice import alternatives, corrected, unsolved
from tests.cli.processes import Process
from tests.cli.stopped import SETTINGS
from trainer.engine.events import EpochResult
from trainer.workflows import fit, resume
from trainer_cli.main import run

LINE = re.compile(r"error: \S.*: expected .+, found .+", re.DOTALL)
FOREIGN = (
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
"""What a user is never to read."""


@dataclass(frozen=True)
class Answer:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def trainer(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs a command line: `trainer("check", "config.yaml")`."""

    def call(*words: str | Path) -> Answer:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


@pytest.fixture
def refused(trainer: Callable[..., Answer]) -> Callable[..., Answer]:
    """Runs a command line that must be refused, its message saying each of `says`."""

    def call(*words: str | Path, says: Sequence[str], kind: str | None = None) -> Answer:
        answer = trainer(words[0], "--json", *words[1:])
        assert answer.code == 2, answer
        for phrase in FOREIGN:
            assert phrase not in answer.out + answer.err
        errors = [line for line in answer.err.splitlines() if line.startswith("error:")]
        assert errors, answer
        assert all(LINE.fullmatch(line) for line in errors), errors
        told = answer.json["error"]
        assert told["kind"] == (kind or told["kind"]) != "bug"
        assert len(told["problems"]) == len(errors)
        for problem in told["problems"]:
            assert set(problem) == {"where", "expected", "found", "fix"}
            assert problem["where"]
            assert problem["expected"]
            assert problem["found"]
        for words_of_it in says:
            assert words_of_it in answer.err
        return answer

    return call


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a good table (table.csv) and a good config for it (good.yaml).

    The table has 60 rows: two numeric columns, a category and the two classes yes and no.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRAINER_RUNS", raising=False)
    monkeypatch.delenv("TRAINER_ALLOW_CUSTOM", raising=False)
    lines = ["age,income,city,answer"]
    lines += [
        f"{20 + index * 7 % 41},{1000 + index * 131 % 977},{'ABC'[index % 3]},"
        f"{'yes' if index * 7 % 41 > 20 else 'no'}"
        for index in range(60)
    ]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "good.yaml").write_text(
        "data:\n"
        "  source: table.csv\n"
        "  target: answer\n"
        "model:\n"
        "  layers:\n"
        "    - dense: 4\n"
        "fit: {epochs: 2, batch_size: 16}\n"
        # Tests of the report ask for it; it takes longer than such a training.
        "evaluate: {report: false}\n"
    )
    return tmp_path


@pytest.fixture
def refused_alike(folder: Path, refused: Callable, trainer: Callable) -> Callable:
    """Refused by check and by fit in the same words; nothing is left behind, and settings that the
    message proposes help.
    """

    def call(*words: str | Path, says: list[str]) -> None:
        before = sorted(folder.rglob("*"))
        checked = refused("check", *words, says=says)
        problems = checked.json["error"]["problems"]
        for problem in problems:
            advised = [[*words, *overrides] for overrides in alternatives(problem)]
            for better in [*advised, *corrected(problem, list(map(str, words)))]:
                answer = trainer("check", "--json", *better)
                assert answer.code in {0, 2}, answer
                left = answer.json.get("error", {"problems": []})["problems"]
                assert unsolved(problem, better, problems, left) == [], problem
        fitted = refused("fit", *words, says=says)
        errors = [line for line in fitted.err.splitlines(True) if not line.startswith("reading ")]
        assert checked == replace(fitted, err="".join(errors))
        assert sorted(folder.rglob("*")) == before

    return call


@pytest.fixture
def after_epoch(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Have `fit` or `resume` call a function once, when an epoch (from 1) has been recorded."""

    def call(number: int, action: Callable[[], object]) -> None:
        pending = [action]

        def watched(events: Generator[Any, None, None]) -> Iterator[Any]:
            with closing(events):
                for event in events:
                    if isinstance(event, EpochResult) and event.epoch >= number and pending:
                        pending.pop()()
                    yield event

        for module, name in ((fit, "fit_run"), (resume, "resume_run")):
            train = getattr(module, name)
            monkeypatch.setattr(
                module, name, lambda *given, train=train, **named: watched(train(*given, **named))
            )

    return call


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def call(*words: str) -> Process:
        started.append(Process(*words))
        return started[-1]

    yield call
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.fixture
def undisturbed(folder: Path, trainer: Callable) -> Callable[..., Path]:
    """A run from start to end, in a folder of its own."""

    def call(*overrides: str, config: str = "good.yaml") -> Path:
        answer = trainer(
            "fit", config, *SETTINGS, *overrides, "--runs", "whole", "--quiet", "--allow-custom"
        )
        assert answer.code == 0, answer.err
        return Path(answer.out.strip())

    return call


@pytest.fixture
def finished(undisturbed: Callable) -> Path:
    return undisturbed()
