"""The predictor of a trained run: rows in memory → labels, probabilities or numbers, intervals, flags.

It combines the networks of a run (itself, or its finished repeats and folds), their preprocessing, and
the decisions made after training: threshold, temperature and half-widths of intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from trainer.config.locations import locate_problems
from trainer.data.arrays import Float32Array
from trainer.data.column_names import free_name
from trainer.data.in_memory import table_in_memory
from trainer.data.new_data import PredictionBatch, prediction_batch
from trainer.data.preprocessing import Preprocessing
from trainer.data.samples import Samples
from trainer.engine import devices
from trainer.inputs import Inputs
from trainer.metrics.arrays import FloatArray, Int64Array
from trainer.prediction.trained_runs import (
    TrainedRun,
    ensemble_task,
    load_network,
    open_members,
)
from trainer.runs.directory import RunDirectory
from trainer.tasks.base import Column
from trainer.tasks.evaluated import EvaluatedSamples

if TYPE_CHECKING:
    from trainer.engine.batches import Evaluator

_TINY = np.float32(1e-30)


@dataclass(frozen=True, slots=True)
class MeanPredictions:
    """The predictions of one network, or the mean of several.

    Attributes:
        mean: (rows, numbers), decoded outputs: probabilities or numbers in the target's unit.
        std: The standard deviation between networks (n - 1); None for a single network.
    """

    mean: FloatArray
    std: FloatArray | None


class Predictor:
    """A trained run that predicts. Networks are loaded with `load_networks` or when first used.

    Attributes:
        run: The run directory.
        members: The networks that predict for it: its finished members, or itself.
        task: The task, with the decisions made for all members together.
        encoders: The distinct preprocessing of the members: those of the same fold share one.
        representatives: The first member of each encoder.
        encoder_of_member: The index of each member's encoder.
    """

    def __init__(
        self,
        run: RunDirectory,
        members: Sequence[TrainedRun],
        *,
        device: Literal["auto", "cpu", "gpu"],
        allow_custom: bool,
    ) -> None:
        self.run = run
        self.members = tuple(members)
        self.task = ensemble_task(run, members)
        self.encoders: list[Preprocessing] = []
        self.representatives: list[TrainedRun] = []
        for member in members:
            if member.preprocessing not in self.encoders:
                self.encoders.append(member.preprocessing)
                self.representatives.append(member)
        self.encoder_of_member = [self.encoders.index(member.preprocessing) for member in members]
        self._device = device
        self._allow_custom = allow_custom

    @property
    def has_members(self) -> bool:
        """Whether the networks are repeats or folds of the run, which have other training rows."""
        return self.run != self.members[0].run

    @property
    def checkpoint(self) -> str:
        """The name of the checkpoint, or of those of the members."""
        if self.has_members:
            return f"best of {len(self.members)} members"
        return self.members[0].checkpoint

    def predict(self, frame: object, *, keep: Sequence[str] = ()) -> pl.DataFrame:
        """Predict the rows of a frame, with the columns that `trainer predict` writes.

        Args:
            frame: A polars or pandas DataFrame, a dict of columns, or a list of dicts, one per row. It
                needs the feature columns of the run, not the target.
            keep: Columns to pass through; "*" for all.

        Returns:
            One row per input row, in the same order: `row`, from 0; the columns that are passed
            through; `label` and `probability_<class>`, or `predicted_<column>` with `_low` and `_high`
            if the run has prediction intervals, and `_q<quantile>` for each predicted quantile;
            `<name>_std`, the standard deviation between members, for folds and repeats; and `unseen`,
            whether a category did not occur in training.

        Raises:
            DataError: Columns are missing or have other types of values, or there are no rows.
        """
        first = self.members[0].loaded
        with locate_problems(first):
            table = table_in_memory(frame)
            batches = [
                prediction_batch(table, first.config.data, encoder, keep)
                for encoder in self.encoders
            ]
        return self.predict_encoded_rows(batches)

    def predict_encoded_rows(self, batches: Sequence[PredictionBatch]) -> pl.DataFrame:
        """Predict rows that are encoded by each encoder; see `predict`."""
        predictions = self.predict_numbers([batch.encoded.inputs for batch in batches])
        columns = self.task.prediction_columns(predictions.mean)
        if predictions.std is not None:
            columns |= self.task.std_columns(predictions.std, columns)
        return _result(batches[0], columns)

    def predict_numbers(self, inputs: Sequence[Inputs]) -> MeanPredictions:
        """Return the mean and standard deviation of the decoded predictions of all members.

        Args:
            inputs: The rows encoded by each encoder.
        """
        return mean_predictions(self.predict_each(inputs))

    def predict_each(self, inputs: Sequence[Inputs]) -> list[FloatArray]:
        """Return the decoded predictions of each member, (rows, numbers).

        Args:
            inputs: The rows encoded by each encoder.
        """
        return self._networks.predict([inputs[number] for number in self.encoder_of_member])

    def predict_mean(self, inputs: Sequence[Inputs]) -> FloatArray:
        """Return the mean predictions without quantiles, the predict function that is explained."""
        return self.task.point_predictions(self.predict_numbers(inputs).mean)

    def class_activation_maps(
        self, inputs: Sequence[Inputs], units: Int64Array, signs: Int64Array
    ) -> Float32Array | None:
        """Return the mean of the class activation maps of all members, each with a maximum of 1.

        Args:
            inputs: The rows encoded by each encoder.
            units: The unit of the output layer of each row; see `class_activation_maps`.
            signs: 1 or -1 for each row.

        Returns:
            (n, rows, columns) from 0 to 1; None for networks without feature maps.
        """
        encoded = [inputs[number] for number in self.encoder_of_member]
        maps = self._networks.class_activation_maps(encoded, units, signs)
        if not maps:
            return None
        scaled = [part / np.maximum(part.max(axis=(1, 2), keepdims=True), _TINY) for part in maps]
        mean: Float32Array = np.mean(scaled, axis=0)
        return mean

    def evaluate(self, samples: Sequence[Samples]) -> EvaluatedSamples:
        """Evaluate the mean prediction for samples with targets.

        Args:
            samples: The samples encoded by each encoder.
        """
        task, encoded = self.task, self.task.encode_targets(samples[0])
        loss: dict[str, float] = {}
        if self.has_members:
            predictions = self.predict_numbers([rows.inputs for rows in samples]).mean
        else:
            output = self._networks.evaluator.evaluate(encoded)
            predictions, loss = task.decode_outputs(output.predictions), {"loss": output.loss}
        metrics = task.prediction_metrics(predictions, encoded)
        return task.evaluated(encoded, predictions, {**loss, **metrics})

    def load_networks(self) -> None:
        """Import TensorFlow and load the networks, if they are not loaded yet.

        Raises:
            RunError: A checkpoint is damaged.
            ConfigError: A custom layer is not allowed.
        """
        self._networks  # noqa: B018

    @cached_property
    def _networks(self) -> _Networks:
        devices.start(self._device, devices.usable_cores())
        with locate_problems(self.members[0].loaded):
            return _Networks(self.members, allow_custom=self._allow_custom)


class _Networks:
    """The networks of a run. Those of the same architecture share one program, which runs with the
    weights of each in turn.
    """

    def __init__(self, members: Sequence[TrainedRun], *, allow_custom: bool) -> None:
        from trainer.engine.evaluators import make_evaluator

        self._members = members
        self._evaluators: dict[str, tuple[Any, Evaluator]] = {}
        self._weights: list[tuple[str, list[Float32Array]]] = []
        for member in members:
            network = load_network(member, allow_custom=allow_custom)
            # Besides weights, a program depends on the layers and the inputs: folds can have texts of
            # different lengths.
            settings = member.loaded.config.model.model_dump_json()
            sizes = [weight.shape for weight in network.weights]
            shape = f"{settings} {member.preprocessing.inputs} {sizes}"
            task = member.task
            inputs = task.network_shape(member.preprocessing)
            evaluator = make_evaluator(member.loaded.config, task, inputs, network)
            self._evaluators.setdefault(shape, (network, evaluator))
            self._weights.append((shape, network.get_weights()))

    @property
    def evaluator(self) -> Evaluator:
        """The evaluator of the only network."""
        ((_, evaluator),) = self._evaluators.values()
        return evaluator

    def predict(self, inputs: Sequence[Inputs]) -> list[FloatArray]:
        """Return the decoded predictions of each network for the rows encoded for it."""
        return [
            member.task.decode_outputs(evaluator.predict(rows))
            for member, rows, (_, evaluator) in zip(
                self._members, inputs, self._loaded(), strict=True
            )
        ]

    def class_activation_maps(
        self, inputs: Sequence[Inputs], units: Int64Array, signs: Int64Array
    ) -> list[Float32Array]:
        """Return the maps of each network that has feature maps, for the rows encoded for it."""
        from trainer.engine.class_activation import class_activation_maps

        maps = [
            class_activation_maps(network, rows, units, signs)
            for rows, (network, _) in zip(inputs, self._loaded(), strict=True)
        ]
        return [part for part in maps if part is not None]

    def _loaded(self) -> Iterator[tuple[Any, Evaluator]]:
        """Yield the program of each network, with its weights."""
        for shape, weights in self._weights:
            network, evaluator = self._evaluators[shape]
            if len(self._members) > 1:
                network.set_weights(weights)
            yield network, evaluator


def mean_predictions(predictions: Sequence[FloatArray]) -> MeanPredictions:
    """Return the mean and standard deviation of the decoded predictions of one or more networks."""
    if len(predictions) == 1:
        return MeanPredictions(predictions[0], None)
    stacked = np.stack(predictions)
    return MeanPredictions(stacked.mean(axis=0), stacked.std(axis=0, ddof=1))


def open_predictor(
    path: Path, *, device: Literal["auto", "cpu", "gpu"], allow_custom: bool
) -> Predictor:
    """Open a run, or a checkpoint in it, without loading its networks.

    Raises:
        RunError: The run does not exist, has no checkpoint or finished member yet, or is damaged.
    """
    run, members = open_members(path)
    return Predictor(run, members, device=device, allow_custom=allow_custom)


def _result(part: PredictionBatch, predictions: dict[str, Column]) -> pl.DataFrame:
    height = len(part.encoded.unseen)
    columns: dict[str, Any] = {"row": np.arange(part.first, part.first + height)}
    for series in part.kept:
        name = free_name(series.name, {*columns, *predictions, "unseen"}, "_of_input")
        columns[name] = series
    return pl.DataFrame({**columns, **predictions, "unseen": part.encoded.unseen})
