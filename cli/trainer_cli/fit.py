"""`trainer fit`: trains and evaluates one or more configs, one by one, or a table."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.errors import ConfigError, InputError, Problem, TrainerError, UsageError
from trainer_cli import console
from trainer_cli.fit_output import RunView, Timings
from trainer_cli.fit_table import EFFORT_HELP, TASK_HELP, is_data, propose, table_problems
from trainer_cli.following import Signals, View, show_training
from trainer_cli.members_output import MembersView
from trainer_cli.options import (
    DEFAULT_RUNS,
    AllowCustom,
    JsonLines,
    MaxSeconds,
    Quiet,
    Runs,
    configs_and_overrides,
    max_seconds_problems,
    runs_folder_problems,
)

if TYPE_CHECKING:
    from trainer.config.load import LoadedConfig
    from trainer.workflows.events import MembersFinished, RunFinished
    from trainer.workflows.session import Session


def command(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG|TABLE|FOLDER|KEY=VALUE|~KEY",
            help="Config files, or one table or folder of images, and settings that override those of "
            "the config: optimizer.learning_rate=3e-4; ~KEY removes a setting.",
            show_default=False,
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="The column of the table to predict; can be repeated."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help=TASK_HELP, show_default="that of the target, for a table"),
    ] = None,
    effort: Annotated[
        str | None,
        typer.Option("--effort", "-e", help=EFFORT_HELP, show_default="balanced, for a table"),
    ] = None,
    max_seconds: MaxSeconds = None,
    runs: Runs = DEFAULT_RUNS,
    quiet: Quiet = False,
    json: JsonLines = False,
    timings: Timings = False,
    resume_or_start: Annotated[
        bool,
        typer.Option(
            "--resume-or-start",
            help="Resume the newest run of this config if it has not finished; start a run if there is "
            "none. A finished run is left unchanged.",
        ),
    ] = False,
    allow_custom: AllowCustom = False,
) -> int:
    """Train and evaluate configs, a table or a folder of images. Prints the run directory of each.

    A table or a folder is trained with the config that trainer init proposes, which the run keeps as
    proposed.yaml.

    Example: trainer fit configs/breast_cancer.yaml optimizer.learning_rate=3e-4

    Example: trainer fit patients.csv --target diagnosis --max-seconds 60
    """
    stderr = console.Console(quiet=quiet)
    signals = Signals()
    files, overrides = configs_and_overrides(arguments)
    if task is not None and is_data(files[0]):
        overrides = [*overrides, f"data.task={task}"]
    problems = [*max_seconds_problems(max_seconds), *runs_folder_problems(runs)]
    # The time limit starts before the table is read.
    limit = None if problems else max_seconds
    session = signals.session(allow_custom=allow_custom, max_seconds=limit)
    for_table = table_problems(files, target or (), effort, task, overrides)
    loaded: list[LoadedConfig] = []
    try:
        if is_data(files[0]) and not for_table:
            loaded = [propose(files[0], target or (), effort, overrides, stderr, limit)]
        elif not for_table:
            loaded = _load_all(files, overrides)
    except InputError as error:
        if not problems:
            raise
        problems += error.problems
    if problems or for_table:
        raise UsageError([*for_table, *problems])
    options = _Options(runs, stderr, json, timings, resume_or_start)
    return signals.run(lambda: _fit_all(loaded, session, signals, options))


@dataclass(frozen=True, slots=True)
class _Options:
    """The options shared by all runs of the command."""

    runs: Path
    stderr: console.Console
    json: bool
    timings: bool
    resume_or_start: bool


def _fit_all(
    loaded: list[LoadedConfig], session: Session, signals: Signals, options: _Options
) -> int:
    """Train all configs, which share the remaining time; return the exit code."""
    if len(loaded) == 1:
        return _fit_one(loaded[0], session, signals, options)
    code = 0
    for index, config in enumerate(loaded):
        try:
            share = session.share(1, len(loaded) - index)
            stopped = _fit_one(config, share, signals, options)
        except TrainerError as error:
            # An error in one of several configs does not stop the others.
            code = console.print_error(error, json=options.json)
            continue
        if stopped:
            return stopped
    return code


def _fit_one(config: LoadedConfig, session: Session, signals: Signals, options: _Options) -> int:
    from trainer.config.members import member_count

    stderr = options.stderr
    stderr.announce_loading(f"data for {config.config.name}")
    training = _training(config, session, options.runs, resume_or_start=options.resume_or_start)
    view: View[Any] = (
        MembersView(stderr, json=options.json)
        if member_count(config.config) > 1
        else RunView(stderr, json=options.json, timings=options.timings)
    )
    if isinstance(training, Generator):
        return show_training(training, view, signals)
    stderr.print(f"{training.run} has finished: {training.stopped_because}")
    view.print_result(training)
    return 0


def _training(
    loaded: LoadedConfig, session: Session, runs: Path, *, resume_or_start: bool
) -> Generator[Any, None, None] | RunFinished | MembersFinished:
    """Return the events of a run that starts or resumes, or how a finished run ended."""
    from trainer.config.members import member_count
    from trainer.workflows.existing_runs import find_run, read_finished
    from trainer.workflows.fit import fit_run
    from trainer.workflows.members import fit_members, resume_members
    from trainer.workflows.resuming.resume import resume_run

    has_members = member_count(loaded.config) > 1
    existing = find_run(loaded, runs) if resume_or_start else None
    if existing is None:
        return (fit_members if has_members else fit_run)(loaded, session, runs)
    finished = read_finished(existing)
    if finished is not None:
        return finished
    if has_members:
        return resume_members(existing.path, session)
    return resume_run(existing.path, (), session)


def _load_all(configs: list[Path], overrides: list[str]) -> list[LoadedConfig]:
    """Load all configs before training any, so that all their errors are reported first."""
    from trainer.data.checking import load_checked

    loaded: list[LoadedConfig] = []
    problems: list[Problem] = []
    for config in configs:
        try:
            loaded.append(load_checked(config, overrides))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return loaded
