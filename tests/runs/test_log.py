import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.errors import RunError, StorageError
from trainer.runs.log import MetricsLog, last_epoch, read_log, remove_epochs_after, truncate_log


def line_count(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def test_appended_records_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_log(path) == []
    with MetricsLog(path) as log:
        log.append({"epoch": 1, "loss": 0.5, "val_auc": math.nan})
        log.append({"epoch": 2, "loss": 0.25, "val_auc": math.inf})
    with MetricsLog(path) as log:
        log.append({"epoch": 3, "loss": 0.125})
    assert read_log(path) == [
        {"epoch": 1, "loss": 0.5, "val_auc": None},
        {"epoch": 2, "loss": 0.25, "val_auc": None},
        {"epoch": 3, "loss": 0.125},
    ]


def test_lines_are_buffered_between_flushes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    now = 100.0
    log = MetricsLog(path, flush_seconds=0.2, clock=lambda: now)
    log.append({"epoch": 1})
    assert line_count(path) == 1
    for epoch in range(2, 10):
        log.append({"epoch": epoch})
    assert line_count(path) == 1
    now += 0.2
    log.append({"epoch": 10})
    assert line_count(path) == 10
    log.append({"epoch": 11})
    log.sync()
    assert line_count(path) == 11
    log.append({"epoch": 12})
    log.close()
    log.close()
    assert [record["epoch"] for record in read_log(path)] == list(range(1, 13))


@settings(deadline=None)  # disks can be slow
@given(st.integers(0, 60))
def test_partial_last_line_is_ignored(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    whole = b"".join(json.dumps({"epoch": n, "x": "é"}).encode() + b"\n" for n in (1, 2, 3))
    path.write_bytes(whole[:length])
    expected = whole[:length].count(b"\n")
    assert len(read_log(path)) == expected
    with MetricsLog(path) as log:
        log.append({"epoch": 9})
    assert [record["epoch"] for record in read_log(path)] == [*range(1, expected + 1), 9]


@pytest.mark.parametrize("damage", [b"\x00\x00\x00\n", b"\xff{\n", b"7\n", b"{\n"])
def test_damaged_line_is_an_error_unless_it_is_the_last(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"epoch": 1}\n' + damage)
    assert read_log(path) == [{"epoch": 1}]
    with path.open("ab") as file:
        file.write(b'{"epoch": 2}\n')
    with pytest.raises(RunError) as raised:
        read_log(path)
    assert raised.value.problems[0].where == f"{path}:2"


def test_remove_epochs_after(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    remove_epochs_after(path, 3)
    with MetricsLog(path) as log:
        for epoch in range(1, 6):
            log.append({"epoch": epoch})
    remove_epochs_after(path, 3)
    assert [record["epoch"] for record in read_log(path)] == [1, 2, 3]
    remove_epochs_after(path, 0)
    assert read_log(path) == []


def test_truncate_log_to_the_offset_of_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    truncate_log(path, 0)
    offsets = []
    with MetricsLog(path) as log:
        for epoch in range(1, 4):
            offsets.append(log.offset)
            log.append({"epoch": epoch})
            log.sync()
        offsets.append(log.offset)
    whole = path.read_bytes()
    assert offsets[-1] == len(whole)
    truncate_log(path, offsets[3])
    assert path.read_bytes() == whole
    for epochs in (2, 1, 0):
        truncate_log(path, offsets[epochs])
        assert [record["epoch"] for record in read_log(path)] == list(range(1, epochs + 1))
    with MetricsLog(path) as log:
        assert log.offset == 0


@pytest.mark.parametrize(
    ("length", "words"),
    [(99, "byte 99.*found 26 bytes"), (5, "byte 5.*26 bytes and no end of a line there")],
)
def test_truncate_log_at_a_wrong_offset(tmp_path: Path, length: int, words: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2}\n')
    with pytest.raises(RunError, match=words) as raised:
        truncate_log(path, length)
    assert raised.value.problems[0].where == str(path)
    assert path.stat().st_size == 26
    path.unlink()
    with pytest.raises(RunError, match="found 0 bytes"):
        truncate_log(path, length)


def test_kill_during_truncation_leaves_the_old_or_the_new_log(
    tmp_path: Path, failing_process: Callable[..., Any]
) -> None:
    whole = b'{"epoch": 1}\n{"epoch": 2}\n'
    contents = set()
    for steps in range(4):
        path = tmp_path / f"{steps}.jsonl"
        path.write_bytes(whole)
        process = failing_process(steps, "torn")
        with process.running():
            truncate_log(path, 13, process.disk)
        contents.add(path.read_bytes())
        truncate_log(path, 13)
        assert path.read_bytes() == whole[:13]
    assert contents == {whole, whole[:13]}


def test_deeply_nested_line_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"[" * 100_000 + b'\n{"epoch": 2}\n')
    with pytest.raises(RunError, match="damage"):
        read_log(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_a_storage_error() -> None:
    log = MetricsLog(Path("/dev/full"))
    with pytest.raises(StorageError, match="ENOSPC"):
        log.append({"epoch": 1})
    with pytest.raises(StorageError, match="free up space"):
        log.close()
    log.close()


def test_missing_directory_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ENOENT"):
        MetricsLog(tmp_path / "gone" / "metrics.jsonl")


def test_reader_sees_complete_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, flush_seconds=0.0) as log:
        for epoch in range(1, 50):
            log.append({"epoch": epoch})
            assert len(read_log(path)) == epoch


def test_last_epoch(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert last_epoch(path) == 0
    with MetricsLog(path) as log:
        assert last_epoch(path) == 0
        for epoch in range(1, 5000):
            log.append({"epoch": epoch, "loss": 0.5})
    assert last_epoch(path) == 4999
    with path.open("ab") as file:
        file.write(b'{"epoch": 5000, "lo')
    assert last_epoch(path) == 4999
    path.write_text("damage\n")
    assert last_epoch(path) == 0
