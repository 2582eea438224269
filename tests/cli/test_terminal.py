"""Output on a terminal of 80 columns, through a real pseudo-terminal."""

import fcntl
import os
import pty
import struct
import termios
import time
from pathlib import Path

import pytest

from tests.cli.processes import COMMAND, HANGING_SECONDS
from trainer.report.text import width

COLUMNS = 80


class Terminal:
    """A `trainer` process whose stdin, stdout and stderr are a terminal."""

    def __init__(self, *arguments: str) -> None:
        self.process, self.master = pty.fork()
        if not self.process:
            os.environ.update(TERM="xterm", NO_COLOR="1")
            os.execv(COMMAND[0], [*COMMAND, *arguments])
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        self.text = ""

    def read_until(self, wanted: str | None) -> str:
        """Return the output up to `wanted`, or until the process has ended."""
        end = time.monotonic() + HANGING_SECONDS
        while time.monotonic() < end and (wanted is None or wanted not in self.text):
            try:
                part = os.read(self.master, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            self.text += part.decode("utf-8", "replace")
        return self.text

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        self.read_until(None)
        _, status = os.waitpid(self.process, 0)
        os.close(self.master)
        return os.waitstatus_to_exitcode(status)


def lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").splitlines()


def test_lines_and_tables_are_wrapped_between_words(folder: Path) -> None:
    names = [f"a rather long name of feature {number}" for number in range(4)]
    rows = [
        ",".join([*(str(index * 7 % 11) for _ in names), "ab"[index % 2]]) for index in range(50)
    ]
    (folder / "wide.csv").write_text("\n".join([",".join([*names, "y"]), *rows]) + "\n")
    (folder / "wide.yaml").write_text("data: {source: wide.csv, target: y}\n")
    checked = Terminal("check", "wide.yaml")
    assert checked.end() == 0, checked.text
    refused = Terminal("check", "wide.yaml", "fit.early_stopping={monitor: val_acuracy}", "fit.x=1")
    assert refused.end() == 2
    for shown in (checked.text, refused.text):
        assert len(lines(shown)) > 2
        assert max(map(width, lines(shown))) <= COLUMNS
    arguments = " ".join(lines(refused.text)).split()
    assert "'val_accuracy'?" in arguments


@pytest.mark.slow
def test_ctrl_c_leaves_one_progress_bar_and_the_command_to_resume(folder: Path) -> None:
    fit = Terminal("fit", "good.yaml", "fit.epochs=1000000")
    assert lines(fit.read_until("\n"))[0].startswith("reading data for good, loading TensorFlow")
    fit.read_until("val_loss")
    fit.type(b"\x03")
    assert fit.end() == 130, fit.text
    assert sum("/1000000" in line for line in fit.text.split("\n")) == 1
    assert "resume with: trainer resume runs/good/" in fit.text
