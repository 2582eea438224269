"""The metrics: their names, the tasks they fit, which direction is better.

`trainer.metrics` computes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.config.task_rules import TASK_RULES
from trainer.task_names import TaskName

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
    "bleu",
    "chrf",
    "rouge_1",
    "rouge_2",
    "rouge_l",
    "exact_match",
    "token_accuracy",
    "perplexity",
]

TaskProperty = Literal[
    "has_classes",
    "has_numbers",
    "has_text",
    "has_positive_class",
    "is_exclusive",
    "predicts_most_likely",
]
"""An attribute of `TaskRules`."""


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """A metric.

    Attributes:
        better: Which direction is better.
        fits: What is true of the tasks that the metric fits.
        description: For the reference page.
        needs_decoding: Whether it compares texts, which are chosen token by token.
    """

    better: Literal["higher", "lower"]
    fits: TaskProperty
    description: str
    needs_decoding: bool = False

    @property
    def tasks(self) -> tuple[TaskName, ...]:
        """The tasks that the metric fits."""
        return tuple(task for task, rules in TASK_RULES.items() if getattr(rules, self.fits))


_CLASSES: TaskProperty = "has_classes"
_EXCLUSIVE: TaskProperty = "is_exclusive"
_NUMBERS: TaskProperty = "has_numbers"
_TEXT: TaskProperty = "has_text"

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
    "bleu": MetricInfo("higher", _TEXT, "BLEU of the whole text, 0 to 100 (sacrebleu)", True),
    "chrf": MetricInfo(
        "higher", _TEXT, "chrF2, F-score of character n-grams, 0 to 100 (sacrebleu)", True
    ),
    "rouge_1": MetricInfo("higher", _TEXT, "mean F-score of words", True),
    "rouge_2": MetricInfo("higher", _TEXT, "mean F-score of pairs of words", True),
    "rouge_l": MetricInfo("higher", _TEXT, "mean F-score of the longest common subsequence", True),
    "exact_match": MetricInfo(
        "higher", _TEXT, "fraction of texts that are equal to the target", True
    ),
    "token_accuracy": MetricInfo(
        "higher", _TEXT, "fraction of tokens predicted after the tokens before"
    ),
    "perplexity": MetricInfo(
        "lower", _TEXT, "exponential of the mean negative log likelihood of a token"
    ),
}
"""All metrics. With several classes or columns, precision, recall, f1, auc and average_precision are
macro averages: the unweighted mean over classes or columns."""


@dataclass(frozen=True, slots=True)
class MeasureInfo:
    """A measure of the samples of a generator: which direction is better, and what it is."""

    better: Literal["higher", "lower"]
    description: str


MEASURES: dict[str, MeasureInfo] = {
    "frechet_distance": MeasureInfo(
        "lower",
        "Fréchet distance between samples and rows, in the features of a classifier of the training "
        "rows, or for tables in standardized columns",
    ),
    "sample_precision": MeasureInfo(
        "higher", "fraction of samples that are as close to a row as rows are to each other"
    ),
    "sample_recall": MeasureInfo(
        "higher", "fraction of rows that are as close to a sample as samples are to each other"
    ),
    "diversity": MeasureInfo(
        "higher", "mean distance between samples, divided by that between rows"
    ),
    "modes": MeasureInfo(
        "higher", "fraction of classes with at least a quarter of their share of the samples"
    ),
    "discriminator_accuracy": MeasureInfo(
        "lower", "fraction of real and generated rows that the discriminator classifies correctly"
    ),
    "generator_loss": MeasureInfo("lower", "mean loss of the generator"),
    "discriminator_loss": MeasureInfo("lower", "mean loss of the discriminator"),
}
"""What is measured in each epoch of task: generate, on validation rows if there are at least 50."""


def better_direction(metric: str) -> Literal["higher", "lower"]:
    """Return whether a higher or a lower value of a monitored metric (`val_auc`, `loss`) is better.

    Raises:
        KeyError: The name is neither the loss nor a metric.
    """
    name = metric.removeprefix("val_")
    if name in MEASURES:
        return MEASURES[name].better
    return "lower" if name == "loss" else METRICS[name].better  # type: ignore[index]
