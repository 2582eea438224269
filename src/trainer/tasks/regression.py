"""Regression: numbers."""

from __future__ import annotations

from trainer.tasks.base import TaskKind


class Regression(TaskKind):
    """y (rows, columns) has numbers, scaled by the fitted target to fit the head."""

    name = "regression"
