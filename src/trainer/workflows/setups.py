"""The networks of a plan of any task, ready for training, and the record of their state. Imports
TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.workflows.building import ExecutionConfig, TrainingSetup, build_training
from trainer.workflows.generation.building import GenerationSetup, build_generation
from trainer.workflows.generation.plan import GenerationPlan
from trainer.workflows.plans import AnyPlan
from trainer.workflows.recorded_training import RecordedTraining
from trainer.workflows.shared_programs import SharedPrograms


def build_setup(
    plan: AnyPlan,
    *,
    allow_custom: bool,
    execution: ExecutionConfig | None = None,
    programs: SharedPrograms | None = None,
) -> TrainingSetup:
    """Build what a plan trains; see `build_training`.

    Raises:
        ConfigError: A custom layer is not allowed or fails.
        RunError: The run to start from does not exist.
    """
    if isinstance(plan, GenerationPlan):
        return build_generation(plan, execution=execution)
    return build_training(plan, allow_custom=allow_custom, execution=execution, programs=programs)


def recorded_training(built: TrainingSetup) -> RecordedTraining:
    """Return the training of a setup, as a run directory records it."""
    kind = RecordedGeneration if isinstance(built, GenerationSetup) else RecordedTraining
    return kind(built.group.checkpointable(0), built.network, built.saved, built.execution)


@dataclass(frozen=True, slots=True)
class RecordedGeneration(RecordedTraining):
    """Training of a generator and a discriminator, of which the generator is saved."""

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the weights of the generator, by layer and name: dense/kernel."""
        names = [variable.path.partition("/")[2] for variable in self.saved.weights]
        return dict(zip(names, self.all_weights(self.training.evaluation_weights()), strict=True))

    def all_weights(self, trained: list[Any]) -> list[Any]:
        """Return the weights of the generator, which are the first ones."""
        return trained[: len(self.saved.weights)]
