"""`trainer show`: prints a summary of a run or sweep from its files."""

from __future__ import annotations

from datetime import UTC, datetime

from trainer.errors import RunError
from trainer_cli import console
from trainer_cli.options import Json, RunOrSweep


def command(run: RunOrSweep, json: Json = False) -> None:
    """Show a run: status, settings, metrics, findings and files.

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
    from trainer.runs.files import read_json
    from trainer.runs.opening import open_run

    run_directory = open_run(run).run
    report = load_report(run_directory, datetime.now(UTC))
    findings_path = run_directory.findings
    has_findings = findings_path.is_file()
    if json:
        findings = None
        if has_findings:
            try:
                findings = read_json(findings_path)
            except RunError as error:
                console.warn(str(error))
        console.json_result({**report_json(report), "findings": findings})
        return
    tables = report_tables(report)
    if has_findings:
        # This imports numpy and polars, which takes half a second.
        from trainer.report.findings_tables import findings_tables

        summary = findings_tables(run_directory)
        for warning in (*summary.warnings, *map(str, summary.problems)):
            console.warn(warning)
        if summary.sentence:
            console.result(summary.sentence)
            console.result("")
        tables = report_tables(report, summary.tables)
    for number, table in enumerate(tables):
        if number:
            console.result("")
        console.result_table(table)
