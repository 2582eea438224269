"""Passes over rows that are on the device, each as one program.

Owns: putting rows on the device, the loop over batches, evaluation and prediction. Training is in
`trainer.engine.runner`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar, cast

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.samples import Samples

Float32Array = NDArray[np.float32]
Value = TypeVar("Value")

# Rows in one step of an evaluation: large enough for full speed, small enough for any memory.
_EVALUATION_BATCH = 4096
_EVALUATION_BATCHES = 64

# One call of the device takes about this long at most, at a cautious guess of its speed: between two
# calls training can be stopped and saved.
_CALL_SECONDS = 1.0
_STEP_SECONDS = 60e-6
_OPERATIONS_PER_SECOND = 30e9


def steps_in_a_call(parameters: int, batch: int, operations: int = 6) -> int:
    """Steps of one call of the device: as many as take a second, whatever machine it is.

    Args:
        parameters: Weights of the network.
        batch: Rows a step.
        operations: Floating-point operations a weight and row: 6 in training, 2 in evaluation.
    """
    seconds = _STEP_SECONDS + operations * parameters * batch / _OPERATIONS_PER_SECOND
    return max(1, int(_CALL_SECONDS / seconds))


@dataclass(frozen=True, slots=True)
class EpochOutput:
    """One pass over rows.

    Attributes:
        loss: Mean loss over rows, regularisation included, as Keras reports it.
        predictions: (rows, outputs) float32, in the order of `rows`.
        rows: (rows,) positions in the samples that each prediction belongs to.
        losses: (batches,) float32, the mean loss over the rows up to and with each batch of a training
            pass; one number for an evaluation.
    """

    loss: float
    predictions: Float32Array
    rows: NDArray[np.int32]
    losses: Float32Array

    @property
    def steps(self) -> int:
        """Batches run."""
        return len(self.losses)


class PartialEpoch:
    """An epoch that is trained in part, call by call of the device."""

    def __init__(
        self, predictions: Float32Array | None = None, losses: Float32Array | None = None
    ) -> None:
        """Nothing yet, or what an earlier process trained.

        Args:
            predictions: (rows, outputs) float32, in the order of the epoch.
            losses: (batches,) float32, as in `EpochOutput`.
        """
        self._predictions = [] if predictions is None else [predictions]
        self._losses = [] if losses is None else [losses]

    def add(self, predictions: Any, losses: Any) -> None:
        """Take in what a call gave, as tensors."""
        self._predictions.append(np.asarray(predictions))
        self._losses.append(np.asarray(losses))

    @property
    def rows(self) -> int:
        """Rows trained on."""
        return sum(map(len, self._predictions))

    @property
    def steps(self) -> int:
        """Batches run."""
        return sum(map(len, self._losses))

    @property
    def diverged(self) -> bool:
        """The loss is no longer finite."""
        return bool(self._losses) and not np.isfinite(self._losses[-1][-1])

    @property
    def predictions(self) -> Float32Array:
        """(rows, outputs) float32, in the order of the epoch."""
        return _joined(self._predictions)

    @property
    def losses(self) -> Float32Array:
        """(batches,) float32, as in `EpochOutput`."""
        return _joined(self._losses)

    def whole(self, order: NDArray[np.int32]) -> EpochOutput:
        """The epoch's pass over the rows of `order`."""
        return EpochOutput(float(self.losses[-1]), self.predictions, order, self.losses)


def _joined(parts: list[Float32Array]) -> Float32Array:
    """The arrays as one, which takes their place."""
    if len(parts) > 1:
        parts[:] = [np.concatenate(parts)]
    return parts[0]


