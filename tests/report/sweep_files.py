"""Make sweeps like `trainer sweep`, without training."""

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
    """Score settings: best at a learning rate of 0.01, nearly independent of the batch size."""
    rate = settings.get("optimizer.learning_rate", 1e-3)
    return 0.9 - 0.1 * (math.log10(rate) + 2) ** 2 + 1e-4 * settings.get("fit.batch_size", 8)


def all_finish(number: int, value: float) -> tuple[TrialStatus, float, str]:
    return "finished", value, ""


def make_sweep(
    root: Path,
    name: str = "wine-sweep",
    *,
    trials: int = 12,
    limit: int | None = None,
    kept: int = 5,
    sweep: Mapping[str, Any] | None = None,
    score: Score = rate_matters,
    ending: Ending = all_finish,
    settings: Sequence[Settings] | None = None,
    unfinished: int = 0,
    config: Mapping[str, Any] | None = None,
) -> SweepDirectory:
    """Make a sweep; the best `kept` trials have a run directory.

    Args:
        root: The folder of sweeps.
        name: The experiment.
        trials: The number of trials.
        limit: `sweep.trials`; by default the number of trials.
        kept: The number of run directories.
        sweep: The `sweep` section without `trials`.
        score: Settings → objective.
        ending: Number and objective → status, objective and reason of failure.
        settings: Settings of the trials; by default random.
        unfinished: The number of last trials that have not ended.
        config: The base config.
    """
    section = {"space": SPACE, "search": "random", "objective": "val_auc", **(sweep or {})}
    section["trials"] = trials if limit is None else limit
    base = {**(SETTINGS if config is None else config), "name": name}
    directory = SweepDirectory.create(root, name, block_text({**base, "sweep": section}), NOW)
    if settings is None:
        full_config = Config.model_validate(
            {"data": {"source": "x", "target": "y"}, "sweep": section}
        )
        settings = new_search("random", Space(full_config), 0, "higher").ask(trials)
    ended = []
    for number, item in enumerate(settings[: len(settings) - unfinished]):
        status, value, reason = ending(number, score(item))
        epochs = 3 if status == "eliminated" else 9
        best = None if status == "failed" else 2
        ended.append(TrialEnded(number, status, value, epochs, best, None, 1.5, reason))
    with Journal(directory.journal) as journal:
        if settings:
            journal.write(SweepHeader("val_auc", "higher", len(settings), 1, is_distinct=True), 0.0)
            batch = tuple(Trial(number, item) for number, item in enumerate(settings))
            journal.write(BatchSuggested(batch), 0.0)
        for index, end in enumerate(ended):
            journal.write(end, float(index + 1))
    ranked = sorted(
        (end for end in ended if end.has_objective and end.status != "failed"),
        key=lambda end: (end.status == "eliminated", -end.objective),
    )
    for end in ranked[:kept]:
        _trial_run(directory, end, base)
    return directory


def _trial_run(directory: SweepDirectory, end: TrialEnded, base: Mapping[str, Any]) -> None:
    run = make_run(
        directory.path / "made", "trial", config=base, evaluations=scores(auc=end.objective)
    )
    rng = np.random.default_rng(end.number)
    curve = np.minimum(end.objective, 0.5 + 0.05 * np.arange(1, 10) + rng.normal(size=9) * 0.01)
    lines = [
        f'{{"epoch": {epoch}, "loss": 0.5, "val_auc": {value}}}\n'
        for epoch, value in enumerate(curve, start=1)
    ]
    run.metrics.write_text("".join(lines))
    directory.trials.mkdir(exist_ok=True)
    run.path.rename(directory.trial(end.number))
    run.path.parent.rmdir()
    run.path.parent.parent.rmdir()
