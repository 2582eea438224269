import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from trainer.errors import RunError
from trainer.runs.temporary import temporary_sibling


def make_directory(path: Path) -> None:
    path.mkdir()


def hold(path: Path, held: Event) -> None:
    with temporary_sibling(path, make_directory) as temporary:
        (temporary / "part").write_text("x")
        held.set()
        signal.pause()


@pytest.mark.parametrize("create", [Path.mkdir, Path.touch])
def test_renamed_or_removed(tmp_path: Path, create) -> None:
    path = tmp_path / "x"
    with temporary_sibling(path, create) as temporary:
        assert temporary.parent == tmp_path
        temporary.rename(path)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ZeroDivisionError), temporary_sibling(tmp_path / "y", create):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [path]


def test_other_process(tmp_path: Path) -> None:
    """While another process writes, there is an error; what it leaves when it is killed is removed."""
    path = tmp_path / "x"
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=hold, args=(path, held))
    process.start()
    assert held.wait(60)
    with (
        pytest.raises(RunError, match="no other process is writing"),
        temporary_sibling(path, make_directory),
    ):
        pytest.fail("two processes write the same path")
    (left,) = tmp_path.iterdir()
    assert (left / "part").exists()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with temporary_sibling(path, make_directory) as temporary:
        assert temporary == left
        assert list(temporary.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
