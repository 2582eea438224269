"""Several epochs as one program, with all that each of them gave.

Owns: the program and how many epochs are worth one. Does not own: when a block is done again
    (`executor`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.data.samples import Samples
from trainer.engine.averages import use_averages_in_graph
from trainer.engine.batches import EpochOutput, Program, to_device
from trainer.engine.epoch_result import EpochResult
from trainer.engine.runner import ResidentRunner
from trainer.engine.state import State, get_state, restore

# A block of this many batches takes some milliseconds compiled and some tens otherwise: enough to hide
# the call, little enough to be done again when training stops inside it.
_STEPS = 250
# A block saves an epoch some 0.7 ms; tracing one takes 0.6 s more than tracing an epoch.
_WORTHWHILE_EPOCHS = 1_000
_EPOCHS = 100
_BYTES = 16_000_000


def epochs_in_a_block(
    train: Samples,
    validation: Samples | None,
    batch_size: int,
    network: keras.Sequential,
    epochs: int,
) -> int:
    """How many epochs are worth one call; 1 where an epoch is long enough on its own, or there are few.

    Args:
        train: The training rows.
        validation: The rows each epoch is judged by, or None.
        batch_size: Rows a step.
        network: Its weights are handed back for each epoch.
        epochs: In all of training.
    """
    if epochs < _WORTHWHILE_EPOCHS:
        return 1
    judged = 0 if validation is None else len(validation.x)
    steps = -(-len(train.x) // batch_size) + (judged > 0)
    numbers = int(network.count_params()) + (len(train.x) + judged) * int(train.y.shape[1])
    return max(1, min(_EPOCHS, _STEPS // steps, _BYTES // (4 * numbers)))


class MultiEpochProgram:
    """Runs up to `epochs` epochs in one call.

    Attributes:
        epochs: At most so many.
        steps_per_epoch: Batches an epoch.
    """

    def __init__(
        self,
        runner: ResidentRunner,
        network: keras.Sequential,
        optimizer: keras.optimizers.Optimizer,
        validation: Samples | None,
        *,
        epochs: int,
        compiled: bool,
    ) -> None:
        """Put the validation rows on the device.

        Args:
            runner: Holds the training rows and their order, and judges.
            network: The runner's.
            optimizer: Built.
            validation: The rows each epoch is judged by, or None.
            epochs: At most so many in one call.
            compiled: Compile a block with XLA.
        """
        self.epochs, self.steps_per_epoch = epochs, runner.steps_per_epoch
        self._runner = runner
        self._network, self._optimizer = network, optimizer
        self._validation = None if validation is None else to_device(validation)
        self.program = Program(self._block, compiled=compiled)

    def state(self) -> State:
        """All variables, as `restore` takes them."""
        return get_state(self._network, self._optimizer)

    def restore(self, state: State) -> None:
        """Let network and optimizer stand where `state` was taken."""
        restore(self._network, self._optimizer, state)

    def run(self, first: int, count: int) -> list[EpochResult]:
        """The outcomes of `count` epochs from `first` (numbered from 1) on."""
        orders = np.stack([self._runner.order(first + number) for number in range(count)])
        padding = np.zeros((self.epochs - count, orders.shape[1]), np.int32)
        # The count is a tensor and the orders are as many as ever: one program serves every count.
        given = self.program(
            tf.constant(count),
            tf.constant(np.concatenate([orders, padding])),
            self._runner.data,
            self._validation,
        )
        rates, losses, trained, judged_losses, judged = (np.asarray(part) for part in given[:5])
        rows = np.arange(judged.shape[1], dtype=np.int32)
        weights = [np.asarray(part) for part in given[5:]]
        return [
            EpochResult(
                trained=EpochOutput(
                    float(losses[number, -1]), trained[number], orders[number], losses[number]
                ),
                judged=None
                if self._validation is None
                else EpochOutput(
                    float(judged_losses[number]),
                    judged[number],
                    rows,
                    judged_losses[number : number + 1],
                ),
                learning_rate=float(rates[number]),
                weights=partial(_copies, weights, number),
            )
            for number in range(count)
        ]

    def _block(self, count: Any, orders: Any, train: Any, validation: Any) -> tuple[Any, ...]:
        size = self.epochs
        outputs = int(self._network.output_shape[-1])
        rows = int(orders.shape[1])
        judged_rows = 0 if validation is None else int(validation[0].shape[0])
        rates = tf.TensorArray(tf.float32, size, element_shape=())
        losses = tf.TensorArray(tf.float32, size, element_shape=(self.steps_per_epoch,))
        trained = tf.TensorArray(tf.float32, size, element_shape=(rows, outputs))
        judged_losses = tf.TensorArray(tf.float32, size, element_shape=())
        judged = tf.TensorArray(tf.float32, size, element_shape=(judged_rows, outputs))
        weights = tuple(
            tf.TensorArray(weight.dtype, size, element_shape=weight.shape)
            for weight in self._network.weights
        )
        number = tf.constant(0)
        # XLA would compile the program anew for each length of a range; a condition it can wait for.
        while number < count:
            self._runner.train_step.loss_mean.reset_state()
            predictions, means = self._runner.in_graph(orders[number], *train)
            losses = losses.write(number, means)
            trained = trained.write(number, predictions)
            rates = rates.write(number, tf.cast(self._optimizer.learning_rate, tf.float32))
            own = use_averages_in_graph(self._network, self._optimizer)
            weights = tuple(
                array.write(number, tf.identity(weight.value))
                for array, weight in zip(weights, self._network.weights, strict=True)
            )
            if validation is not None:
                loss, predictions = self._runner.evaluator.in_graph(*validation)
                judged_losses = judged_losses.write(number, loss)
                judged = judged.write(number, predictions)
            for variable, value in zip(self._network.trainable_variables, own, strict=False):
                variable.assign(value)
            number += 1
        arrays = (rates, losses, trained, judged_losses, judged, *weights)
        return tuple(array.stack() for array in arrays)


def _copies(weights: list[Any], number: int) -> list[Any]:
    return [array[number].copy() for array in weights]
