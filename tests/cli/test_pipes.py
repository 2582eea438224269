"""Where the output goes: closed pipes, closed files, full disks, unusual terminals and locales."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TRAINER = f"{sys.executable} -c 'from trainer_cli.main import main; main()'"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `trainer` is the command; a failing part of a pipe fails it."""
    script = f'set -o pipefail; trainer() {{ {TRAINER} "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "line",
    [
        slow("trainer schema | head -n 1"),
        slow("trainer schema --markdown | true"),
        slow("trainer check good.yaml | head -n 1"),
        "trainer check good.yaml 2>&1 | true",
        slow("trainer check good.yaml >&-"),
        slow("trainer check good.yaml 2>&-"),
        slow("trainer check good.yaml <&-"),
        slow("trainer --help >&-"),
        "trainer ls >&- 2>&-",
        slow("trainer fit good.yaml 2>&1 | head -n 2"),
        slow("trainer fit good.yaml >&- 2>&- && test -s runs/good/*/metrics.jsonl"),
    ],
)
def test_closed_output_is_no_error(line: str, folder: Path) -> None:
    done = shell(line)
    assert done.returncode == 0, done
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception" not in done.stdout + done.stderr


@FULL
@pytest.mark.parametrize(
    "arguments", ["schema", slow("check good.yaml"), slow("check good.yaml --json"), slow("--help")]
)
def test_full_disk_at_stdout_is_an_error(arguments: str, folder: Path) -> None:
    done = shell(f"trainer {arguments} > /dev/full")
    assert done.returncode == 3
    assert (
        "error: stdout: expected to write the result, found no space left on device" in done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@FULL
def test_exit_code_if_the_message_cannot_be_written(folder: Path) -> None:
    assert shell("trainer check gone.yaml 2> /dev/full").returncode == 2
    assert shell("trainer check gone.yaml --json > /dev/full").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "20"},
    ],
    ids=str,
)
def test_unusual_environment(environment: dict[str, str], folder: Path) -> None:
    """Names that ASCII lacks are printed with escapes, and nothing is colored in a pipe."""
    name = "gr\u00f6\u00dfe"
    table = (folder / "table.csv").read_text().replace("age", name, 1)
    (folder / "table.csv").write_text(table, encoding="utf-8")
    done = shell("trainer check good.yaml", **environment)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    done = shell("trainer check good.yaml data.target=gr\u00f6sse", **environment)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_working_directory_that_was_removed(folder: Path) -> None:
    done = shell(f"mkdir x && cd x && rmdir ../x && trainer check {folder}/good.yaml")
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr


def test_command_outside_a_project(
    folder: Path,
    trainer: Callable,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert trainer("check", folder / "good.yaml").code == 0
    assert trainer("ls").code == 0
    assert list(elsewhere.iterdir()) == []
