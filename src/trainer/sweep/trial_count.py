"""The number of trials of a sweep: as configured, limited by the number of combinations."""

from __future__ import annotations

from trainer.config.schema import Config
from trainer.config.sweeps import MAX_GRID, resolved_trials
from trainer.errors import pluralize
from trainer.sweep.space import Space


def trial_count(config: Config) -> int | None:
    """Return the maximum number of trials; None if only time ends the sweep.

    No combination of settings is trained twice, so the number of combinations is a limit.
    """
    assert config.sweep is not None, "a sweep has a sweep section"
    trials = resolved_trials(config.sweep)
    combinations = Space(config).count(MAX_GRID + 1 if trials is None else trials)
    return trials if combinations is None else combinations


def combinations_warning(config: Config) -> str:
    """Return a warning if the space has fewer combinations than `sweep.trials`; else an empty string."""
    assert config.sweep is not None, "a sweep has a sweep section"
    requested, trials = config.sweep.trials, trial_count(config)
    if requested is None or trials is None or trials >= requested:
        return ""
    exist = "combination of settings exists" if trials == 1 else "combinations of settings exist"
    actual = pluralize(trials, "trial")
    return f"sweep.space: only {trials:,} {exist}; running {actual} instead of {requested:,}"
