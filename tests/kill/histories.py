"""One history: a training that is killed or stopped again and again, and goes on until it is done.

Owns: when a process is struck, with what it goes on, what it must answer. Does not own: how processes
are started (`nursery`), what makes two runs the same (`comparison`).
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kill.cases import Case
from tests.kill.comparison import differences
from tests.kill.nursery import Child, Nursery

KILL = (signal.SIGKILL,)
STOP = (signal.SIGTERM, signal.SIGINT)
PLACES = ("before training", "training", "validation", "a save", "evaluation", "after the end")
EXIT_CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}
MOST = 5
"""So often is a training struck at most."""
STOP_SECONDS = 20.0
"""So long may a stop take on a machine that does much else."""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A run of a case that nothing happened to.

    Attributes:
        config: What was trained.
        run: Its directory.
        seconds: From its start to its end.
    """

    case: Case
    config: Path
    run: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class Strike:
    """What happened to a process.

    Attributes:
        number: The signal.
        place: One of `PLACES`.
        seconds: From a signal that it could answer, in training, to its end.
    """

    number: int
    place: str
    seconds: float | None


def train_undisturbed(nursery: Nursery, case: Case, folder: Path) -> Undisturbed:
    """Train a case in a folder."""
    config = case.write(folder)
    began = time.monotonic()
    child = nursery.start(["fit", config], folder, case.patches)
    assert child.end() == 0, child.err
    (run,) = (folder / "runs" / case.name).iterdir()
    return Undisturbed(case, config, run, time.monotonic() - began)


def resumable(runs: Path) -> set[Path]:
    """The runs that have a checkpoint, or a former one."""
    found = runs.glob("*/*/checkpoints/last*/checkpoint.json")
    return {path.parents[2] for path in found if not path.parent.name.endswith(".new")}


