"""Epoch runners: one takes a network through an epoch and says what came out.

The protocol is all that `fit` knows. `ResidentRunner` holds the rows on the device and runs a whole
epoch as one program around Keras's own `train_step`. The order of the rows is a pure function of
(seed, epoch).

Owns: order and training. Does not own: metrics, decisions, files.
"""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.samples import Samples
from trainer.engine.batches import (
    Evaluator,
    Pass,
    Program,
    Stepper,
    batch_of,
    in_batches,
    on_device,
)


class EpochRunner(Protocol):
    """Takes a network through epochs."""

    steps_per_epoch: int

    def train(self, epoch: int, max_steps: int) -> Pass:
        """Train one epoch (numbered from 1), or its first `max_steps` batches."""
        ...

    def evaluate(self, samples: Samples) -> Pass:
        """Loss and predictions of the network as it is, in the samples' order."""
        ...


def epoch_order(rows: int, seed: int, epoch: int, shuffle: bool) -> NDArray[np.int32]:
    """The order of the rows in an epoch: a permutation that depends on (seed, epoch) alone."""
    if not shuffle:
        return np.arange(rows, dtype=np.int32)
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(rows).astype(np.int32)


class ResidentRunner:
    """Rows on the device, an epoch as one program."""

    def __init__(
        self,
        network: keras.Sequential,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        samples: Samples,
        *,
        seed: int,
        batch_size: int,
        shuffle: bool,
        compiled: bool,
    ) -> None:
        """Put the rows on the device and make every variable.

        Args:
            network: Built; its weights change in place.
            optimizer: Its slots are made here.
            loss: As Keras computes it.
            samples: The training rows.
            seed: Of the order of the rows.
            batch_size: Rows a step; the last batch of an epoch may be shorter.
            shuffle: Another order each epoch.
            compiled: Compile an epoch with XLA; without it, it runs as a TensorFlow graph.
        """
        rows = len(samples.x)
        self._rows, self._seed, self._shuffle = rows, seed, shuffle
        self._batch = min(batch_size, rows)
        self.steps_per_epoch = -(-rows // self._batch)
        self.data = on_device(samples)
        self.stepper = Stepper(network, loss, optimizer)
        # Every variable exists before the first trace: none can be made inside one.
        optimizer.build(network.trainable_variables)
        self.program = Program(self.in_program, compiled=compiled)
        self.evaluator = Evaluator(network, loss)

    def train(self, epoch: int, max_steps: int) -> Pass:
        """As in `EpochRunner`."""
        order = self.order(epoch)[: max_steps * self._batch]
        loss, predictions = self.program(tf.constant(order), *self.data)
        return Pass(
            loss=float(loss),
            predictions=np.asarray(predictions),
            rows=order,
            steps=-(-len(order) // self._batch),
        )

    def evaluate(self, samples: Samples) -> Pass:
        """As in `EpochRunner`."""
        return self.evaluator.evaluate(samples)

    def order(self, epoch: int) -> NDArray[np.int32]:
        """The order of the rows in an epoch."""
        return epoch_order(self._rows, self._seed, epoch, self._shuffle)

    def in_program(self, order: Any, x: Any, y: Any, weight: Any) -> tuple[Any, Any]:
        """Inside a program: train these rows in this order; the mean loss and the predictions."""
        self.stepper.loss_mean.reset_state()
        predictions = in_batches(
            lambda rows: self.stepper.train_step(batch_of(x, y, weight, rows)),
            order,
            self._batch,
            int(y.shape[1]),
        )
        return self.stepper.loss_mean.result(), predictions
