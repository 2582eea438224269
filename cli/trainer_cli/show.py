"""`trainer show`: one run, from its files."""

from __future__ import annotations

from datetime import UTC, datetime

from trainer_cli import console
from trainer_cli.settings import Json, RunPath


def command(run: RunPath, json: Json = False) -> None:
    """Show a run: how it went, what it scored, where its files are.

    Example: trainer show runs/breast-cancer/20261122-141530-9f3c
    """
    from trainer.report.tables import load_report, report_json, report_tables
    from trainer.report.text import plain_lines
    from trainer.runs.directory import RunDirectory

    report = load_report(RunDirectory.open(run), datetime.now(UTC))
    if json:
        console.json_result(report_json(report))
        return
    for number, table in enumerate(report_tables(report)):
        if number:
            console.result("")
        for line in plain_lines(table):
            console.result(line)
