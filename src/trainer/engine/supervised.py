"""The learner of one network that predicts the targets of its rows: Keras's own steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from trainer.engine.learner import Batch, Learner


class KerasSteps(keras.Model):  # type: ignore[misc]
    """Keras's `train_step` and `test_step` of a network, returning predictions instead of metrics.

    Metrics are computed exactly from the predictions, outside the program. Keras's metric variables
    only approximate some of them (AUC) and cost time in every step.
    """

    def __init__(self, network: keras.Model, loss: keras.losses.Loss, optimizer: Any) -> None:
        super().__init__()
        self.network = network
        self.compile(optimizer=optimizer, loss=loss, jit_compile=False)

    def build(self, input_shape: Any) -> None:
        self.built = True

    def call(self, x: Any, training: bool = False) -> Any:
        return self.network(x, training=training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return y_pred

    @property
    def loss_mean(self) -> Any:
        """Running mean of the loss over rows (keras.metrics.Mean)."""
        return self._loss_tracker


class SupervisedLearner(Learner):
    """One network with one loss.

    Attributes:
        network: The network.
        keras_model: The model whose `train_step` trains the network; has `optimizer` and `network`.
    """

    def __init__(
        self,
        network: keras.Model,
        loss: keras.losses.Loss,
        optimizer: keras.optimizers.Optimizer | None = None,
        *,
        keep_outputs: bool = True,
    ) -> None:
        """Initialize the learner.

        Args:
            network: A built network; its weights change in place.
            loss: The Keras loss.
            optimizer: Built here; None for evaluation only.
            keep_outputs: Whether training returns the predictions, for metrics of the training rows.
        """
        optimizers = {} if optimizer is None else {"network": optimizer}
        outputs = int(network.output_shape[-1])
        super().__init__({"network": network}, optimizers, outputs, outputs if keep_outputs else 0)
        self.network = network
        self.keras_model = KerasSteps(network, loss, optimizer)
        # Its running mean is separate: validation can be stopped, and the epoch continued from it.
        self._evaluation = KerasSteps(network, loss, None)

    @property
    def epoch_variables(self) -> Sequence[Any]:
        variables: Sequence[Any] = self.keras_model.loss_mean.variables
        return variables

    def start_epoch(self) -> None:
        self.keras_model.loss_mean.reset_state()

    def train_step(self, batch: Batch) -> tuple[Any, Any]:
        outputs = self.keras_model.train_step(batch)
        if not self.trained_outputs:
            outputs = outputs[:, :0]
        return outputs, self.keras_model.loss_mean.result()

    def start_evaluation(self) -> None:
        self._evaluation.loss_mean.reset_state()

    def test_step(self, batch: Batch) -> tuple[Any, Any]:
        return self._evaluation.test_step(batch), self._evaluation.loss_mean.result()

    def predict_step(self, x: Any) -> Any:
        return self._evaluation(x, training=False)
