"""The table of served rows in `trainer show`."""

from __future__ import annotations

from datetime import UTC, datetime

from trainer.report.monitoring import monitoring_json, monitoring_table
from trainer.runs.monitoring import MonitoredColumn, Monitoring

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def column(name: str, reference: tuple[int, ...], served: tuple[int, ...]) -> MonitoredColumn:
    return MonitoredColumn(name, "input", ("≤ 3", "> 3", "(missing)"), reference, served)


MONITORING = Monitoring(
    "ab", NOW, NOW, 100,
    (column("same", (50, 50, 0), (50, 50, 0)), column("other", (50, 50, 0), (10, 50, 40)),
     column("new", (50, 50, 0), (0, 0, 0))),
)  # fmt: skip


def test_drifted_columns_come_first() -> None:
    table = monitoring_table(MONITORING)
    assert "served rows: 100" in table.title
    assert "1 of 3 columns have drifted" in table.title
    first, second, third = table.rows
    assert first[0] == "other"
    assert first[3] == "yes"
    assert first[4] == "0% / 40%"
    assert second[0] == "same"
    assert second[3] == "no"
    assert third == ("new", "input", "", "", "0% / -", "")


def test_json_has_counts_and_drift() -> None:
    content = monitoring_json(MONITORING)
    assert [entry["drifted"] for entry in content["columns"]] == [True, False, None]
    assert content["columns"][0]["served"] == [10, 50, 40]
