"""A run that is killed or stopped at any moment ends with the same files as an uninterrupted one."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kill.conftest import HISTORIES, MAX_INTERRUPTIONS, SEED
from tests.kill.fork_server import ForkServer
from tests.kill.histories import KILL, STOP, History
from tests.kill.trainings import CASES

SIGNALS = (KILL, KILL, STOP, (*KILL, *STOP))


@pytest.mark.parametrize("number", range(HISTORIES))
def test_interrupted_training_equals_an_uninterrupted_one(
    number: int,
    fork_server: ForkServer,
    reference_run: Callable,
    tmp_path: Path,
    record_property: Callable,
) -> None:
    case = CASES[number % len(CASES)]
    signals = SIGNALS[number % len(SIGNALS)]
    rng = random.Random(f"{SEED}/{number}")
    reference = reference_run(case)
    history = History(fork_server, reference, tmp_path, signals, rng, MAX_INTERRUPTIONS)
    try:
        history.run()
    finally:
        interruptions = [
            (signal.Signals(item.signum).name, item.phase, item.seconds)
            for item in history.interruptions
        ]
        record_property("history", interruptions)
    shutil.rmtree(history.runs)
