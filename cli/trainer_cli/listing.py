"""`trainer ls`: lists runs, sweeps and trials."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from trainer.errors import Problem, RunError, UsageError, pluralize
from trainer_cli import console
from trainer_cli.options import DEFAULT_RUNS, DEFAULT_SWEEPS, JsonLines


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", envvar="TRAINER_RUNS", help="A folder of runs or sweeps, or a sweep."
        ),
    ] = DEFAULT_RUNS,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="List only runs with 'NAME == VALUE' (or != < <= > >=), 'NAME ~ PART' or "
            "'NAME in A,B'; can be repeated, and all conditions must hold. A run without NAME never "
            "matches, even with !=.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="[-]NAME",
            help="Sort by NAME: metrics best first, other values in ascending order; -NAME reverses it.",
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="NAME,...", help="Show only these columns.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
    json: JsonLines = False,
) -> None:
    """List runs, or the trials of a sweep.

    Runs are listed newest first with status, epochs, metrics and age, followed by the sweeps in the
    folder. Trials are listed best first.

    NAME is a property (status, name, run, epochs, best_epoch, started, seconds, age), a metric (val_auc,
    test_loss) or a setting (optimizer.learning_rate, model.layers.0.dense.units). The properties of a
    trial are trial, status, objective, epochs, best_epoch, seconds, run and reason.

    Example: trainer ls runs --where 'optimizer.name == adam' --sort val_auc --columns run,val_auc
    """
    from trainer.report.listing import columns_table, run_json, runs_csv, runs_table, values_json
    from trainer.report.query import parse_query, select
    from trainer.runs.listing import list_runs
    from trainer.runs.sweeps import find_sweeps, sweep_at
    from trainer_cli.sweep_views import list_sweeps_in, list_trials

    if csv and json:
        fix = "use only one of them"
        raise UsageError(Problem("trainer ls", "either --csv or --json", "both", fix))
    query = parse_query(where or (), sort, columns)
    if not folder.is_dir() and folder != DEFAULT_RUNS and sweep_at(folder) is None:
        found = "a file" if folder.exists() else "no such path"
        raise RunError(Problem(str(folder), "a folder of runs", found, "see trainer ls --help"))
    sweep = sweep_at(folder)
    if sweep is not None:
        list_trials(sweep, query, csv=csv, json=json)
        return
    now = datetime.now(UTC)
    runs = list_runs(folder, now)
    # Conditions, columns and CSV apply to runs only.
    has_sweeps = not (query.names or csv)
    sweeps = DEFAULT_SWEEPS if folder == DEFAULT_RUNS and not json else folder
    selected = select(runs, query, now)
    matching = selected.runs
    if selected.config_problems:
        first, *more = selected.config_problems
        others = f" (and {len(more):,} more)" if more else ""
        console.warn(f"settings that cannot be read: {first}{others}")
    if csv:
        for line in runs_csv(matching, query.columns, query.names):
            console.result(line)
    elif json:
        for run in matching:
            values = values_json(run, query.columns) if query.columns else run_json(run.run)
            console.json_result(values)
    elif matching:
        table = (
            columns_table(matching, query.columns)
            if query.columns
            else runs_table(matching, query.names)
        )
        console.result_table(table)
    elif not has_sweeps or not any(find_sweeps(sweeps)):
        message = f"no runs in {folder}"
        if runs:
            message = f"no run in {folder} matches ({pluralize(len(runs), 'run')})"
        console.Console().print(message)
    if has_sweeps:
        list_sweeps_in(sweeps, json=json, after_runs=bool(matching))
