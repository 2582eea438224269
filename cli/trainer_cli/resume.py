"""`trainer resume`: go on with a run that was stopped, was killed or is to be extended."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from trainer_cli import console
from trainer_cli.settings import AllowCustom, Json, Quiet
from trainer_cli.training import Signals, Stopped, Timings, follow, give_result


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Settings that extend the run: fit.epochs=+20 for twenty more, fit.epochs=120, "
            "fit.early_stopping.patience=+10, fit.max_seconds=+60.",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
    timings: Timings = False,
    accept_differences: Annotated[
        bool,
        typer.Option(
            "--accept-differences",
            help="Go on although config, data, packages or device are not what they were; the "
            "manifest says what differs.",
        ),
    ] = False,
    allow_custom: AllowCustom = False,
) -> int:
    """Go on with a run from its last checkpoint; print its directory.

    A run that was stopped or killed ends with the same bytes as one that never was.

    Example: trainer resume runs/iris/20261122-141530-9f3c fit.epochs=+20
    """
    from trainer.workflows.resume import resume_run

    says = console.Console(quiet=quiet)
    signals = Signals()
    try:
        with signals.caught():
            events = resume_run(
                run,
                words or [],
                command=("trainer", *sys.argv[1:]),
                accept_differences=accept_differences,
                allow_custom=allow_custom,
                interrupted=signals.reason,
            )
            finished = follow(events, says, signals)
            give_result(finished, says, json=json, timings=timings)
            return signals.exit_code if finished.status == "stopped" else 0
    except Stopped:
        console.error(str(signals.reason()))
        return signals.exit_code