@dataclass(slots=True)
class History:
    """A training that is struck.

    Attributes:
        nursery: Starts its processes.
        undisturbed: The run that it has to equal.
        folder: Where its processes run, and its runs are.
        signals: What it may be struck with.
        draw: Chooses all that is left to chance.
        strikes: What has happened so far.
        told: The command lines, and what came of each.
    """

    nursery: Nursery
    undisturbed: Undisturbed
    folder: Path
    signals: tuple[signal.Signals, ...]
    draw: random.Random
    strikes: list[Strike] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def happen(self) -> None:
        """Strike the training one to five times, let it end, and compare."""
        for _ in range(self.draw.randint(1, MOST)):
            self._strike()
        # The last process may have been told to stop after it had finished.
        if not self._finished():
            child = self._start(None)
            assert child.end() == 0, f"{self}\n{child.err}"
        self._compare()

    def _strike(self) -> None:
        if self._finished():
            return
        number = self.draw.choice(self.signals)
        moment = self.draw.choices(
            (self._any_time, self._start_of_run, self._save, self._end, None), (10, 1, 4, 1, 2)
        )[0]
        if moment is None:
            self._strike_in_validation(number)
            return
        child = self._start(None)
        if moment(child):
            # It was done before the moment came.
            assert child.code == 0, f"{self}\n{child.err}"
            return
        trains = self._status() == "running" and self._checkpoint() is not None
        place = self._place()
        began = time.monotonic()
        child.send(number)
        if number != signal.SIGKILL and self.draw.random() < 0.2 and not child.ended(0.05):
            # A person who presses Ctrl-C again.
            child.send(number)
        code = child.end(STOP_SECONDS)
        seconds = time.monotonic() - began if trains and number != signal.SIGKILL else None
        if code == 0 or self._finished():
            place = "after the end"
        self._struck(child, Strike(number, place, seconds))

    def _strike_in_validation(self, number: signal.Signals) -> None:
        epochs = len((self.undisturbed.run / "metrics.jsonl").read_bytes().splitlines())
        fault = {"evaluation": self.draw.randint(1, min(epochs, 20)), "number": number}
        child = self._start(fault)
        if child.end() != 0:
            self._struck(child, Strike(number, "validation", None))

    def _struck(self, child: Child, strike: Strike) -> None:
        self.strikes.append(strike)
        name = signal.Signals(strike.number).name
        self.told.append(f"  {name} ({strike.place}) → {child.code}")
        if strike.number == signal.SIGKILL:
            assert child.code in {-signal.SIGKILL, 0}, f"{self}\n{child.err}"
            return
        # Before the command listens it ends as every process does.
        codes = {EXIT_CODES[signal.Signals(strike.number)], -strike.number, 0}
        assert child.code in codes, f"{self}\n{child.err}"
        assert "Traceback" not in child.err, f"{self}\n{child.err}"
        if self._status() == "stopped":
            assert child.code == EXIT_CODES[signal.Signals(strike.number)], f"{self}\n{child.err}"

    def _start(self, fault: dict[str, Any] | None) -> Child:
        """The process that goes on, or begins."""
        words: list[str | Path] = ["fit", self.undisturbed.config, "--runs", self.runs]
        run = self._checkpoint()
        if run is not None and self.draw.random() < 0.7:
            words = ["resume", run]
        elif run is not None or self.draw.random() < 0.5:
            words.append("--resume-or-start")
        self.told.append(f"trainer {' '.join(map(str, words))}")
        return self.nursery.start(words, self.folder, self.undisturbed.case.patches, fault)

    def _any_time(self, child: Child) -> bool:
        return child.ended(self.draw.uniform(0, self.undisturbed.seconds))

    def _start_of_run(self, child: Child) -> bool:
        before = self._run()
        return self._soon_after(child, lambda: self._run() != before, 0.05)

    def _save(self, child: Child) -> bool:
        for _ in range(self.draw.randint(0, 3)):
            if self._soon_after(child, self._is_saving, 0.0):
                return True
            while self._is_saving() and not child.ended(0.0005):
                pass
        return self._soon_after(child, self._is_saving, 0.02)

    def _end(self, child: Child) -> bool:
        return self._soon_after(child, lambda: any(self.runs.glob("*/*/evaluation/*.json")), 0.05)

    def _soon_after(self, child: Child, happened: Callable[[], bool], seconds: float) -> bool:
        while not happened():
            if child.ended(0.0005):
                return True
        return child.ended(self.draw.uniform(0, seconds))

    def _is_saving(self) -> bool:
        return any(self.runs.glob("*/*/checkpoints/*.new"))

    def _place(self) -> str:
        run = self._run()
        if self._is_saving():
            return "a save"
        if run is None or self._checkpoint() is None:
            return "before training"
        if (run / "evaluation").exists():
            return "evaluation"
        return "training" if (run / "metrics.jsonl").exists() else "before training"

    def _run(self) -> Path | None:
        """The newest run directory."""
        return max(self.runs.glob("*/*"), default=None, key=lambda run: run.stat().st_mtime_ns)

    def _checkpoint(self) -> Path | None:
        """The run that can go on."""
        found = resumable(self.runs)
        assert len(found) <= 1, f"two runs have a checkpoint: {self}"
        return next(iter(found), None)

    def _status(self) -> str | None:
        run = self._checkpoint()
        if run is None:
            return None
        return str(json.loads((run / "manifest.json").read_bytes())["status"])

    def _finished(self) -> bool:
        return self._status() == "finished"

    def _compare(self) -> None:
        run = self._checkpoint()
        assert run is not None
        assert self._finished(), str(self)
        told = differences(run, self.undisturbed.run)
        assert not told, "\n".join((str(self), *told))
        for name in ("metrics.jsonl", "timing.jsonl"):
            lines = (run / name).read_text(encoding="utf-8").splitlines()
            numbers = [json.loads(line)["epoch"] for line in lines]
            assert numbers == list(range(1, len(numbers) + 1)), f"{self}\n{name}"
        ends = [
            json.loads((one / "manifest.json").read_bytes()) for one in (run, self.undisturbed.run)
        ]
        for key in ("epochs", "best_epoch", "stopped_because", "weights_sha256"):
            assert ends[0][key] == ends[1][key], f"{self}\nmanifest.json: {key}"

    def __str__(self) -> str:
        return "\n".join((f"in {self.folder}:", *self.told))
