"""A learner: networks and optimizers by name, and the steps that train and evaluate them on a batch.

Executors compile the steps into programs and save the variables; they depend on nothing else of the
networks. `trainer.engine.supervised` has the learner of one network and its targets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from trainer.engine.lengths import Lengths
from trainer.engine.state import State, named_variables, read_state, restore_state
from trainer.inputs import Inputs
from trainer.models.optimizers import lower_rate
from trainer.models.weights import variable_value

Batch = tuple[Any, ...]
"""Inputs and targets of a batch, and its sample weights if there are any: what Keras's steps take."""


class Learner(ABC):
    """Networks that are trained together, one step at a time.

    The random numbers of a step may depend only on the variables of networks and optimizers, such as
    seed generators and the number of iterations: these are saved and restored.

    Attributes:
        networks: Name → built network.
        optimizers: Name of a network → the optimizer that updates it. The learning rate of the first is
            the one that is logged, and lowered on a plateau.
        outputs: Numbers that evaluation returns for each row.
        trained_outputs: Numbers that training returns for each row; 0 to keep none.
        row_values: Numbers that evaluation keeps for a row, besides the outputs of layers.
        loss_mean: The mean of the loss over the rows of the epoch so far; set by subclasses.
    """

    row_values: int = 0
    loss_mean: keras.metrics.Metric

    def __init__(
        self,
        networks: Mapping[str, keras.Model],
        optimizers: Mapping[str, keras.optimizers.Optimizer],
        outputs: int,
        trained_outputs: int,
    ) -> None:
        self.networks, self.optimizers = dict(networks), dict(optimizers)
        self.outputs, self.trained_outputs = outputs, trained_outputs
        # Variables have to exist before the first trace; none can be created inside one.
        for name, optimizer in optimizers.items():
            optimizer.build(networks[name].trainable_variables)

    # Steps, for use in a `tf.function` ----------------------------------------------------------

    @property
    def epoch_variables(self) -> Sequence[Any]:
        """Variables of `train_step` that belong to an epoch: those of the mean of the loss."""
        variables: Sequence[Any] = self.loss_mean.variables
        return variables

    def start_epoch(self) -> None:
        """Reset the variables of an epoch."""
        self.loss_mean.reset_state()

    @abstractmethod
    def train_step(self, batch: Batch) -> tuple[Any, Any]:
        """Update the networks on a batch.

        Returns:
            (batch, trained_outputs) float32, computed before the update, and the mean of the loss over
            the rows of the epoch so far.
        """

    @abstractmethod
    def start_evaluation(self) -> None:
        """Reset the mean of `test_step`."""

    @abstractmethod
    def test_step(self, batch: Batch) -> tuple[Any, Any]:
        """Return the outputs for a batch, and the mean of the loss since `start_evaluation`."""

    @abstractmethod
    def predict_step(self, x: Any) -> Any:
        """Return the (batch, outputs) outputs for the inputs of a batch."""

    def kept_tokens(self, inputs: Inputs, batch: int) -> Lengths | None:
        """Return the number of tokens that each row keeps in batches without padding.

        Args:
            inputs: The inputs of the rows.
            batch: Rows per batch.

        Returns:
            None if all rows keep all tokens, or have none.
        """
        return None

    # Variables ----------------------------------------------------------------------------------

    def state(self) -> State:
        """Return the values of all variables by name (`trainer.engine.state`)."""
        return read_state(self._variables())

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore all variables.

        Raises:
            RunError: Names or shapes do not match these networks and optimizers.
        """
        restore_state(self._variables(), state)

    @property
    def weights(self) -> list[Any]:
        """The variables that predictions depend on, in Keras's order, network by network."""
        return [weight for network in self.networks.values() for weight in network.weights]

    @property
    def parameters(self) -> int:
        """Number of weights of all networks."""
        return sum(int(network.count_params()) for network in self.networks.values())

    def evaluation_weights(self) -> list[Any]:
        """Return the values of the weights, with the averages in place of those that have any."""
        with self.averaged():
            return [variable_value(weight) for weight in self.weights]

    def _variables(self) -> dict[str, Any]:
        return named_variables(self.networks, self.optimizers)

    # Learning rate ------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> Any:
        """Learning rate of the first optimizer: a variable, or a tensor if it has a schedule."""
        return next(iter(self.optimizers.values())).learning_rate

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the first optimizer, which has no schedule."""
        next(iter(self.optimizers.values())).learning_rate = learning_rate

    def lower_learning_rates(self, factor: float) -> None:
        """Multiply the learning rates of all optimizers by `factor`."""
        for optimizer in self.optimizers.values():
            lower_rate(optimizer, factor)

    # Averages -----------------------------------------------------------------------------------
    # Keras overwrites the weights with their moving averages at the end of training. Here validation
    # and the best model use the averages at every epoch, and training continues from the weights.

    def use_averages(self) -> list[tuple[Any, Any]]:
        """Replace weights with their averages where an optimizer keeps any.

        Returns:
            The replaced variables and their values, to be assigned back.
        """
        replaced = []
        for name, optimizer in self.optimizers.items():
            if getattr(optimizer, "inner_optimizer", optimizer).use_ema:
                variables = self.networks[name].trainable_variables
                replaced += [(variable, tf.identity(variable.value)) for variable in variables]
                optimizer.finalize_variable_values(variables)
        return replaced

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Context manager within which weights are replaced with their averages, if there are any."""
        replaced = self.use_averages()
        try:
            yield
        finally:
            for variable, value in replaced:
                variable.assign(value)
