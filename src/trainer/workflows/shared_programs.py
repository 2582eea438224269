"""The programs of the network that was trained last, for the next one if only seed and rows differ.

Folds and repeats that cannot be one pack, such as convolutions, are trained one by one, but their steps
are traced and compiled once. Does not import TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.config.layers.custom import Custom
from trainer.workflows.plan import RunPlan

if TYPE_CHECKING:
    from trainer.engine.executors import TracedLearner
    from trainer.workflows.building import ExecutionConfig

# For a while there are two networks in memory; training a larger one takes longer than tracing it.
_MAX_PARAMETERS = 10_000_000


class SharedPrograms:
    """Keeps the programs of one network."""

    def __init__(self) -> None:
        self._key = ""
        self._traced: TracedLearner | None = None

    def take(self, key: str) -> TracedLearner | None:
        """Return the programs of the last network if they have this key; otherwise forget them."""
        traced, self._traced = self._traced, None
        return traced if key and key == self._key else None

    def keep(self, key: str, traced: TracedLearner) -> None:
        """Keep the programs of a network; the key "" keeps none."""
        self._key, self._traced = key, traced if key else None


def program_key(plan: RunPlan, execution: ExecutionConfig) -> str:
    """Return a string that is equal for networks with the same programs; "" if they are not shared.

    A program contains everything but variables, rows and the initial weights.

    Args:
        plan: The plan of the network.
        execution: How its epochs are divided into device calls.
    """
    config, parameters = plan.config, plan.parameters
    is_custom = any(isinstance(layer.settings, Custom) for layer in config.model.layers)
    is_large = parameters is None or parameters > _MAX_PARAMETERS
    if is_large or is_custom or config.fit.callbacks or plan.network.translation is not None:
        return ""
    settings = config.model_dump_json(exclude={"name", "data", "seed"})
    dependent = (
        plan.network.trained,
        plan.task.loss,
        plan.task.metrics,
        plan.steps_per_epoch,
        plan.total_steps,
        execution,
        # Random changes of images are constants of the program.
        (config.seed, plan.random_crop) if plan.has_changed_images else None,
    )
    return f"{settings} {dependent}"
