"""Sweeps as `trainer sweep` leaves them, without training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.report.run_files import NOW, SETTINGS, make_run, scores
from trainer.config.schema import Config
from trainer.config.yaml_writer import block_text
from trainer.runs.sweeps import SweepDirectory
from trainer.sweep.journal import BatchSuggested, Journal, SweepHeader
from trainer.sweep.search import Settings, new_search
from trainer.sweep.space import Space
from trainer.sweep.trials import Trial, TrialEnded, TrialStatus

SPACE: dict[str, Any] = {
    "optimizer.learning_rate": "log(1e-4, 1e-1)",
    "model.layers.0.dense.units": [32, 64, 128],
    "fit.batch_size": "int(8, 64)",
}
Score = Callable[[Settings], float]
Ending = Callable[[int, float], tuple[TrialStatus, float, str]]


def rate_matters(settings: Settings) -> float:
    """Best at a learning rate of 0.01; the batch size hardly matters."""
    rate = settings.get("optimizer.learning_rate", 1e-3)
    return 0.9 - 0.1 * (math.log10(rate) + 2) ** 2 + 1e-4 * settings.get("fit.batch_size", 8)


def all_finish(number: int, value: float) -> tuple[TrialStatus, float, str]:
    return "finished", value, ""


def make_sweep(
    root: Path,
    name: str = "wine-sweep",
    *,
    trials: int = 12,
    asked: int | None = None,
    kept: int = 5,
    sweep: Mapping[str, Any] | None = None,
    score: Score = rate_matters,
    ending: Ending = all_finish,
    settings: Sequence[Settings] | None = None,
    left_open: int = 0,
    config: Mapping[str, Any] | None = None,
) -> SweepDirectory:
    """A sweep of `trials`, of which the best `kept` have a run directory.

    Args:
        root: The folder of sweeps.
        name: The experiment.
        trials: How many there are.
        asked: `sweep.trials`; all of them unless stated.
        kept: How many run directories there are.
        sweep: The `sweep` section, but for `trials`.
        score: The objective of settings.
        ending: Number and objective → status, objective and reason.
        settings: Those of the trials; drawn at random unless stated.
        left_open: How many of the last trials have not ended.
        config: The base config.
    """
    section = {"space": SPACE, "search": "random", "objective": "val_auc", **(sweep or {})}
    section["trials"] = trials if asked is None else asked
    base = {**(SETTINGS if config is None else config), "name": name}
    directory = SweepDirectory.create(root, name, block_text({**base, "sweep": section}), NOW)
    if settings is None:
        whole = Config.model_validate({"data": {"source": "x", "target": "y"}, "sweep": section})
        settings = new_search("random", Space(whole), 0, "higher").ask(trials)
    ends = []
    for number, each in enumerate(settings[: len(settings) - left_open]):
        status, value, reason = ending(number, score(each))
        epochs = 3 if status == "eliminated" else 9
        best = None if status == "failed" else 2
        ends.append(TrialEnded(number, status, value, epochs, best, None, 1.5, reason))
    with Journal(directory.journal) as journal:
        if settings:
            journal.write(SweepHeader("val_auc", "higher", len(settings), 1, is_distinct=True), 0.0)
            batch = tuple(Trial(number, each) for number, each in enumerate(settings))
            journal.write(BatchSuggested(batch), 0.0)
        for place, end in enumerate(ends):
            journal.write(end, float(place + 1))
    ranked = sorted(
        (end for end in ends if end.has_objective and end.status != "failed"),
        key=lambda end: (end.status == "eliminated", -end.objective),
    )
    for end in ranked[:kept]:
        _trial_run(directory, end, base)
    return directory


def _trial_run(directory: SweepDirectory, end: TrialEnded, base: Mapping[str, Any]) -> None:
    made = make_run(
        directory.path / "made", "trial", config=base, evaluations=scores(auc=end.objective)
    )
    random = np.random.default_rng(end.number)
    curve = np.minimum(end.objective, 0.5 + 0.05 * np.arange(1, 10) + random.normal(size=9) * 0.01)
    lines = [
        f'{{"epoch": {epoch}, "loss": 0.5, "val_auc": {value}}}\n'
        for epoch, value in enumerate(curve, start=1)
    ]
    made.metrics.write_text("".join(lines))
    directory.trials.mkdir(exist_ok=True)
    made.path.rename(directory.trial(end.number))
    made.path.parent.rmdir()
    made.path.parent.parent.rmdir()
