"""A process that dies at any disk operation, or whose disk refuses one, loses nothing.

A short training, and the resumption of a killed one, are run once for each of their disk operations.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kill.comparison import differences
from tests.kill.conftest import EVERY_OPERATION
from tests.kill.faults import DIE, DIE_HALFWAY
from tests.kill.fork_server import Child, ForkServer
from tests.kill.histories import ReferenceRun, resumable
from tests.kill.trainings import SHORT

PARTS = 8 if EVERY_OPERATION else 1
SAMPLE = 2
"""Operations per test where not all are tried."""
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
DIVISIBLE = {"write", "remove", "save_network", "append"}
"""Operations that can be done by half."""
MESSAGE = re.compile(r"^error: \S+: expected to .+, found .+; \S.+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A process whose disk operations are counted.

    Attributes:
        reference: The run to equal in the end.
        stopped: A directory with a run to resume; None: a run is started.
        directory: Where the process runs.
    """

    fork_server: ForkServer
    reference: ReferenceRun
    stopped: Path | None
    directory: Path

    def run(self, operation: int, effect: str | int) -> Child:
        """Return the process, ended, after one operation (0 for none) failed."""
        runs = self.directory / "runs"
        shutil.rmtree(runs, ignore_errors=True)
        if self.stopped is not None:
            shutil.copytree(self.stopped, runs)
        log = str(self.directory / "log")
        child = self._start(
            {"root": str(runs), "operation": operation, "effect": effect, "log": log}
        )
        child.wait()
        return child

    def operations(self) -> list[str]:
        """Return kind and path of each operation so far; the last one may be incomplete."""
        return (self.directory / "log").read_text(encoding="utf-8").splitlines()

    def problem_after_recovery(self, not_removed: str = "") -> str | None:
        """Resume the run without faults and return how it differs from the reference.

        Args:
            not_removed: A path whose removal was refused, so that it may still exist.
        """
        if "finished" not in self._statuses():
            child = self._start(None)
            if child.wait() != 0:
                return f"it does not resume: {child.err}"
        runs = list(resumable(self.directory / "runs"))
        if len(runs) != 1:
            return f"runs with a checkpoint: {runs}"
        found = differences(runs[0], self.reference.run)
        if not_removed:
            found = [line for line in found if not line.startswith(f"{not_removed}/")]
        return "\n".join(found) or None

    def _start(self, fault: dict[str, object] | None) -> Child:
        runs = self.directory / "runs"
        started = list(resumable(runs))
        arguments: list[str | Path] = (
            ["resume", started[0]] if started else ["fit", self.reference.config, "--runs", runs]
        )
        return self.fork_server.start(arguments, self.directory, SHORT.patches, fault)

    def _statuses(self) -> set[str]:
        manifests = self.directory.glob("runs/*/*/manifest.json")
        return {json.loads(path.read_bytes())["status"] for path in manifests}


@pytest.fixture(params=["started", "resumed"])
def scenario(
    request: pytest.FixtureRequest,
    fork_server: ForkServer,
    reference_run: Callable,
    tmp_path: Path,
) -> Scenario:
    reference = reference_run(SHORT)
    stopped: Path | None = None
    if request.param == "resumed":
        # Killed in its second evaluation, so that the log is longer than in the checkpoint.
        arguments = ["fit", reference.config, "--runs", tmp_path / "stopped"]
        child = fork_server.start(arguments, tmp_path, SHORT.patches, {"evaluation": 2})
        assert child.wait() == -signal.SIGKILL
        stopped = tmp_path / "stopped"
    return Scenario(fork_server, reference, stopped, tmp_path)


def chosen(total: int, part: int) -> Iterator[int]:
    """Return the operations, from 1, that are tried in a part."""
    if EVERY_OPERATION:
        return iter(range(1 + part, total + 1, PARTS))
    return iter(sorted({1 + index * (total - 1) // (SAMPLE - 1) for index in range(SAMPLE)}))


@pytest.mark.parametrize("part", range(PARTS))
def test_process_dies_at_an_operation(
    scenario: Scenario, part: int, record_property: Callable
) -> None:
    assert scenario.run(0, DIE).code == 0
    operations = scenario.operations()
    problems, tried = [], 0
    for number in chosen(len(operations), part):
        for effect in (DIE, DIE_HALFWAY):
            if effect == DIE_HALFWAY and operations[number - 1].split()[0] not in DIVISIBLE:
                continue
            child = scenario.run(number, effect)
            assert child.code == -signal.SIGKILL, child.err
            tried += 1
            operation = scenario.operations()[-1]
            if problem := scenario.problem_after_recovery():
                problems.append(f"{effect} at {number}, {operation}: {problem}")
    record_property("operations", tried)
    assert not problems, "\n\n".join((f"{len(problems)} of {tried}:", *problems))


@pytest.mark.parametrize("part", range(PARTS))
def test_disk_refuses_an_operation(
    scenario: Scenario, part: int, record_property: Callable
) -> None:
    assert scenario.run(0, DIE).code == 0
    operations = scenario.operations()
    problems, tried = [], 0
    for number in chosen(len(operations), part):
        for error in ERRORS if EVERY_OPERATION else (ERRORS[number % len(ERRORS)],):
            child = scenario.run(number, error)
            tried += 1
            operation = scenario.operations()[number - 1]
            is_removal = operation.startswith("remove ")
            path = operation.partition("/checkpoints/")[2] if is_removal else ""
            problem = _problem_of_message(child, operation) or scenario.problem_after_recovery(
                path and f"checkpoints/{path}"
            )
            if problem:
                problems.append(f"{errno.errorcode[error]} at {number}, {operation}: {problem}")
    record_property("operations", tried)
    assert not problems, "\n\n".join((f"{len(problems)} of {tried}:", *problems))


def _problem_of_message(child: Child, operation: str) -> str | None:
    """Return what is wrong unless the process ended with exit code 3, a location and a fix."""
    if child.code == 0:
        return None  # the operation was not needed
    # A location where no run directory can be created is invalid input, not a failed training.
    codes = {2, 3} if re.fullmatch(r"mkdir (/[^/]+){1,2}", operation) else {3}
    if child.code not in codes or "Traceback" in child.err or not MESSAGE.search(child.err):
        return f"exit {child.code}: {child.err}"
    return None
