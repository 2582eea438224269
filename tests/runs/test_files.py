import errno
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runs.conftest import UNSYNCED
from trainer.errors import RunError, StorageError
from trainer.runs.files import (
    DISK,
    FileSystem,
    existing_directory,
    json_bytes,
    json_line,
    previous_directories,
    read_bytes,
    read_json,
    remove_leftovers,
    remove_temporary_files,
    replace_directory,
    write_atomically,
)

MakeProcess = Callable[..., Any]


def remove_one_file(path: Path) -> None:
    if path.is_dir():
        next(path.iterdir()).unlink()
    raise KeyboardInterrupt


def failing_disk(number: int) -> FileSystem:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return FileSystem(write=fail, make_directory=fail)


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


def test_write_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("steps", range(4))
def test_kill_at_any_step_leaves_the_old_or_the_new_file(
    tmp_path: Path, failing_process: MakeProcess, steps: int
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    process = failing_process(steps)
    with process.running():
        write_atomically(path, b"new", process.disk)
    assert path.read_bytes() == (b"old" if steps < 2 else b"new")
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "free up space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "write permission"),
        (errno.ENOENT, "start the run again"),
        (errno.EIO, "check it"),
        (errno.ENXIO, "df -h"),
    ],
)
def test_disk_errors_become_storage_errors(tmp_path: Path, number: int, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    writes: list[Callable[[], None]] = [
        lambda: write_atomically(path, b"new", failing_disk(number)),
        lambda: replace_directory(tmp_path / "directory", fill("x"), failing_disk(number)),
    ]
    for write in writes:
        with pytest.raises(StorageError) as raised:
            write()
        (problem,) = raised.value.problems
        assert problem.where.startswith(str(tmp_path))
        assert errno.errorcode[number] in problem.found
        assert words in problem.fix
        assert raised.value.exit_code == 3
    assert path.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [path]


def test_missing_directory_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ENOENT"):
        write_atomically(tmp_path / "gone" / "file", b"x")


def test_file_in_place_of_a_directory_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="ENOTDIR"):
        write_atomically(tmp_path / "file" / "inner", b"x")


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
    for name in (".a.json.0123abcd.new", ".a.json.new", "a.0123abcd.new", ".a.json.0123abcd.old"):
        (tmp_path / name).touch()
    remove_temporary_files(tmp_path)
    remove_temporary_files(tmp_path / "gone")
    assert not (tmp_path / ".a.json.0123abcd.new").exists()
    assert (tmp_path / ".a.json.new").exists()
    assert (tmp_path / "a.0123abcd.new").exists()
    assert (tmp_path / ".a.json.0123abcd.old").exists()


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


def test_json_is_deterministic_and_has_no_nan() -> None:
    value = {
        "b": np.float32(0.5),
        "a": [np.nan, np.inf, -np.inf, 1, True, None, "ü"],
        "array": np.array([[1.0, np.nan]]),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "when": datetime(2026, 11, 22, tzinfo=UTC),
        "path": Path("x/y"),
        7: ("tuple",),
    }
    assert json.loads(json_bytes(value)) == {
        "b": 0.5,
        "a": [None, None, None, 1, True, None, "ü"],
        "array": [[1.0, None]],
        "count": 3,
        "flag": True,
        "when": "2026-11-22T00:00:00+00:00",
        "path": "x/y",
        "7": ["tuple"],
    }
    assert next(iter(json.loads(json_bytes(value)))) == "b"
    assert json_line(value).count(b"\n") == 1
    assert json.loads(json_line(value)) == json.loads(json_bytes(value))
    with pytest.raises(TypeError, match="object"):
        json_bytes({"x": object()})


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Any text: lone surrogates represent bytes of file names that are not valid text.
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec=None)), inner),
    max_leaves=10,
)


@given(json_values)
def test_json_round_trip(value: Any) -> None:
    assert json.loads(json_bytes(value)) == value
    assert json.loads(json_line(value)) == value
    assert json_line(value).count(b"\n") == 1


def test_read_errors(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(RunError, match="no such file"):
        read_json(path)
    for damage, words in ((b"", "an empty file"), (b"{", "damage"), (b"\xff\xfe\x00", "damage")):
        path.write_bytes(damage)
        with pytest.raises(RunError, match=words):
            read_json(path)
    path.write_text("[" * 200_000)
    with pytest.raises(RunError, match="damage"):
        read_json(path)
    path.write_text("[1]")
    assert read_json(path, max_bytes=3) == [1]
    with pytest.raises(RunError, match="at most 2 bytes, found 3 bytes"):
        read_json(path, max_bytes=2)
    with pytest.raises(RunError, match="EISDIR"):
        read_bytes(tmp_path)


def test_links_out_of_the_directory_and_pipes_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    run = tmp_path / "run"
    run.mkdir()
    (run / "file").write_text("y")
    for name, target in (("out", "../secret"), ("absolute", tmp_path / "secret"), ("in", "file")):
        (run / name).symlink_to(target)
    (run / "round").symlink_to("round")
    os.mkfifo(run / "pipe")
    assert read_bytes(run / "in") == b"y"
    for name, words in (
        ("out", r"a link to \.\./secret"),
        ("absolute", "a link to"),
        ("round", "ELOOP"),
        ("pipe", "a pipe"),
    ):
        with pytest.raises(RunError, match=words) as raised:
            read_bytes(run / name)
        assert raised.value.problems[0].fix
