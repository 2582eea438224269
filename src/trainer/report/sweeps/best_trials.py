"""Replace sweeps with their best trials, to compare the trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import Problem, RunError, UsageError, command_text
from trainer.runs.sweeps import sweep_at

if TYPE_CHECKING:
    from trainer.report.sweeps.content import SweepContent

BEST = 5
"""Number of trials compared for a single sweep; for a sweep among other runs, only the best trial is."""


def with_best_trials(paths: Sequence[Path], count: int | None = None) -> list[Path]:
    """Replace each sweep with the runs of its best trials.

    Args:
        paths: Runs and sweeps.
        count: Trials per sweep; None for `BEST` if there is a single sweep, otherwise one.

    Raises:
        RunError: A sweep has no trial to compare.
        UsageError: One trial of a single sweep is requested, which leaves nothing to compare.
    """
    limit = count if count is not None else (BEST if len(paths) == 1 else 1)
    result: list[Path] = []
    for path in paths:
        directory = sweep_at(path)
        if directory is None:
            result.append(path)
            continue
        if limit == 1 and len(paths) == 1:
            expected, fix = "2 or more trials of a single sweep", "use --best 2, or add another run"
            raise UsageError(Problem("--best", expected, "1", fix))
        # Takes longer than comparing runs.
        from trainer.report.sweeps.content import read_sweep

        sweep = read_sweep(directory)
        runs = [run.path for _, run in sweep.kept(limit)]
        if not runs or (len(paths) == 1 and len(runs) < 2):
            raise RunError(_too_few_trials(sweep, path, len(runs)))
        result += runs
    return result


def _too_few_trials(sweep: SweepContent, path: Path, count: int) -> Problem:
    expected = "a sweep with trials to compare"
    directory = sweep.directory.path
    if sweep.problems and not sweep.rows:
        return sweep.problems[0]
    if count:
        fix = f"add another run, or see {command_text('show', directory)}"
        return Problem(str(path), expected, "one trial with a run directory", fix)
    if sweep.leaderboard.ranks:
        fix = f"sweep.keep deleted them: set it higher, or see {command_text('ls', directory)}"
        return Problem(str(path), expected, "ranked trials without run directories", fix)
    found = "no finished trial" if sweep.status != "finished" else "only failed trials"
    fix = f"see {command_text('show', directory)}"
    return Problem(str(path), expected, found, fix)
