"""The task of a run: from a fitted target to network outputs and from outputs to predictions.

Defines the head, loss and metrics of a run, how targets are encoded for the head, and how raw outputs
become probabilities or numbers in the target's unit, labels and metrics. Does not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config.losses import Loss, center_quantile
from trainer.config.metrics import MetricName
from trainer.config.model import POSITIVE_HEADS, HeadKind
from trainer.config.resolve import resolved_head, resolved_loss, resolved_metrics
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import Float32Array
from trainer.data.column_names import free_name
from trainer.data.preprocessing import Preprocessing
from trainer.data.samples import Samples
from trainer.data.targets import FittedTarget
from trainer.data.text_targets import TextTarget
from trainer.metrics.activations import apply_temperature
from trainer.metrics.arrays import FloatArray, Int64Array
from trainer.metrics.compute import compute_metrics
from trainer.metrics.labels import class_indices
from trainer.metrics.predictions import Predictions
from trainer.models.summary import NetworkShape
from trainer.runs.decisions import DEFAULT_THRESHOLD, Decisions
from trainer.task_names import TaskName
from trainer.tasks.base import Column, TaskKind
from trainer.tasks.evaluated import EvaluatedSamples
from trainer.tasks.registry import get_task_kind


@dataclass(frozen=True, slots=True)
class Task:
    """The learning task of a run.

    Attributes:
        target: The fitted target.
        head: The kind of the output layer.
        outputs: The number of its units.
        loss: The loss; its name is never `auto`.
        metrics: Metrics that are computed besides the loss.
        threshold: Minimum probability at which the positive class is predicted.
        temperature: The divisor of the logits.
        half_widths: Half the width of the prediction interval of each target column, on the scale of
            its transform, if any (`FittedTarget.to_interval_scale`); empty without intervals. With
            predicted quantiles, by how much the bounds extend beyond the first and the last.

    Decoded outputs and predictions of all kinds have one column per class, label or target column, k in
    all. If the loss has several quantiles, these are the means or the predictions of the quantile
    closest to 0.5, and the predictions of each quantile follow, k columns each, never decreasing from
    one to the next.
    """

    target: FittedTarget
    head: HeadKind
    outputs: int
    loss: Loss
    metrics: tuple[MetricName, ...]
    threshold: float
    temperature: float = 1.0
    half_widths: tuple[float, ...] = ()

    @property
    def name(self) -> TaskName:
        """The name of the task."""
        return self.target.task

    @property
    def kind(self) -> TaskKind:
        """The form of targets and predictions."""
        return get_task_kind(self.name)

    @property
    def text(self) -> TextTarget | None:
        """The tokens of a target that is a text; None for classes and numbers."""
        return self.target.text

    @property
    def prediction_names(self) -> tuple[str, ...]:
        """Return the names of the prediction columns: one per class or target column."""
        return tuple(self.kind.prediction_names(self.target.names))

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The predicted quantiles; empty if only one number is predicted."""
        return self.loss.predicted_quantiles

    @property
    def file_columns(self) -> tuple[str, ...]:
        """Return the names of all columns of decoded outputs."""
        names = self.prediction_names
        return names + tuple(f"{name}_q{q:g}" for q in self.quantiles for name in names)

    def encode_targets(self, samples: Samples) -> Samples:
        """Return the samples with targets encoded for the head, (rows, outputs)."""
        return samples.encoded_for_head(self.kind.encode_for_head, self.outputs)

    def network_shape(self, preprocessing: Preprocessing) -> NetworkShape:
        """Return the inputs and the output layer of a network for encoded rows."""
        shape = NetworkShape(
            preprocessing.inputs,
            preprocessing.embeddings,
            self.head,
            self.outputs,
            term_vectors=preprocessing.term_vectors,
        )
        tokens, image = preprocessing.tokens, preprocessing.image
        if tokens is not None:
            padding = (tokens.pad_id, tokens.pads_at_start)
            return replace(shape, token_vectors=tokens.vectors, token_padding=padding)
        return shape if image is None else replace(shape, image_scaling=image.scaling)

    def check_packages(self) -> None:
        """Check that the packages that compute the metrics are installed; most tasks need none.

        Raises:
            DataError: One is not.
        """

    def prior(self) -> tuple[float, ...]:
        """Return class frequencies or means of the training rows, one per output."""
        encoded = self.kind.encode_for_head(np.array([self.target.prior]), self.outputs)
        return tuple(encoded[0].tolist())

    def decode_outputs(self, outputs: Float32Array) -> FloatArray:
        """Convert raw outputs (rows, outputs) to probabilities, or to numbers in the target's unit.

        Returns:
            binary: (rows, 1), the probability of the positive class. multiclass: (rows, classes).
            multilabel: (rows, columns). regression: (rows, columns), and columns for each quantile.
        """
        if self.head in POSITIVE_HEADS:
            # The exponential of a large input is infinite, that of a small one 0.
            outputs = np.clip(outputs, np.finfo(np.float32).tiny, np.finfo(np.float32).max)
        if self.quantiles:
            return self._decode_quantiles(outputs)
        predictions = self._unscaled(outputs)
        if self.temperature == 1.0:
            return predictions
        calibrated = apply_temperature(self.name, predictions, self.temperature)
        return calibrated.astype(predictions.dtype)

    def decode_targets(self, y: Float32Array) -> FloatArray:
        """Convert targets encoded for the head (rows, outputs) to the form of predictions (rows, k)."""
        return self._unscaled(y[:, :: self.loss.outputs_per_target])

    def point_predictions(self, decoded: FloatArray) -> FloatArray:
        """Return the predictions of decoded outputs without their quantiles, (rows, k)."""
        return decoded[:, : len(self.prediction_names)]

    def _decode_quantiles(self, outputs: Float32Array) -> FloatArray:
        """Sort the quantiles of each column, so that they do not cross.

        Sorting never increases the pinball loss (Chernozhukov, Fernández-Val, Galichon, Quantile and
        probability curves without crossing, 2010).
        """
        by_column = outputs.reshape(len(outputs), -1, self.loss.outputs_per_target)
        has_mean = self.loss.kind.has_mean
        quantiles = np.moveaxis(np.sort(by_column[:, :, int(has_mean) :], axis=2), 2, 0)
        center = by_column[:, :, 0] if has_mean else quantiles[center_quantile(self.quantiles)]
        return np.hstack([self._unscaled(values) for values in (center, *quantiles)])

    def target_values(self, samples: Samples) -> FloatArray:
        """Return the targets of samples in the form of decoded outputs; numbers as in the table."""
        return self.decode_targets(samples.y) if samples.values is None else samples.values

    def prediction_intervals(self, decoded: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return both ends of the prediction intervals, (rows, columns), in the target's unit."""
        target, widths = self.target, np.array(self.half_widths)
        predictions = self.point_predictions(decoded)
        first, last = self.interval_base(decoded)
        low, high = (
            target.from_interval_scale(first - widths),
            target.from_interval_scale(last + widths),
        )
        if self.head != "linear":
            # No number of the training rows is outside the range of the head.
            low = np.maximum(low, 0.0)
        if self.head == "sigmoid":
            high = np.minimum(high, 1.0)
        return np.minimum(low, predictions), np.maximum(high, predictions)

    def interval_base(self, decoded: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what intervals extend by their half widths, (rows, columns), on the interval scale.

        That is the first and the last quantile, or twice the prediction.
        """
        columns, to_scale = len(self.prediction_names), self.target.to_interval_scale
        if not self.quantiles:
            center = to_scale(decoded)
            return center, center
        return to_scale(decoded[:, columns : 2 * columns]), to_scale(decoded[:, -columns:])

    def json_values(self, targets: FloatArray) -> list[Any]:
        """Return targets as JSON values, one per row: the class as text, or a list of numbers."""
        return self.kind.json_values(targets, self.target.classes)

    def _unscaled(self, outputs: Float32Array) -> FloatArray:
        outputs = self.kind.decode_from_head(outputs)
        return outputs if self.kind.rules.has_classes else self.target.inverse_transform(outputs)

    def evaluated(
        self, samples: Samples, decoded: FloatArray, metrics: Mapping[str, float]
    ) -> EvaluatedSamples:
        """Return decoded outputs with the targets of samples, which are encoded for the head, and their
        metrics.
        """
        made = self.make_predictions(samples, decoded)
        return EvaluatedSamples(rows=len(samples), metrics=metrics, predictions=made)

    def make_predictions(self, samples: Samples, decoded: FloatArray) -> Predictions:
        """Return predictions with the targets of samples, which are encoded for the head."""
        columns = len(self.prediction_names)
        return Predictions(
            task=self.name,
            names=self.target.names,
            y=self.target_values(samples),
            p=self.point_predictions(decoded),
            rows=samples.rows,
            weight=None if samples.weight is None else samples.weight.astype(np.float64),
            quantiles=decoded[:, columns:] if decoded.shape[1] > columns else None,
        )

    def prediction_metrics(self, decoded: FloatArray, samples: Samples) -> dict[str, float]:
        """Compute the metrics of decoded outputs for all rows of samples with encoded targets."""
        return compute_metrics(
            self.metrics,
            self.name,
            self._metric_targets(samples),
            self.point_predictions(decoded),
            samples.weight,
            self.threshold,
        )

    def compute_metrics(
        self, outputs: Float32Array, samples: Samples, rows: NDArray[np.int32]
    ) -> dict[str, float]:
        """Compute the metrics of raw outputs for some rows of samples with encoded targets."""
        weight = None if samples.weight is None else samples.weight[rows]
        return compute_metrics(
            self.metrics,
            self.name,
            self._metric_targets(samples, rows),
            self.point_predictions(self.decode_outputs(outputs)),
            weight,
            self.threshold,
        )

    def _metric_targets(
        self, samples: Samples, rows: NDArray[np.int32] | None = None
    ) -> FloatArray:
        """Return the targets that predictions are compared with, for some rows or all.

        Transformed targets lose too many digits when they are transformed back, so the table's values
        are used. All others keep the digits with which earlier runs were compared.
        """
        if self.target.transforms and samples.values is not None:
            return samples.values if rows is None else samples.values[rows]
        return self.decode_targets(samples.y if rows is None else samples.y[rows])

    def predicted_labels(self, predictions: FloatArray) -> Int64Array:
        """Return class indices: (rows, 1) for binary and multiclass, (rows, columns) for multilabel."""
        return self.kind.predicted_labels(predictions, self.threshold)

    def prediction_columns(self, decoded: FloatArray) -> dict[str, Column]:
        """Return decoded outputs as named columns for the user: labels, probabilities, numbers with
        their intervals and quantiles.
        """
        interval = self.prediction_intervals(decoded) if self.half_widths else None
        predictions = self.point_predictions(decoded)
        columns = self.kind.prediction_columns(self.target, predictions, self.threshold, interval)
        for index in range(predictions.shape[1], decoded.shape[1]):
            name = free_name(self.file_columns[index], columns, "_of_quantile")
            columns[name] = decoded[:, index]
        return columns

    def std_columns(self, std: FloatArray, others: Collection[str]) -> dict[str, Column]:
        """Return the standard deviation of each predicted number as `<name>_std`.

        Args:
            std: (rows, numbers) standard deviations between members.
            others: The names of the columns before them.
        """
        return {
            free_name(f"{name}_std", others, "_of_members"): std[:, index]
            for index, name in enumerate(self.prediction_names)
        }

    def with_decisions(self, decisions: Decisions) -> Task:
        """Return the task with the decisions made after training."""
        widths = decisions.half_widths
        return replace(
            self,
            threshold=decisions.threshold,
            temperature=decisions.temperature,
            half_widths=tuple(widths[name] for name in self.target.columns if name in widths),
        )

    def apply_class_weights(
        self, samples: Samples, settings: str | dict[str, float] | None
    ) -> Samples:
        """Multiply class weights into the weights of samples with encoded targets.

        Args:
            samples: The samples.
            settings: See `class_weights`.
        """
        weights = self.class_weights(settings)
        return samples if weights is None else samples.with_class_weights(weights, self._classes_of)

    def class_weights(self, settings: str | dict[str, float] | None) -> Float32Array | None:
        """Return one weight per class, in class order: as given, or n / (classes · class rows)."""
        if settings is None:
            return None
        classes = self.target.classes
        if isinstance(settings, dict):
            return np.asarray([settings[name] for name in classes], np.float32)
        counts = np.asarray(self.target.class_counts, np.float64)
        return np.asarray(counts.sum() / (len(classes) * counts), np.float32)

    def _classes_of(self, y: Float32Array) -> Int64Array:
        return class_indices(self.kind.decode_from_head(y))


def make_task(config: Config, target: FittedTarget) -> Task:
    """Return the learning task of a config for a fitted target."""
    # Its module imports this one.
    from trainer.tasks.translation import TranslationTask

    head = resolved_head(config, target.task)
    threshold, loss = config.evaluate.threshold, resolved_loss(config, head)
    make = TranslationTask if TASK_RULES[target.task].has_text else Task
    return make(
        target=target,
        head=head,
        outputs=get_task_kind(target.task).head_units(head, target.width) * loss.outputs_per_target,
        loss=loss,
        metrics=resolved_metrics(config, target.task),
        # A threshold that is optimized is chosen after training, on the validation rows.
        threshold=threshold if isinstance(threshold, float) else DEFAULT_THRESHOLD,
    )
