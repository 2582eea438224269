"""The winner of a sweep, from its files: its run, and its config for one trained on more rows.

No TensorFlow.

Owns: which run, which config. Does not own: the ranks (`trainer.sweep.standing`).
"""

from __future__ import annotations

from pathlib import Path

from trainer.config.load import LoadedConfig
from trainer.errors import Problem, RunError, command_text
from trainer.runs.directory import RunDirectory
from trainer.runs.sweeps import SweepDirectory
from trainer.sweep.journal import read_journal
from trainer.sweep.standing import Standing, TrialRow, standing_of, winner_of
from trainer.workflows.trained import config_of


def read_standing(directory: SweepDirectory) -> Standing:
    """How a sweep stands, from its files.

    Raises:
        RunError: Its journal is damaged.
    """
    return standing_of(read_journal(directory.journal))


def best_run(path: Path) -> tuple[RunDirectory, TrialRow]:
    """The run directory of a sweep's winner.

    Raises:
        RunError: There is no such sweep, it has not ended a trial, or the winner's run is gone.
        TrainingError: No trial can be compared.
    """
    directory = SweepDirectory.open(path)
    standing = read_standing(directory)
    if not any(row.ended for row in standing.rows):
        fix = f"resume it: {command_text('resume', directory.path)}"
        raise RunError(Problem(str(path), "a sweep with trials that have ended", "none yet", fix))
    winner = winner_of(standing, str(directory.path))
    run = RunDirectory(directory.trial(winner.trial.number))
    if not run.path.is_dir():
        fix = "take it from a copy of the sweep"
        raise RunError(Problem(str(run.path), "the winner's run directory", "nothing there", fix))
    return run, winner


def refit_config(run: RunDirectory) -> LoadedConfig:
    """A trial's config without validation rows, for as many epochs as its best took."""
    epochs = run.read_manifest().best_epoch or 1
    stopping = "{monitor: loss, patience: 10000000, restore_best: false}"
    return config_of(
        run,
        [
            "data.split.validation=0",
            f"fit.epochs={epochs}",
            "~fit.steps",
            "~fit.reduce_on_plateau",
            "~fit.checkpoint.monitor",
            # Without rows to judge by, the last epoch is the one to take.
            f"fit.early_stopping={stopping}",
        ],
    )
