import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.runs.process import ProcessIdentity, is_alive, this_process

LINUX = Path("/proc/self/stat").exists()


def test_this_process_is_alive() -> None:
    current = this_process()
    assert current.pid == os.getpid()
    assert is_alive(current, current) is True


def test_ended_process_is_dead() -> None:
    current = this_process()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    assert is_alive(ProcessIdentity(current.host, child.pid, current.space, "1"), current) is False
    assert is_alive(replace(current, pid=0), current) is False
    assert is_alive(replace(current, pid=2**80), current) is False


@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_process_with_a_reused_id_is_dead() -> None:
    current = this_process()
    assert current.started
    assert current.space
    assert is_alive(replace(current, started="1"), current) is False


@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_zombie_is_dead() -> None:
    current = this_process()
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert (
            is_alive(ProcessIdentity(current.host, child.pid, current.space, "1"), current) is False
        )


def test_process_of_another_host_or_boot_is_unknown() -> None:
    current = this_process()
    assert is_alive(replace(current, host="elsewhere"), current) is None
    assert is_alive(replace(current, space="another boot"), current) is None
