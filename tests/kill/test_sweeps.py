"""A sweep that is killed at any moments, with its workers or but for one of them, ends as one that never
was.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.cli.processes import COMMAND
from tests.kill.cases import write_table
from tests.kill.comparison import differences
from tests.kill.conftest import HISTORIES, SEED
from trainer.runs.leases import leases_in
from trainer.runs.process import is_alive, this_process

SWEEPS = max(1, HISTORIES // 4)
ENGINES = ("local", "ray") if HISTORIES >= 40 else ("local",)
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
fit: {epochs: 60, batch_size: 16, class_weight: balanced, early_stopping: {patience: 20}}
sweep:
  space:
    optimizer.learning_rate: log(1e-4, 1e-1)
    model.layers.2.dropout.rate: uniform(0.05, 0.5)
    model.layers.0.dense.units: [8, 16]
  search: SEARCH
  trials: 12
  halving: 4 epochs
"""


class Sweep:
    """A sweep in a folder, as processes of a group of their own."""

    def __init__(self, folder: Path, config: Path, engine: str = "local") -> None:
        self.folder, self._config, self._engine = folder, config, engine
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(config.parent / "cache")}

    def start(self) -> subprocess.Popen[bytes]:
        words = ["sweep", str(self._config), "--sweeps", str(self.folder), "--jobs", "2", "--quiet"]
        words += ["--resume-or-start", "--engine", self._engine]
        return subprocess.Popen(
            [*COMMAND, *words],
            env=self._environment,
            stdout=(self.folder / "out").open("ab"),
            stderr=(self.folder / "err").open("ab"),
            start_new_session=True,
        )

    def finish(self) -> None:
        assert self.start().wait(timeout=300) == 0, (self.folder / "err").read_text()

    def workers(self, main: int) -> list[int]:
        """The worker processes that live."""
        if self._engine == "local":
            return children(main)
        leases = [lease for path in self.folder.glob("*/*/workers") for lease in leases_in(path)]
        holders = [lease.holder for lease in leases]
        return [one.pid for one in holders if one is not None and is_alive(one, this_process())]

    @property
    def path(self) -> Path:
        (found,) = self.folder.glob("*/*/")
        return found

    def table(self) -> list[dict]:
        """What the journal says of each trial, but for times."""
        lines = (self.path / "journal.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        ended = [one for one in records if one["event"] == "end"]
        told = [{key: value for key, value in one.items() if "seconds" not in key} for one in ended]
        return sorted(told, key=str)


@pytest.fixture(scope="session")
def whole_sweep(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[Path, Sweep, float]]:
    """A config with a search, its sweep, and how long it took."""

    @cache
    def call(search: str) -> tuple[Path, Sweep, float]:
        folder = tmp_path_factory.mktemp(search)
        write_table(folder / "table.csv", 1_000)
        config = folder / "swept.yaml"
        config.write_text(CONFIG.replace("SEARCH", search), encoding="utf-8")
        (folder / "whole").mkdir()
        whole = Sweep(folder / "whole", config)
        began = time.monotonic()
        whole.finish()
        return config, whole, time.monotonic() - began

    return call


def children(main: int) -> list[int]:
    """The worker processes of a process."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
            is_worker = b"spawn_main" in (place / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == main and is_worker:
            found.append(int(place.name))
    return found


def strike(swept: Sweep, main: subprocess.Popen[bytes], draw: random.Random) -> str:
    """Kill the process alone, with its group, or one of its workers; which it was."""
    how = draw.choice(("alone", "all", "worker"))
    if how == "all":
        os.killpg(main.pid, signal.SIGKILL)
    elif how == "alone":
        main.kill()
    else:
        there = swept.workers(main.pid)
        for number in there[:1]:
            os.kill(number, signal.SIGKILL)
        return how if there else "nobody"
    main.wait(timeout=60)
    return how


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", range(SWEEPS))
def test_a_sweep_survives(
    number: int,
    engine: str,
    whole_sweep: Callable[[str], tuple[Path, Sweep, float]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    config, whole, seconds = whole_sweep(SEARCHES[number % len(SEARCHES)])
    draw = random.Random(f"{SEED}/sweep/{number}" + ("/ray" if engine == "ray" else ""))
    swept = Sweep(tmp_path, config, engine)
    for _ in range(draw.randint(1, 4)):
        main = swept.start()
        try:
            main.wait(timeout=draw.uniform(0.1, 1.2) * seconds)
        except subprocess.TimeoutExpired:
            record_property("sweep", f"{engine} {strike(swept, main, draw)}")
        if main.poll() is None:
            main.wait(timeout=300)
    swept.finish()
    assert set((tmp_path / "out").read_text().split()) == {str(swept.path)}
    assert swept.workers(0) == []
    assert swept.table() == whole.table()
    for run in sorted((whole.path / "trials").iterdir()):
        assert differences(swept.path / "trials" / run.name, run) == [], run.name
