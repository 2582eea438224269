"""`trainer fit`: trains and evaluates one or more configs, one after the other."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.errors import ConfigError, Problem, TrainerError, UsageError
from trainer_cli import console
from trainer_cli.fit_output import RunView, Timings
from trainer_cli.following import Signals, View, show_training
from trainer_cli.members_output import MembersView
from trainer_cli.options import (
    DEFAULT_RUNS,
    AllowCustom,
    ConfigArguments,
    JsonLines,
    Quiet,
    Runs,
    configs_and_overrides,
)

if TYPE_CHECKING:
    from trainer.config.load import LoadedConfig
    from trainer.workflows.events import MembersFinished, RunFinished
    from trainer.workflows.session import Session


def command(
    arguments: ConfigArguments,
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
    """Train and evaluate one or more configs. Prints the run directory of each.

    Example: trainer fit configs/breast_cancer.yaml optimizer.learning_rate=3e-4
    """
    from trainer.config.members import member_count

    configs, overrides = configs_and_overrides(arguments)
    if runs.exists() and not runs.is_dir():
        raise UsageError(
            Problem("--runs", "a folder for run directories", f"the file {runs}", "use a folder")
        )
    loaded = _load_all(configs, overrides)
    stderr = console.Console(quiet=quiet)
    signals = Signals()
    session = signals.session(allow_custom=allow_custom)

    def fit_one(config: LoadedConfig) -> int:
        stderr.announce_loading(f"data for {config.config.name}")
        training = _training(config, session, runs, resume_or_start=resume_or_start)
        view: View[Any] = (
            MembersView(stderr, json=json)
            if member_count(config.config) > 1
            else RunView(stderr, json=json, timings=timings)
        )
        if isinstance(training, Generator):
            return show_training(training, view, signals)
        stderr.print(f"{training.run} has finished: {training.stopped_because}")
        view.print_result(training)
        return 0

    def fit_all() -> int:
        if len(loaded) == 1:
            return fit_one(loaded[0])
        code = 0
        for config in loaded:
            try:
                stopped = fit_one(config)
            except TrainerError as error:
                # An error in one of several configs does not stop the others.
                code = console.print_error(error, json=json)
                continue
            if stopped:
                return stopped
        return code

    return signals.run(fit_all)


def _training(
    loaded: LoadedConfig, session: Session, runs: Path, *, resume_or_start: bool
) -> Generator[Any, None, None] | RunFinished | MembersFinished:
    """Return the events of a run that starts or resumes, or how a finished run ended."""
    from trainer.config.members import member_count
    from trainer.workflows.fit import fit_run
    from trainer.workflows.former_runs import find_run, read_finished
    from trainer.workflows.members import fit_members, resume_members
    from trainer.workflows.resume import resume_run

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
    """Load all configs before training any, so that an error in the last one is reported at once."""
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
