"""Several trained networks as one that answers: the mean of their answers, and its spread.

Networks of one shape share one program, which each of them goes through with its own weights. Imports
TensorFlow.

Owns: asking all of them. Does not own: opening runs (`trained`), the columns of an answer (`predict`).
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
    """What networks say of rows.

    Attributes:
        mean: (rows, numbers), probabilities or numbers in the target's unit.
        spread: The standard deviation between the networks (n - 1); None of a single one.
    """

    mean: PredictionArray
    spread: PredictionArray | None


class Ensemble:
    """Networks that answer together."""

    def __init__(self, members: Sequence[TrainedRun], *, allow_custom: bool) -> None:
        """Load them.

        Args:
            members: At least one.
            allow_custom: Whether layers of the user's own may be imported.

        Raises:
            RunError: A checkpoint is damaged.
            ConfigError: A layer of the user's own is not allowed.
        """
        self._members = tuple(members)
        self._asked: dict[str, tuple[Any, Evaluator]] = {}
        self._weights: list[tuple[str, list[Float32Array]]] = []
        for member in members:
            network = load_network(member, allow_custom=allow_custom)
            # What a program depends on besides the weights: the layers, and the width of the rows.
            settings = member.loaded.config.model.model_dump_json()
            shape = f"{settings} {[weight.shape for weight in network.weights]}"
            loss = build_loss(member.loaded.config.loss, member.task.loss)
            self._asked.setdefault(shape, (network, Evaluator(network, loss)))
            self._weights.append((shape, network.get_weights()))

    def answers(self, x: Sequence[Float32Array]) -> EnsemblePredictions:
        """Ask all of them.

        Args:
            x: The rows as each member encodes them.
        """
        found = []
        for member, rows, (shape, weights) in zip(self._members, x, self._weights, strict=True):
            network, evaluator = self._asked[shape]
            if len(self._members) > 1:
                network.set_weights(weights)
            found.append(member.task.answers(evaluator.predict(rows)))
        if len(found) == 1:
            return EnsemblePredictions(found[0], None)
        stacked = np.stack(found)
        return EnsemblePredictions(stacked.mean(axis=0), stacked.std(axis=0, ddof=1))
