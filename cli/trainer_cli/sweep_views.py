"""Output of `show` and `ls` for a sweep, read from its files without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import pluralize
from trainer.report.text import Table
from trainer_cli import console

if TYPE_CHECKING:
    from trainer.report.query import Query
    from trainer.runs.sweeps import SweepDirectory
    from trainer.workflows.sweeps.sweep_plan import SweepPlan


def show_sweep(directory: SweepDirectory, *, json: bool) -> None:
    """Print a sweep for `trainer show SWEEP`."""
    from trainer.report.sweeps.content import read_sweep
    from trainer.report.sweeps.tables import show_json, show_tables

    sweep = read_sweep(directory)
    if json:
        console.json_result(show_json(sweep))
        return
    print_tables(show_tables(sweep, datetime.now(UTC)))


def list_trials(directory: SweepDirectory, query: Query, *, csv: bool, json: bool) -> None:
    """List the trials of a sweep for `trainer ls SWEEP`."""
    from trainer.report.sweeps.content import read_sweep
    from trainer.report.sweeps.listing import select_trials, trial_json, trials_csv, trials_table

    sweep = read_sweep(directory)
    for problem in sweep.problems:
        console.warn(str(problem))
    selected = select_trials(sweep, query, datetime.now(UTC))
    if selected.config_problems:
        console.warn(f"settings that cannot be read: {selected.config_problems[0]}")
    matching = selected.runs
    if csv:
        for line in trials_csv(sweep, matching, query):
            console.result(line)
    elif json:
        for trial in matching:
            console.json_result(trial_json(trial, sweep, query.columns))
    elif matching:
        console.result_table(trials_table(sweep, matching, query))
    else:
        count = len(sweep.rows)
        no_match = f"no trial in {directory.path} matches ({pluralize(count, 'trial')})"
        console.Console().print(no_match if count else f"no trials in {directory.path} yet")


def list_sweeps_in(folder: Path, *, json: bool, after_runs: bool) -> None:
    """Print the sweeps in a folder, below its runs."""
    from trainer.runs.sweeps import find_sweeps

    if next(find_sweeps(folder), None) is None:
        return  # without the imports for sweeps, which take longer than listing a thousand runs
    from trainer.report.sweeps.content import list_sweeps
    from trainer.report.sweeps.listing import sweep_json, sweeps_table

    sweeps = list_sweeps(folder)
    if json:
        for sweep in sweeps:
            console.json_result(sweep_json(sweep))
    elif sweeps:
        if after_runs:
            console.result("")
        console.result_table(sweeps_table(sweeps, datetime.now(UTC)))


def print_tables(tables: Iterable[Table]) -> None:
    """Print tables on stdout, separated by empty lines."""
    for number, table in enumerate(tables):
        if number:
            console.result("")
        console.result_table(table)


def plan_line(sweep: SweepPlan) -> str:
    """Return what a sweep would train."""
    trials = "trials until the time limit"
    if sweep.trials is not None:
        trials = pluralize(sweep.trials, "trial")
    return f"sweep: {trials}, {sweep.search} search; first batch: {sweep.first_batch}"
