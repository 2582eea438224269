"""Training, evaluation and prediction in batches as TensorFlow programs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import Any, TypeVar, cast

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.arrays import RowIndex
from trainer.data.samples import Samples
from trainer.engine.learner import Batch, Learner
from trainer.engine.lengths import without_padding
from trainer.inputs import Inputs, count_rows, keras_inputs

Float32Array = NDArray[np.float32]
Value = TypeVar("Value")
Augment = Callable[[Batch, Any], Batch]
"""Changes a batch; takes the batch and (rows, 2) int32, the position of each row in the samples, and the
epoch.
"""

# Rows per evaluation step: large enough for full speed, small enough for any memory.
_EVALUATION_BATCH = 4096
_EVALUATION_BATCHES = 64
_EVALUATION_VALUES = 1 << 26
# Rows per evaluation step of texts without padding.
_TEXT_BATCH = 64

# Upper limit on the duration of one device call, from a cautious estimate of the device's speed.
# Training can be stopped and saved between two calls.
_CALL_SECONDS = 1.0
_STEP_SECONDS = 60e-6
_OPERATIONS_PER_SECOND = 30e9


def steps_per_execution(parameters: int, batch: int, operations: int = 6) -> int:
    """Return the number of steps per device call: about one second's worth, on any machine.

    Args:
        parameters: Number of weights of the network.
        batch: Rows per step.
        operations: Floating-point operations per weight and row: 6 in training, 2 in evaluation.
    """
    seconds = _STEP_SECONDS + operations * parameters * batch / _OPERATIONS_PER_SECOND
    return max(1, int(_CALL_SECONDS / seconds))


@dataclass(frozen=True, slots=True)
class EpochOutput:
    """Loss and predictions of one training epoch or one evaluation.

    Attributes:
        loss: Mean loss over rows, including regularization, as Keras reports it.
        predictions: (rows, outputs) float32, in the order of `rows`.
        rows: (rows,) position in the samples of each prediction.
        losses: (batches,) float32, running mean of the loss after each training batch; a single value
            for an evaluation.
    """

    loss: float
    predictions: Float32Array
    rows: NDArray[np.int32]
    losses: Float32Array

    @property
    def steps(self) -> int:
        """Number of batches that were run."""
        return len(self.losses)


class PartialEpoch:
    """Output so far of an epoch that is still being trained."""

    def __init__(
        self, predictions: Float32Array | None = None, losses: Float32Array | None = None
    ) -> None:
        """Start empty, or with the output of an earlier process.

        Args:
            predictions: (rows, outputs) float32, in the order of the epoch.
            losses: (batches,) float32, as in `EpochOutput`.
        """
        self._predictions = [] if predictions is None else [predictions]
        self._losses = [] if losses is None else [losses]

    def append(self, predictions: Any, losses: Any) -> None:
        """Append the tensors returned by one device call."""
        self._predictions.append(np.asarray(predictions))
        self._losses.append(np.asarray(losses))

    @property
    def rows(self) -> int:
        """Number of rows trained on."""
        return sum(map(len, self._predictions))

    @property
    def steps(self) -> int:
        """Number of batches that were run."""
        return sum(map(len, self._losses))

    @property
    def has_diverged(self) -> bool:
        """Whether the loss is no longer finite."""
        return bool(self._losses) and not np.isfinite(self._losses[-1][-1])

    @property
    def predictions(self) -> Float32Array:
        """(rows, outputs) float32, in the order of the epoch."""
        return _joined(self._predictions)

    @property
    def losses(self) -> Float32Array:
        """(batches,) float32, as in `EpochOutput`."""
        return _joined(self._losses)

    def to_output(self, order: NDArray[np.int32]) -> EpochOutput:
        """Return the output of the finished epoch, trained in this order of rows."""
        return EpochOutput(float(self.losses[-1]), self.predictions, order, self.losses)


def _joined(parts: list[Float32Array]) -> Float32Array:
    """Concatenate the arrays in place and return the result."""
    if len(parts) > 1:
        parts[:] = [np.concatenate(parts)]
    return parts[0]


class Program:
    """A `tf.function` that records its tracing and compilation times.

    Attributes:
        trace_seconds: Time spent tracing.
        compile_seconds: Duration of the first call of each graph beyond its fastest later call (all of
            it if there was no later call): XLA compilation, or TensorFlow's graph preparation.
    """

    def __init__(self, function: Callable[..., Any], *, compiled: bool) -> None:
        """Wrap a function; it is traced on the first call.

        Args:
            function: Takes tensors, tuples of tensors, or None.
            compiled: Whether to compile with XLA; otherwise TensorFlow runs the graph.
        """
        # Like Keras, without AutoGraph, whose conversion of the code takes longer than tracing it.
        self._program = tf.function(function, jit_compile=compiled or None, autograph=False)
        self._shapes: set[tuple[tuple[int, ...], ...]] = set()
        self._first_calls: list[float] = []
        self._fastest: float | None = None
        self.trace_seconds = 0.0

    @property
    def compile_seconds(self) -> float:
        fastest = self._fastest or 0.0
        return sum(max(0.0, first - fastest) for first in self._first_calls)

    def reset_times(self) -> None:
        """Forget the times of earlier calls."""
        self._first_calls, self.trace_seconds = [], 0.0

    def __call__(self, *arguments: Any) -> Any:
        """Run the program."""
        shapes = tuple(
            tuple(tensor.shape) for tensor in tf.nest.flatten(arguments) if tensor is not None
        )
        is_new = shapes not in self._shapes
        start = perf_counter()
        if is_new:
            self._shapes.add(shapes)
            self._program.get_concrete_function(*arguments)
            self.trace_seconds += perf_counter() - start
            start = perf_counter()
        outputs = self._program(*arguments)
        seconds = perf_counter() - start
        if is_new:
            self._first_calls.append(seconds)
        else:
            self._fastest = seconds if self._fastest is None else min(seconds, self._fastest)
        return outputs


def to_device(samples: Samples, part: slice | RowIndex = slice(None)) -> tuple[Any, Any, Any]:
    """Return inputs, targets and sample weights (or None) of some rows as tensors."""
    weight = None if samples.weight is None else tf.constant(samples.weight[part])
    return input_tensors(samples.inputs, part), tf.constant(samples.y[part]), weight


def input_tensors(inputs: Inputs, part: slice | RowIndex = slice(None)) -> Any:
    """Return some rows of the inputs as tensors, in the form that a network takes."""
    return keras_inputs({name: tf.constant(array[part]) for name, array in inputs.items()})


def gather_rows(x: Any, rows: Any) -> Any:
    """Gather rows of each input."""
    return tf.nest.map_structure(lambda values: tf.gather(values, rows), x)


def gather_batch(x: Any, y: Any, weight: Any, rows: Any) -> tuple[Any, ...]:
    """Gather rows into a batch for Keras's steps: (x, y), or (x, y, weight) if there are weights."""
    batch = (gather_rows(x, rows), tf.gather(y, rows))
    return batch if weight is None else (*batch, tf.gather(weight, rows))


