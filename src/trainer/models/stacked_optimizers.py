"""One Keras optimizer for the stacked variables of many networks.

Keras's update formulas are elementwise, so they apply to stacked variables if coefficients that differ
between members are tensors with one value per member. Clipping by norm, which is not elementwise, is
done here per member. Optimizers that reduce over a variable (`stackable` is False) are not stacked.

The gradient of an embedding table has one row for each row of the batch (`tf.IndexedSlices`). Most of
Keras's optimizers sum the rows of an id only after squaring them, and clip them before. The tables of
all members are one table here, so that Keras's formulas apply to its gradient as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config.optimizers import AnyOptimizer
from trainer.models.optimizers import (
    apply_without_replicas,
    build_optimizer,
    ema_momentum_per_batch,
)
from trainer.models.schedules import ScheduledRate

_ATTRIBUTES = {
    "beta_1": "beta_1",
    "beta_2": "beta_2",
    "epsilon": "epsilon",
    "rho": "rho",
    "momentum": "momentum",
    "weight_decay": "weight_decay",
    "clip_norm": "clipnorm",
    "global_clip_norm": "global_clipnorm",
    "clip_value": "clipvalue",
    "l1": "l1_regularization_strength",
    "l2": "l2_regularization_strength",
    "l2_shrinkage": "l2_shrinkage_regularization_strength",
    "beta": "beta",
    "ema": "ema_momentum",
}
"""Settings that can differ within a pack → attribute of the Keras optimizer."""


class Coefficient:
    """One value per member, used in Keras's formulas in place of a number.

    The complement 1 - c is computed before rounding to float32, as for a Python number; computed after
    rounding, 1 - 0.999 would have a relative error of 1e-5.
    """

    def __init__(self, value: Any, complement: Any) -> None:
        """Store value and complement, both (members, 1, 1) float32 tensors."""
        self._value, self._complement = value, complement

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        return self._value if dtype is None else tf.cast(self._value, dtype)

    def __rsub__(self, other: Any) -> Any:
        return (
            self._complement
            if isinstance(other, int | float) and other == 1
            else other - self._value
        )

    def __mul__(self, other: Any) -> Any:
        return self._value * other

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Any:
        return self._value + other

    __radd__ = __add__

    def __truediv__(self, other: Any) -> Any:
        return self._value / other

    def __neg__(self) -> Any:
        return -self._value

    # Keras tests whether a coefficient is used; within a pack, all members use it or none does.
    def __gt__(self, other: float) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


def varying_coefficients(settings: Sequence[AnyOptimizer]) -> dict[str, NDArray[np.float64]]:
    """Return the coefficients that differ between members: setting → (members,) float64."""
    coefficients = {}
    for name in _ATTRIBUTES:
        if not hasattr(settings[0], name):
            continue
        values = [_coefficient(member, name) for member in settings]
        if len(set(values)) > 1:
            coefficients[name] = np.asarray(values, np.float64)
    return coefficients


def _coefficient(settings: AnyOptimizer, name: str) -> float | None:
    if name == "ema":
        return None if settings.ema is None else ema_momentum_per_batch(settings)
    return getattr(settings, name)  # type: ignore[no-any-return]


def build_stacked_optimizer(
    settings: AnyOptimizer, steps_per_epoch: int, total_steps: int
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a pack; the traced program has to call `set_step_values` in each step.

    Args:
        settings: Settings of the first member.
        steps_per_epoch: Batches per epoch.
        total_steps: Batches of the whole training run.
    """
    plain = build_optimizer(
        settings.model_copy(update={"schedule": None}), steps_per_epoch, total_steps, "float32"
    )
    kind = type(plain)
    stacked: Any = type(f"Stacked{kind.__name__}", (_Stacked, kind), {})
    optimizer = stacked.from_config(plain.get_config())
    apply_without_replicas(optimizer)
    return optimizer


