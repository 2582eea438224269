"""`trainer fit`: trains and evaluates one or more configs, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.errors import ConfigError, Problem, TrainerError, UsageError
from trainer_cli import console
from trainer_cli.fit_output import Signals, Stopped, Timings, follow_training, print_result
from trainer_cli.members_output import follow_members, print_members_result
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
    from trainer.workflows.members import MembersFinished
    from trainer.workflows.training import RunFinished


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
    configs, overrides = configs_and_overrides(arguments)
    if runs.exists() and not runs.is_dir():
        raise UsageError(
            Problem("--runs", "a folder for run directories", f"the file {runs}", "use a folder")
        )
    loaded = _load_all(configs, overrides)
    stderr = console.Console(quiet=quiet)
    signals = Signals()

    def fit_one(config: LoadedConfig) -> int:
        stderr.announce_loading(f"the data of {config.config.name}")
        if _has_members(config):
            done = _fit_members(
                config,
                runs,
                stderr,
                resume_or_start=resume_or_start,
                allow_custom=allow_custom,
                signals=signals,
            )
            print_members_result(done, json=json)
            return signals.exit_code if done.status == "stopped" else 0
        finished = _fit(
            config,
            runs,
            stderr,
            resume_or_start=resume_or_start,
            allow_custom=allow_custom,
            signals=signals,
        )
        print_result(finished, stderr, json=json, timings=timings)
        return signals.exit_code if finished.status == "stopped" else 0

    try:
        with signals.caught():
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
    except Stopped:
        # Caught here, because typer would treat it as Ctrl-C for any signal.
        console.error(str(signals.reason()))
        return signals.exit_code


def _has_members(loaded: LoadedConfig) -> bool:
    from trainer.config.members import member_count

    return member_count(loaded.config) > 1


def _fit_members(
    loaded: LoadedConfig,
    runs: Path,
    stderr: console.Console,
    *,
    resume_or_start: bool,
    allow_custom: bool,
    signals: Signals,
) -> MembersFinished:
    from trainer.workflows.members import (
        find_members,
        finished_members,
        fit_members,
        resume_members,
    )

    session = signals.session(allow_custom=allow_custom)
    existing = find_members(loaded, runs) if resume_or_start else None
    finished = None if existing is None else finished_members(existing)
    if finished is not None:
        stderr.print(f"{finished.run} has finished: {finished.stopped_because}")
        return finished
    if existing is None:
        events = fit_members(loaded, session, runs)
    else:
        events = resume_members(existing, session)
    return follow_members(events, stderr, signals)


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


def _fit(
    loaded: LoadedConfig,
    runs: Path,
    stderr: console.Console,
    *,
    resume_or_start: bool,
    allow_custom: bool,
    signals: Signals,
) -> RunFinished:
    from trainer.workflows.fit import fit_run
    from trainer.workflows.resume import find_run, finished_run, resume_run

    session = signals.session(allow_custom=allow_custom)
    existing = find_run(loaded, runs) if resume_or_start else None
    if existing is None:
        events = fit_run(loaded, session, runs)
    else:
        finished = finished_run(existing)
        if finished is not None:
            stderr.print(f"{existing.path} has finished: {finished.stopped_because}")
            return finished
        events = resume_run(existing.path, (), session)
    return follow_training(events, stderr, signals)
