"""The mean and standard deviation of the predictions of several networks. Imports TensorFlow.

Networks of the same architecture share one program, which runs with the weights of each in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.engine.batches import Evaluator, Float32Array
from trainer.models.losses import build_loss
from trainer.workflows.trained_runs import TrainedRun, load_network

PredictionArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class EnsemblePredictions:
    """The predictions of an ensemble.

    Attributes:
        mean: (rows, numbers), probabilities or numbers in the target's unit.
        std: The standard deviation between networks (n - 1); None for a single network.
    """

    mean: PredictionArray
    std: PredictionArray | None


class Ensemble:
    """Networks whose predictions are averaged."""

    def __init__(self, members: Sequence[TrainedRun], *, allow_custom: bool) -> None:
        """Load the networks.

        Args:
            members: At least one run.
            allow_custom: Whether custom layers may be imported.

        Raises:
            RunError: A checkpoint is damaged.
            ConfigError: A custom layer is not allowed.
        """
        self._members = tuple(members)
        self._evaluators: dict[str, tuple[Any, Evaluator]] = {}
        self._weights: list[tuple[str, list[Float32Array]]] = []
        for member in members:
            network = load_network(member, allow_custom=allow_custom)
            # Besides weights, a program depends on the layers and the width of the rows.
            settings = member.loaded.config.model.model_dump_json()
            shape = f"{settings} {[weight.shape for weight in network.weights]}"
            loss = build_loss(member.loaded.config.loss, member.task.loss)
            self._evaluators.setdefault(shape, (network, Evaluator(network, loss)))
            self._weights.append((shape, network.get_weights()))

    def predict(self, x: Sequence[Float32Array]) -> EnsemblePredictions:
        """Predict with all networks.

        Args:
            x: The rows encoded for each member.
        """
        predictions = []
        for member, rows, (shape, weights) in zip(self._members, x, self._weights, strict=True):
            network, evaluator = self._evaluators[shape]
            if len(self._members) > 1:
                network.set_weights(weights)
            predictions.append(member.task.decode_outputs(evaluator.predict(rows)))
        if len(predictions) == 1:
            return EnsemblePredictions(predictions[0], None)
        stacked = np.stack(predictions)
        return EnsemblePredictions(stacked.mean(axis=0), stacked.std(axis=0, ddof=1))
