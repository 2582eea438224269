"""Tables on stdin: `-` in place of a file."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

PARTS = "age,income,city\n30,1200,A\n45,1500,B\n"


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Make stdin a file with this text."""

    def call(text: str) -> None:
        path = tmp_path / "piped"
        path.write_text(text)
        monkeypatch.setattr("sys.stdin", path.open())

    return call


def test_rows_on_stdin_give_the_same_results_as_a_file(
    folder: Path, trainer: Callable, refused: Callable, finished: Path, piped: Callable
) -> None:
    (folder / "new.csv").write_text(PARTS)
    from_file = trainer("predict", finished, "new.csv", "-o", "-")
    piped(PARTS)
    assert trainer("predict", finished, "-", "-o", "-") == from_file
    assert from_file.out.count("\n") == 3

    from_file = trainer("eval", finished, "--data", "table.csv", "--json")
    piped((folder / "table.csv").read_text())
    from_pipe = trainer("eval", finished, "--data", "-", "--json")
    assert from_pipe.code == 0, from_pipe.err
    assert from_pipe.json == {**from_file.json, "data": "-"}

    piped("age,income\n30,1200\n")
    result = refused("predict", finished, "-", "-o", "out.csv", mentions=["stdin", "'city'"])
    assert "stdin.csv" not in result.err
    assert "trainer-stdin-" not in result.err
    piped("age,income,city\n30,1200\n")
    refused("predict", finished, "-", "-o", "out.csv", mentions=["error: stdin:2"])
    piped("")
    refused(
        "predict", finished, "-", "-o", "out.csv", mentions=["-: expected a CSV table on stdin"]
    )
    assert not (folder / "out.csv").exists()


def test_rows_on_stdin_in_another_format(
    folder: Path, trainer: Callable, refused: Callable, finished: Path, piped: Callable
) -> None:
    piped(PARTS)
    expected = trainer("predict", finished, "-", "-o", "-").out
    piped(PARTS.replace(",", ";"))
    refused("predict", finished, "-", "-o", "out.csv", mentions=["error: stdin data.csv.separator"])
    piped(PARTS.replace(",", ";"))
    assert trainer("predict", finished, "-", "data.csv.separator=;", "-o", "-").out == expected
    text = "31,1000,A\n" + "30,1200,A\n45,1500,B\n" * 5
    piped(text)
    names = "data.csv.names=[age, income, city]"
    result = trainer("predict", finished, "-", names, "-o", "-")
    assert result.out.count("\n") == 11
    assert "warning: stdin: the first line looks like data" in result.err


def test_ctrl_c_while_reading_stdin(
    trainer: Callable, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            raise KeyboardInterrupt

    stdin = io.TextIOWrapper(io.BufferedReader(Terminal()))
    monkeypatch.setattr("sys.stdin", stdin)
    stopped = trainer("predict", finished, "-", "-o", "-")
    assert stopped.code == 130
    assert "stopped by Ctrl-C" in stopped.err
    assert "Traceback" not in stopped.err
