"""Commands in messages can be pasted into a shell, for any path."""

import re
import shlex
from pathlib import Path

import pytest

from trainer.errors import command_text

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])
UNQUOTED = re.compile(r"(trainer (?!in )[a-z]+|mkdir -p|rm -r) '?\{(?!command_text|shlex\.quote)")


@pytest.mark.parametrize("path", ["a/b", "my runs/a", "it's", "a$HOME", "ü;rm -rf x", "*", "#1"])
def test_command_text_round_trip(path: str) -> None:
    assert shlex.split(command_text("resume", Path(path), "fit.epochs=+20")) == [
        "trainer", "resume", path, "fit.epochs=+20",
    ]  # fmt: skip


def test_paths_in_commands_are_quoted() -> None:
    problems = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if UNQUOTED.search(line)
    ]
    assert problems == []
