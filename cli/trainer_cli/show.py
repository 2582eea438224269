"""`trainer show`: prints a summary of a run or sweep from its files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trainer.errors import RunError
from trainer_cli import console
from trainer_cli.options import Json, RunOrSweep

if TYPE_CHECKING:
    from trainer.runs.directory import RunDirectory
    from trainer.runs.monitoring import Monitoring


def command(run: RunOrSweep, json: Json = False) -> None:
    """Show a run: status, settings, metrics, findings, drift of served rows, and files.

    For a sweep: status, search space, best trials, failures and the next command.

    Example: trainer show runs/breast-cancer/20261122-141530-9f3c
    """
    from trainer.runs.sweeps import sweep_at

    sweep = sweep_at(run)
    if sweep is not None:
        from trainer_cli.sweep_views import show_sweep

        show_sweep(sweep, json=json)
        return
    from trainer.report.tables import load_report, report_json, report_tables
    from trainer.runs.opening import open_run

    run_directory = open_run(run).run
    report = load_report(run_directory, datetime.now(UTC))
    monitoring = _monitoring(run_directory)
    if json:
        content = {**report_json(report), "findings": _findings(run_directory)}
        if monitoring is not None:
            from trainer.report.monitoring import monitoring_json

            content["monitoring"] = monitoring_json(monitoring)
        console.json_result(content)
        return
    tables = report_tables(report)
    if run_directory.findings.is_file():
        # This imports numpy and polars, which takes half a second.
        from trainer.report.findings_tables import findings_tables

        summary = findings_tables(run_directory)
        for warning in (*summary.warnings, *map(str, summary.problems)):
            console.warn(warning)
        if summary.sentence:
            console.result(summary.sentence)
            console.result("")
        tables = report_tables(report, summary.tables)
    if monitoring is not None:
        from trainer.report.monitoring import monitoring_table

        tables.append(monitoring_table(monitoring))
    for number, table in enumerate(tables):
        if number:
            console.result("")
        console.result_table(table)


def _findings(run: RunDirectory) -> Any:
    """Return the content of `findings.json`; None if it is missing or damaged."""
    from trainer.runs.files import read_json

    if not run.findings.is_file():
        return None
    try:
        return read_json(run.findings)
    except RunError as error:
        console.warn(str(error))
        return None


def _monitoring(run: RunDirectory) -> Monitoring | None:
    """Return the counts of served rows; None if there are none or a file is damaged."""
    from trainer.runs.monitoring import read_monitoring

    try:
        return read_monitoring(run)
    except RunError as error:
        console.warn(str(error))
        return None
