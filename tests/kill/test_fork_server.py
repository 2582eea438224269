"""A child of the fork server behaves like a process that was started separately."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.cli.processes import COMMAND
from tests.kill.comparison import differences
from tests.kill.fork_server import ForkServer
from tests.kill.histories import ReferenceRun
from tests.kill.trainings import CASES, SHORT, TrainingCase


def test_child_matches_a_separate_process(
    reference_run: Callable[[TrainingCase], ReferenceRun], tmp_path: Path
) -> None:
    forked = reference_run(CASES[0])
    assert not forked.case.patches
    # Without the programs that other processes have compiled.
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [*COMMAND, "fit", str(forked.config), "--quiet", "--runs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert differences(Path(done.stdout.strip()), forked.run) == []


def test_exit_code_and_output(fork_server: ForkServer, tmp_path: Path) -> None:
    child = fork_server.start(["fit", "absent.yaml"], tmp_path)
    assert child.wait() == 2
    assert (child.out, child.err.count("error: absent.yaml")) == ("", 1)
    help_child = fork_server.start(["--help"], tmp_path)
    assert help_child.wait() == 0
    assert "resume" in help_child.out


def test_killed_child_does_not_affect_the_others(fork_server: ForkServer, tmp_path: Path) -> None:
    config = SHORT.write(tmp_path)
    killed, other = (fork_server.start(["fit", config], tmp_path) for _ in range(2))
    killed.send(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    killed.send(signal.SIGKILL)  # ignored
    assert other.wait() == 0


def test_fault_affects_one_child(fork_server: ForkServer, tmp_path: Path) -> None:
    command = ["fit", SHORT.write(tmp_path)]
    fault = {"root": str(tmp_path / "runs"), "operation": 1, "log": str(tmp_path / "log")}
    assert fork_server.start(command, tmp_path, fault=fault).wait() == -signal.SIGKILL
    assert fork_server.start(command, tmp_path).wait() == 0
