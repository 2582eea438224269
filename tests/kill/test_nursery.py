"""A child of the nursery is as good as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.cli.processes import COMMAND
from tests.kill.cases import CASES, Case
from tests.kill.comparison import differences
from tests.kill.histories import Undisturbed
from tests.kill.nursery import Nursery


def train_alone(config: Path, runs: Path) -> Path:
    """The run of a process of its own, with no compiled program to begin with."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(runs)}
    words = [*COMMAND, "fit", str(config), "--quiet", "--runs", str(runs)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    return Path(done.stdout.strip())


def test_a_child_computes_what_a_process_does(
    undisturbed: Callable[[Case], Undisturbed], tmp_path: Path
) -> None:
    forked = undisturbed(CASES[0])
    assert not forked.case.patches
    assert differences(train_alone(forked.config, tmp_path), forked.run) == []


def test_a_child_answers_as_a_process_does(nursery: Nursery, tmp_path: Path) -> None:
    child = nursery.start(["fit", "absent.yaml"], tmp_path)
    assert child.end() == 2
    assert (child.out, child.err.count("error: absent.yaml")) == ("", 1)
    helped = nursery.start(["--help"], tmp_path)
    assert helped.end() == 0
    assert "resume" in helped.out


def test_a_child_can_be_killed_and_leaves_the_nursery_alone(
    nursery: Nursery, tmp_path: Path
) -> None:
    config = CASES[0].write(tmp_path)
    both = [nursery.start(["fit", config], tmp_path) for _ in range(2)]
    assert not both[0].ended(0.2)
    both[0].send(signal.SIGKILL)
    assert both[0].end() == -signal.SIGKILL
    both[0].send(signal.SIGKILL)
    assert both[1].end() == 0


def test_a_fault_is_the_childs_alone(nursery: Nursery, tmp_path: Path) -> None:
    config = CASES[0].write(tmp_path)
    words = ["fit", config, "fit.epochs=1", "fit.early_stopping=null"]
    fault = {"root": str(tmp_path / "runs"), "fatal": 1, "told": str(tmp_path / "told")}
    assert nursery.start(words, tmp_path, fault=fault).end() == -signal.SIGKILL
    assert nursery.start(words, tmp_path).end() == 0
