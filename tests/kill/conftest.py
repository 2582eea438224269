"""A fork server and the reference runs, once per session; a summary of what was killed at its end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kill.fork_server import ForkServer
from tests.kill.histories import PHASES, ReferenceRun, train_reference
from tests.kill.trainings import TrainingCase

HISTORIES = int(os.environ.get("TRAINER_KILL_HISTORIES", "5"))
"""Number of histories; with 100 or more, each disk operation is tried too."""
MAX_INTERRUPTIONS = 5 if HISTORIES >= 40 else 3
"""The most interruptions of a history."""
SEED = int(os.environ.get("TRAINER_KILL_SEED", "0"))
"""Seed of the moments of interruption."""
EVERY_OPERATION = HISTORIES >= 100


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.kill)


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    server = ForkServer(tmp_path_factory.mktemp("cache"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def reference_run(
    fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[TrainingCase], ReferenceRun]:
    """Train a case without interruption."""
    trained: dict[str, ReferenceRun] = {}

    def call(case: TrainingCase) -> ReferenceRun:
        if case.name not in trained:
            directory: Path = tmp_path_factory.mktemp(case.name)
            trained[case.name] = train_reference(fork_server, case, directory)
        return trained[case.name]

    return call


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the numbers of histories, interruptions by phase, and failed operations."""
    properties = [
        (name, value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
    ]
    if not properties:
        return
    histories = [value for name, value in properties if name == "history"]
    sweeps = Counter(value for name, value in properties if name == "sweep")
    operations = [value for name, value in properties if name == "operations"]
    phases = Counter(phase for history in histories for _, phase, _ in history)
    signals = Counter(number for history in histories for number, _, _ in history)
    seconds = sorted(took for history in histories for *_, took in history if took is not None)
    terminalreporter.section("interrupted training runs")
    if histories:
        terminalreporter.line(
            f"{len(histories)} histories, {phases.total()} interruptions "
            f"({', '.join(f'{count} {name}' for name, count in signals.items())}): "
            f"{', '.join(f'{phases[phase]} {phase}' for phase in PHASES)}"
        )
    if seconds:
        terminalreporter.line(
            f"{len(seconds)} stops during training took {seconds[len(seconds) // 2]:.2f} s (median), "
            f"{seconds[-1]:.2f} s at most"
        )
    if sweeps:
        counts = ", ".join(f"{count} {phase}" for phase, count in sorted(sweeps.items()))
        terminalreporter.line(f"killed in sweeps: {counts}")
    if operations:
        terminalreporter.line(f"{sum(operations)} disk operations failed")
