"""The tasks as data: what their targets are, and which heads, metrics and settings go with them.

`trainer.tasks` has the code of each task. Everything else reads the attributes of the rules or calls
the task's methods, and does not compare names of tasks. No pydantic: commands that only read runs import
this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.config.metrics import MetricName
    from trainer.config.model import HeadKind
    from trainer.task_names import TaskName


@dataclass(frozen=True, slots=True)
class TaskRules:
    """What a task predicts and which settings fit it.

    Attributes:
        title: The task in a report.
        description: The target, in messages: 'a target of …'.
        explanation: The target, in the first line of a config that `trainer init` writes.
        heads: The valid heads, the default first.
        metrics: The metrics of `metrics: auto`.
        compared_metrics: The metrics used to compare a run with baselines and with other runs; the
            first one is the headline, unless the config specifies another one.
        has_classes: Whether targets are classes or labels and predictions probabilities; otherwise
            both are numbers, or texts.
        is_exclusive: Whether each row has exactly one class, given in one target column.
        has_positive_class: Whether one of two classes is the positive one.
        has_text: Whether targets and predictions are texts.
        is_generated: Whether rows or images are generated, instead of predictions.
    """

    title: str
    description: str
    explanation: str
    heads: tuple[HeadKind, ...]
    metrics: tuple[MetricName, ...]
    compared_metrics: tuple[MetricName, ...]
    has_classes: bool
    is_exclusive: bool = False
    has_positive_class: bool = False
    has_text: bool = False
    is_generated: bool = False

    @property
    def has_numbers(self) -> bool:
        """Whether targets and predictions are numbers."""
        return not (self.has_classes or self.has_text or self.is_generated)

    @property
    def predicts_most_likely(self) -> bool:
        """Whether the most likely class is predicted; its probabilities add up to 1."""
        return self.is_exclusive and not self.has_positive_class

    @property
    def has_threshold(self) -> bool:
        """Whether a class or label is predicted if its probability reaches a threshold."""
        return self.has_classes and not self.predicts_most_likely

    @property
    def has_several_labels(self) -> bool:
        """Whether each row has any number of labels, including none."""
        return self.has_classes and not self.is_exclusive

    def scored_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the prediction columns; for two classes, only that of the positive one.

        Args:
            names: The classes (binary: the negative, then the positive one), labels or target columns.
        """
        return tuple(names[1:] if self.has_positive_class else names)


TASK_RULES: dict[TaskName, TaskRules] = {
    "binary": TaskRules(
        title="binary classification",
        description="two classes",
        explanation="one of two classes",
        heads=("sigmoid", "softmax"),
        metrics=("accuracy", "auc", "precision", "recall", "f1"),
        compared_metrics=("auc", "accuracy", "balanced_accuracy", "f1", "log_loss", "brier"),
        has_classes=True,
        is_exclusive=True,
        has_positive_class=True,
    ),
    "multiclass": TaskRules(
        title="multiclass classification",
        description="more than two classes",
        explanation="one of several classes",
        heads=("softmax",),
        metrics=("accuracy", "f1", "log_loss"),
        compared_metrics=("accuracy", "balanced_accuracy", "f1", "log_loss", "brier"),
        has_classes=True,
        is_exclusive=True,
    ),
    "multilabel": TaskRules(
        title="multilabel classification",
        description="several yes/no columns",
        explanation="any number of labels, each yes or no",
        heads=("sigmoid",),
        metrics=("accuracy", "f1", "auc"),
        compared_metrics=("auc", "accuracy", "f1", "log_loss", "brier"),
        has_classes=True,
    ),
    "regression": TaskRules(
        title="regression",
        description="numbers",
        explanation="numbers",
        heads=("linear", "sigmoid", "softplus", "exponential"),
        metrics=("rmse", "mae", "r2"),
        compared_metrics=("rmse", "mae", "r2"),
        has_classes=False,
    ),
    "translate": TaskRules(
        title="translation",
        description="texts",
        explanation="a text",
        heads=("softmax",),
        metrics=("bleu", "chrf", "exact_match", "token_accuracy"),
        compared_metrics=("bleu", "chrf", "rouge_1", "rouge_2", "rouge_l", "exact_match"),
        has_classes=False,
        has_text=True,
    ),
    "generate": TaskRules(
        title="generation",
        description="rows or images",
        explanation="new rows or images",
        heads=("linear",),
        metrics=(),
        compared_metrics=(),
        has_classes=False,
        is_generated=True,
    ),
}
"""Task → its rules."""

TEXT_TASKS = tuple(task for task, rules in TASK_RULES.items() if rules.has_text)
"""Tasks whose target is text."""

GENERATED_TASKS = tuple(task for task, rules in TASK_RULES.items() if rules.is_generated)
"""Tasks that need no target."""


def rules_of(task: str | None) -> TaskRules | None:
    """Return the rules of a task that a file names; None if it is missing or unknown."""
    return next((rules for name, rules in TASK_RULES.items() if name == task), None)
