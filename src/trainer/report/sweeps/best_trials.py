"""The runs that are compared for a sweep: its best trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.errors import Problem, RunError, UsageError, command_text
from trainer.report.sweeps.facts import SweepFacts, read_sweep
from trainer.runs.sweeps import sweep_at

BEST = 5
"""Trials of a sweep that are compared where it is alone; beside others it is its best one."""


def with_best_trials(paths: Sequence[Path], count: int | None = None) -> list[Path]:
    """The paths, each sweep replaced by the runs of its best trials.

    Args:
        paths: Runs and sweeps.
        count: How many trials of each sweep; None for `BEST` of a sweep alone, and one beside others.

    Raises:
        RunError: A sweep has no trial to compare.
        UsageError: Of a sweep alone one trial is wanted, which there is nothing to compare with.
    """
    wanted = count if count is not None else (BEST if len(paths) == 1 else 1)
    found: list[Path] = []
    for path in paths:
        directory = sweep_at(path)
        if directory is None:
            found.append(path)
            continue
        if wanted == 1 and len(paths) == 1:
            expected, fix = (
                "2 or more trials of a sweep alone",
                "write --best 2, or add another run",
            )
            raise UsageError(Problem("--best", expected, "1", fix))
        sweep = read_sweep(directory)
        runs = [run.path for _, run in sweep.kept(wanted)]
        if not runs or (len(paths) == 1 and len(runs) < 2):
            raise RunError(_too_few(sweep, path, len(runs)))
        found += runs
    return found


def _too_few(sweep: SweepFacts, path: Path, count: int) -> Problem:
    expected = "a sweep with trials to compare"
    place = sweep.directory.path
    if sweep.problems and not sweep.rows:
        return sweep.problems[0]
    if count:
        fix = f"add another run, or see {command_text('show', place)}"
        return Problem(str(path), expected, "one trial with a run directory", fix)
    if sweep.leaderboard.ranks:
        fix = f"their runs were removed (sweep.keep); see {command_text('ls', place)}"
        return Problem(str(path), expected, "no run directory of a ranked trial", fix)
    found = "none that has finished" if sweep.status != "finished" else "trials that all failed"
    fix = f"see {command_text('show', place)}"
    return Problem(str(path), expected, found, fix)
