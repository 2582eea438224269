"""What is asked of the network: from a fitted target to outputs, and from outputs to answers.

Owns: which head, loss and metrics a run has; how targets are laid out for the head; how raw outputs
become probabilities or numbers in the target's unit, labels, and metrics. No TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config.layers import HeadKind
from trainer.config.objectives import POSITIVE_HEADS, LossName, MetricName
from trainer.config.resolve import resolved_head, resolved_loss, resolved_metrics
from trainer.config.schema import Config
from trainer.data.samples import Samples
from trainer.data.targets import FittedTarget
from trainer.evaluation.calibration import apply_temperature
from trainer.evaluation.predictions import Predictions
from trainer.models.metrics import compute_metrics, predicted_positive
from trainer.models.summary import head_units
from trainer.report.predictions import prediction_columns
from trainer.runs.decisions import DEFAULT_THRESHOLD

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Task:
    """The question a run answers.

    Attributes:
        target: The fitted target.
        head: The kind of the last layer.
        outputs: Its units.
        loss: The name of the loss.
        metrics: What is measured besides the loss.
        threshold: A probability of at least this is a yes.
        temperature: What the logits of probabilities are divided by.
        half_widths: Half the width of the interval around each number, on the curve of its column where
            that has one (`FittedTarget.to_interval_scale`); empty where there is none.
    """

    target: FittedTarget
    head: HeadKind
    outputs: int
    loss: LossName
    metrics: tuple[MetricName, ...]
    threshold: float
    temperature: float = 1.0
    half_widths: tuple[float, ...] = ()

    @property
    def prediction_names(self) -> tuple[str, ...]:
        """A name for each number of an answer: of the positive class, of each class, or each column."""
        return tuple(prediction_columns(self.target.task, self.target.names))

    def encode_targets(self, samples: Samples) -> Samples:
        """The samples with targets (rows, outputs) laid out for the head."""
        if self.target.task == "binary" and self.outputs == 2:
            return replace(samples, y=np.concatenate([1 - samples.y, samples.y], axis=1))
        return samples

    def prior(self) -> tuple[float, ...]:
        """Class shares or means of the training rows, one for each output."""
        if self.target.task == "binary" and self.outputs == 2:
            return (1 - self.target.prior[0], self.target.prior[0])
        return self.target.prior

    def answers(self, outputs: Array) -> NDArray[np.floating[Any]]:
        """Raw outputs (rows, outputs) as probabilities, or as numbers in the target's unit.

        Returns:
            binary: (rows, 1), the probability of the positive class. multiclass: (rows, classes).
            multilabel: (rows, columns). regression: (rows, columns).
        """
        if self.head in POSITIVE_HEADS:
            # The exponential of a large input is infinite, that of a small one 0.
            outputs = np.clip(outputs, np.finfo(np.float32).tiny, np.finfo(np.float32).max)
        answers = self._unscaled(outputs)
        if self.temperature == 1.0:
            return answers
        calibrated = apply_temperature(self.target.task, answers, self.temperature)
        return calibrated.astype(answers.dtype)

    def truths(self, y: Array) -> NDArray[np.floating[Any]]:
        """Targets laid out for the head (rows, outputs), in the form of `answers`."""
        return self._unscaled(y)

    def actual(self, samples: Samples) -> NDArray[np.floating[Any]]:
        """The targets of samples in the form of `answers`; numbers as the table has them."""
        return self.truths(samples.y) if samples.values is None else samples.values

    def intervals(
        self, answers: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
        """Low and high ends of the interval around each number (rows, columns), in the target's unit."""
        target, widths = self.target, np.array(self.half_widths)
        middle = target.to_interval_scale(answers)
        low, high = (
            target.from_interval_scale(middle - widths),
            target.from_interval_scale(middle + widths),
        )
        if self.head != "linear":
            # No number of the training rows lies outside of what the head can predict.
            low = np.maximum(low, 0.0)
        if self.head == "sigmoid":
            high = np.minimum(high, 1.0)
        return np.minimum(low, answers), np.maximum(high, answers)

    def in_words(self, truths: NDArray[np.floating[Any]]) -> list[Any]:
        """Rows of `truths` as JSON has them: a class as text, or a list of numbers."""
        match self.target.task:
            case "binary":
                return [self.target.classes[int(one)] for one in truths[:, 0] > 0.5]
            case "multiclass":
                return [self.target.classes[one] for one in truths.argmax(axis=1)]
            case "multilabel" | "regression":
                return list(truths.tolist())

    def _unscaled(self, outputs: Array) -> NDArray[np.floating[Any]]:
        match self.target.task:
            case "binary":
                return outputs[:, 1:] if self.outputs == 2 else outputs
            case "regression":
                return self.target.inverse_transform(outputs)
            case "multiclass" | "multilabel":
                return outputs

    def said(self, samples: Samples, outputs: Array) -> Predictions:
        """What raw outputs say of samples, whose targets are laid out, in their order."""
        return self.answered(samples, self.answers(outputs))

    def answered(self, samples: Samples, answers: NDArray[np.floating[Any]]) -> Predictions:
        """Answers to samples, whose targets are laid out, beside what is true."""
        return Predictions(
            task=self.target.task,
            names=self.target.names,
            y=self.actual(samples),
            p=answers,
            rows=samples.rows,
            weight=None if samples.weight is None else samples.weight.astype(np.float64),
        )

    def prediction_metrics(
        self, answers: NDArray[np.floating[Any]], samples: Samples
    ) -> dict[str, float]:
        """The metrics of answers for all rows of samples, whose targets are laid out."""
        return compute_metrics(
            self.metrics,
            self.target.task,
            self._measured(samples),
            answers,
            samples.weight,
            self.threshold,
        )

    def compute_metrics(
        self, outputs: Array, samples: Samples, rows: NDArray[np.int32]
    ) -> dict[str, float]:
        """The metrics of raw outputs for some rows of samples, whose targets are laid out."""
        weight = None if samples.weight is None else samples.weight[rows]
        return compute_metrics(
            self.metrics,
            self.target.task,
            self._measured(samples, rows),
            self.answers(outputs),
            weight,
            self.threshold,
        )

    def _measured(
        self, samples: Samples, rows: NDArray[np.int32] | None = None
    ) -> NDArray[np.floating[Any]]:
        """The targets of samples, of some rows or all, that metrics compare answers with.

        Values that come back from a curve are too coarse; others keep the digits by which runs were
        compared before.
        """
        if self.target.curves and samples.values is not None:
            return samples.values if rows is None else samples.values[rows]
        return self.truths(samples.y if rows is None else samples.y[rows])

    def labels(self, answers: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """Class numbers of answers: (rows, 1) for binary and multiclass, (rows, columns) multilabel."""
        if self.target.task == "multiclass":
            return np.asarray(answers.argmax(axis=1), np.int64)[:, None]
        return np.asarray(predicted_positive(answers, self.threshold), np.int64)

    def class_weights(self, settings: str | dict[str, float] | None) -> Array | None:
        """One weight a class, in the order of the classes: given, or n / (classes · n of the class)."""
        if settings is None:
            return None
        classes = self.target.classes
        if isinstance(settings, dict):
            return np.asarray([settings[name] for name in classes], np.float32)
        counts = np.asarray(self.target.class_counts, np.float64)
        return np.asarray(counts.sum() / (len(classes) * counts), np.float32)


def make_task(config: Config, target: FittedTarget) -> Task:
    """The question of a config on a fitted target."""
    head = resolved_head(config, target.task)
    threshold = config.evaluate.threshold
    return Task(
        target=target,
        head=head,
        outputs=head_units(head, target.task, target.width),
        loss=resolved_loss(config, head),
        metrics=resolved_metrics(config, target.task),
        # One that is chosen is so after training, on the validation rows.
        threshold=threshold if isinstance(threshold, float) else DEFAULT_THRESHOLD,
    )


def apply_class_weights(samples: Samples, weights: Sequence[float] | Array | None) -> Samples:
    """The samples with class weights multiplied into the row weights."""
    if weights is None:
        return samples
    table = np.asarray(weights, np.float32)
    number = samples.y[:, 0].astype(np.int64) if samples.y.shape[1] == 1 else samples.y.argmax(1)
    per_row = table[number]
    return replace(samples, weight=per_row if samples.weight is None else samples.weight * per_row)
