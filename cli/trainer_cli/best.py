"""`trainer best`: the best trial of a sweep, optionally retrained on more rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainer_cli import console
from trainer_cli.fit_output import RunView
from trainer_cli.following import Signals, show_training
from trainer_cli.options import DEFAULT_RUNS, AllowCustom, Json, Quiet, Runs


def command(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP", help="A sweep's directory.")],
    refit: Annotated[
        bool,
        typer.Option(
            "--refit",
            help="Retrain it on the training and validation rows, for the number of epochs of its best "
            "checkpoint and with its threshold, temperature and interval widths; print the new run.",
        ),
    ] = False,
    runs: Runs = DEFAULT_RUNS,
    quiet: Quiet = False,
    json: Json = False,
    allow_custom: AllowCustom = False,
) -> int:
    """Print the run directory of a sweep's best trial.

    Example: trainer best sweeps/credit/20261122-141530-9f3c
    """
    from trainer.sweep.best_trial import best_trial_run, refit_config

    run, row = best_trial_run(sweep)
    if not refit:
        if json:
            console.json_result({**row.to_json(), "run": str(run.path)})
        else:
            console.result(str(run.path))
        return 0
    from trainer.workflows.fit import fit_run

    stderr = console.Console(quiet=quiet)
    signals = Signals()
    refitted = refit_config(run)
    for note in refitted.notes:
        stderr.print(note)
    events = fit_run(refitted.loaded, signals.session(allow_custom=allow_custom), runs)
    return signals.run(lambda: show_training(events, RunView(stderr, json=json), signals))
