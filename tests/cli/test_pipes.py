"""Where the command's output goes: pipes that close, no output at all, full disks, odd terminals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAINER = f"{sys.executable} -c 'from trainer_cli.main import main; main()'"


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash in which `trainer` is the command; a failing part of a pipe fails it."""
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
        "trainer schema | head -n 1",
        "trainer schema --markdown | true",
        "trainer check good.yaml | head -n 1",
        "trainer check good.yaml 2>&1 | true",
        "trainer check good.yaml >&-",
        "trainer check good.yaml 2>&-",
        "trainer check good.yaml <&-",
        "trainer --help >&-",
        "trainer ls >&- 2>&-",
        "trainer fit good.yaml 2>&1 | head -n 2",
        "trainer fit good.yaml >&- 2>&- && test -s runs/good/*/metrics.jsonl",
    ],
)
def test_nobody_listens(line: str, folder: Path) -> None:
    done = shell(line)
    assert done.returncode == 0, done
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception" not in done.stdout + done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "arguments", ["check good.yaml", "schema", "check good.yaml --json", "--help"]
)
def test_a_full_disk_behind_stdout_is_no_success(arguments: str, folder: Path) -> None:
    done = shell(f"trainer {arguments} > /dev/full")
    assert done.returncode == 3
    assert "error: stdout: expected to write the result there, found no space" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_what_is_wrong_is_still_said_by_the_exit_code(folder: Path) -> None:
    assert shell("trainer check gone.yaml 2> /dev/full").returncode == 2
    assert shell("trainer check gone.yaml --json > /dev/full").returncode == 2


@pytest.mark.parametrize(
    "environment",
    [
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "20"},
    ],
    ids=" ".join,
)
def test_odd_surroundings(environment: dict[str, str], folder: Path) -> None:
    """Names that ASCII lacks are printed with escapes, and nothing is coloured in a pipe."""
    name = "gr\u00f6\u00dfe"
    table = (folder / "table.csv").read_text().replace("age", name, 1)
    (folder / "table.csv").write_text(table, encoding="utf-8")
    done = shell("trainer check good.yaml && trainer check good.yaml --json", **environment)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    done = shell("trainer check good.yaml data.target=gr\u00f6sse", **environment)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_working_directory_that_is_gone(folder: Path) -> None:
    done = shell(f"mkdir x && cd x && rmdir ../x && trainer check {folder}/good.yaml")
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr


def test_outside_any_project(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = shell(f"cd '{elsewhere}' && trainer check '{folder}/good.yaml' && trainer ls")
    assert done.returncode == 0
    assert list(elsewhere.iterdir()) == []
