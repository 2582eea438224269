"""`trainer ls`: the runs there are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from trainer.errors import Problem, RunError
from trainer_cli import console
from trainer_cli.settings import DEFAULT_RUNS, Json


def command(
    folder: Annotated[
        Path,
        typer.Argument(metavar="[DIR]", envvar="TRAINER_RUNS", help="The folder of runs."),
    ] = DEFAULT_RUNS,
    json: Json = False,
) -> None:
    """List runs, the newest first: status, epochs, metrics, age.

    Example: trainer ls runs/breast-cancer
    """
    from trainer.report.tables import run_json, runs_table
    from trainer.report.text import plain_lines
    from trainer.runs.listing import list_runs

    if not folder.is_dir() and folder != DEFAULT_RUNS:
        found = "a file" if folder.exists() else "nothing there"
        raise RunError(Problem(str(folder), "a folder of runs", found, "see trainer ls --help"))
    now = datetime.now(UTC)
    runs = list_runs(folder, now)
    if json:
        for run in runs:
            console.json_result(run_json(run))
    elif runs:
        for line in plain_lines(runs_table(runs, now)):
            console.result(line)
    else:
        console.Console().say(f"no runs in {folder}")
