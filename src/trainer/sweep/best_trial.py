"""The best trial of a sweep: its run, and its config for training on more rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from trainer.config.generation import generates
from trainer.config.load import LoadedConfig, load_config
from trainer.config.resolve import can_have_validation, resolved_steps
from trainer.config.schedules import CosineSchedule, PolynomialSchedule
from trainer.config.schema import Config
from trainer.config.sections import duration_steps
from trainer.errors import Problem, RunError, command_text
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_errors
from trainer.runs.log import read_log
from trainer.runs.sweeps import SweepDirectory
from trainer.sweep.journal import read_journal
from trainer.sweep.leaderboard import Leaderboard, TrialRow, best_trial, make_leaderboard


def read_leaderboard(directory: SweepDirectory) -> Leaderboard:
    """Read the ranking of a sweep from its files.

    Raises:
        RunError: The journal is damaged.
    """
    return make_leaderboard(read_journal(directory.journal))


def best_trial_run(path: Path) -> tuple[RunDirectory, TrialRow]:
    """Return the run directory of the best trial of a sweep.

    Raises:
        RunError: The sweep does not exist, has no ended trial, or the run of the best trial is
            missing.
        TrainingError: No trial can be compared.
    """
    directory = SweepDirectory.open(path)
    leaderboard = read_leaderboard(directory)
    if not any(row.ended for row in leaderboard.rows):
        fix = f"resume it: {command_text('resume', directory.path)}"
        raise RunError(Problem(str(path), "a sweep with trials that have ended", "none yet", fix))
    winner = best_trial(leaderboard, str(directory.path))
    run = RunDirectory(directory.trial(winner.trial.number))
    if not run.path.is_dir():
        fix = "restore it from a copy of the sweep"
        raise RunError(
            Problem(str(run.path), "the run directory of the best trial", "nothing", fix)
        )
    return run, winner


@dataclass(frozen=True, slots=True)
class RefitConfig:
    """The config of a trial for training on its validation rows too.

    Attributes:
        loaded: The config.
        notes: How it follows from the trial.
    """

    loaded: LoadedConfig
    notes: tuple[str, ...]


def refit_config(run: RunDirectory) -> RefitConfig:
    """Return the config of a trial without validation rows.

    It has as many epochs as the best epoch of the trial, and the trial's learning rates, threshold,
    temperature and interval widths.

    Raises:
        RunError: It is a generator, or files of the trial are damaged.
    """
    manifest = run.read_manifest()
    epochs = manifest.best_epoch or 1
    with read_errors(run.config):
        config = load_config(run.config).config
    if generates(config.data):
        fix = "use the run of the trial, or run trainer fit on its config.yaml with other settings"
        raise RunError(Problem(str(run.path), "a trial that predicts", "a generator", fix))
    rows = manifest.splits
    batches = -(-rows["train"] // min(config.fit.batch_size, rows["train"]))
    rate_overrides = _rate_overrides(run, config, epochs, batches)
    stopping = "{monitor: loss, patience: 10000000, restore_best: false}"
    decisions = read_decisions(run)
    source = (
        "null" if decisions is None else json.dumps(str(run.path.absolute()), ensure_ascii=False)
    )
    overrides = [
        f"data.split.train_on_validation={'true' if can_have_validation(config) else 'false'}",
        f"fit.epochs={epochs}",
        "~fit.steps",
        "~fit.max_seconds",
        "~fit.reduce_on_plateau",
        "~fit.checkpoint.monitor",
        # Without rows to compare epochs, use the last epoch.
        f"fit.early_stopping={stopping}",
        f"evaluate.decisions_from={source}",
        *rate_overrides,
    ]
    with read_errors(run.config):
        loaded = load_config(run.config, overrides)
    notes = [
        f"refit: {epochs:,} {'epoch' if epochs == 1 else 'epochs'}, the best epoch of the trial, on "
        f"{rows['train']:,} training and {rows['validation']:,} validation rows"
    ]
    notes += [
        f"refit: {override}, to keep the learning rates of the trial" for override in rate_overrides
    ]
    return RefitConfig(loaded, tuple(notes))


def _rate_overrides(run: RunDirectory, config: Config, epochs: int, batches: int) -> list[str]:
    """Return overrides that keep the learning rates of a trial in a run of another length.

    Args:
        run: The trial.
        config: The config of the trial.
        epochs: Epochs to train.
        batches: Batches per epoch of the trial.
    """
    optimizer, fit = config.optimizer, config.fit
    schedule = optimizer.schedule
    if isinstance(schedule, CosineSchedule | PolynomialSchedule):
        kind = "cosine" if isinstance(schedule, CosineSchedule) else "polynomial"
        settings = schedule.cosine if isinstance(schedule, CosineSchedule) else schedule.polynomial
        if settings.over is not None:
            return []
        warmup = 0 if settings.warmup is None else duration_steps(settings.warmup, batches)
        # The schedule ends with the trial's training, not with this shorter one.
        length = max(1, round((resolved_steps(fit, batches) - warmup) / batches))
        return [f"optimizer.schedule.{kind}.over={length} epochs"]
    if schedule is not None:
        return []
    rates = [row.get("learning_rate") for row in read_log(run.metrics)][:epochs]
    steps, factors = [], []
    for epoch, (before, rate) in enumerate(pairwise(rates), 1):
        if isinstance(rate, float) and rate != before:
            steps.append(f"{epoch} epochs")
            factors.append(f"{rate / optimizer.learning_rate:.7g}")
    if not steps:
        return []
    return [f"optimizer.schedule={{piecewise: {{at: [{', '.join(steps)}], "
            f"factors: [{', '.join(factors)}]}}}}"]  # fmt: skip
