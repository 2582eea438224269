"""Any number of labels, each yes or no."""

from __future__ import annotations

from trainer.tasks.base import TaskKind


class Multilabel(TaskKind):
    """y (rows, labels) is 1 for the labels that a row has."""

    name = "multilabel"
