"""`trainer resume`: go on with a run that was stopped, was killed or is to be extended."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.errors import Problem, UsageError, command_text
from trainer_cli import console
from trainer_cli.fit_output import Signals, Stopped, Timings, follow_training, print_result
from trainer_cli.members_output import follow_members, print_members_result
from trainer_cli.options import Address, AllowCustom, Engine, Jobs, Json, Quiet, cluster_of
from trainer_cli.sweep_output import follow_sweep, print_sweep_result


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or sweep directory.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
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
            help="Continue although config, data, packages or device have changed; the differences "
            "are listed in manifest.json.",
        ),
    ] = False,
    jobs: Jobs = None,
    engine: Engine = None,
    address: Address = None,
    allow_custom: AllowCustom = False,
) -> int:
    """Continue a run or a sweep from its last checkpoint; print its directory.

    On the CPU a run that was stopped or killed ends with the same bytes as one that was not.

    Example: trainer resume runs/iris/20261122-141530-9f3c fit.epochs=+20
    """
    from trainer.runs.sweeps import is_sweep

    stderr = console.Console(quiet=quiet)
    stderr.announce_loading(run)
    from trainer.workflows.members import has_members, resume_members
    from trainer.workflows.resume import resume_run
    from trainer.workflows.sweep import resume_sweep

    signals = Signals()
    command = ("trainer", *sys.argv[1:])
    of_a_sweep = {"--jobs": jobs, "--engine": engine, "--address": address}
    of_one_run = {"--timings": timings, "--accept-differences": accept_differences}
    try:
        with signals.caught():
            if is_sweep(run):
                _check_not_given(run, of_one_run, words, "begin another sweep with trainer sweep")
                swept = resume_sweep(
                    run,
                    jobs=jobs,
                    command=command,
                    allow_custom=allow_custom,
                    interrupted=signals.reason,
                    cluster=cluster_of(engine, address),
                )
                ended = follow_sweep(swept, stderr, signals)
                print_sweep_result(ended, json=json)
                return signals.exit_code if ended.reason == "interrupted" else 0
            if has_members(run):
                first = f"extend one of its members: {command_text('resume', run / 'members/0001')}"
                _check_not_given(run, {**of_one_run, **of_a_sweep}, words, first)
                several = resume_members(
                    run, command=command, allow_custom=allow_custom, interrupted=signals.reason
                )
                done = follow_members(several, stderr, signals)
                print_members_result(done, json=json)
                return signals.exit_code if done.status == "stopped" else 0
            _check_not_given(run, of_a_sweep, None, "")
            events = resume_run(
                run,
                words or [],
                command=command,
                accept_differences=accept_differences,
                allow_custom=allow_custom,
                interrupted=signals.reason,
            )
            finished = follow_training(events, stderr, signals)
            print_result(finished, stderr, json=json, timings=timings)
            return signals.exit_code if finished.status == "stopped" else 0
    except Stopped:
        console.error(str(signals.reason()))
        return signals.exit_code


def _check_not_given(
    run: Path, options: dict[str, Any], words: list[str] | None, instead: str
) -> None:
    """Checks that nothing was given that would be left out of account.

    Raises:
        UsageError: Something was.
    """
    where = command_text("resume", run)
    for name, value in options.items():
        if value:
            raise UsageError(Problem(where, f"no {name} here", "one", "leave it out"))
    if words:
        expected = "no settings for a run of several networks"
        raise UsageError(Problem(where, expected, " ".join(words), instead))
