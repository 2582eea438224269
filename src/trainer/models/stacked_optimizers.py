"""One Keras optimizer for the stacked variables of many networks.

Keras's update formulas are elementwise, so they apply to stacked variables if coefficients that differ
between members are tensors with one value per member. Clipping by norm, which is not elementwise, is
done here per member. Optimizers that reduce over a variable (`stackable` is False) are not stacked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config.optimizers import AnyOptimizer
from trainer.models.optimizers import average_momentum, build_optimizer
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
        return None if settings.ema is None else average_momentum(settings)
    return getattr(settings, name)  # type: ignore[no-any-return]


def build_stacked_optimizer(
    settings: AnyOptimizer, steps_per_epoch: int, total_steps: int
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a pack; the traced program has to call `set_step_values` in each step.

    Args:
        settings: Settings of the first member.
        steps_per_epoch: Batches per epoch.
        total_steps: Batches of the whole training.
    """
    plain = build_optimizer(
        settings.model_copy(update={"schedule": None}), steps_per_epoch, total_steps, "float32"
    )
    kind = type(plain)
    stacked: Any = type(f"Stacked{kind.__name__}", (_Stacked, kind), {})
    return stacked.from_config(plain.get_config())


class _Stacked:
    """Mixin for Keras's optimizer classes."""

    _rates: Any = None

    def set_step_values(self, rates: Any, coefficients: Mapping[str, tuple[Any, Any]]) -> None:
        """Set the learning rates and differing coefficients of a step; for use in a `tf.function`.

        Args:
            rates: (members,) learning rates.
            coefficients: Setting → value and complement, each (members,).
        """
        self._rates = _column(rates)
        for name, (value, complement) in coefficients.items():
            setattr(self, _ATTRIBUTES[name], Coefficient(_column(value), _column(complement)))

    def _get_current_learning_rate(self) -> Any:
        return self._learning_rate if self._rates is None else self._rates  # type: ignore[attr-defined]

    def _clip_gradients(self, gradients: list[Any]) -> list[Any]:
        if self.clipnorm:  # type: ignore[attr-defined]
            bound = tf.convert_to_tensor(self.clipnorm)  # type: ignore[attr-defined]
            return [tf.clip_by_norm(gradient, bound, axes=[1, 2]) for gradient in gradients]
        if self.global_clipnorm:  # type: ignore[attr-defined]
            bound = tf.convert_to_tensor(self.global_clipnorm)  # type: ignore[attr-defined]
            squares = [
                tf.reduce_sum(tf.square(gradient), [1, 2], keepdims=True) for gradient in gradients
            ]
            norm = tf.sqrt(tf.add_n(squares))
            # As in Keras, a norm that is not finite makes the gradients NaN rather than small.
            scale = bound * tf.minimum(1.0 / norm, 1.0 / bound) + (norm - norm)
            return [gradient * scale for gradient in gradients]
        return super()._clip_gradients(gradients)  # type: ignore[misc, no-any-return]


def member_schedule(
    settings: AnyOptimizer, steps_per_epoch: int, total_steps: int
) -> ScheduledRate | None:
    """Return the learning-rate schedule of a member; None if its learning rate is constant."""
    if settings.schedule is None:
        return None
    return ScheduledRate(settings.learning_rate, settings.schedule, steps_per_epoch, total_steps)


def _column(values: Any) -> Any:
    return tf.reshape(values, (-1, 1, 1))
