"""Many networks of one shape trained by one program: their rows, their orders, their state.

A pack is K members over a leading axis (`trainer.models.stacking`). Each has its own order of rows, its
own random streams, learning rate and penalties; they share the number of steps and the shapes. What a
member gets is what `ResidentRunner` would give it alone, to rounding.

Owns: the programs of a pack, and its state as the state of each member. Does not own: decisions and the
loop over epochs (`trainer.engine.pack_fit`), which networks have one shape.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.samples import Samples
from trainer.engine.batches import EpochOutput, Float32Array, Program, run_in_batches
from trainer.engine.pack_state import PackState
from trainer.engine.runner import epoch_order
from trainer.engine.state import State
from trainer.models.stacked_optimizers import (
    build_stacked_optimizer,
    member_schedule,
    varying_coefficients,
)
from trainer.models.stacking import StackedNetwork, StackMember

# Rows of all members in one step of an evaluation.
_EVALUATION_ROWS = 8192
_EVALUATION_STEPS = 64


@dataclass(frozen=True, slots=True)
class PackMember:
    """One network of a pack, and its rows.

    Attributes:
        stack: Its config and its network; the pack begins with that network's weights.
        train: The rows it is trained on, with all weights of rows.
        validation: The rows it is judged by, or None; either all members have some or none has.
    """

    stack: StackMember
    train: Samples
    validation: Samples | None


class _Rows:
    """The rows of all members, each table once, and where each member's begin.

    Attributes:
        tensors: Features, targets and weights (or None) of all tables, one below another.
        first: (members,) int32, the place of each member's first row.
        first_weight: The same for its weights.
        count: (members,) int32, how many rows each member has.
    """

    def __init__(self, samples: Sequence[Samples]) -> None:
        x, self.first = _stored([one.x for one in samples])
        y, first = _stored([one.y for one in samples])
        assert np.array_equal(first, self.first), "targets are shared where features are"
        weight, self.first_weight = None, self.first
        if any(one.weight is not None for one in samples):
            ones: dict[int, Float32Array] = {}
            for one in samples:
                ones.setdefault(len(one.x), np.ones(len(one.x), np.float32))
            weight, self.first_weight = _stored(
                [ones[len(one.x)] if one.weight is None else one.weight for one in samples]
            )
        self.tensors = (x, y, weight)
        self.count = np.asarray([len(one.x) for one in samples], np.int32)


def _stored(arrays: Sequence[Float32Array]) -> tuple[Any, NDArray[np.int32]]:
    """The different ones among the arrays as one tensor, one below another, and where each begins."""
    places: dict[int, int] = {}
    held: list[Float32Array] = []
    rows = 0
    for array in arrays:
        if id(array) not in places:
            places[id(array)] = rows
            held.append(array)
            rows += len(array)
    first = np.asarray([places[id(array)] for array in arrays], np.int32)
    return tf.constant(_joined(held)), first


class Pack:
    """Networks of one shape in one program.

    Attributes:
        size: How many.
        members: In the order of the leading axis.
        steps_per_epoch: Batches an epoch.
        total_steps: Batches of the whole training.
        programs: What is traced and compiled.
    """

    def __init__(
        self,
        members: Sequence[PackMember],
        loss: keras.losses.Loss,
        *,
        total_steps: int,
        steps_in_a_call: int,
    ) -> None:
        """Stack the networks and put the rows on the device.

        Args:
            members: Of one shape.
            loss: As Keras computes it, without label smoothing.
            total_steps: Batches of the whole training.
            steps_in_a_call: Batches after which the device is let go for a moment.
        """
        self.members, self.size = tuple(members), len(members)
        configs = [member.stack.config for member in members]
        rows = len(members[0].train.x)
        self._batch = min(configs[0].fit.batch_size, rows)
        self.steps_per_epoch = -(-rows // self._batch)
        self.total_steps = total_steps
        self._call = steps_in_a_call * self._batch
        self._outputs = int(members[0].train.y.shape[1])
        self._loss = loss
        self._stack = StackedNetwork([member.stack for member in members])
        settings = [config.optimizer for config in configs]
        self._optimizer = build_stacked_optimizer(settings[0], self.steps_per_epoch, total_steps)
        self._optimizer.build(self._stack.trainable)
        self._state = PackState([member.stack for member in members], self._stack, self._optimizer)
        self._averages = bool(self._optimizer.use_ema)
        smoothing = [config.loss.label_smoothing for config in configs]
        hyperparameters = dict(self._stack.hyperparameters)
        if any(smoothing):
            hyperparameters["loss/smoothing"] = np.asarray(smoothing, np.float32)
        self._knobs = {name: tf.constant(value) for name, value in hyperparameters.items()}
        self._coefficients = {
            name: (tf.constant(values, tf.float32), tf.constant(1 - values, tf.float32))
            for name, values in varying_coefficients(settings).items()
        }
        self._constant = np.asarray([one.learning_rate for one in settings], np.float32)
        self._schedules = [
            member_schedule(one, self.steps_per_epoch, total_steps) for one in settings
        ]
        self._train = _Rows([member.train for member in members])
        held_back = [member.validation for member in members if member.validation is not None]
        self._validation = _Rows(held_back) if held_back else None
        self._total = tf.Variable(tf.zeros((self.size,)), trainable=False)
        self._seen = tf.Variable(0.0, trainable=False)
        self._training = Program(self._train_in_graph, compiled=True)
        self._judging = Program(self._evaluate_in_graph, compiled=True)
        # Once for each split: compiling it would take longer than running it.
        self._evaluation = Program(self._evaluate_in_graph, compiled=False)
        self.programs = (self._training, self._judging)

    # An epoch -----------------------------------------------------------------------------------

    def train(self, epoch: int) -> Generator[None, None, list[EpochOutput]]:
        """Train one epoch (numbered from 1); each member's pass. Yields between calls of the device."""
        first = (epoch - 1) * self.steps_per_epoch
        orders = [self._order(number, epoch) for number in range(self.size)]
        order = np.stack(orders, axis=1)
        rates = np.stack(
            [self._rates(number, first, self.steps_per_epoch) for number in range(self.size)],
            axis=1,
        )
        self._total.assign(tf.zeros((self.size,)))
        self._seen.assign(0.0)
        predictions, losses = [], []
        for begin in range(0, len(order), self._call):
            if begin:
                yield
            part = order[begin : begin + self._call]
            step = begin // self._batch
            steps = -(-len(part) // self._batch)
            answers, means = self._training(
                tf.constant(part + self._train.first),
                tf.constant(part + self._train.first_weight),
                tf.constant(first + step, tf.int64),
                tf.constant(rates[step : step + steps]),
                self._knobs,
                self._coefficients,
                self._train.tensors,
            )
            predictions.append(np.asarray(answers))
            losses.append(np.asarray(means))
        answers, means = _joined(predictions), _joined(losses)
        return [
            EpochOutput(
                float(means[-1, number]),
                np.ascontiguousarray(answers[:, number]),
                orders[number],
                means[:, number],
            )
            for number in range(self.size)
        ]

    def judge(self) -> Generator[None, None, list[EpochOutput] | None]:
        """Each member's pass over its validation rows, by its averages where there are any."""
        if self._validation is None:
            return None
        return (yield from self._evaluate(self._validation, self._judging))

    def evaluate(self, samples: Sequence[Samples]) -> Generator[None, None, list[EpochOutput]]:
        """Each member's pass over rows of its own."""
        return (yield from self._evaluate(_Rows(samples), self._evaluation))

    def epoch(
        self, epoch: int
    ) -> Generator[None, None, tuple[list[EpochOutput], list[EpochOutput] | None]]:
        """Train one epoch and judge it: each member's passes. Yields between calls of the device."""
        trained = yield from self.train(epoch)
        return trained, (yield from self.judge())

    @property
    def yields_between_calls(self) -> bool:
        """An epoch is more than one call for its training and one for its judging."""
        judged = 0 if self._validation is None else int(self._validation.count.max())
        rows = len(self.members[0].train.x)
        return rows > self._call or judged > _EVALUATION_STEPS * self._evaluation_batch

    @property
    def operations_per_step(self) -> float:
        """Floating-point operations of one step of one member, about."""
        return 6.0 * int(self.members[0].stack.network.count_params()) * self._batch

    def learning_rate(self, number: int, step: int) -> float:
        """A member's learning rate after `step` batches."""
        (rate,) = self._rates(number, step, 1).tolist()
        return float(rate)

    def set_learning_rate(self, number: int, learning_rate: float) -> None:
        """Another learning rate for a member without a schedule, from the next batch on."""
        self._constant[number] = learning_rate

    # State --------------------------------------------------------------------------------------

    def state(self) -> list[State]:
        """Every variable of each member, named as `trainer.engine.state.get_state` names those
        of one.
        """
        return self._state.split(self._current_rates())

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Put back the variables of each member."""
        self._state.join(states)
        for number, state in enumerate(states):
            rate = self._state.learning_rate(number, state)
            if rate is not None:
                self._constant[number] = rate

    @property
    def weight_names(self) -> list[str]:
        """The names of the weights of each member, in the order of `weights`."""
        return [str(weight.path) for weight in self.members[0].stack.network.weights]

    def weights(self) -> list[list[Float32Array]]:
        """Of each member, the weights that predictions depend on (averages, where there are any)."""
        return self._state.weights(judged=self._averages)

    def set_weights(self, weights: Sequence[Sequence[Any]]) -> None:
        """Let each member have these weights, for its evaluation; training is over."""
        self._state.set_weights(weights)
        self._averages = False

    # Programs -----------------------------------------------------------------------------------

    def _order(self, number: int, epoch: int) -> NDArray[np.int32]:
        config = self.members[number].stack.config
        rows = len(self.members[number].train.x)
        return epoch_order(rows, config.seed, epoch, config.fit.shuffle)

    def _rates(self, number: int, first: int, count: int) -> Float32Array:
        schedule = self._schedules[number]
        if schedule is None:
            return np.full(count, self._constant[number], np.float32)
        return np.asarray(schedule(np.arange(first, first + count)), np.float32)

    def _current_rates(self) -> list[float]:
        step = int(self._optimizer.iterations)
        return [self.learning_rate(number, step) for number in range(self.size)]

    def _train_in_graph(
        self,
        order: Any,
        weight_order: Any,
        first: Any,
        rates: Any,
        hyperparameters: Any,
        coefficients: Any,
        data: Any,
    ) -> tuple[Any, Any]:
        def step(places: Any) -> tuple[Any, Any]:
            rows, weight_rows = places[..., 0], places[..., 1]
            number = tf.cast(self._optimizer.iterations, tf.int64) - first
            self._optimizer.use(tf.gather(rates, number), coefficients)
            return self._step(rows, weight_rows, hyperparameters, data)

        both = tf.stack([order, weight_order], axis=-1)
        shape = (self.size, self._outputs)
        return run_in_batches(step, both, self._batch, shape, (self.size,))

    def _step(
        self, rows: Any, weight_rows: Any, hyperparameters: Any, data: Any
    ) -> tuple[Any, Any]:
        """One batch of each member, as Keras's `train_step` does it."""
        x, y, weight = _gathered(data, rows, weight_rows)
        count = tf.cast(tf.shape(rows)[0], tf.float32)
        variables = [variable.value for variable in self._stack.trainable]
        with tf.GradientTape() as tape:
            answers = self._stack(x, hyperparameters, training=True)
            losses = (
                self._losses(y, answers.outputs, weight, hyperparameters) / count + answers.penalty
            )
            total = tf.reduce_sum(losses)
        gradients = tape.gradient(total, variables)
        self._optimizer.apply(gradients, self._stack.trainable)
        self._stack.constrain()
        self._total.assign_add(losses * count)
        self._seen.assign_add(count)
        return tf.transpose(answers.outputs, (1, 0, 2)), self._total / self._seen

    def _losses(self, y: Any, outputs: Any, weight: Any, hyperparameters: Any) -> Any:
        """(members,) sums over rows of weight · loss."""
        if "loss/smoothing" in hyperparameters:
            share = tf.reshape(hyperparameters["loss/smoothing"], (-1, 1, 1))
            # As in Keras: half of a yes or no, an equal part of each of several classes.
            parts = 2 if isinstance(self._loss, _YES_OR_NO) else self._outputs
            y = y * (1.0 - share) + share / parts
        losses = self._loss.call(y, outputs)
        return tf.reduce_sum(losses if weight is None else losses * weight, axis=1)

    def _evaluate(self, rows: _Rows, program: Program) -> Generator[None, None, list[EpochOutput]]:
        longest = int(rows.count.max())
        order = np.minimum(np.arange(longest, dtype=np.int32)[:, None], rows.count - 1)
        there = (np.arange(longest)[:, None] < rows.count).astype(np.float32)
        call = _EVALUATION_STEPS * self._evaluation_batch
        predictions = []
        losses = np.zeros(self.size)
        for begin in range(0, longest, call):
            if begin:
                yield
            part = slice(begin, begin + call)
            answers, sums = program(
                tf.constant(order[part] + rows.first),
                tf.constant(order[part] + rows.first_weight),
                tf.constant(there[part]),
                self._knobs,
                rows.tensors,
            )
            predictions.append(np.asarray(answers))
            losses += np.asarray(sums).sum(axis=0, dtype=np.float64)
        answers = _joined(predictions)
        means = losses / rows.count
        return [
            EpochOutput(
                float(means[number]),
                np.ascontiguousarray(answers[:count, number]),
                np.arange(count, dtype=np.int32),
                np.asarray([means[number]], np.float32),
            )
            for number, count in enumerate(rows.count)
        ]

    @property
    def _evaluation_batch(self) -> int:
        return max(32, _EVALUATION_ROWS // self.size)

    def _evaluate_in_graph(
        self, order: Any, weight_order: Any, there: Any, hyperparameters: Any, data: Any
    ) -> tuple[Any, Any]:
        trained = self._optimizer._model_variables_moving_average if self._averages else None
        if trained is not None:
            trained = [average.value for average in trained]
        place = tf.range(int(order.shape[0]))

        def step(at: Any) -> tuple[Any, Any]:
            rows, weight_rows = tf.gather(order, at), tf.gather(weight_order, at)
            counted = tf.transpose(tf.gather(there, at))
            x, y, weight = _gathered(data, rows, weight_rows)
            answers = self._stack(
                x, hyperparameters, training=False, trained=trained, counted=counted
            )
            weight = counted if weight is None else weight * counted
            sums = self._losses(y, answers.outputs, weight, hyperparameters)
            sums += answers.penalty * tf.reduce_sum(counted, axis=1)
            return tf.transpose(answers.outputs, (1, 0, 2)), sums

        shape = (self.size, self._outputs)
        return run_in_batches(step, place, self._evaluation_batch, shape, (self.size,))


_YES_OR_NO = (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy)


def _gathered(data: Any, rows: Any, weight_rows: Any) -> tuple[Any, Any, Any]:
    """(rows, members) places → features and targets (members, rows, …), weights (members, rows)."""
    x, y, weight = data
    by_member = tf.transpose(rows)
    own = None if weight is None else tf.gather(weight, tf.transpose(weight_rows))
    return tf.gather(x, by_member), tf.gather(y, by_member), own


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
