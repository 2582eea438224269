"""Packs: many networks of the same shape trained by one program.

The members are stacked along a leading axis (`trainer.models.stacking`). Each has its own order of rows,
random streams, learning rate and penalties; they share the shapes and the number of steps. The last
batch of an epoch is as large as the others: it repeats rows without weight. A member's result equals
that of a network trained on its own up to rounding. `trainer.engine.pack_executor` runs the epochs.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config.losses import Loss
from trainer.data.samples import Samples
from trainer.engine.batches import (
    EpochOutput,
    Float32Array,
    Program,
    run_in_batches,
)
from trainer.engine.pack_rows import PackRows, gather_by_member, joined
from trainer.engine.pack_state import PackState
from trainer.engine.rows import epoch_order
from trainer.engine.state import State
from trainer.models.losses import StackedLoss
from trainer.models.stacked_optimizers import (
    build_stacked_optimizer,
    member_schedule,
    varying_coefficients,
)
from trainer.models.stacking import StackedNetwork, StackMember

# Rows per evaluation step, over all members.
_EVALUATION_ROWS = 8192
_EVALUATION_STEPS = 64


@dataclass(frozen=True, slots=True)
class PackMember:
    """One network of a pack and its rows.

    Attributes:
        stack: Its config and its network, which provides the initial weights.
        loss: Its loss.
        train: Its training rows, with all sample weights.
        validation: Its validation rows, or None; either all members have some or none has.
    """

    stack: StackMember
    loss: Loss
    train: Samples
    validation: Samples | None


class Pack:
    """Networks of the same shape in one program.

    Attributes:
        size: Number of members.
        members: The members, in the order of the leading axis.
        steps_per_epoch: Batches per epoch.
        total_steps: Batches of the whole training run.
        programs: The programs that are traced and compiled.
    """

    def __init__(
        self,
        members: Sequence[PackMember],
        *,
        total_steps: int,
        steps_per_execution: int,
    ) -> None:
        """Stack the networks and copy the rows to the device.

        Args:
            members: Networks of the same shape and their rows.
            total_steps: Batches of the whole training run.
            steps_per_execution: Maximum number of batches per device call.
        """
        self.members, self.size = tuple(members), len(members)
        configs = [member.stack.config for member in members]
        rows = [len(member.train) for member in members]
        self._batch = min(configs[0].fit.batch_size, max(rows))
        self.steps_per_epoch = -(-max(rows) // self._batch)
        # Batches are padded where a member has fewer rows in the last one.
        is_padded = min(rows) < self.steps_per_epoch * self._batch
        self._row_counts = tf.constant(rows, tf.int64) if is_padded else None
        self.total_steps = total_steps
        self._call = steps_per_execution * self._batch
        self._outputs = int(members[0].train.y.shape[1])
        self._stack = StackedNetwork([member.stack for member in members])
        settings = [config.optimizer for config in configs]
        self._optimizer = build_stacked_optimizer(settings[0], self.steps_per_epoch, total_steps)
        self._optimizer.build(self._stack.trainable)
        self._state = PackState([member.stack for member in members], self._stack, self._optimizer)
        self._averages = bool(self._optimizer.use_ema)
        self._loss = StackedLoss([member.loss for member in members])
        hyperparameters = self._stack.hyperparameters | self._loss.hyperparameters
        self._hyperparameters = {
            name: tf.constant(value) for name, value in hyperparameters.items()
        }
        self._coefficients = {
            name: (tf.constant(values, tf.float32), tf.constant(1 - values, tf.float32))
            for name, values in varying_coefficients(settings).items()
        }
        self._constant = np.asarray([optimizer.learning_rate for optimizer in settings], np.float32)
        self._schedules = [
            member_schedule(optimizer, self.steps_per_epoch, total_steps) for optimizer in settings
        ]
        self._train = PackRows([member.train for member in members])
        validation = [member.validation for member in members if member.validation is not None]
        self._validation = PackRows(validation) if validation else None
        self._loss_sum = tf.Variable(tf.zeros((self.size,)), trainable=False)
        self._row_count = tf.Variable(tf.zeros((self.size,)), trainable=False)
        self._train_program = Program(self._train_in_graph, compiled=True)
        # Large batches run as fast without XLA, whose compilation takes as long as many evaluations.
        self._evaluation_program = Program(self._evaluate_in_graph, compiled=False)
        self.programs = (self._train_program, self._evaluation_program)

    # Epochs -------------------------------------------------------------------------------------

    def train(self, epoch: int) -> Generator[None, None, list[EpochOutput]]:
        """Train one epoch, from 1; return each member's output. Yields between device calls."""
        first = (epoch - 1) * self.steps_per_epoch
        orders = [self._order(number, epoch) for number in range(self.size)]
        order = self._aligned(orders)
        rates = np.stack(
            [self._rates(number, first, self.steps_per_epoch) for number in range(self.size)],
            axis=1,
        )
        self._loss_sum.assign(tf.zeros((self.size,)))
        self._row_count.assign(tf.zeros((self.size,)))
        predictions, losses = [], []
        for begin in range(0, len(order), self._call):
            if begin:
                yield
            part = order[begin : begin + self._call]
            step = begin // self._batch
            steps = -(-len(part) // self._batch)
            output, means = self._train_program(
                tf.constant(part + self._train.first),
                tf.constant(part + self._train.first_weight),
                tf.constant(first + step, tf.int64),
                tf.constant(rates[step : step + steps]),
                self._hyperparameters,
                self._coefficients,
                self._train.tensors,
                self._row_counts,
            )
            predictions.append(np.asarray(output))
            losses.append(np.asarray(means))
        output, means = joined(predictions), joined(losses)
        return [
            EpochOutput(
                float(means[-1, number]),
                np.ascontiguousarray(output[: len(orders[number]), number]),
                orders[number],
                means[:, number],
            )
            for number in range(self.size)
        ]

    def validate(self) -> Generator[None, None, list[EpochOutput] | None]:
        """Return each member's output on its validation rows; uses averaged weights if there are any."""
        if self._validation is None:
            return None
        return (yield from self._evaluate(self._validation))

    def evaluate(self, samples: Sequence[Samples]) -> Generator[None, None, list[EpochOutput]]:
        """Return each member's output on its samples."""
        return (yield from self._evaluate(PackRows(samples)))

    @property
    def yields_between_calls(self) -> bool:
        """Whether an epoch takes more than one device call for training or for validation."""
        val_rows = 0 if self._validation is None else int(self._validation.count.max())
        return (
            self.steps_per_epoch * self._batch > self._call
            or val_rows > _EVALUATION_STEPS * self._evaluation_batch
        )

    @property
    def operations_per_step(self) -> float:
        """Approximate floating-point operations of one step of one member."""
        return 6.0 * int(self.members[0].stack.network.count_params()) * self._batch

    def learning_rate(self, number: int, step: int) -> float:
        """Return a member's learning rate after `step` batches."""
        (rate,) = self._rates(number, step, 1).tolist()
        return float(rate)

    def set_learning_rate(self, number: int, learning_rate: float) -> None:
        """Set the learning rate of a member without a schedule, effective from the next batch."""
        self._constant[number] = learning_rate

    # State --------------------------------------------------------------------------------------

    def state(self) -> list[State]:
        """Return every variable of each member, with the names of `trainer.engine.state`."""
        return self._state.state(self._constant.tolist())

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Restore the variables of each member."""
        self._state.restore(states)
        for number, state in enumerate(states):
            rate = self._state.learning_rate(number, state)
            if rate is not None:
                self._constant[number] = rate

    @property
    def weight_names(self) -> list[str]:
        """Names of a member's weights, in the order of `weights`."""
        return [str(weight.path) for weight in self.members[0].stack.network.weights]

    def weights(self) -> list[list[Float32Array]]:
        """Return the weights of each member that predictions depend on (averages, if any)."""
        return self._state.weights(averaged=self._averages)

    def set_weights(self, weights: Sequence[Sequence[Any]]) -> None:
        """Set the weights of each member for evaluation, after training has ended."""
        self._state.set_weights(weights)
        if self._averages:
            self._averages = False
            # The graph for validation reads the averages.
            self._evaluation_program = Program(self._evaluate_in_graph, compiled=False)

    # Programs -----------------------------------------------------------------------------------

    def _order(self, number: int, epoch: int) -> NDArray[np.int32]:
        config = self.members[number].stack.config
        rows = len(self.members[number].train)
        return epoch_order(rows, config.seed, epoch, config.fit.shuffle)

    def _aligned(self, orders: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
        """Return the (rows, members) orders of whole batches; each repeats its last row."""
        rows = self.steps_per_epoch * self._batch
        padded = [np.pad(order, (0, rows - len(order)), mode="edge") for order in orders]
        return np.stack(padded, axis=1)

    def _rates(self, number: int, first: int, count: int) -> Float32Array:
        schedule = self._schedules[number]
        if schedule is None:
            return np.full(count, self._constant[number], np.float32)
        return np.asarray(schedule(np.arange(first, first + count)), np.float32)

    def _train_in_graph(
        self,
        order: Any,
        weight_order: Any,
        first: Any,
        rates: Any,
        hyperparameters: Any,
        coefficients: Any,
        data: Any,
        row_counts: Any,
    ) -> tuple[Any, Any]:
        """Train on whole batches of all members: a second copy of the step takes as long to compile."""

        def step(positions: Any) -> tuple[Any, Any]:
            rows, weight_rows = positions[..., 0], positions[..., 1]
            # The number of batches; `iterations` is that of updates.
            done = tf.cast(self._optimizer._iterations, tf.int64)
            self._optimizer.set_step_values(tf.gather(rates, done - first), coefficients)
            mask = None if row_counts is None else self._mask(done, row_counts)
            return self._step(rows, weight_rows, hyperparameters, data, mask)

        both = tf.stack([order, weight_order], axis=-1)
        shape = (self.size, self._outputs)
        return run_in_batches(step, both, self._batch, shape, (self.size,))

    def _mask(self, done: Any, row_counts: Any) -> Any:
        """Return (members, rows) 1 for a row and 0 for padding, of the batch after `done` batches."""
        first = done % self.steps_per_epoch * self._batch
        places = first + tf.range(self._batch, dtype=tf.int64)
        return tf.cast(places < row_counts[:, None], tf.float32)

    def _step(
        self, rows: Any, weight_rows: Any, hyperparameters: Any, data: Any, mask: Any
    ) -> tuple[Any, Any]:
        """Train on one batch of each member, as Keras's `train_step` does.

        Args:
            rows: (rows, members) positions of inputs and targets.
            weight_rows: (rows, members) positions of the sample weights.
            hyperparameters: The settings that differ between members.
            data: Inputs, targets and sample weights of all members.
            mask: (members, rows), 1 for a row and 0 for padding; None without padding.
        """
        x, y, weight = gather_by_member(data, rows, weight_rows)
        count = tf.cast(tf.shape(rows)[0], tf.float32)
        if mask is not None:
            count = tf.reduce_sum(mask, axis=1)
            weight = mask if weight is None else weight * mask
        variables = [variable.value for variable in self._stack.trainable]
        with tf.GradientTape() as tape:
            result = self._stack(x, hyperparameters, training=True, mask=mask)
            losses = (
                self._losses(y, result.outputs, weight, hyperparameters) / count + result.penalty
            )
            total = tf.reduce_sum(losses)
        gradients = tape.gradient(total, variables)
        self._optimizer.apply(gradients, self._stack.trainable)
        self._stack.constrain()
        self._loss_sum.assign_add(losses * count)
        self._row_count.assign_add(tf.broadcast_to(count, (self.size,)))
        return tf.transpose(result.outputs, (1, 0, 2)), self._loss_sum / self._row_count

    def _losses(self, y: Any, outputs: Any, weight: Any, hyperparameters: Any) -> Any:
        """Return the (members,) sums over rows of weight · loss."""
        losses = self._loss(y, outputs, hyperparameters)
        return tf.reduce_sum(losses if weight is None else losses * weight, axis=1)

    def _evaluate(self, rows: PackRows) -> Generator[None, None, list[EpochOutput]]:
        max_count = int(rows.count.max())
        order = np.minimum(np.arange(max_count, dtype=np.int32)[:, None], rows.count - 1)
        mask = (np.arange(max_count)[:, None] < rows.count).astype(np.float32)
        call = _EVALUATION_STEPS * self._evaluation_batch
        predictions = []
        losses = np.zeros(self.size)
        for begin in range(0, max_count, call):
            if begin:
                yield
            part = slice(begin, begin + call)
            output, sums = self._evaluation_program(
                tf.constant(order[part] + rows.first),
                tf.constant(order[part] + rows.first_weight),
                tf.constant(mask[part]),
                self._hyperparameters,
                rows.tensors,
            )
            predictions.append(np.asarray(output))
            losses += np.asarray(sums).sum(axis=0, dtype=np.float64)
        output = joined(predictions)
        means = losses / rows.count
        return [
            EpochOutput(
                float(means[number]),
                np.ascontiguousarray(output[:count, number]),
                np.arange(count, dtype=np.int32),
                np.asarray([means[number]], np.float32),
            )
            for number, count in enumerate(rows.count)
        ]

    @property
    def _evaluation_batch(self) -> int:
        return max(32, _EVALUATION_ROWS // self.size)

    def _evaluate_in_graph(
        self, order: Any, weight_order: Any, mask: Any, hyperparameters: Any, data: Any
    ) -> tuple[Any, Any]:
        averages = self._optimizer._model_variables_moving_average if self._averages else None
        if averages is not None:
            averages = [average.value for average in averages]
        index = tf.range(int(order.shape[0]))

        def step(batch: Any) -> tuple[Any, Any]:
            rows, weight_rows = tf.gather(order, batch), tf.gather(weight_order, batch)
            row_mask = tf.transpose(tf.gather(mask, batch))
            x, y, weight = gather_by_member(data, rows, weight_rows)
            result = self._stack(
                x, hyperparameters, training=False, trainable=averages, mask=row_mask
            )
            weight = row_mask if weight is None else weight * row_mask
            sums = self._losses(y, result.outputs, weight, hyperparameters)
            sums += result.penalty * tf.reduce_sum(row_mask, axis=1)
            return tf.transpose(result.outputs, (1, 0, 2)), sums

        shape = (self.size, self._outputs)
        return run_in_batches(step, index, self._evaluation_batch, shape, (self.size,))
