"""Passes over rows that are on the device, each as one program.

Owns: putting rows on the device, the loop over batches, evaluation and prediction. Training is in
`trainer.engine.runner`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.samples import Samples

Array = NDArray[np.float32]

# Rows in one step of an evaluation: large enough for full speed, small enough for any memory.
_EVALUATION_BATCH = 4096
_EVALUATION_ROWS = 64 * _EVALUATION_BATCH


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over rows.

    Attributes:
        loss: Mean loss over rows, regularisation included, as Keras reports it.
        predictions: (rows, outputs) float32, in the order of `rows`.
        rows: (rows,) positions in the samples that each prediction belongs to.
        steps: Batches run.
    """

    loss: float
    predictions: Array
    rows: NDArray[np.int32]
    steps: int


class Stepper(keras.Model):  # type: ignore[misc]
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


def on_device(samples: Samples, part: slice = slice(None)) -> tuple[Any, Any, Any]:
    """Features, targets and weights (or None) of some rows as tensors."""
    weight = None if samples.weight is None else tf.constant(samples.weight[part])
    return tf.constant(samples.x[part]), tf.constant(samples.y[part]), weight


def batch_of(x: Any, y: Any, weight: Any, rows: Any) -> tuple[Any, ...]:
    """The rows' features and targets, and weights if there are any, as Keras's steps take them."""
    batch = (tf.gather(x, rows), tf.gather(y, rows))
    return batch if weight is None else (*batch, tf.gather(weight, rows))


def in_batches(step: Callable[[Any], Any], order: Any, batch: int, outputs: int) -> Any:
    """Run `step` over full batches in a loop and once over the rest; its outputs one below another.

    Args:
        step: Takes (batch,) row numbers, gives (batch, outputs) predictions.
        order: (rows,) int32 row numbers; their count is known when the program is made.
        batch: Rows a step.
        outputs: Width of a prediction.
    """
    full, rest = divmod(int(order.shape[0]), batch)
    parts = []
    if full:
        batches = tf.reshape(order[: full * batch], (full, batch))
        collected = tf.TensorArray(tf.float32, size=full, element_shape=(batch, outputs))
        # A `for` over a tensor range becomes one loop in the program, not `full` copies of its body.
        for number in tf.range(full):
            predictions = step(batches[number])
            collected = collected.write(number, tf.ensure_shape(predictions, (batch, outputs)))
        parts.append(tf.reshape(collected.stack(), (full * batch, outputs)))
    if rest:
        parts.append(step(order[full * batch :]))
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)


class Evaluator:
    """Loss and predictions of a network as it is."""

    def __init__(self, network: keras.Sequential, loss: keras.losses.Loss) -> None:
        self._stepper = Stepper(network, loss, optimizer=None)
        self.evaluation = Program(self.in_program, compiled=False)
        self.prediction = Program(self._predict, compiled=False)

    def evaluate(self, samples: Samples) -> Pass:
        """Loss and predictions, in the samples' order."""
        rows = len(samples.x)
        predictions = []
        loss = 0.0
        for part in _parts(rows):
            mean, answers = self.evaluation(*on_device(samples, part))
            loss += float(mean) * len(answers) / rows
            predictions.append(np.asarray(answers))
        return Pass(
            loss=loss,
            predictions=np.concatenate(predictions),
            rows=np.arange(rows, dtype=np.int32),
            steps=-(-rows // _EVALUATION_BATCH),
        )

    def predict(self, x: Array) -> Array:
        """(rows, outputs) predictions of (rows, …) features."""
        parts = [np.asarray(self.prediction(tf.constant(x[part]))) for part in _parts(len(x))]
        return np.concatenate(parts)

    def in_program(self, x: Any, y: Any, weight: Any) -> tuple[Any, Any]:
        """Inside a program: the mean loss over these rows, and their predictions."""
        self._stepper.loss_mean.reset_state()
        predictions = in_batches(
            lambda rows: self._stepper.test_step(batch_of(x, y, weight, rows)),
            tf.range(int(x.shape[0])),
            _EVALUATION_BATCH,
            int(y.shape[1]),
        )
        return self._stepper.loss_mean.result(), predictions

    def _predict(self, x: Any) -> Any:
        return in_batches(
            lambda rows: self._stepper(tf.gather(x, rows), training=False),
            tf.range(int(x.shape[0])),
            _EVALUATION_BATCH,
            int(self._stepper.network.output_shape[-1]),
        )


def _parts(rows: int) -> list[slice]:
    return [slice(first, first + _EVALUATION_ROWS) for first in range(0, rows, _EVALUATION_ROWS)]
