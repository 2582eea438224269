"""The state of a sweep, read from its files; damaged files are reported as problems, not raised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from trainer.config.domains import Dimension
from trainer.config.nodes import Source, to_python
from trainer.config.schema import Config
from trainer.config.sweeps import resolved_search, sweep_dimensions
from trainer.config.yaml_reader import MAX_BYTES, parse_yaml
from trainer.errors import Problem, RunError, command_text
from trainer.report.sweeps.text import SettingLabels
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_bytes
from trainer.runs.lock import lock_state
from trainer.runs.sweeps import SweepDirectory, find_sweeps
from trainer.sweep.journal import Record, header_of, read_progress
from trainer.sweep.leaderboard import Leaderboard, TrialRow, make_leaderboard
from trainer.sweep.trial_count import trial_count

SweepStatus = Literal["running", "finished", "stopped", "dead", "damaged"]


@dataclass(frozen=True)
class SweepContent:
    """The state of a sweep.

    Attributes:
        directory: The sweep.
        status: running: a process trains it. finished: all trials have ended. stopped: it can be
            resumed. dead: the process that trained it was killed; it can be resumed. damaged: its
            journal cannot be read.
        config: The base config with its `sweep` section; None if it cannot be read.
        leaderboard: The trials and their ranks.
        trials: The maximum number of trials; None if limited by time only.
        jobs: The number of packs trained in parallel; None before the start.
        elapsed_seconds: Its total training time.
        problems: Problems found in damaged files.
    """

    directory: SweepDirectory
    status: SweepStatus
    config: Config | None
    leaderboard: Leaderboard
    trials: int | None
    jobs: int | None
    elapsed_seconds: float
    problems: tuple[Problem, ...]

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return self.directory.path.absolute().parent.name

    @property
    def search(self) -> str:
        """The search method; empty if the config cannot be read."""
        if self.config is None or self.config.sweep is None:
            return ""
        return resolved_search(self.config.sweep)

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The searched settings; empty if the config is damaged."""
        if self.config is None or self.config.sweep is None:
            return ()
        return sweep_dimensions(self.config.sweep)

    @cached_property
    def labels(self) -> SettingLabels:
        """The labels of searched values."""
        return SettingLabels(self.dimensions, self.rows)

    @property
    def conditions(self) -> Mapping[str, str]:
        """Searched setting → the condition under which it is set."""
        return {} if self.config is None or self.config.sweep is None else self.config.sweep.when

    @property
    def started(self) -> datetime | None:
        """The start time, from the name of the directory."""
        try:
            name = self.directory.path.absolute().name
            return datetime.strptime(name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of trials by status; `unfinished` for those that have not ended."""
        order = ("finished", "eliminated", "stopped", "failed", "unfinished")
        counts = Counter(
            "unfinished" if row.ended is None else row.ended.status for row in self.rows
        )
        return {status: counts[status] for status in order if counts[status]}

    @property
    def rows(self) -> tuple[TrialRow, ...]:
        """The trials by number."""
        return self.leaderboard.rows

    @property
    def ranked(self) -> tuple[TrialRow, ...]:
        """All trials: ranked ones from the best to the worst, then the others by number."""
        ranks = self.leaderboard.ranks
        ranked = {row.trial.number for row in ranks}
        return (*ranks, *(row for row in self.rows if row.trial.number not in ranked))

    def run_of(self, row: TrialRow) -> RunDirectory | None:
        """Return the run directory of a trial; None if it has none or it was deleted."""
        path = self.directory.trial(row.trial.number)
        return RunDirectory(path) if path.is_dir() else None

    def kept(self, count: int) -> list[tuple[TrialRow, RunDirectory]]:
        """Return the best trials that have a run directory."""
        pairs = ((row, self.run_of(row)) for row in self.leaderboard.ranks)
        return [(row, run) for row, run in pairs if run is not None][:count]

    @property
    def commands(self) -> Mapping[str, str]:
        """Commands to continue with: command → what it does."""
        path = self.directory.path
        commands: dict[str, str] = {}
        if self.status in ("stopped", "dead"):
            commands[command_text("resume", path)] = "train the remaining trials"
        if self.leaderboard.best is not None:
            commands[command_text("best", path)] = "print the run of the best trial"
        commands[command_text("ls", path)] = "list all trials"
        if len(self.leaderboard.ranks) > 1:
            commands[command_text("compare", path)] = "compare the best trials"
        commands[command_text("report", path)] = "write a page with plots"
        return commands


def read_sweep(directory: SweepDirectory) -> SweepContent:
    """Read the config, journal and lock of a sweep."""
    problems: list[Problem] = []
    config = _config(directory, problems)
    records: Sequence[Record] = ()
    elapsed = 0.0
    is_damaged = False
    try:
        records, elapsed = read_progress(directory.journal)
    except RunError as error:
        problems += error.problems
        is_damaged = True
    leaderboard = make_leaderboard(records)
    trials = None if config is None else trial_count(config)
    header = header_of(records)
    status: SweepStatus = "stopped"
    lock = lock_state(directory.lock)
    if is_damaged:
        status = "damaged"
    elif _is_over(config, leaderboard, trials, elapsed):
        # Even while its process evaluates the best trial and writes the page.
        status = "finished"
    elif lock == "alive":
        status = "running"
    elif lock == "dead":
        status = "dead"
    jobs = None if header is None else header.jobs
    return SweepContent(
        directory, status, config, leaderboard, trials, jobs, elapsed, tuple(problems)
    )


def list_sweeps(root: Path) -> list[SweepContent]:
    """List the sweeps at a folder or up to two levels below it, the newest first."""
    sweeps = [read_sweep(SweepDirectory(path)) for path in find_sweeps(root)]
    return sorted(sweeps, key=lambda sweep: sweep.directory.path.name, reverse=True)


def _is_over(
    config: Config | None, leaderboard: Leaderboard, trials: int | None, elapsed: float
) -> bool:
    if config is None or config.sweep is None or leaderboard.unfinished:
        return False
    seconds = config.sweep.max_seconds
    if seconds is not None and elapsed >= seconds:
        return True
    return trials is not None and len(leaderboard.rows) >= trials


def _config(directory: SweepDirectory, problems: list[Problem]) -> Config | None:
    fix = "restore the file from a copy of the sweep"
    where = str(directory.config)
    try:
        text = read_bytes(directory.config, MAX_BYTES).decode("utf-8", "replace")
    except RunError as error:
        problems += error.problems
        return None
    document = parse_yaml(text, Source(where, directory.path))
    if document.problems or document.root is None:
        problems += document.problems or [Problem(where, "a config", "an empty file", fix)]
        return None
    try:
        config = Config.model_validate(to_python(document.root))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        problems.append(Problem(where, "settings of this version", f"{key}: {first['msg']}", fix))
        return None
    if config.sweep is None:
        problems.append(Problem(where, "a sweep section", "none", fix))
        return None
    return config
