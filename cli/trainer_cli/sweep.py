"""`trainer sweep`: hyperparameter search."""

from __future__ import annotations

from typing import Annotated

import typer

from trainer.errors import Problem, UsageError
from trainer_cli import console
from trainer_cli.following import Signals, show_training
from trainer_cli.options import (
    DEFAULT_SWEEPS,
    Address,
    AllowCustom,
    Engine,
    Jobs,
    Json,
    Quiet,
    Sweeps,
    cluster_of,
    one_config,
)
from trainer_cli.sweep_output import SweepView


def command(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG|KEY=A,B|KEY=RANGE|KEY=VALUE",
            help="A config file, settings to search (optimizer.learning_rate=1e-4,1e-3 or "
            "log(1e-4, 1e-1), uniform(0, 0.5), int(16, 256, log)), and settings that override the "
            "config's.",
            show_default=False,
        ),
    ],
    sweeps: Sweeps = DEFAULT_SWEEPS,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Number of trials (sweep.trials).")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", help="Time limit (sweep.max_seconds).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of the search (sweep.seed).")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", help="Runs to keep (sweep.keep): all, or best:5 to save disk space."
        ),
    ] = None,
    jobs: Jobs = None,
    engine: Engine = None,
    address: Address = None,
    resume_or_start: Annotated[
        bool,
        typer.Option(
            "--resume-or-start", help="Resume the newest sweep of this config, or start one."
        ),
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
    allow_custom: AllowCustom = False,
) -> int:
    """Search hyperparameters, training many networks at once. Prints the sweep's directory.

    Only the best trial is evaluated on the test rows. `trainer resume` continues a stopped sweep.

    Example: trainer sweep configs/credit.yaml 'optimizer.learning_rate=log(1e-4, 1e-1)' --trials 64
    """
    if sweeps.exists() and not sweeps.is_dir():
        fix = "use a folder"
        raise UsageError(Problem("--sweeps", "a folder for sweeps", f"the file {sweeps}", fix))
    config, settings = one_config(arguments, "trainer sweep")
    cluster = cluster_of(engine, address)
    options = {"trials": trials, "max_seconds": max_seconds, "seed": seed, "keep": keep}
    settings += [f"sweep.{key}={value}" for key, value in options.items() if value is not None]
    from trainer.data.checking import load_sweep_checked
    from trainer.workflows.sweeps.sweep import find_sweep, resume_sweep, sweep

    loaded = load_sweep_checked(config, settings)
    stderr = console.Console(quiet=quiet)
    signals = Signals()
    session = signals.session(allow_custom=allow_custom)
    existing = find_sweep(loaded, sweeps) if resume_or_start else None
    if existing is None:
        events = sweep(loaded, session, sweeps, jobs=jobs, cluster=cluster)
    else:
        events = resume_sweep(existing, session, jobs=jobs, cluster=cluster)
    return signals.run(lambda: show_training(events, SweepView(stderr, json=json), signals))
