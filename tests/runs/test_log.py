import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import RunError, StorageError
from trainer.runs.log import MetricsLog, keep_epochs, last_epoch, read_log


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def test_what_is_appended_reads_back(tmp_path: Path) -> None:
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


def test_lines_are_gathered_between_flushes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    now = 100.0
    log = MetricsLog(path, flush_seconds=0.2, clock=lambda: now)
    log.append({"epoch": 1})
    assert lines(path) == 1
    for epoch in range(2, 10):
        log.append({"epoch": epoch})
    assert lines(path) == 1
    now += 0.2
    log.append({"epoch": 10})
    assert lines(path) == 10
    log.append({"epoch": 11})
    log.sync()
    assert lines(path) == 11
    log.append({"epoch": 12})
    log.close()
    log.close()
    assert [record["epoch"] for record in read_log(path)] == list(range(1, 13))


@given(st.integers(0, 60))
def test_a_torn_last_line_is_left_off(tmp_path_factory: pytest.TempPathFactory, kept: int) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    whole = b"".join(json.dumps({"epoch": n, "x": "é"}).encode() + b"\n" for n in (1, 2, 3))
    path.write_bytes(whole[:kept])
    expected = whole[:kept].count(b"\n")
    assert len(read_log(path)) == expected
    with MetricsLog(path) as log:
        log.append({"epoch": 9})
    assert [record["epoch"] for record in read_log(path)] == [*range(1, expected + 1), 9]


@pytest.mark.parametrize("damage", [b"\x00\x00\x00\n", b"\xff{\n", b"7\n", b"{\n"])
def test_damage_in_the_last_line_is_left_off_and_before_it_told(
    tmp_path: Path, damage: bytes
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"epoch": 1}\n' + damage)
    assert read_log(path) == [{"epoch": 1}]
    with path.open("ab") as file:
        file.write(b'{"epoch": 2}\n')
    with pytest.raises(RunError) as caught:
        read_log(path)
    assert caught.value.problems[0].where == f"{path}:2"


def test_epochs_after_the_checkpoint_are_left_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    keep_epochs(path, 3)
    with MetricsLog(path) as log:
        for epoch in range(1, 6):
            log.append({"epoch": epoch})
    keep_epochs(path, 3)
    assert [record["epoch"] for record in read_log(path)] == [1, 2, 3]
    keep_epochs(path, 0)
    assert read_log(path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_storage_error() -> None:
    log = MetricsLog(Path("/dev/full"))
    with pytest.raises(StorageError, match="ENOSPC"):
        log.append({"epoch": 1})
    with pytest.raises(StorageError, match="free space"):
        log.close()
    log.close()


def test_a_directory_that_vanished_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ENOENT"):
        MetricsLog(tmp_path / "gone" / "metrics.jsonl")


def test_a_reader_sees_whole_lines_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, flush_seconds=0.0) as log:
        for epoch in range(1, 50):
            log.append({"epoch": epoch})
            assert len(read_log(path)) == epoch


def test_the_last_epoch_is_read_off_the_end(tmp_path: Path) -> None:
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
