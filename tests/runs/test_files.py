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
    remove_temporaries,
    replace_directory,
    write_atomically,
)

Mortals = Callable[..., Any]


def half_removed(path: Path) -> None:
    if path.is_dir():
        next(path.iterdir()).unlink()
    raise KeyboardInterrupt


def failing(number: int) -> FileSystem:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return FileSystem(write=fail, make_directory=fail)


def fill(text: str) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        (directory / "a").write_text(text)
        (directory / "b").write_text(text)

    return write


def content(directory: Path) -> str:
    place = existing_directory(directory)
    assert place is not None
    texts = {(place / "a").read_text(), (place / "b").read_text()}
    assert len(texts) == 1
    return texts.pop()


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("steps", range(4))
def test_a_file_is_old_or_new_wherever_the_process_dies(
    tmp_path: Path, mortal: Mortals, steps: int
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    process = mortal(steps)
    with process.life():
        write_atomically(path, b"new", process.disk)
    assert path.read_bytes() == (b"old" if steps < 2 else b"new")
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "write permission"),
        (errno.ENOENT, "start the run again"),
        (errno.EIO, "check it"),
        (errno.ENXIO, "df -h"),
    ],
)
def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path, number: int, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    writes: list[Callable[[], None]] = [
        lambda: write_atomically(path, b"new", failing(number)),
        lambda: replace_directory(tmp_path / "directory", fill("x"), failing(number)),
    ]
    for write in writes:
        with pytest.raises(StorageError) as caught:
            write()
        (problem,) = caught.value.problems
        assert problem.where.startswith(str(tmp_path))
        assert errno.errorcode[number] in problem.found
        assert words in problem.fix
        assert caught.value.exit_code == 3
    assert path.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_directory_that_vanished_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ENOENT"):
        write_atomically(tmp_path / "gone" / "file", b"x")


def test_a_file_in_place_of_a_directory_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="ENOTDIR"):
        write_atomically(tmp_path / "file" / "inner", b"x")


def test_a_directory_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    assert existing_directory(path) is None
    for text in ("first", "second", "third"):
        replace_directory(path, fill(text))
        assert content(path) == text
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", [None, "old"])
def test_a_directory_is_old_or_new_wherever_the_process_dies(
    tmp_path: Path, mortal: Mortals, before: str | None
) -> None:
    seen = []
    for steps in range(100):
        path = tmp_path / str(steps) / "directory"
        path.parent.mkdir()
        if before is not None:
            replace_directory(path, fill(before))
        process = mortal(steps)
        with process.life():
            replace_directory(path, fill("new"), process.disk)
        seen.append(content(path) if existing_directory(path) else None)
        # Whoever goes on writes as if nothing had been; twice, as leftovers must not add up.
        for text in ("newer", "newest"):
            replace_directory(path, fill(text))
            assert content(path) == text
        assert list(path.parent.iterdir()) == [path]
        if not process.struck:
            break
    else:
        pytest.fail("it never came to an end")
    change = seen.index("new")
    assert set(seen[:change]) == {before}
    assert set(seen[change:]) == {"new"}
    assert 0 < change < len(seen) - 1


def test_a_process_may_die_again_while_the_next_repairs(tmp_path: Path, mortal: Mortals) -> None:
    texts = ["0", "1", "2", "3", "4"]
    hasty = FileSystem(sync=lambda path: None)
    for keep in (1, 3):
        (tmp_path / f"before-{keep}").mkdir()
        for text in texts[:3]:
            replace_directory(tmp_path / f"before-{keep}" / "directory", fill(text), hasty, keep)
        for first in range(14):
            for second in range(14):
                path = tmp_path / f"{keep}-{first}-{second}" / "directory"
                shutil.copytree(tmp_path / f"before-{keep}", path.parent)
                for steps, text in ((first, texts[3]), (second, texts[4])):
                    process = mortal(steps)
                    with process.life():
                        replace_directory(path, fill(text), process.disk, keep)
                    assert content(path) in texts[2:]
                remove_leftovers(path, keep=keep)
                assert content(path) in texts[2:]
                former = [content(place) for place in previous_directories(path)]
                assert former == sorted(former, reverse=True)
                replace_directory(path, fill("5"), hasty, keep)
                assert content(path) == "5"
                assert len(list(path.parent.iterdir())) == keep


def test_leftovers_go_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    names = ["directory", "directory-1", "directory-2", "directory-3", "directory.new"]
    others = ["directory-2024", "directory-x", "directory-", "other.new", "other-1"]
    for name in (*names, *others):
        (tmp_path / name).mkdir()
    remove_leftovers(path, keep=2)
    assert {place.name for place in tmp_path.iterdir()} == {*names[:2], *others}
    assert previous_directories(path) == [
        path.with_name(name) for name in ("directory-1", "directory-2024")
    ]
    path.rmdir()
    remove_leftovers(path)
    assert existing_directory(path) == path.with_name("directory-1")
    for name in (".a.json.0123abcd.new", ".a.json.new", "a.0123abcd.new", ".a.json.0123abcd.old"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path)
    remove_temporaries(tmp_path / "gone")
    assert not (tmp_path / ".a.json.0123abcd.new").exists()
    assert (tmp_path / ".a.json.new").exists()
    assert (tmp_path / "a.0123abcd.new").exists()
    assert (tmp_path / ".a.json.0123abcd.old").exists()


def test_a_process_may_die_while_it_removes_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    replace_directory(path, fill("old"))
    calls = 0

    def remove(place: Path) -> None:
        nonlocal calls
        calls += 1
        (DISK.remove if calls == 1 else half_removed)(place)

    with pytest.raises(KeyboardInterrupt):
        replace_directory(path, fill("new"), FileSystem(remove=remove))
    assert len(list(path.with_name("directory-1").iterdir())) == 1
    assert content(path) == "new"
    replace_directory(path, fill("newer"))
    assert content(path) == "newer"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_directory(tmp_path: Path) -> None:
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


def test_an_old_directory_that_cannot_go_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    replace_directory(path, fill("old"))

    def remove(place: Path) -> None:
        if place.name == "directory-1":
            raise OSError(errno.ENOTEMPTY, "held open")
        DISK.remove(place)

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
    # Any text: lone surrogates stand for bytes of file names that are no text.
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec=None)), inner),
    max_leaves=10,
)


@given(json_values)
def test_json_reads_back_as_it_was(value: Any) -> None:
    assert json.loads(json_bytes(value)) == value
    assert json.loads(json_line(value)) == value
    assert json_line(value).count(b"\n") == 1


def test_reading_says_what_is_missing_or_damaged(tmp_path: Path) -> None:
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


def test_only_files_of_the_directory_itself_are_read(tmp_path: Path) -> None:
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
        with pytest.raises(RunError, match=words) as caught:
            read_bytes(run / name)
        assert caught.value.problems[0].fix
