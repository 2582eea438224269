"""A sweep whose processes are killed at any moment ends like an uninterrupted one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from tests.cli.processes import COMMAND, HANGING_SECONDS
from tests.kill.comparison import differences
from tests.kill.conftest import HISTORIES, SEED
from tests.kill.trainings import write_table
from trainer.runs.process import is_alive, this_process
from trainer.workers.leases import leases_in

SWEEPS = max(1, HISTORIES // 5)
ENGINES = ("local", "ray") if HISTORIES >= 40 else ("local",)
MAX_INTERRUPTIONS = 4 if HISTORIES >= 40 else 1
SEARCHES = ("tpe", "sobol")
CONFIG = """\
name: swept
seed: 11
data: {source: table.csv, target: label, split: {test: 0.2, validation: 0.2, by: stratified}}
model:
  layers:
    - dense: {units: 16, activation: relu}
    - batch_normalization
    - dropout: 0.2
optimizer: {name: adamw, learning_rate: 0.003, ema: 0.98, schedule: {cosine: {warmup: 1 epoch}}}
fit: {epochs: 12, batch_size: 16, class_weight: balanced, early_stopping: {patience: 12}}
sweep:
  space:
    optimizer.learning_rate: log(1e-4, 1e-1)
    model.layers.2.dropout.rate: uniform(0.05, 0.5)
    model.layers.0.dense.units: [8, 16]
  search: SEARCH
  trials: 8
  halving: 4 epochs
"""


class SweepProcesses:
    """A sweep in a directory, run by processes in their own session."""

    def __init__(self, directory: Path, config: Path, engine: str = "local") -> None:
        self.directory, self._config, self._engine = directory, config, engine
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(config.parent / "cache")}

    def start(self) -> subprocess.Popen[bytes]:
        arguments = ["sweep", str(self._config), "--sweeps", str(self.directory), "--jobs", "2"]
        arguments += ["--quiet", "--resume-or-start", "--engine", self._engine]
        return subprocess.Popen(
            [*COMMAND, *arguments],
            env=self._environment,
            stdout=(self.directory / "out").open("ab"),
            stderr=(self.directory / "err").open("ab"),
            start_new_session=True,
        )

    def finish(self) -> None:
        code = self.start().wait(timeout=HANGING_SECONDS)
        assert code == 0, (self.directory / "err").read_text()

    def workers(self, main: int) -> list[int]:
        """Return the worker processes that are alive."""
        if self._engine == "local":
            return worker_processes(main)
        paths = self.directory.glob("*/*/workers")
        holders = [lease.holder for path in paths for lease in leases_in(path)]
        return [
            holder.pid
            for holder in holders
            if holder is not None and is_alive(holder, this_process())
        ]

    @property
    def path(self) -> Path:
        (path,) = self.directory.glob("*/*/")
        return path

    def trials(self) -> list[dict]:
        """Return the journal's records of ended trials without times."""
        lines = (self.path / "journal.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        ended = [record for record in records if record["event"] == "end"]
        return sorted(
            (
                {key: value for key, value in record.items() if "seconds" not in key}
                for record in ended
            ),
            key=str,
        )


@pytest.fixture(scope="session")
def reference_sweep(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[Path, SweepProcesses, float]]:
    """Run a sweep with a search; return its config, the sweep and its duration."""

    @cache
    def call(search: str) -> tuple[Path, SweepProcesses, float]:
        directory = tmp_path_factory.mktemp(search)
        write_table(directory / "table.csv", 1_000)
        config = directory / "swept.yaml"
        config.write_text(CONFIG.replace("SEARCH", search), encoding="utf-8")
        (directory / "reference").mkdir()
        reference = SweepProcesses(directory / "reference", config)
        start_time = time.monotonic()
        reference.finish()
        return config, reference, time.monotonic() - start_time

    return call


def worker_processes(main: int) -> list[int]:
    """Return the worker processes of a process."""
    workers = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            is_worker = b"spawn_main" in (path / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == main and is_worker:
            workers.append(int(path.name))
    return workers


def kill(sweep: SweepProcesses, main: subprocess.Popen[bytes], rng: random.Random) -> str:
    """Kill the main process, all processes or one worker; return which."""
    target = rng.choice(("main", "all", "worker"))
    if target == "all":
        os.killpg(main.pid, signal.SIGKILL)
    elif target == "main":
        main.kill()
    else:
        workers = sweep.workers(main.pid)
        for pid in workers[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return target if workers else "none"
    main.wait(timeout=HANGING_SECONDS)
    return target


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", range(SWEEPS))
def test_interrupted_sweep_equals_an_uninterrupted_one(
    number: int,
    engine: str,
    reference_sweep: Callable[[str], tuple[Path, SweepProcesses, float]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    config, reference, seconds = reference_sweep(SEARCHES[number % len(SEARCHES)])
    rng = random.Random(f"{SEED}/sweep/{number}" + ("/ray" if engine == "ray" else ""))
    sweep = SweepProcesses(tmp_path, config, engine)
    for _ in range(rng.randint(1, MAX_INTERRUPTIONS)):
        main = sweep.start()
        try:
            main.wait(timeout=rng.uniform(0.1, 1.2) * seconds)
        except subprocess.TimeoutExpired:
            record_property("sweep", f"{engine} {kill(sweep, main, rng)}")
        main.wait(timeout=HANGING_SECONDS)
    sweep.finish()
    assert set((tmp_path / "out").read_text().split()) == {str(sweep.path)}
    assert sweep.workers(0) == []
    assert sweep.trials() == reference.trials()
    for run in sorted((reference.path / "trials").iterdir()):
        assert differences(sweep.path / "trials" / run.name, run) == [], run.name
