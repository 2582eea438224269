"""Epoch runners: one takes a network through an epoch and says what came out.

The protocol is all that `fit` knows. `ResidentRunner` holds the rows on the device and runs a whole
epoch as one program around Keras's own `train_step`; one that takes long, as several calls of it, so
that training can be stopped and saved in between. The order of the rows is a pure function of
(seed, epoch).

Owns: order and training. Does not own: metrics, decisions, files.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.samples import Samples
from trainer.engine.batches import (
    EpochOutput,
    Evaluator,
    PartialEpoch,
    Program,
    TrainStep,
    gather_batch,
    run_in_batches,
    to_device,
)


class EpochRunner(Protocol):
    """Takes a network through epochs.

    Attributes:
        steps_per_epoch: Batches of an epoch.
        train_step: What takes a step.
        evaluator: Asks the network as it is.
    """

    steps_per_epoch: int
    train_step: TrainStep
    evaluator: Evaluator

    def train(
        self, epoch: int, max_steps: int, partial_epoch: PartialEpoch | None
    ) -> Generator[PartialEpoch, None, EpochOutput]:
        """Train one epoch (numbered from 1), or its first `max_steps` batches.

        Yields after each call of the device what there is of the epoch so far, always the same object.
        It ends early at a loss that is not finite.

        Args:
            epoch: Its number.
            max_steps: At most so many batches, from the start of the epoch.
            partial_epoch: What there is of the epoch already; network, optimizer and the
                stepper's mean of the loss stand there.
        """
        ...

    def evaluate(self, samples: Samples) -> Generator[None, None, EpochOutput]:
        """Loss and predictions of the network as it is, in the samples' order; yields now and then."""
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
        steps_in_a_call: int,
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
            steps_in_a_call: Batches after which the device is let go for a moment.
        """
        rows = len(samples.x)
        self._rows, self._seed, self._shuffle = rows, seed, shuffle
        self._batch = min(batch_size, rows)
        self._call = steps_in_a_call * self._batch
        self.steps_per_epoch = -(-rows // self._batch)
        self.data = to_device(samples)
        self.train_step = TrainStep(network, loss, optimizer)
        # Every variable exists before the first trace: none can be made inside one.
        optimizer.build(network.trainable_variables)
        self.program = Program(self.in_graph, compiled=compiled)
        self.evaluator = Evaluator(network, loss)

    def train(
        self, epoch: int, max_steps: int, partial_epoch: PartialEpoch | None
    ) -> Generator[PartialEpoch, None, EpochOutput]:
        """As in `EpochRunner`."""
        order = self.order(epoch)[: max_steps * self._batch]
        if partial_epoch is None:
            partial_epoch = self.train_step.begin()
        while partial_epoch.rows < len(order) and not partial_epoch.diverged:
            rows = order[partial_epoch.rows : partial_epoch.rows + self._call]
            partial_epoch.add(*self.program(tf.constant(rows), *self.data))
            yield partial_epoch
        return partial_epoch.whole(order[: partial_epoch.rows])

    def evaluate(self, samples: Samples) -> Generator[None, None, EpochOutput]:
        """As in `EpochRunner`."""
        return self.evaluator.evaluate_in_parts(samples)

    def order(self, epoch: int) -> NDArray[np.int32]:
        """The order of the rows in an epoch."""
        return epoch_order(self._rows, self._seed, epoch, self._shuffle)

    def in_graph(self, order: Any, x: Any, y: Any, weight: Any) -> tuple[Any, Any]:
        """Inside a program: train these rows in this order; predictions and losses as in
        `EpochOutput`.
        """
        return run_in_batches(
            lambda rows: self.train_step.update(gather_batch(x, y, weight, rows)),
            order,
            self._batch,
            (int(y.shape[1]),),
        )