def run_in_batches(
    step: Callable[[Any], tuple[Any, Any]],
    order: Any,
    batch: int,
    shape: tuple[int, ...],
    loss_shape: tuple[int, ...] = (),
) -> tuple[Any, Any]:
    """Run `step` on each full batch in a loop, and once on the remainder.

    Args:
        step: Maps (batch, …) row indices to (batch, *shape) predictions and a (*loss_shape,) loss.
        order: (rows, …) int32 row indices; their number is static.
        batch: Rows per step.
        shape: Shape of one row's predictions.
        loss_shape: Shape of one step's loss.

    Returns:
        The concatenated predictions, and the (batches, *loss_shape) losses.
    """
    full, remainder = divmod(int(order.shape[0]), batch)
    all_predictions, all_losses = [], []
    if full:
        batches = tf.reshape(order[: full * batch], (full, batch, *order.shape[1:]))
        prediction_array = tf.TensorArray(tf.float32, size=full, element_shape=(batch, *shape))
        loss_array = tf.TensorArray(tf.float32, size=full, element_shape=loss_shape)

        def run_batch(index: Any, predictions: Any, losses: Any) -> tuple[Any, Any, Any]:
            output, loss = step(batches[index])
            output = tf.ensure_shape(output, (batch, *shape))
            return index + 1, predictions.write(index, output), losses.write(index, loss)

        # One loop in the graph, not `full` copies of its body.
        _, prediction_array, loss_array = tf.while_loop(
            lambda index, *_: index < full,
            run_batch,
            (tf.constant(0), prediction_array, loss_array),
            maximum_iterations=full,
        )
        all_predictions.append(tf.reshape(prediction_array.stack(), (full * batch, *shape)))
        all_losses.append(loss_array.stack())
    if remainder:
        predictions, loss = step(order[full * batch :])
        all_predictions.append(predictions)
        all_losses.append(tf.reshape(loss, (1, *loss_shape)))
    if len(all_predictions) == 1:
        return all_predictions[0], all_losses[0]
    return tf.concat(all_predictions, axis=0), tf.concat(all_losses, axis=0)


