"""Several epochs in one device call, with the results of each."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.data.samples import Samples
from trainer.engine.batches import EpochOutput, Evaluator, Program, to_device, train_in_batches
from trainer.engine.epoch_result import EpochResult
from trainer.engine.learner import Learner
from trainer.engine.rows import ResidentRows

# A block of this many batches takes a few milliseconds compiled and a few tens otherwise: enough to
# hide the overhead of the call, and cheap to repeat when training stops inside it.
_STEPS = 250
# A block saves about 0.7 ms per epoch; tracing it takes 0.6 s longer than tracing a single epoch.
_WORTHWHILE_EPOCHS = 1_000
_EPOCHS = 100
_BYTES = 16_000_000


def epochs_per_execution(
    train: Samples,
    validation: Samples | None,
    batch_size: int,
    parameters: int,
    epochs: int,
) -> int:
    """Return how many epochs to run per device call; 1 if epochs are long or few.

    Args:
        train: The training rows.
        validation: The validation rows, or None.
        batch_size: Rows per step.
        parameters: Number of weights, which are returned for each epoch.
        epochs: Epochs of the whole training run.
    """
    if epochs < _WORTHWHILE_EPOCHS:
        return 1
    validation_rows = 0 if validation is None else len(validation)
    steps = -(-len(train) // batch_size) + (validation_rows > 0)
    predictions = (len(train) + validation_rows) * int(train.y.shape[1])
    values = parameters + predictions
    return max(1, min(_EPOCHS, _STEPS // steps, _BYTES // (4 * values)))


class MultiEpochProgram:
    """Runs up to `epochs` epochs in one device call."""

    def __init__(
        self,
        learner: Learner,
        rows: ResidentRows,
        evaluator: Evaluator,
        validation: Samples | None,
        *,
        epochs: int,
        compiled: bool,
    ) -> None:
        """Copy the validation rows to the device.

        Args:
            learner: Its variables change in place.
            rows: The training rows.
            evaluator: Evaluates the learner.
            validation: The validation rows, or None.
            epochs: Maximum number of epochs per call.
            compiled: Whether to compile the block with XLA.
        """
        self.epochs = epochs
        self._learner, self._rows, self._evaluator = learner, rows, evaluator
        self._validation = None if validation is None else to_device(validation)
        self.program = Program(self._block, compiled=compiled)

    def run(self, first: int, count: int) -> list[EpochResult]:
        """Run `count` epochs, the first of them numbered `first` (from 1), and return their results."""
        orders = np.stack([self._rows.order(first + i) for i in range(count)])
        padding = np.zeros((self.epochs - count, orders.shape[1]), np.int32)
        # The count is a tensor and the orders are padded: one program serves every count.
        outputs = self.program(
            tf.constant(count),
            tf.constant(np.concatenate([orders, padding])),
            self._rows.data,
            self._validation,
        )
        rates, losses, predictions, val_losses, val_predictions = map(np.asarray, outputs[:5])
        val_rows = np.arange(val_predictions.shape[1], dtype=np.int32)
        weights = [np.asarray(array) for array in outputs[5:]]
        return [
            EpochResult(
                train=EpochOutput(float(losses[i, -1]), predictions[i], orders[i], losses[i]),
                validation=None
                if self._validation is None
                else EpochOutput(
                    float(val_losses[i]), val_predictions[i], val_rows, val_losses[i : i + 1]
                ),
                learning_rate=float(rates[i]),
                weights=partial(_copies, weights, i),
            )
            for i in range(count)
        ]

    def _block(self, count: Any, orders: Any, train: Any, validation: Any) -> tuple[Any, ...]:
        size = self.epochs
        learner, outputs = self._learner, self._learner.outputs
        rows = int(orders.shape[1])
        val_rows = 0 if validation is None else int(validation[1].shape[0])
        rates = tf.TensorArray(tf.float32, size, element_shape=())
        losses = tf.TensorArray(tf.float32, size, element_shape=(self._rows.steps_per_epoch,))
        predictions = tf.TensorArray(
            tf.float32, size, element_shape=(rows, learner.trained_outputs)
        )
        val_losses = tf.TensorArray(tf.float32, size, element_shape=())
        val_predictions = tf.TensorArray(tf.float32, size, element_shape=(val_rows, outputs))
        weights = tuple(
            tf.TensorArray(weight.dtype, size, element_shape=weight.shape)
            for weight in learner.weights
        )

        def run_epoch(i: Any, rates: Any, losses: Any, predictions: Any, *others: Any) -> Any:
            val_losses, val_predictions, *weights = others
            learner.start_epoch()
            output, means = train_in_batches(learner, self._rows.batch, orders[i], *train)
            losses = losses.write(i, means)
            predictions = predictions.write(i, output)
            rates = rates.write(i, tf.cast(learner.learning_rate, tf.float32))
            replaced = learner.use_averages()
            weights = [
                array.write(i, tf.identity(weight.value))
                for array, weight in zip(weights, learner.weights, strict=True)
            ]
            if validation is not None:
                loss, output = self._evaluator.in_graph(*validation)
                val_losses = val_losses.write(i, loss)
                val_predictions = val_predictions.write(i, output)
            for variable, value in replaced:
                variable.assign(value)
            return i + 1, rates, losses, predictions, val_losses, val_predictions, *weights

        arrays = (rates, losses, predictions, val_losses, val_predictions, *weights)
        # With a range, XLA would recompile the program for every length; a condition is evaluated at
        # run time.
        _, *arrays = tf.while_loop(lambda i, *_: i < count, run_epoch, (tf.constant(0), *arrays))
        return tuple(array.stack() for array in arrays)


def _copies(weights: list[Any], epoch: int) -> list[Any]:
    return [array[epoch].copy() for array in weights]
