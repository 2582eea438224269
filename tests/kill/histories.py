"""A kill history: a run that is killed or stopped several times and resumed until it is finished."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kill.comparison import differences
from tests.kill.fork_server import Child, ForkServer
from tests.kill.trainings import TrainingCase

KILL = (signal.SIGKILL,)
STOP = (signal.SIGTERM, signal.SIGINT)
PHASES = ("before training", "training", "validation", "a save", "evaluation", "after the end")
EXIT_CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """The run of a case that was never interrupted.

    Attributes:
        config: The config file.
        run: The run directory.
        seconds: The duration of the process.
    """

    case: TrainingCase
    config: Path
    run: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class Interruption:
    """A signal that ended a process.

    Attributes:
        phase: One of `PHASES`.
        seconds: Time from the signal to the end of the process; None for SIGKILL, and for signals
            outside of training.
    """

    signum: int
    phase: str
    seconds: float | None


def train_reference(fork_server: ForkServer, case: TrainingCase, directory: Path) -> ReferenceRun:
    """Train a case in a directory without interruption."""
    config = case.write(directory)
    start_time = time.monotonic()
    child = fork_server.start(["fit", config], directory, case.patches)
    assert child.wait() == 0, child.err
    (run,) = (directory / "runs" / case.name).iterdir()
    return ReferenceRun(case, config, run, time.monotonic() - start_time)


def resumable(runs: Path) -> set[Path]:
    """Return the runs that have a `last` checkpoint."""
    checkpoints = runs.glob("*/*/checkpoints/last*/checkpoint.json")
    return {path.parents[2] for path in checkpoints if not path.parent.name.endswith(".new")}


@dataclass(slots=True)
class History:
    """A run that is interrupted.

    Attributes:
        fork_server: Starts its processes.
        reference: The run that it has to equal.
        directory: The working directory of its processes.
        signals: The signals to choose from.
        random: Makes all random choices.
        most: The most interruptions.
        interruptions: What has happened so far.
        transcript: The command lines and how each ended.
    """

    fork_server: ForkServer
    reference: ReferenceRun
    directory: Path
    signals: tuple[signal.Signals, ...]
    random: random.Random
    most: int
    interruptions: list[Interruption] = field(default_factory=list)
    transcript: list[str] = field(default_factory=list)

    @property
    def runs(self) -> Path:
        return self.directory / "runs"

    def run(self) -> None:
        """Interrupt the run a few times, let it finish, and compare."""
        for _ in range(self.random.randint(1, self.most)):
            self._interrupt()
        # The last signal may have come after the run had finished.
        if not self._is_finished():
            child = self._start(None)
            assert child.wait() == 0, f"{self}\n{child.err}"
        self._compare()

    def _interrupt(self) -> None:
        if self._is_finished():
            return
        signum = self.random.choice(self.signals)
        moment = self.random.choices(
            (self._wait, self._wait_for_start, self._wait_for_save, self._wait_for_end, None),
            (10, 1, 4, 1, 2),
        )[0]
        if moment is None:
            self._interrupt_validation(signum)
            return
        child = self._start(None)
        if moment(child):
            # The run ended before the moment came.
            assert child.code == 0, f"{self}\n{child.err}"
            return
        is_training = self._status() == "running" and self._resumable_run() is not None
        phase = self._phase()
        start_time = time.monotonic()
        child.send(signum)
        if signum != signal.SIGKILL and self.random.random() < 0.2 and not child.has_ended(0.05):
            # A user who presses Ctrl-C again.
            child.send(signum)
        code = child.wait()
        is_timed = is_training and signum != signal.SIGKILL
        if code == 0 or self._is_finished():
            phase = "after the end"
        seconds = time.monotonic() - start_time if is_timed else None
        self._note(child, Interruption(signum, phase, seconds))

    def _interrupt_validation(self, signum: signal.Signals) -> None:
        epochs = len((self.reference.run / "metrics.jsonl").read_bytes().splitlines())
        evaluation = self.random.randint(1, min(epochs, 20))
        child = self._start({"evaluation": evaluation, "signal_number": signum})
        if child.wait() != 0:
            self._note(child, Interruption(signum, "validation", None))

    def _note(self, child: Child, interruption: Interruption) -> None:
        self.interruptions.append(interruption)
        signum = signal.Signals(interruption.signum)
        self.transcript.append(f"  {signum.name} ({interruption.phase}) → {child.code}")
        if signum == signal.SIGKILL:
            assert child.code in {-signal.SIGKILL, 0}, f"{self}\n{child.err}"
            return
        # Before the command has installed its handlers, a signal ends it with the default action.
        assert child.code in {EXIT_CODES[signum], -signum, 0}, f"{self}\n{child.err}"
        assert "Traceback" not in child.err, f"{self}\n{child.err}"
        if self._status() == "stopped":
            assert child.code == EXIT_CODES[signum], f"{self}\n{child.err}"

    def _start(self, fault: dict[str, Any] | None) -> Child:
        """Start a process that resumes the run, or begins one."""
        arguments: list[str | Path] = ["fit", self.reference.config, "--runs", self.runs]
        run = self._resumable_run()
        if run is not None and self.random.random() < 0.7:
            arguments = ["resume", run]
        elif run is not None or self.random.random() < 0.5:
            arguments.append("--resume-or-start")
        self.transcript.append(f"trainer {' '.join(map(str, arguments))}")
        patches = self.reference.case.patches
        return self.fork_server.start(arguments, self.directory, patches, fault)

    # The `_wait` methods wait for a moment, and return whether the child has ended before it.

    def _wait(self, child: Child) -> bool:
        return child.has_ended(self.random.uniform(0, self.reference.seconds))

    def _wait_for_start(self, child: Child) -> bool:
        before = self._newest_run()
        return self._soon_after(child, lambda: self._newest_run() != before, 0.05)

    def _wait_for_save(self, child: Child) -> bool:
        for _ in range(self.random.randint(0, 3)):
            if self._soon_after(child, self._is_saving, 0.0):
                return True
            while self._is_saving() and not child.has_ended(0.0005):
                pass
        return self._soon_after(child, self._is_saving, 0.02)

    def _wait_for_end(self, child: Child) -> bool:
        return self._soon_after(child, lambda: any(self.runs.glob("*/*/evaluation/*.json")), 0.05)

    def _soon_after(self, child: Child, condition: Callable[[], bool], seconds: float) -> bool:
        while not condition():
            if child.has_ended(0.0005):
                return True
        return child.has_ended(self.random.uniform(0, seconds))

    def _is_saving(self) -> bool:
        return any(self.runs.glob("*/*/checkpoints/*.new"))

    def _phase(self) -> str:
        run = self._newest_run()
        if self._is_saving():
            return "a save"
        if run is None or self._resumable_run() is None:
            return "before training"
        if (run / "evaluation").exists():
            return "evaluation"
        return "training" if (run / "metrics.jsonl").exists() else "before training"

    def _newest_run(self) -> Path | None:
        return max(self.runs.glob("*/*"), default=None, key=lambda run: run.stat().st_mtime_ns)

    def _resumable_run(self) -> Path | None:
        """Return the run that can be resumed."""
        runs = resumable(self.runs)
        assert len(runs) <= 1, f"two runs have a checkpoint: {self}"
        return next(iter(runs), None)

    def _status(self) -> str | None:
        run = self._resumable_run()
        if run is None:
            return None
        return str(json.loads((run / "manifest.json").read_bytes())["status"])

    def _is_finished(self) -> bool:
        return self._status() == "finished"

    def _compare(self) -> None:
        run = self._resumable_run()
        assert run is not None
        assert self._is_finished(), str(self)
        found = differences(run, self.reference.run)
        assert not found, "\n".join((str(self), *found))
        for name in ("metrics.jsonl", "timing.jsonl"):
            lines = (run / name).read_text(encoding="utf-8").splitlines()
            epochs = [json.loads(line)["epoch"] for line in lines]
            assert epochs == list(range(1, len(epochs) + 1)), f"{self}\n{name}"
        actual, expected = (
            json.loads((path / "manifest.json").read_bytes()) for path in (run, self.reference.run)
        )
        for key in ("epochs", "best_epoch", "stopped_because", "weights_sha256"):
            assert actual[key] == expected[key], f"{self}\nmanifest.json: {key}"

    def __str__(self) -> str:
        return "\n".join((f"in {self.directory}:", *self.transcript))
