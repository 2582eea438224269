"""The number of trials of a sweep: as configured, at most as many as there are settings."""

from __future__ import annotations

from trainer.config.schema import Config
from trainer.config.sweeps import MAX_GRID, resolved_trials
from trainer.sweep.space import Space


def trials_of(config: Config) -> int | None:
    """How many trials there are at most; None where only time ends the sweep.

    No settings are trained twice, so there are at most as many as there are combinations.
    """
    assert config.sweep is not None, "a sweep has a sweep section"
    trials = resolved_trials(config.sweep)
    found = Space(config).count(MAX_GRID + 1 if trials is None else trials)
    return trials if found is None else found


def too_few_combinations(config: Config) -> str:
    """A warning where the space has fewer combinations than `sweep.trials`; else empty."""
    assert config.sweep is not None, "a sweep has a sweep section"
    wanted, trials = config.sweep.trials, trials_of(config)
    if wanted is None or trials is None or trials >= wanted:
        return ""
    are = "combination of settings exists" if trials == 1 else "combinations of settings exist"
    there = f"{trials:,} trial{'' if trials == 1 else 's'}"
    return f"sweep.space: {trials:,} {are}; {there} instead of {wanted:,}"
