import errno
import json
import os
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
    FileSystem,
    json_bytes,
    json_line,
    parent_problem,
    read_bytes,
    read_json,
    remove_temporary_files,
    write_atomically,
)

MakeProcess = Callable[..., Any]


def failing_disk(number: int) -> FileSystem:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return FileSystem(write=fail)


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
    with pytest.raises(StorageError) as raised:
        write_atomically(path, b"new", failing_disk(number))
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


def test_missing_directory_of_an_output_is_a_problem_with_its_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("made folder").mkdir()
    for path in ("new", "made folder/new", str(tmp_path / "new")):
        assert parent_problem("--output", Path(path)) is None
    missing = parent_problem("--output", Path("made folder/a/new"))
    assert missing is not None
    assert (missing.found, missing.fix) == (
        "no directory made folder/a",
        "mkdir -p 'made folder/a'",
    )
    for path in ("file/new", "file/a/new"):
        blocked = parent_problem("--output", Path(path))
        assert blocked is not None
        assert blocked.found == "the file file in its place"
        assert "mkdir" not in blocked.fix


def test_file_in_place_of_a_directory_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="ENOTDIR"):
        write_atomically(tmp_path / "file" / "inner", b"x")


def test_only_temporary_files_are_removed(tmp_path: Path) -> None:
    others = [".a.json.new", "a.0123abcd.new", ".a.json.0123abcd.old"]
    for name in (".a.json.0123abcd.new", *others):
        (tmp_path / name).touch()
    remove_temporary_files(tmp_path)
    remove_temporary_files(tmp_path / "gone")
    assert {path.name for path in tmp_path.iterdir()} == {*others}


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
