"""The learner of one network that predicts the targets of its rows: Keras's own steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from trainer.engine.compression import Compression
from trainer.engine.learner import Batch, Learner
from trainer.engine.lengths import Lengths, ShorterNetworks
from trainer.inputs import TOKENS, Inputs


class KerasSteps(keras.Model):  # type: ignore[misc]
    """Keras's `train_step` and `test_step` of a network, returning predictions instead of metrics.

    Metrics are computed exactly from the predictions, outside the program. Keras's metric variables
    only approximate some of them (AUC) and cost time in every step.
    """

    def __init__(
        self,
        network: keras.Model,
        loss: keras.losses.Loss,
        optimizer: Any,
        network_for: Callable[[Any], keras.Model] | None = None,
    ) -> None:
        """Initialize the model.

        Args:
            network: The network, whose weights are trained.
            loss: Its loss.
            optimizer: Its optimizer; None for evaluation only.
            network_for: Returns the network of the same weights for the inputs of a batch; None if it is
                `network` for all.
        """
        super().__init__()
        self.network, self.network_for = network, network_for
        self.compile(optimizer=optimizer, loss=loss, jit_compile=False)

    def build(self, input_shape: Any) -> None:
        self.built = True

    def call(self, x: Any, training: bool = False) -> Any:
        network = self.network if self.network_for is None else self.network_for(x)
        return network(x, training=training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return y_pred

    @property
    def loss_mean(self) -> Any:
        """Running mean of the loss over rows (keras.metrics.Mean)."""
        return self._loss_tracker


RANDOM_STRENGTHS = ("rate", "stddev")
"""Attributes of Keras's random layers; at 0, a layer changes nothing."""


@dataclass(frozen=True, slots=True)
class BaseTraining:
    """How the layers of a pretrained base are trained, if not like the others.

    Attributes:
        layers: Its layers that are trained.
        random: Its layers that change values at random in training, such as dropout.
        factors: The learning rate of each layer that is trained, divided by that of the optimizer.
        start: The number of batches before they are trained; 0 if that is after `cached_epochs`.
        accumulation: Batches per step of the optimizer.
        cached_epochs: Epochs in which the base does not change and its output is computed once for each
            sample (`trainer.engine.frozen_base`).
    """

    layers: Sequence[keras.layers.Layer]
    random: Sequence[keras.layers.Layer]
    factors: Sequence[float]
    start: int
    accumulation: int
    cached_epochs: int

    @property
    def scaled_variables(self) -> list[tuple[Any, float]]:
        """The variables whose learning rate is not that of the optimizer, and their factors."""
        return [
            (variable, factor)
            for layer, factor in zip(self.layers, self.factors, strict=True)
            for variable in layer.trainable_variables
            if factor != 1.0
        ]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Context manager within which the layers are not trained and the base has no dropout."""
        strengths = [
            (layer, name, getattr(layer, name))
            for layer in self.random
            for name in RANDOM_STRENGTHS
            if hasattr(layer, name)
        ]
        for layer in self.layers:
            layer.trainable = False
        for layer, name, _ in strengths:
            setattr(layer, name, 0.0)
        try:
            yield
        finally:
            for layer in self.layers:
                layer.trainable = True
            for layer, name, strength in strengths:
                setattr(layer, name, strength)


class SupervisedLearner(Learner):
    """One network with one loss.

    Attributes:
        network: The network.
        keras_model: The model whose `train_step` trains the network; has `optimizer` and `network`.
        base: How the base of the network is trained; None if like the other layers.
        compression: Compresses the kernels after each step; None if they are not compressed.
    """

    def __init__(
        self,
        network: keras.Model,
        loss: keras.losses.Loss,
        optimizer: keras.optimizers.Optimizer | None = None,
        *,
        keep_outputs: bool = True,
        base: BaseTraining | None = None,
        compression: Compression | None = None,
        shorter: ShorterNetworks | None = None,
    ) -> None:
        """Initialize the learner.

        Args:
            network: A built network; its weights change in place.
            loss: The Keras loss.
            optimizer: Built here; None for evaluation only.
            keep_outputs: Whether training returns the predictions, for metrics of the training rows.
            base: How the base of the network is trained; None if like the other layers.
            compression: Compresses the kernels after each step; None if they are not compressed.
            shorter: The networks for batches of fewer tokens; None if all batches have padding.
        """
        optimizers = {} if optimizer is None else {"network": optimizer}
        outputs = int(network.output_shape[-1])
        super().__init__({"network": network}, optimizers, outputs, outputs if keep_outputs else 0)
        self.network, self.base, self.compression = network, base, compression
        self._shorter = shorter
        network_for = None if shorter is None else partial(_network_for, network, shorter.networks)
        self.keras_model = KerasSteps(network, loss, optimizer, network_for)
        self.loss_mean = self.keras_model.loss_mean
        # Its running mean is separate: validation can be stopped, and the epoch continued from it.
        self._evaluation = KerasSteps(network, loss, None, network_for)

    def train_step(self, batch: Batch) -> tuple[Any, Any]:
        if self.compression is None:
            outputs = self._update(batch)
        else:
            outputs = self.compression.step(partial(self._update, batch))
        if not self.trained_outputs:
            outputs = outputs[:, :0]
        return outputs, self.loss_mean.result()

    def _update(self, batch: Batch) -> Any:
        base = self.base
        if base is None or not (base.start or base.scaled_variables):
            return self.keras_model.train_step(batch)
        if not base.start:
            return self._update_with_base(base, batch)

        def update_frozen() -> Any:
            with base.frozen():
                return self.keras_model.train_step(batch)

        done = self.keras_model.optimizer.iterations * base.accumulation
        return tf.cond(
            done < base.start, update_frozen, lambda: self._update_with_base(base, batch)
        )

    def _update_with_base(self, base: BaseTraining, batch: Batch) -> Any:
        # The step of an optimizer is proportional to its learning rate.
        scaled = base.scaled_variables
        before = [tf.identity(variable.value) for variable, _ in scaled]
        outputs = self.keras_model.train_step(batch)
        for (variable, factor), value in zip(scaled, before, strict=True):
            variable.assign(value + factor * (variable - value))
        return outputs

    def start_evaluation(self) -> None:
        self._evaluation.loss_mean.reset_state()

    def test_step(self, batch: Batch) -> tuple[Any, Any]:
        return self._evaluation.test_step(batch), self._evaluation.loss_mean.result()

    def predict_step(self, x: Any) -> Any:
        return self._evaluation(x, training=False)

    def kept_tokens(self, inputs: Inputs, batch: int) -> Lengths | None:
        return None if self._shorter is None else self._shorter.kept_tokens(inputs, batch)

    def _variables(self) -> dict[str, Any]:
        compressed = {} if self.compression is None else self.compression.variables
        return {**super()._variables(), **compressed}


def _network_for(network: keras.Model, shorter: Mapping[int, keras.Model], x: Any) -> keras.Model:
    tokens = x[TOKENS] if isinstance(x, dict) else x
    return shorter.get(int(tokens.shape[1]), network)