class TrainStep(keras.Model):  # type: ignore[misc]
    """Keras's own `train_step` and `test_step` around a network, handing back predictions.

    Metrics are computed from the predictions, exactly and outside the program; Keras's metric
    variables would only approximate some of them (AUC) and cost time in every step.
    """

    def __init__(self, network: keras.Sequential, loss: keras.losses.Loss, optimizer: Any) -> None:
        super().__init__()
        self.network = network
        self.compile(optimizer=optimizer, loss=loss, jit_compile=False)

    def build(self, input_shape: Any) -> None:
        self.built = True

    def call(self, x: Any, training: bool = False) -> Any:
        return self.network(x, training=training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return y_pred

    def begin(self) -> PartialEpoch:
        """An epoch begins: nothing of it is trained yet, the mean of the loss is reset."""
        self.loss_mean.reset_state()
        return PartialEpoch()

    def update(self, batch: tuple[Any, ...]) -> tuple[Any, Any]:
        """A step of training: the predictions before it, and the mean loss up to and with it."""
        return self.train_step(batch), self.loss_mean.result()

    @property
    def loss_mean(self) -> Any:
        """The mean of the loss over rows since it was reset (keras.metrics.Mean)."""
        return self._loss_tracker


class Program:
    """A function as one TensorFlow program, which knows how long it took to make.

    Attributes:
        trace_seconds: Spent in turning Python into graphs.
        compile_seconds: What the first call of each graph took over the quickest later one (all of it
            if there was no later one): XLA's compilation, or TensorFlow's own preparation.
    """

    def __init__(self, function: Callable[..., Any], *, compiled: bool) -> None:
        """Nothing is made before the first call.

        Args:
            function: Takes tensors, or tuples of them, or None.
            compiled: Compile with XLA; without it, TensorFlow runs the graph.
        """
        self._program = tf.function(function, jit_compile=compiled or None)
        self._shapes: set[tuple[tuple[int, ...], ...]] = set()
        self._first_calls: list[float] = []
        self._quickest: float | None = None
        self.trace_seconds = 0.0

    @property
    def compile_seconds(self) -> float:
        again = self._quickest or 0.0
        return sum(max(0.0, first - again) for first in self._first_calls)

    def __call__(self, *arguments: Any) -> Any:
        """Run it."""
        shapes = tuple(
            tuple(tensor.shape) for tensor in tf.nest.flatten(arguments) if tensor is not None
        )
        is_new = shapes not in self._shapes
        began = perf_counter()
        if is_new:
            self._shapes.add(shapes)
            self._program.get_concrete_function(*arguments)
            self.trace_seconds += perf_counter() - began
            began = perf_counter()
        done = self._program(*arguments)
        took = perf_counter() - began
        if is_new:
            self._first_calls.append(took)
        else:
            self._quickest = took if self._quickest is None else min(took, self._quickest)
        return done


def to_device(samples: Samples, part: slice = slice(None)) -> tuple[Any, Any, Any]:
    """Features, targets and weights (or None) of some rows as tensors."""
    weight = None if samples.weight is None else tf.constant(samples.weight[part])
    return tf.constant(samples.x[part]), tf.constant(samples.y[part]), weight


def gather_batch(x: Any, y: Any, weight: Any, rows: Any) -> tuple[Any, ...]:
    """The rows' features and targets, and weights if there are any, as Keras's steps take them."""
    batch = (tf.gather(x, rows), tf.gather(y, rows))
    return batch if weight is None else (*batch, tf.gather(weight, rows))


def run_in_batches(
    step: Callable[[Any], tuple[Any, Any]],
    order: Any,
    batch: int,
    shape: tuple[int, ...],
    of_each: tuple[int, ...] = (),
) -> tuple[Any, Any]:
    """Run `step` over full batches in a loop and once over the rest.

    Args:
        step: Takes (batch, …) row numbers, gives (batch, *shape) predictions and (*of_each,) numbers.
        order: (rows, …) int32 row numbers; their count is known when the program is made.
        batch: Rows a step.
        shape: Of one row's predictions.
        of_each: Shape of a step's numbers.

    Returns:
        The predictions one below another, and the (batches, *of_each) numbers.
    """
    full, rest = divmod(int(order.shape[0]), batch)
    parts, numbers = [], []
    if full:
        batches = tf.reshape(order[: full * batch], (full, batch, *order.shape[1:]))
        collected = tf.TensorArray(tf.float32, size=full, element_shape=(batch, *shape))
        counted = tf.TensorArray(tf.float32, size=full, element_shape=of_each)
        # A `for` over a tensor range becomes one loop in the program, not `full` copies of its body.
        for place in tf.range(full):
            predictions, number = step(batches[place])
            collected = collected.write(place, tf.ensure_shape(predictions, (batch, *shape)))
            counted = counted.write(place, number)
        parts.append(tf.reshape(collected.stack(), (full * batch, *shape)))
        numbers.append(counted.stack())
    if rest:
        predictions, number = step(order[full * batch :])
        parts.append(predictions)
        numbers.append(tf.reshape(number, (1, *of_each)))
    if len(parts) == 1:
        return parts[0], numbers[0]
    return tf.concat(parts, axis=0), tf.concat(numbers, axis=0)


def run_to_end(steps: Generator[Any, None, Value]) -> Value:
    """What a generator returns when it is run to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            return cast(Value, ended.value)


class Evaluator:
    """Loss and predictions of a network as it is."""

    def __init__(self, network: keras.Sequential, loss: keras.losses.Loss) -> None:
        self._train_step = TrainStep(network, loss, optimizer=None)
        batches = steps_in_a_call(network.count_params(), _EVALUATION_BATCH, operations=2)
        self._rows = _EVALUATION_BATCH * min(batches, _EVALUATION_BATCHES)
        self.evaluation = Program(self.in_graph, compiled=False)
        self.prediction = Program(self._predict, compiled=False)

    def evaluate(self, samples: Samples) -> EpochOutput:
        """Loss and predictions, in the samples' order."""
        return run_to_end(self.evaluate_in_parts(samples))

    def evaluate_in_parts(self, samples: Samples) -> Generator[None, None, EpochOutput]:
        """As `evaluate`; between two calls of the device it yields."""
        rows = len(samples.x)
        predictions = []
        loss = 0.0
        for number, part in enumerate(self._parts(rows)):
            if number:
                yield
            mean, answers = self.evaluation(*to_device(samples, part))
            loss += float(mean) * len(answers) / rows
            predictions.append(np.asarray(answers))
        return EpochOutput(
            loss=loss,
            predictions=np.concatenate(predictions),
            rows=np.arange(rows, dtype=np.int32),
            losses=np.asarray([loss], np.float32),
        )

    def predict(self, x: Float32Array) -> Float32Array:
        """(rows, outputs) predictions of (rows, …) features."""
        parts = [np.asarray(self.prediction(tf.constant(x[part]))) for part in self._parts(len(x))]
        return np.concatenate(parts)

    def in_graph(self, x: Any, y: Any, weight: Any) -> tuple[Any, Any]:
        """Inside a program: the mean loss over these rows, and their predictions."""
        self._train_step.loss_mean.reset_state()
        predictions, losses = run_in_batches(
            lambda rows: (
                self._train_step.test_step(gather_batch(x, y, weight, rows)),
                self._train_step.loss_mean.result(),
            ),
            tf.range(int(x.shape[0])),
            _EVALUATION_BATCH,
            (int(y.shape[1]),),
        )
        return losses[-1], predictions

    def _predict(self, x: Any) -> Any:
        predictions, _ = run_in_batches(
            lambda rows: (self._train_step(tf.gather(x, rows), training=False), 0.0),
            tf.range(int(x.shape[0])),
            _EVALUATION_BATCH,
            (int(self._train_step.network.output_shape[-1]),),
        )
        return predictions

    def _parts(self, rows: int) -> list[slice]:
        return [slice(first, first + self._rows) for first in range(0, rows, self._rows)]
