"""A training run whose state is recorded, and the weights that are saved of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from trainer.engine.training_group import Checkpointable
from trainer.models.network import trained_weights
from trainer.models.pretrained.encoder_network import merged_weights
from trainer.models.weights import variable_value
from trainer.workflows.building import ExecutionConfig


@dataclass(frozen=True, slots=True)
class RecordedTraining:
    """A training run whose state is recorded.

    Attributes:
        training: Its state.
        network: The network that is trained.
        saved: The network as it is saved, of Keras's own layers; its weights are replaced meanwhile.
        execution: How epochs are divided into device calls.
    """

    training: Checkpointable
    network: keras.Model
    saved: keras.Model
    execution: ExecutionConfig

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the weights that would be evaluated now, by layer and name: dense/kernel."""
        prefix = f"{self.saved.name}/"
        names = [variable.path.removeprefix(prefix) for variable in trained_weights(self.saved)]
        values = merged_weights(self.network, self.training.evaluation_weights())
        return dict(zip(names, values, strict=True))

    def all_weights(self, trained: list[Any]) -> list[Any]:
        """Return the weights to save: those that are trained, with adapters merged into them, and those
        of a frozen base.
        """
        trained = merged_weights(self.network, trained)
        variables = trained_weights(self.saved)
        if len(variables) == len(self.saved.weights):
            return trained
        values = dict(zip(map(id, variables), trained, strict=True))
        return [
            values[id(variable)] if id(variable) in values else variable_value(variable)
            for variable in self.saved.weights
        ]
