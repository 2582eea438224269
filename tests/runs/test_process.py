import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.runs.process import ProcessIdentity, is_alive, this_process

LINUX = Path("/proc/self/stat").exists()


def test_this_process_is_alive() -> None:
    here = this_process()
    assert here.pid == os.getpid()
    assert is_alive(here, here) is True


def test_ended_process_is_dead() -> None:
    here = this_process()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    assert is_alive(ProcessIdentity(here.host, child.pid, here.space, "1"), here) is False
    assert is_alive(replace(here, pid=0), here) is False
    assert is_alive(replace(here, pid=2**80), here) is False


@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_process_with_a_reused_id_is_dead() -> None:
    here = this_process()
    assert here.started
    assert here.space
    assert is_alive(replace(here, started="1"), here) is False


@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_zombie_is_dead() -> None:
    here = this_process()
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_alive(ProcessIdentity(here.host, child.pid, here.space, "1"), here) is False


def test_process_of_another_host_or_boot_is_unknown() -> None:
    here = this_process()
    assert is_alive(replace(here, host="elsewhere"), here) is None
    assert is_alive(replace(here, space="another boot"), here) is None
