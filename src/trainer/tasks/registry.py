"""The object for the name of a task."""

from __future__ import annotations

from trainer.task_names import TaskName
from trainer.tasks.base import TaskKind
from trainer.tasks.binary import Binary
from trainer.tasks.multiclass import Multiclass
from trainer.tasks.multilabel import Multilabel
from trainer.tasks.regression import Regression
from trainer.tasks.translate import Translate

_KINDS: dict[TaskName, TaskKind] = {
    kind.name: kind for kind in (Binary(), Multiclass(), Multilabel(), Regression(), Translate())
}


def get_task_kind(name: TaskName) -> TaskKind:
    """Return the object for the name of a task."""
    return _KINDS[name]