def run_to_end(steps: Generator[Any, None, Value]) -> Value:
    """Exhaust a generator and return its return value."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return cast(Value, stop.value)


def train_in_batches(
    learner: Learner, batch: int, order: Any, x: Any, y: Any, weight: Any
) -> tuple[Any, Any]:
    """Train on rows and return their outputs and the losses; for use in a `tf.function`.

    Args:
        learner: Its variables change.
        batch: Rows per step.
        order: (rows,) int32 positions of the rows; None for all, in their order.
        x: Inputs.
        y: Targets.
        weight: Sample weights, or None.
    """
    return run_in_batches(
        lambda rows: learner.train_step(gather_batch(x, y, weight, rows)),
        tf.range(int(y.shape[0])) if order is None else order,
        batch,
        (learner.trained_outputs,),
    )


def train_augmented(
    learner: Learner, batch: int, augment: Augment, keys: Any, part: tuple[Any, ...]
) -> tuple[Any, Any]:
    """Like `train_in_batches`, but on changed batches.

    Args:
        learner: Its variables change.
        batch: Rows per step.
        augment: Changes a batch before the step.
        keys: (rows, 2) int32, in the order in which the rows are trained on; see `Augment`.
        part: The last arguments of `train_in_batches`.
    """
    order, x, y, weight = part
    rows = tf.range(int(y.shape[0])) if order is None else order

    def step(rows: Any) -> tuple[Any, Any]:
        changed = augment(gather_batch(x, y, weight, rows[:, 0]), rows[:, 1:])
        return learner.train_step(changed)

    keyed = tf.concat([rows[:, None], keys], axis=1)
    return run_in_batches(step, keyed, batch, (learner.trained_outputs,))


def _evaluation_batch(learner: Learner) -> int:
    """Return the rows per evaluation step: fewer if the output of a layer would take much memory."""
    layers = [layer for network in learner.networks.values() for layer in _all_layers(network)]
    outputs = [tensor for layer in layers for tensor in tf.nest.flatten(layer.output)]
    values: int = max(prod(size or 1 for size in tensor.shape[1:]) for tensor in outputs)
    values = max(values, learner.row_values)
    return max(1, min(_EVALUATION_BATCH, _EVALUATION_VALUES // values))


def _all_layers(network: Any) -> Iterator[Any]:
    """Yield the layers of a network, and those of networks inside it."""
    for layer in network.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _all_layers(layer)


class Evaluator:
    """Computes the loss and outputs of a learner with its current weights."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._batch = _evaluation_batch(learner)
        batches = steps_per_execution(learner.parameters, self._batch, operations=2)
        if self._batch < _EVALUATION_BATCH:
            batches = 1
        self._rows = self._batch * min(batches, _EVALUATION_BATCHES)
        self.evaluation = Program(self.in_graph, compiled=False)
        self.prediction = Program(self._predict, compiled=False)

    def evaluate(self, samples: Samples) -> EpochOutput:
        """Return loss and predictions, in the order of the samples."""
        return run_to_end(self.evaluate_in_parts(samples))

    def evaluate_in_parts(self, samples: Samples) -> Generator[None, None, EpochOutput]:
        """Like `evaluate`, but yield between device calls."""
        rows, loss = len(samples), 0.0
        predictions = np.empty((rows, self._learner.outputs), np.float32)
        for number, (part, length) in enumerate(self._parts(samples.inputs)):
            if number:
                yield
            x, y, weight = to_device(samples, part)
            mean, output = self.evaluation(without_padding(x, length), y, weight)
            loss += float(mean) * len(output) / rows
            predictions[part] = output
            samples.release_pages()
        losses = np.asarray([loss], np.float32)
        return EpochOutput(loss, predictions, np.arange(rows, dtype=np.int32), losses)

    def predict(self, inputs: Inputs) -> Float32Array:
        """Return (rows, outputs) predictions."""
        predictions = np.empty((count_rows(inputs), self._learner.outputs), np.float32)
        for part, length in self._parts(inputs):
            x = without_padding(input_tensors(inputs, part), length)
            predictions[part] = self.prediction(x)
        return predictions

    def in_graph(self, x: Any, y: Any, weight: Any) -> tuple[Any, Any]:
        """Return the mean loss over these rows and their predictions; for use in a `tf.function`."""
        self._learner.start_evaluation()
        predictions, losses = run_in_batches(
            lambda rows: self._learner.test_step(gather_batch(x, y, weight, rows)),
            tf.range(int(y.shape[0])),
            self._batch,
            (self._learner.outputs,),
        )
        return losses[-1], predictions

    def _predict(self, x: Any) -> Any:
        predictions, _ = run_in_batches(
            lambda rows: (self._learner.predict_step(gather_rows(x, rows)), 0.0),
            tf.range(int(tf.nest.flatten(x)[0].shape[0])),
            self._batch,
            (self._learner.outputs,),
        )
        return predictions

    def _parts(self, inputs: Inputs) -> Iterator[tuple[slice | RowIndex, int | None]]:
        """Yield the rows of each device call, and the number of tokens they keep; None for all."""
        rows, size = count_rows(inputs), min(self._batch, _TEXT_BATCH)
        lengths = self._learner.kept_tokens(inputs, size)
        if lengths is None:
            for first in range(0, rows, self._rows):
                yield slice(first, first + self._rows), None
            return
        order = np.argsort(lengths, kind="stable")
        for first in range(0, rows, size):
            part = order[first : first + size]
            yield part, int(lengths[part].max())
