"""A nursery and the undisturbed runs, once a session; what happened, in words at its end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kill.cases import Case
from tests.kill.histories import PLACES, Undisturbed, train_undisturbed
from tests.kill.nursery import Nursery

HISTORIES = int(os.environ.get("TRAINER_KILL_HISTORIES", "6"))
"""How many histories there are; with 100 or more, every operation on the disk is struck too."""
SEED = int(os.environ.get("TRAINER_KILL_SEED", "0"))
"""Another one, other moments."""
EVERY_OPERATION = HISTORIES >= 100


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.kill)


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    started = Nursery(tmp_path_factory.mktemp("cache"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def undisturbed(
    nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Case], Undisturbed]:
    """The undisturbed run of a case."""
    done: dict[str, Undisturbed] = {}

    def call(case: Case) -> Undisturbed:
        if case.name not in done:
            folder: Path = tmp_path_factory.mktemp(case.name)
            done[case.name] = train_undisturbed(nursery, case, folder)
        return done[case.name]

    return call


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Numbers of histories and operations, strikes by place, and the longest stop."""
    told = [
        (name, value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
    ]
    histories = [value for name, value in told if name == "history"]
    sweeps = Counter(value for name, value in told if name == "sweep")
    operations = [value for name, value in told if name == "operations"]
    if not told:
        return
    places = Counter(place for strikes in histories for _, place, _ in strikes)
    signals = Counter(number for strikes in histories for number, _, _ in strikes)
    seconds = sorted(took for strikes in histories for *_, took in strikes if took is not None)
    terminalreporter.section("trainings that were killed")
    terminalreporter.line(
        f"{len(histories)} histories, {places.total()} strikes "
        f"({', '.join(f'{count} {name}' for name, count in signals.items())}): "
        f"{', '.join(f'{places[place]} {place}' for place in PLACES)}"
    )
    if seconds:
        terminalreporter.line(
            f"{len(seconds)} stops in training took {seconds[len(seconds) // 2]:.2f} s (median), "
            f"{seconds[-1]:.2f} s at most"
        )
    if sweeps:
        struck = ", ".join(f"{count} {place}" for place, count in sorted(sweeps.items()))
        terminalreporter.line(f"strikes at sweeps: {struck}")
    terminalreporter.line(f"{sum(operations)} operations on the disk went wrong")
