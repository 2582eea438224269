"""`trainer compare`: several runs side by side."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from trainer.errors import Problem, UsageError
from trainer_cli import console
from trainer_cli.options import BestTrials, Json


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Run directories, checkpoints in them, or sweeps."),
    ],
    best: BestTrials = None,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV on stdout, one line per run.")
    ] = False,
    json: Json = False,
) -> None:
    """Compare the settings, metrics, data and environments of runs.

    For a run with repeats or folds, metrics are means with confidence intervals. For a sweep, the best
    trials are compared: five if it is the only argument, else one.

    Example: trainer compare runs/breast-cancer/*
    """
    from trainer.report.comparison import compare_runs, comparison_csv, comparison_json
    from trainer.report.comparison_tables import comparison_tables
    from trainer.report.sweeps.best_trials import with_best_trials

    if csv and json:
        fix = "use only one of them"
        raise UsageError(Problem("trainer compare", "either --csv or --json", "both", fix))
    compared = compare_runs(with_best_trials(runs, best), datetime.now(UTC))
    for run in compared.runs:
        for problem in run.problems:
            console.warn(str(problem))
    if csv:
        for line in comparison_csv(compared):
            console.result(line)
        return
    if json:
        console.json_result(comparison_json(compared))
        return
    width = shutil.get_terminal_size().columns
    for number, table in enumerate(comparison_tables(compared, width)):
        if number:
            console.result("")
        console.result_table(table)
