"""Numbers."""

from __future__ import annotations

from trainer.tasks.base import TaskKind


class Regression(TaskKind):
    """y (rows, columns) has numbers, scaled for the head as the fitted target says."""

    name = "regression"
