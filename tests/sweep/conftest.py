from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from trainer.config.schema import Config
from trainer.sweep.space import Space
from trainer.sweep.trials import TrialEnded, TrialStatus


def config_of(**sweep: Any) -> Config:
    return Config.model_validate({"data": {"source": "x", "target": "y"}, "sweep": sweep})


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not flush files to disk, which is slow; a simulated kill does not lose unflushed data."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def space() -> Callable[..., Space]:
    """Return a function that makes a space from the settings of a `sweep` section."""
    return lambda **sweep: Space(config_of(**sweep))


def ended(
    number: int,
    objective: float = 0.5,
    status: TrialStatus = "finished",
    epochs: int = 9,
    reason: str = "",
) -> TrialEnded:
    return TrialEnded(number, status, objective, epochs, 1, f"trials/{number}", 1.5, reason)


@pytest.fixture
def make_end() -> Callable[..., TrialEnded]:
    """Return a function that makes the end of a trial."""
    return ended
