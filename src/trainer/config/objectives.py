"""Losses and metrics: their names, the heads they fit, which direction is better.

They are computed in `trainer.models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from trainer.config.data import TaskName
from trainer.config.model import HeadKind
from trainer.config.sections import Section
from trainer.config.task_rules import TASK_RULES

LossName = Literal[
    "auto",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "kl_divergence",
    "poisson",
    "mean_squared_error",
    "half_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
]

_ANY_HEAD: tuple[HeadKind, ...] = ("sigmoid", "softmax", "linear", "softplus", "exponential")
_NEVER_NEGATIVE: tuple[HeadKind, ...] = ("sigmoid", "softmax", "softplus", "exponential")

LOSS_HEADS: dict[str, tuple[HeadKind, ...]] = {
    "auto": _ANY_HEAD,
    "binary_crossentropy": ("sigmoid",),
    "binary_focal_crossentropy": ("sigmoid",),
    "categorical_crossentropy": ("softmax",),
    "categorical_focal_crossentropy": ("softmax",),
    "kl_divergence": ("softmax",),
    # The logarithm of a negative prediction is nan, or is clipped so that its gradient is 0.
    "poisson": _NEVER_NEGATIVE,
    "mean_squared_error": _ANY_HEAD,
    "half_squared_error": _ANY_HEAD,
    "mean_absolute_error": _ANY_HEAD,
    "mean_absolute_percentage_error": ("linear", "softplus", "exponential"),
    "mean_squared_logarithmic_error": _NEVER_NEGATIVE,
    "huber": _ANY_HEAD,
    "log_cosh": _ANY_HEAD,
}
"""Loss → the heads that it can be used with."""

POSITIVE_HEADS: tuple[HeadKind, ...] = ("softplus", "exponential")
"""Heads whose output is positive and unbounded above."""

COUNT_LOSSES: tuple[LossName, ...] = ("poisson", "mean_squared_logarithmic_error")
"""Losses that take the logarithm of targets and predictions, so these must not be negative."""

UNSCALED_LOSSES: tuple[LossName, ...] = (*COUNT_LOSSES, "mean_absolute_percentage_error")
"""Losses that are meaningful only for an unscaled target."""

DEFAULT_LOSS: dict[HeadKind, LossName] = {
    "sigmoid": "binary_crossentropy",
    "softmax": "categorical_crossentropy",
    "linear": "mean_squared_error",
    "softplus": "mean_squared_error",
    "exponential": "mean_squared_error",
}


class Loss(Section):
    """The loss that training minimizes."""

    name: LossName = "auto"
    """auto: the cross-entropy of the head, or the mean squared error for regression. poisson, for
    counts: prediction - target · log(prediction)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """How far the targets of a cross-entropy are moved towards the uniform distribution."""
    gamma: Annotated[float, Field(ge=0)] = 2.0
    """Focal losses: how much easy examples are down-weighted."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Focal losses: weight of the positive class."""
    delta: Annotated[float, Field(gt=0)] = 1.0
    """huber: error at which it changes from squared to linear."""


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


NamedLoss = Annotated[Loss, BeforeValidator(_named, json_schema_input_type=Loss | LossName)]

MetricName = Literal[
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "specificity",
    "f1",
    "mcc",
    "auc",
    "average_precision",
    "log_loss",
    "brier",
    "top_3_accuracy",
    "top_5_accuracy",
    "mse",
    "rmse",
    "mae",
    "median_absolute_error",
    "mape",
    "r2",
]


TaskProperty = Literal[
    "has_classes", "has_numbers", "has_positive_class", "is_exclusive", "predicts_most_likely"
]
"""An attribute of `TaskRules`."""


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """A metric.

    Attributes:
        better: Which direction is better.
        fits: What is true of the tasks that the metric fits.
        description: For the reference page.
    """

    better: Literal["higher", "lower"]
    fits: TaskProperty
    description: str

    @property
    def tasks(self) -> tuple[TaskName, ...]:
        """The tasks that the metric fits."""
        return tuple(task for task, rules in TASK_RULES.items() if getattr(rules, self.fits))


_CLASSES: TaskProperty = "has_classes"
_EXCLUSIVE: TaskProperty = "is_exclusive"
_NUMBERS: TaskProperty = "has_numbers"

METRICS: dict[MetricName, MetricInfo] = {
    "accuracy": MetricInfo("higher", _CLASSES, "fraction of labels that are correct"),
    "balanced_accuracy": MetricInfo("higher", _EXCLUSIVE, "mean recall over classes"),
    "precision": MetricInfo(
        "higher", _CLASSES, "fraction of the predicted positives that are positive"
    ),
    "recall": MetricInfo(
        "higher", _CLASSES, "fraction of the positives that are predicted positive"
    ),
    "specificity": MetricInfo(
        "higher", "has_positive_class", "fraction of the negatives that are predicted negative"
    ),
    "f1": MetricInfo("higher", _CLASSES, "harmonic mean of precision and recall"),
    "mcc": MetricInfo("higher", _EXCLUSIVE, "Matthews correlation coefficient"),
    "auc": MetricInfo("higher", _CLASSES, "area under the ROC curve"),
    "average_precision": MetricInfo(
        "higher", _CLASSES, "area under the precision-recall curve, as steps"
    ),
    "log_loss": MetricInfo("lower", _CLASSES, "mean negative log likelihood, in nats"),
    "brier": MetricInfo("lower", _CLASSES, "mean squared error of the probabilities"),
    "top_3_accuracy": MetricInfo(
        "higher", "predicts_most_likely", "the class is among the three most likely"
    ),
    "top_5_accuracy": MetricInfo(
        "higher", "predicts_most_likely", "the class is among the five most likely"
    ),
    "mse": MetricInfo("lower", _NUMBERS, "mean squared error"),
    "rmse": MetricInfo("lower", _NUMBERS, "root mean squared error, in the target's unit"),
    "mae": MetricInfo("lower", _NUMBERS, "mean absolute error, in the target's unit"),
    "median_absolute_error": MetricInfo("lower", _NUMBERS, "median of the absolute errors"),
    "mape": MetricInfo("lower", _NUMBERS, "mean absolute error as a fraction of the target"),
    "r2": MetricInfo(
        "higher",
        _NUMBERS,
        "coefficient of determination: fraction of the target's variance explained",
    ),
}
"""All metrics. With several classes or columns, precision, recall, f1, auc and average_precision are
macro averages: the unweighted mean over classes or columns."""


def better_direction(metric: str) -> Literal["higher", "lower"]:
    """Return whether a higher or a lower value of a monitored metric (`val_auc`, `loss`) is better.

    Raises:
        KeyError: The name is neither the loss nor a metric.
    """
    name = metric.removeprefix("val_")
    return "lower" if name == "loss" else METRICS[name].better  # type: ignore[index]
