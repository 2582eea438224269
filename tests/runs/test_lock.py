import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from trainer.errors import RunError, StorageError
from trainer.runs.lock import RunLock, lock_state
from trainer.runs.process import ProcessIdentity, this_process

HOLD = """
import sys
from pathlib import Path
from trainer.runs.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def write_lock(path: Path, process: ProcessIdentity, written_at: float = 1000.0) -> None:
    path.write_text(json.dumps(asdict(process)))
    os.utime(path, (written_at, written_at))


def clock_at(seconds: float) -> Callable[[], float]:
    return lambda: seconds


def test_lock_file_names_its_owner_until_release(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with RunLock(path) as lock:
        assert json.loads(path.read_text()) == asdict(this_process())
    assert not path.exists()
    lock.release()


def test_second_writer_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with RunLock(path):
        with pytest.raises(RunError, match=f"kill {os.getpid()}") as raised:
            RunLock(path)
        assert raised.value.problems[0].where == str(tmp_path)
        assert path.exists()
    with RunLock(path):
        pass


def test_lock_of_a_killed_owner_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=f"process {child.pid}"):
            RunLock(path)
        child.kill()
    assert path.exists()
    with RunLock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"pid": 1}', '{"pid": "1", "host": 2}', "\x00"]
)
def test_damaged_lock_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lock"
    path.write_text(content)
    with RunLock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_owner_on_another_host_is_checked_by_its_heartbeat(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    elsewhere = replace(this_process(), host="elsewhere")
    write_lock(path, elsewhere)
    with pytest.raises(RunError, match=r"elsewhere.*last heartbeat 60 s ago.*delete"):
        RunLock(path, clock=clock_at(1060.0))
    with RunLock(path, clock=clock_at(1061.0)):
        assert json.loads(path.read_text())["host"] == this_process().host


def test_heartbeat_is_renewed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with RunLock(path, beat_seconds=0.001):
        os.utime(path, (1000.0, 1000.0))
        waiting = threading.Event()
        while path.stat().st_mtime == 1000.0:
            waiting.wait(0.001)


def test_release_does_not_remove_the_lock_of_another_owner(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = RunLock(path)
    other = replace(this_process(), pid=1)
    write_lock(path, other)
    lock.release()
    assert json.loads(path.read_text()) == asdict(other)


def test_release_after_the_run_was_deleted(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    lock = RunLock(directory / "lock", beat_seconds=0.001)
    shutil.rmtree(directory)
    lock.release()
    with pytest.raises(StorageError, match="ENOENT"):
        RunLock(directory / "lock")


def test_only_one_of_several_writers_replaces_a_dead_owner(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for _ in range(20):
        write_lock(path, replace(this_process(), pid=2**40))
        barrier = threading.Barrier(4)
        locks: list[RunLock] = []
        rejected: list[RunError] = []

        def acquire(
            barrier: threading.Barrier = barrier,
            locks: list[RunLock] = locks,
            rejected: list[RunError] = rejected,
        ) -> None:
            barrier.wait()
            try:
                locks.append(RunLock(path))
            except RunError as error:
                rejected.append(error)

        threads = [threading.Thread(target=acquire) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(locks), len(rejected)) == (1, 3)
        locks[0].release()


def test_lock_state(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_state(path) == "none"
    with RunLock(path):
        assert lock_state(path) == "alive"
    assert lock_state(path) == "none"
    write_lock(path, replace(this_process(), started="before this boot"))
    assert lock_state(path) == "dead"
    elsewhere = replace(this_process(), host="elsewhere", space="elsewhere")
    write_lock(path, elsewhere)
    assert (lock_state(path, 1010.0), lock_state(path, 2000.0)) == ("alive", "dead")
    path.write_text("{")
    assert lock_state(path) == "none"
