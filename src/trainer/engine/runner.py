"""Epoch runners: train and evaluate a network for one epoch.

`ResidentRunner` keeps the rows on the device and runs an epoch as one program around Keras's own
`train_step`. Long epochs are split into several device calls, so that training can be stopped and saved
in between. The order of the rows is a pure function of (seed, epoch).
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
    """Trains and evaluates a network for one epoch.

    Attributes:
        steps_per_epoch: Batches per epoch.
        train_step: Runs training steps.
        program: Trains on a part of an epoch.
        evaluator: Evaluates the network with its current weights.
    """

    steps_per_epoch: int
    train_step: TrainStep
    program: Program
    evaluator: Evaluator

    def train(
        self, epoch: int, max_steps: int, partial_epoch: PartialEpoch | None
    ) -> Generator[PartialEpoch, None, EpochOutput]:
        """Train one epoch, or its first `max_steps` batches.

        Yields the output so far after each device call, always the same object. Ends early at a loss
        that is not finite.

        Args:
            epoch: Epoch number, from 1.
            max_steps: Maximum number of batches, counted from the start of the epoch.
            partial_epoch: Output so far if the epoch is resumed, or None. Network, optimizer and the
                running mean of the loss have to be at that point.
        """
        ...

    def evaluate(self, samples: Samples) -> Generator[None, None, EpochOutput]:
        """Return loss and predictions in the order of the samples; yield between device calls."""
        ...


def epoch_order(rows: int, seed: int, epoch: int, shuffle: bool) -> NDArray[np.int32]:
    """Return the order of the rows in an epoch: a permutation that depends only on (seed, epoch)."""
    if not shuffle:
        return np.arange(rows, dtype=np.int32)
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(rows).astype(np.int32)


class ResidentRunner:
    """Keeps the rows on the device and runs an epoch as one program."""

    def __init__(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
        samples: Samples,
        *,
        seed: int,
        batch_size: int,
        shuffle: bool,
        compiled: bool,
        steps_per_execution: int,
    ) -> None:
        """Copy the rows to the device and create all variables.

        Args:
            network: A built network; its weights change in place.
            optimizer: Built here.
            loss: The Keras loss.
            samples: The training rows.
            seed: Seed of the order of the rows.
            batch_size: Rows per step; the last batch of an epoch may be smaller.
            shuffle: Whether to shuffle the rows before each epoch.
            compiled: Whether to compile with XLA; otherwise epochs run as a TensorFlow graph.
            steps_per_execution: Maximum number of batches per device call.
        """
        rows = len(samples)
        self._rows, self._seed, self._shuffle = rows, seed, shuffle
        self._batch = min(batch_size, rows)
        self._call = steps_per_execution * self._batch
        self.steps_per_epoch = -(-rows // self._batch)
        self.data = to_device(samples)
        self.train_step = TrainStep(network, loss, optimizer)
        # Variables have to exist before the first trace; none can be created inside one.
        optimizer.build(network.trainable_variables)
        self.program = Program(self.in_graph, compiled=compiled)
        self.evaluator = Evaluator(network, loss)

    def train(
        self, epoch: int, max_steps: int, partial_epoch: PartialEpoch | None
    ) -> Generator[PartialEpoch, None, EpochOutput]:
        order = self.order(epoch)[: max_steps * self._batch]
        if partial_epoch is None:
            partial_epoch = self.train_step.start_epoch()
        while partial_epoch.rows < len(order) and not partial_epoch.diverged:
            rows = order[partial_epoch.rows : partial_epoch.rows + self._call]
            partial_epoch.append(*self.program(tf.constant(rows), *self.data))
            yield partial_epoch
        return partial_epoch.to_output(order[: partial_epoch.rows])

    def evaluate(self, samples: Samples) -> Generator[None, None, EpochOutput]:
        return self.evaluator.evaluate_in_parts(samples)

    def order(self, epoch: int) -> NDArray[np.int32]:
        """Return the order of the rows in an epoch."""
        return epoch_order(self._rows, self._seed, epoch, self._shuffle)

    def in_graph(self, order: Any, x: Any, y: Any, weight: Any) -> tuple[Any, Any]:
        """Train on rows in this order and return predictions and losses; for use in a `tf.function`."""
        return run_in_batches(
            lambda rows: self.train_step.update(gather_batch(x, y, weight, rows)),
            order,
            self._batch,
            (int(y.shape[1]),),
        )
