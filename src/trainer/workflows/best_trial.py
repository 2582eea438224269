"""The winner of a sweep, from its files: its run, and its config for training on more rows.

No TensorFlow.

Owns: which run, which config. Does not own: the ranks (`trainer.sweep.leaderboard`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from trainer.config.load import LoadedConfig
from trainer.config.optimizers import CosineSchedule, PolynomialSchedule
from trainer.config.resolve import can_have_validation, resolved_steps
from trainer.config.schema import Config
from trainer.config.sections import duration_steps
from trainer.errors import Problem, RunError, command_text
from trainer.report.text import pluralize
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.log import read_log
from trainer.runs.sweeps import SweepDirectory
from trainer.sweep.journal import read_journal
from trainer.sweep.leaderboard import Leaderboard, TrialRow, best_trial, make_leaderboard
from trainer.workflows.trained_runs import read_run_config


def read_standing(directory: SweepDirectory) -> Leaderboard:
    """How a sweep stands, from its files.

    Raises:
        RunError: Its journal is damaged.
    """
    return make_leaderboard(read_journal(directory.journal))


def best_trial_run(path: Path) -> tuple[RunDirectory, TrialRow]:
    """The run directory of a sweep's winner.

    Raises:
        RunError: There is no such sweep, it has not ended a trial, or the winner's run is gone.
        TrainingError: No trial can be compared.
    """
    directory = SweepDirectory.open(path)
    leaderboard = read_standing(directory)
    if not any(row.ended for row in leaderboard.rows):
        fix = f"resume it: {command_text('resume', directory.path)}"
        raise RunError(Problem(str(path), "a sweep with trials that have ended", "none yet", fix))
    winner = best_trial(leaderboard, str(directory.path))
    run = RunDirectory(directory.trial(winner.trial.number))
    if not run.path.is_dir():
        fix = "take it from a copy of the sweep"
        raise RunError(Problem(str(run.path), "the winner's run directory", "nothing there", fix))
    return run, winner


@dataclass(frozen=True, slots=True)
class RefitConfig:
    """A trial's config for training on its validation rows too.

    Attributes:
        loaded: The config.
        notes: How it follows from the trial.
    """

    loaded: LoadedConfig
    notes: tuple[str, ...]


def refit_config(run: RunDirectory) -> RefitConfig:
    """A trial's config without validation rows: for as many epochs as its best took, at the learning
    rates that it had, with the threshold, temperature and interval widths that were chosen for it.

    Raises:
        RunError: The trial's files are damaged.
    """
    manifest = run.read_manifest()
    epochs = manifest.best_epoch or 1
    config = read_run_config(run).config
    rows = manifest.splits
    batches = -(-rows["train"] // min(config.fit.batch_size, rows["train"]))
    rates = _rate_overrides(run, config, epochs, batches)
    stopping = "{monitor: loss, patience: 10000000, restore_best: false}"
    decisions = read_decisions(run)
    stated = (
        "null" if decisions is None else json.dumps(str(run.path.absolute()), ensure_ascii=False)
    )
    loaded = read_run_config(
        run,
        [
            f"data.split.train_on_validation={'true' if can_have_validation(config) else 'false'}",
            f"fit.epochs={epochs}",
            "~fit.steps",
            "~fit.max_seconds",
            "~fit.reduce_on_plateau",
            "~fit.checkpoint.monitor",
            # Without rows to compare epochs by, the last epoch is the one to take.
            f"fit.early_stopping={stopping}",
            f"evaluate.decisions_from={stated}",
            *rates,
        ],
    )
    notes = [
        f"refit: {pluralize(epochs, 'epoch')}, as many as the best of the trial took, on "
        f"{rows['train']:,} training and {rows['validation']:,} validation rows"
    ]
    notes += [f"refit: {rate}, so that the learning rates are the trial's" for rate in rates]
    return RefitConfig(loaded, tuple(notes))


def _rate_overrides(run: RunDirectory, config: Config, epochs: int, batches: int) -> list[str]:
    """Overrides that keep the learning rates of a trial, in spite of its other length and without
    validation rows to lower them by.

    Args:
        run: The trial.
        config: Its config.
        epochs: How many are trained.
        batches: Of an epoch of the trial.
    """
    optimizer, fit = config.optimizer, config.fit
    schedule = optimizer.schedule
    if isinstance(schedule, CosineSchedule | PolynomialSchedule):
        kind = "cosine" if isinstance(schedule, CosineSchedule) else "polynomial"
        settings = schedule.cosine if isinstance(schedule, CosineSchedule) else schedule.polynomial
        if settings.over is not None:
            return []
        warmup = 0 if settings.warmup is None else duration_steps(settings.warmup, batches)
        # To the end of the trial's training, not of this shorter one.
        length = max(1, round((resolved_steps(fit, batches) - warmup) / batches))
        return [f"optimizer.schedule.{kind}.over={length} epochs"]
    if schedule is not None:
        return []
    rates = [row.get("learning_rate") for row in read_log(run.metrics)][:epochs]
    at, factors = [], []
    for epoch, (before, rate) in enumerate(pairwise(rates), 1):
        if isinstance(rate, float) and rate != before:
            at.append(f"{epoch} epochs")
            factors.append(f"{rate / optimizer.learning_rate:.7g}")
    if not at:
        return []
    return [f"optimizer.schedule={{piecewise: {{at: [{', '.join(at)}], "
            f"factors: [{', '.join(factors)}]}}}}"]  # fmt: skip
