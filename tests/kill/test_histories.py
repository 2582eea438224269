"""A training that is killed or stopped at any moments ends as one that never was."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kill.cases import CASES
from tests.kill.conftest import HISTORIES, SEED
from tests.kill.histories import KILL, STOP, History
from tests.kill.nursery import Nursery

KINDS = (KILL, KILL, STOP, (*KILL, *STOP))


@pytest.mark.parametrize("number", range(HISTORIES))
def test_a_training_survives(
    number: int,
    nursery: Nursery,
    undisturbed: Callable,
    tmp_path: Path,
    record_property: Callable,
) -> None:
    case = CASES[number % len(CASES)]
    signals = KINDS[number % len(KINDS)]
    history = History(
        nursery, undisturbed(case), tmp_path, signals, random.Random(f"{SEED}/{number}")
    )
    try:
        history.happen()
    finally:
        strikes = [
            (signal.Signals(one.number).name, one.place, one.seconds) for one in history.strikes
        ]
        record_property("history", strikes)
    shutil.rmtree(history.runs)
