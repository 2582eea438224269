"""Counts of served rows, in files of several servers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainer.errors import RunError
from trainer.runs.directory import RunDirectory
from trainer.runs.monitoring import (
    MonitoredColumn,
    Monitoring,
    monitoring_folder,
    read_monitoring,
    write_monitoring,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
COLUMN = MonitoredColumn("age", "input", ("≤ 3", "> 3", "(missing)"), (5, 5, 0), (1, 2, 0))
COUNTS = Monitoring("ab", START, START + timedelta(hours=1), 3, (COLUMN,))


def test_counts_of_servers_are_added(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert read_monitoring(run) is None
    write_monitoring(run, "first", COUNTS)
    assert read_monitoring(run) == COUNTS
    later = replace(COUNTS, started=START + timedelta(days=1), updated=START + timedelta(days=2))
    write_monitoring(run, "second", later)
    added = read_monitoring(run)
    assert added is not None
    assert (added.rows, added.columns[0].served) == (6, (2, 4, 0))
    assert (added.started, added.updated) == (START, later.updated)


def test_counts_of_other_weights_or_bins_are_left_out(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    write_monitoring(run, "old", replace(COUNTS, weights_sha256="old"))
    other = replace(COLUMN, bins=("≤ 4", "> 4", "(missing)"))
    write_monitoring(run, "other", replace(COUNTS, columns=(other,)))
    newest = replace(COUNTS, updated=COUNTS.updated + timedelta(days=1))
    write_monitoring(run, "new", newest)
    assert read_monitoring(run) == newest


def test_damaged_counts_are_reported(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    write_monitoring(run, "first", COUNTS)
    (monitoring_folder(run) / "first.json").write_text('{"rows": -1}')
    with pytest.raises(RunError, match="delete it"):
        read_monitoring(run)
