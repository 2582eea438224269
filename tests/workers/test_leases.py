"""A lease is held until it is revoked, and its holder ends with it."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from trainer.runs.lock import RunLock
from trainer.runs.process import ProcessIdentity, is_alive, this_process
from trainer.workers import leases
from trainer.workers.leases import Lease, leases_in, lock_files, revoke

HOLDER = """
import json, sys, time
from dataclasses import asdict
from pathlib import Path
from trainer.workers.leases import Lease, exit_when_revoked
from trainer.runs.process import this_process
exit_when_revoked(Lease(Path(sys.argv[1])))
print(json.dumps(asdict(this_process())), flush=True)
time.sleep(600)
"""
FAR = ProcessIdentity("far", 7, "another space", "1")


def test_lease_is_held_until_it_is_deleted(tmp_path: Path) -> None:
    first, second = (Lease.grant(tmp_path / "workers") for _ in range(2))
    assert {first.path, second.path} == {lease.path for lease in leases_in(tmp_path / "workers")}
    assert first.is_held
    assert first.holder is None
    first.set_holder(FAR)
    assert first.holder == FAR
    first.delete()
    first.delete()
    assert not first.is_held
    assert leases_in(tmp_path / "workers") == [second]
    assert leases_in(tmp_path / "nothing") == []


def test_revoke_ends_the_holder_and_removes_its_locks(tmp_path: Path) -> None:
    lease = Lease.grant(tmp_path / "workers")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lease.path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    holder = ProcessIdentity(**json.loads(process.stdout.readline()))
    lease.set_holder(holder)
    for number, owner in enumerate((holder, FAR)):
        (tmp_path / "trials" / str(number)).mkdir(parents=True)
        (tmp_path / "trials" / str(number) / "lock").write_text(json.dumps(asdict(owner)))
    assert is_alive(holder, this_process())
    revoke([lease], lock_files(tmp_path / "trials"))
    assert not is_alive(holder, this_process())
    assert process.wait() == 0
    # The lock of another process stays.
    assert [path.parent.name for path in lock_files(tmp_path / "trials")] == ["1"]


def test_revoke_waits_for_a_holder_that_cannot_be_inspected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(leases.time, "sleep", lambda by: now.__setitem__(0, now[0] + by))
    revoke([], [])
    assert now == [0.0]
    lease = Lease.grant(tmp_path)
    lease.set_holder(FAR)
    (tmp_path / "lock").write_text(json.dumps(asdict(FAR)))
    revoke([lease], [tmp_path / "lock"])
    assert now[0] >= leases.REVOKE_SECONDS > 2 * leases.POLL_SECONDS
    RunLock(tmp_path / "lock").release()
