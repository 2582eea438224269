"""A process that dies at any operation on its disk, or whose disk refuses one: nothing is lost.

A short training and the resumption of one that was stopped are run once for each operation on the disk
that they do.
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

from tests.kill.cases import SHORT
from tests.kill.comparison import differences
from tests.kill.conftest import EVERY_OPERATION
from tests.kill.faults import DIE, HALF
from tests.kill.histories import Undisturbed, resumable
from tests.kill.nursery import Child, Nursery

PARTS = 8 if EVERY_OPERATION else 1
SAMPLE = 3
"""So many operations of each kind of test, where not all are tried."""
REFUSALS = (errno.ENOSPC, errno.EIO, errno.EACCES)
HALVED = {"write", "remove", "save_network", "append"}
"""Operations that can be done by half."""
MESSAGE = re.compile(r"^error: \S+: expected to .+, found .+; \S.+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Scene:
    """A process that operations are counted of.

    Attributes:
        nursery: Starts it.
        undisturbed: What the run has to equal in the end.
        stopped: A folder with a run to resume; None: a run is begun.
        folder: Where it is tried.
    """

    nursery: Nursery
    undisturbed: Undisturbed
    stopped: Path | None
    folder: Path

    def play(self, fatal: int, how: str | int) -> Child:
        """The process, ended, with one operation gone wrong; 0 for none."""
        runs = self.folder / "runs"
        shutil.rmtree(runs, ignore_errors=True)
        if self.stopped is not None:
            shutil.copytree(self.stopped, runs)
        fault = {"root": str(runs), "fatal": fatal, "how": how, "told": str(self.folder / "told")}
        child = self._go_on(fault)
        child.end()
        return child

    def operations(self) -> list[str]:
        """What was done so far, the last one perhaps not: its kind and path."""
        return (self.folder / "told").read_text(encoding="utf-8").splitlines()

    def trouble(self, left: str = "") -> str | None:
        """What is wrong with the run, after it was let go on in peace.

        Args:
            left: What could not be removed, and may still be there.
        """
        if "finished" not in self._states():
            child = self._go_on(None)
            if child.end() != 0:
                return f"it does not go on: {child.err}"
        runs = list(resumable(self.folder / "runs"))
        if len(runs) != 1:
            return f"runs with a checkpoint: {runs}"
        told = differences(runs[0], self.undisturbed.run)
        if left:
            told = [one for one in told if not one.startswith(f"{left}/")]
        return "\n".join(told) or None

    def _go_on(self, fault: dict[str, object] | None) -> Child:
        runs = self.folder / "runs"
        found = list(resumable(runs))
        words: list[str | Path] = (
            ["resume", found[0]] if found else ["fit", self.undisturbed.config, "--runs", runs]
        )
        return self.nursery.start(words, self.folder, SHORT.patches, fault)

    def _states(self) -> set[str]:
        manifests = self.folder.glob("runs/*/*/manifest.json")
        return {json.loads(path.read_bytes())["status"] for path in manifests}


@pytest.fixture(params=["begun", "resumed"])
def scene(
    request: pytest.FixtureRequest,
    nursery: Nursery,
    undisturbed: Callable,
    tmp_path: Path,
) -> Scene:
    whole = undisturbed(SHORT)
    stopped: Path | None = None
    if request.param == "resumed":
        # Killed in its second evaluation, so that what follows the checkpoint is to be cut off.
        words = ["fit", whole.config, "--runs", tmp_path / "stopped"]
        child = nursery.start(words, tmp_path, SHORT.patches, {"evaluation": 2})
        assert child.end() == -signal.SIGKILL
        stopped = tmp_path / "stopped"
    return Scene(nursery, whole, stopped, tmp_path)


def chosen(total: int, part: int) -> Iterator[int]:
    """The operations, from 1, that are tried in a part."""
    if EVERY_OPERATION:
        return iter(range(1 + part, total + 1, PARTS))
    return iter(sorted({1 + place * (total - 1) // (SAMPLE - 1) for place in range(SAMPLE)}))


@pytest.mark.parametrize("part", range(PARTS))
def test_it_dies_at_an_operation(scene: Scene, part: int, record_property: Callable) -> None:
    assert scene.play(0, DIE).code == 0
    names = scene.operations()
    wrong, tried = [], 0
    for fatal in chosen(len(names), part):
        for how in (DIE, HALF):
            if how == HALF and names[fatal - 1].split()[0] not in HALVED:
                continue
            child = scene.play(fatal, how)
            assert child.code == -signal.SIGKILL, child.err
            tried += 1
            operation = scene.operations()[-1]
            if trouble := scene.trouble():
                wrong.append(f"{how} at {fatal}, {operation}: {trouble}")
    record_property("operations", tried)
    assert not wrong, "\n\n".join((f"{len(wrong)} of {tried}:", *wrong))


@pytest.mark.parametrize("part", range(PARTS))
def test_the_disk_refuses_an_operation(scene: Scene, part: int, record_property: Callable) -> None:
    assert scene.play(0, DIE).code == 0
    names = scene.operations()
    wrong, tried = [], 0
    for fatal in chosen(len(names), part):
        for number in REFUSALS if EVERY_OPERATION else (REFUSALS[fatal % len(REFUSALS)],):
            child = scene.play(fatal, number)
            tried += 1
            operation = scene.operations()[fatal - 1]
            removed = operation.startswith("remove ")
            left = operation.partition("/checkpoints/")[2] if removed else ""
            trouble = _unfit_answer(child, operation) or scene.trouble(
                left and f"checkpoints/{left}"
            )
            if trouble:
                wrong.append(f"{errno.errorcode[number]} at {fatal}, {operation}: {trouble}")
    record_property("operations", tried)
    assert not wrong, "\n\n".join((f"{len(wrong)} of {tried}:", *wrong))


def _unfit_answer(child: Child, operation: str) -> str | None:
    """What is wrong with the answer to a refusal: words with a place and a fix, exit 3."""
    if child.code == 0:
        return None  # what was refused was not needed
    # A place where no run directory can be made is the wrong place, not a training that failed.
    codes = {2, 3} if re.fullmatch(r"mkdir (/[^/]+){1,2}", operation) else {3}
    if child.code not in codes or "Traceback" in child.err or not MESSAGE.search(child.err):
        return f"exit {child.code}: {child.err}"
    return None