class _Stacked:
    """Mixin for Keras's optimizer classes."""

    _rates: Any = None
    _step_values: Any = None

    def set_step_values(self, rates: Any, coefficients: Mapping[str, tuple[Any, Any]]) -> None:
        """Set the learning rates and differing coefficients of a step; for use in a `tf.function`.

        Args:
            rates: (members,) learning rates.
            coefficients: Setting → value and complement, each (members,).
        """
        self._step_values = (rates, coefficients)
        self._set_columns(rows=None)

    def _set_columns(self, rows: int | None) -> None:
        """Set the learning rates and coefficients in the layout of `_column`."""
        rates, coefficients = self._step_values
        self._rates = _column(rates, rows)
        for name, (value, complement) in coefficients.items():
            coefficient = Coefficient(_column(value, rows), _column(complement, rows))
            setattr(self, _ATTRIBUTES[name], coefficient)

    @contextmanager
    def _columns_of(self, variable: Any) -> Iterator[None]:
        """Use the layout of the variable within the context."""
        rows = variable.shape[0] // self._members if len(variable.shape) == 2 else None
        self._set_columns(rows)
        yield
        self._set_columns(rows=None)

    @property
    def _members(self) -> int:
        return int(self._step_values[0].shape[0])

    def _get_current_learning_rate(self) -> Any:
        return self._learning_rate if self._rates is None else self._rates  # type: ignore[attr-defined]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        with self._columns_of(variable):
            self._spread(variable)
            super().update_step(gradient, variable, self._rates)  # type: ignore[misc]

    def _spread(self, variable: Any) -> None:
        """Give what Keras adds to a variable's tensors their shape.

        `keras.ops.add` takes a tensor with a single axis longer than 1, such as (members, 1, 1), for a
        bias, and adds it along the last or second axis if that has the same length.
        """
        epsilon = getattr(self, "epsilon", None)
        if isinstance(epsilon, Coefficient):
            self.epsilon = tf.broadcast_to(epsilon, variable.shape)
        if isinstance(self, keras.optimizers.Ftrl):
            self._rates = tf.broadcast_to(self._rates, variable.shape)

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        for variable in variables:
            with self._columns_of(variable):
                super()._apply_weight_decay([variable])  # type: ignore[misc]

    def _update_model_variables_moving_average(self, variables: Sequence[Any]) -> None:
        if not self.use_ema:  # type: ignore[attr-defined]
            return
        started = tf.cast(self.iterations != 0, tf.float32)  # type: ignore[attr-defined]
        averages = self._model_variables_moving_average  # type: ignore[attr-defined]
        for variable, average in zip(variables, averages, strict=True):
            with self._columns_of(variable):
                momentum = started * self.ema_momentum  # type: ignore[attr-defined]
            average.assign(momentum * average + (1 - momentum) * variable)

    def _clip_gradients(self, gradients: list[Any]) -> list[Any]:
        values = [self._by_member(gradient) for gradient in gradients]
        if self.clipnorm:  # type: ignore[attr-defined]
            bound = tf.convert_to_tensor(self.clipnorm)  # type: ignore[attr-defined]
            clipped = [tf.clip_by_norm(value, bound, axes=[1, 2]) for value in values]
        elif self.global_clipnorm:  # type: ignore[attr-defined]
            bound = tf.convert_to_tensor(self.global_clipnorm)  # type: ignore[attr-defined]
            squares = [tf.reduce_sum(tf.square(value), [1, 2], keepdims=True) for value in values]
            norm = tf.sqrt(tf.add_n(squares))
            # As in Keras, a norm that is not finite makes the gradients NaN rather than small.
            scale = bound * tf.minimum(1.0 / norm, 1.0 / bound) + (norm - norm)
            # Keras makes scaled gradients dense.
            gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
            clipped = [self._by_member(gradient) * scale for gradient in gradients]
        elif self.clipvalue:  # type: ignore[attr-defined]
            bound = tf.convert_to_tensor(self.clipvalue)  # type: ignore[attr-defined]
            clipped = [tf.clip_by_value(value, -bound, bound) for value in values]
        else:
            return gradients
        return [
            _with_values(gradient, value)
            for gradient, value in zip(gradients, clipped, strict=True)
        ]

    def _by_member(self, gradient: Any) -> Any:
        """Return the values of a gradient as (members, rows, columns)."""
        values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
        if len(values.shape) == 2:
            return tf.reshape(values, (self._members, -1, values.shape[-1]))
        return values


def _with_values(gradient: Any, values: Any) -> Any:
    """Return a gradient with other values, given as (members, rows, columns)."""
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.reshape(values, gradient.values.shape)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.reshape(values, gradient.shape)


def member_schedule(
    settings: AnyOptimizer, steps_per_epoch: int, total_steps: int
) -> ScheduledRate | None:
    """Return the learning-rate schedule of a member; None if its learning rate is constant."""
    if settings.schedule is None:
        return None
    return ScheduledRate(settings.learning_rate, settings.schedule, steps_per_epoch, total_steps)


def _column(values: Any, rows: int | None) -> Any:
    """Reshape (members,) values to broadcast with a stacked variable.

    Args:
        values: One value per member.
        rows: Rows of each member's table; None for variables of three axes.
    """
    if rows is None:
        return tf.reshape(values, (-1, 1, 1))
    return tf.repeat(values, rows)[:, None]
