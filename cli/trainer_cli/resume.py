"""`trainer resume`: continues a run that was stopped or killed, or extends a finished one."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.errors import Problem, UsageError, command_text
from trainer_cli import console
from trainer_cli.fit_output import RunView, Timings
from trainer_cli.following import Signals, View, show_training
from trainer_cli.members_output import MembersView
from trainer_cli.options import (
    Address,
    AllowCustom,
    Engine,
    Jobs,
    Json,
    MaxSeconds,
    Quiet,
    cluster_of,
    max_seconds_problems,
)
from trainer_cli.sweep_output import SweepView


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or sweep directory.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings that extend the run: fit.epochs=+20 for 20 more epochs, fit.epochs=120, "
            "fit.early_stopping.patience=+10, fit.max_seconds=+60.",
            show_default=False,
        ),
    ] = None,
    max_seconds: MaxSeconds = None,
    quiet: Quiet = False,
    json: Json = False,
    timings: Timings = False,
    accept_differences: Annotated[
        bool,
        typer.Option(
            "--accept-differences",
            help="Continue even if config, data, packages or device have changed; the differences are "
            "recorded in manifest.json.",
        ),
    ] = False,
    jobs: Jobs = None,
    engine: Engine = None,
    address: Address = None,
    allow_custom: AllowCustom = False,
) -> int:
    """Continue a run or a sweep from its last checkpoint and print its directory.

    On the CPU, the result is byte-for-byte the same as without the interruption.

    Example: trainer resume runs/iris/20261122-141530-9f3c fit.epochs=+20
    """
    from trainer.runs.directory import RunDirectory
    from trainer.runs.sweeps import is_sweep

    if problems := max_seconds_problems(max_seconds):
        raise UsageError(problems)
    signals = Signals()
    session = signals.session(allow_custom=allow_custom, max_seconds=max_seconds)
    stderr = console.Console(quiet=quiet)
    stderr.announce_loading(run)
    from trainer.workflows.members import resume_members
    from trainer.workflows.resuming.resume import resume_run
    from trainer.workflows.sweeps.sweep import resume_sweep

    sweep_options: dict[str, Any] = {"--jobs": jobs, "--engine": engine, "--address": address}
    network_options = {"--timings": timings, "--accept-differences": accept_differences}
    events: Generator[Any, None, None]
    view: View[Any]
    if is_sweep(run):
        fix = "start another sweep with trainer sweep"
        options = {**network_options, "--max-seconds": max_seconds}
        _reject_ignored(run, "a sweep", options, arguments, fix)
        events = resume_sweep(run, session, jobs=jobs, cluster=cluster_of(engine, address))
        view = SweepView(stderr, json=json)
    elif RunDirectory(run).has_members:
        fix = f"extend one of its members: {command_text('resume', run / 'members/0001')}"
        options = {**sweep_options, **network_options}
        _reject_ignored(run, "a run of several networks", options, arguments, fix)
        events, view = resume_members(run, session), MembersView(stderr, json=json)
    else:
        _reject_ignored(run, "a run of a single network", sweep_options, None, "")
        overrides = arguments or []
        events = resume_run(run, overrides, session, accept_differences=accept_differences)
        view = RunView(stderr, json=json, timings=timings)
    return signals.run(lambda: show_training(events, view, signals))


def _reject_ignored(
    run: Path, kind: str, options: dict[str, Any], settings: list[str] | None, fix: str
) -> None:
    """Reject options and settings that do not apply to a kind of directory.

    Raises:
        UsageError: Some were given.
    """
    where = command_text("resume", run)
    for name, value in options.items():
        if value:
            expected = f"only options that apply to {kind}"
            raise UsageError(Problem(where, expected, name, f"remove {name}"))
    if settings:
        expected = "no KEY=VALUE: only a run of a single network can be extended"
        raise UsageError(Problem(where, expected, " ".join(settings), fix))
