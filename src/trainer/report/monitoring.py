"""The counts of a served run as a text table for `trainer show`, and as values for `--json`."""

from __future__ import annotations

from typing import Any

from trainer.audit.stability import Drift, column_drift
from trainer.report.text import Table, cell, number, short_name
from trainer.runs.monitoring import MonitoredColumn, Monitoring

_MAX_COLUMNS = 20
_NAME_LENGTH = 40


def monitoring_table(monitoring: Monitoring) -> Table:
    """Return the drift of each column, the largest first."""
    drifts = _drifts(monitoring)
    drifted = sum(drift is not None and drift.has_drifted for _, drift in drifts)
    rows = []
    for column, drift in drifts[:_MAX_COLUMNS]:
        largest = _largest_change(column)
        rows.append(
            (
                cell(short_name(column.name, _NAME_LENGTH)),
                column.role,
                "" if drift is None else number(drift.index),
                "" if drift is None else "yes" if drift.has_drifted else "no",
                f"{_share(column.reference, -1)} / {_share(column.served, -1)}",
                "" if largest is None else cell(_change_text(column, largest)),
            )
        )
    first, last = (f"{time:%Y-%m-%d %H:%M}" for time in (monitoring.started, monitoring.updated))
    hidden = f"; {len(drifts) - _MAX_COLUMNS} more columns" if len(drifts) > _MAX_COLUMNS else ""
    title = (
        f"served rows: {monitoring.rows:,}, {first} to {last} UTC; {drifted} of {len(drifts)} columns "
        f"have drifted{hidden}"
    )
    headers = ("column", "of", "stability index", "drifted", "missing, training / served",
               "largest change, training / served")  # fmt: skip
    return Table(title, headers, tuple(rows), frozenset({2}))


def monitoring_json(monitoring: Monitoring) -> dict[str, Any]:
    """Return the counts and the drift of each column."""
    return {
        "weights_sha256": monitoring.weights_sha256,
        "started": monitoring.started.isoformat(),
        "updated": monitoring.updated.isoformat(),
        "rows": monitoring.rows,
        "columns": [
            {
                "name": column.name,
                "role": column.role,
                "bins": list(column.bins),
                "reference": list(column.reference),
                "served": list(column.served),
                "stability_index": None if drift is None else drift.index,
                "limit": None if drift is None else drift.limit,
                "drifted": None if drift is None else drift.has_drifted,
            }
            for column, drift in _drifts(monitoring)
        ],
    }


def _drifts(monitoring: Monitoring) -> list[tuple[MonitoredColumn, Drift | None]]:
    columns = monitoring.columns
    drifts = [
        (column, column_drift(column.reference, column.served, len(columns))) for column in columns
    ]
    return sorted(drifts, key=lambda pair: -(pair[1].index if pair[1] is not None else -1.0))


def _change_text(column: MonitoredColumn, index: int) -> str:
    shares = f"{_share(column.reference, index)} / {_share(column.served, index)}"
    return f"{column.bins[index]}: {shares}"


def _largest_change(column: MonitoredColumn) -> int | None:
    """Return the bin whose share has changed most; None if no rows were served."""
    before, now = sum(column.reference), sum(column.served)
    if not before or not now:
        return None
    changes = [
        abs(served / now - reference / before)
        for reference, served in zip(column.reference, column.served, strict=True)
    ]
    return changes.index(max(changes))


def _share(counts: tuple[int, ...], index: int) -> str:
    total = sum(counts)
    return f"{counts[index] / total:.0%}" if total else "-"
