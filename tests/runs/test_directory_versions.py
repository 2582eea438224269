import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import UNSYNCED
from trainer.errors import StorageError
from trainer.runs.directory_versions import (
    existing_directory,
    previous_directories,
    remove_leftovers,
    replace_directory,
)
from trainer.runs.files import DISK, FileSystem

MakeProcess = Callable[..., Any]


def remove_one_file(path: Path) -> None:
    if path.is_dir():
        next(path.iterdir()).unlink()
    raise KeyboardInterrupt


def fill(text: str) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        (directory / "a").write_text(text)
        (directory / "b").write_text(text)

    return write


def content(directory: Path) -> str:
    entry = existing_directory(directory)
    assert entry is not None
    texts = {(entry / "a").read_text(), (entry / "b").read_text()}
    assert len(texts) == 1
    return texts.pop()


def test_replace_directory(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    assert existing_directory(path) is None
    for text in ("first", "second", "third"):
        replace_directory(path, fill(text))
        assert content(path) == text
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", [None, "old"])
def test_kill_at_any_step_leaves_the_old_or_the_new_directory(
    tmp_path: Path, failing_process: MakeProcess, before: str | None
) -> None:
    contents = []
    for steps in range(100):
        path = tmp_path / str(steps) / "directory"
        path.parent.mkdir()
        if before is not None:
            replace_directory(path, fill(before))
        process = failing_process(steps)
        with process.running():
            replace_directory(path, fill("new"), process.disk)
        contents.append(content(path) if existing_directory(path) else None)
        # The next process writes as if nothing had happened; twice, as leftovers must not accumulate.
        for text in ("newer", "newest"):
            replace_directory(path, fill(text))
            assert content(path) == text
        assert list(path.parent.iterdir()) == [path]
        if not process.failed:
            break
    else:
        pytest.fail("the process never finished")
    change = contents.index("new")
    assert set(contents[:change]) == {before}
    assert set(contents[change:]) == {"new"}
    assert 0 < change < len(contents) - 1


def test_two_kills_in_a_row(tmp_path: Path, failing_process: MakeProcess) -> None:
    texts = ["0", "1", "2", "3", "4"]
    for keep in (1, 3):
        (tmp_path / f"before-{keep}").mkdir()
        for text in texts[:3]:
            replace_directory(tmp_path / f"before-{keep}" / "directory", fill(text), UNSYNCED, keep)
        for first in range(14):
            for second in range(14):
                path = tmp_path / f"{keep}-{first}-{second}" / "directory"
                shutil.copytree(tmp_path / f"before-{keep}", path.parent)
                for steps, text in ((first, texts[3]), (second, texts[4])):
                    process = failing_process(steps)
                    with process.running():
                        replace_directory(path, fill(text), process.disk, keep)
                    assert content(path) in texts[2:]
                remove_leftovers(path, keep=keep)
                assert content(path) in texts[2:]
                previous = [content(entry) for entry in previous_directories(path)]
                assert previous == sorted(previous, reverse=True)
                replace_directory(path, fill("5"), UNSYNCED, keep)
                assert content(path) == "5"
                assert len(list(path.parent.iterdir())) == keep


def test_only_leftovers_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    names = ["directory", "directory-1", "directory-2", "directory-3", "directory.new"]
    others = ["directory-2024", "directory-x", "directory-", "other.new", "other-1"]
    for name in (*names, *others):
        (tmp_path / name).mkdir()
    remove_leftovers(path, keep=2)
    assert {entry.name for entry in tmp_path.iterdir()} == {*names[:2], *others}
    assert previous_directories(path) == [
        path.with_name(name) for name in ("directory-1", "directory-2024")
    ]
    path.rmdir()
    remove_leftovers(path)
    assert existing_directory(path) == path.with_name("directory-1")


def test_kill_while_removing_the_old_directory(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    replace_directory(path, fill("old"))
    calls = 0

    def remove(entry: Path) -> None:
        nonlocal calls
        calls += 1
        (DISK.remove if calls == 1 else remove_one_file)(entry)

    with pytest.raises(KeyboardInterrupt):
        replace_directory(path, fill("new"), FileSystem(remove=remove))
    assert len(list(path.with_name("directory-1").iterdir())) == 1
    assert content(path) == "new"
    replace_directory(path, fill("newer"))
    assert content(path) == "newer"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "directory"
    with pytest.raises(StorageError, match="no space left"):
        replace_directory(path, fill("x"), FileSystem(make_directory=fail))
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_old_directory(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    replace_directory(path, fill("old"))

    def full(directory: Path) -> None:
        (directory / "a").write_text("part")
        raise OSError(errno.ENOSPC, "full")

    def full_on_close(directory: Path) -> None:
        raise RuntimeError("Can't close file (file write failed: errno = 28, error message = '…')")

    def broken(directory: Path) -> None:
        raise RuntimeError("something else")

    for write, kind in (
        (full, StorageError),
        (full_on_close, StorageError),
        (broken, RuntimeError),
    ):
        with pytest.raises(kind):
            replace_directory(path, write)
        assert content(path) == "old"
        assert list(tmp_path.iterdir()) == [path]


def test_failed_removal_of_the_old_directory_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    replace_directory(path, fill("old"))

    def remove(entry: Path) -> None:
        if entry.name == "directory-1":
            raise OSError(errno.ENOTEMPTY, "held open")
        DISK.remove(entry)

    replace_directory(path, fill("new"), FileSystem(remove=remove))
    assert content(path) == "new"
