"""One Keras optimizer for the stacked variables of many networks.

Keras's update formulas are elementwise, so they hold for stacked variables as they are, once what
differs from member to member comes as one number a member. Those that are not elementwise (norms for
clipping) are done here per member; optimizers that reduce over a variable (`UNSTACKABLE`) are not
stacked.

Owns: which settings may differ, rates of all members by step, clipping per member. Does not own: the
formulas, which are Keras's.
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
"""Setting → the attribute of Keras's optimizer that holds it; those that may differ in a pack."""


class Coefficient:
    """A number of each member, which Keras's formulas take for one number.

    Its complement 1 - c is computed before it is rounded to float32, as that of a Python number is:
    after it, 1 - 0.999 would be off by one part in 100,000.
    """

    def __init__(self, value: Any, complement: Any) -> None:
        """Both (members, 1, 1) float32 tensors."""
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

    # Keras asks whether there is any: whether there is, is the same for all members of a pack.
    def __gt__(self, other: float) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


def varying_coefficients(settings: Sequence[AnyOptimizer]) -> dict[str, NDArray[np.float64]]:
    """The coefficients that are not the same in all members: setting → (members,) float64."""
    found = {}
    for name in _ATTRIBUTES:
        if not hasattr(settings[0], name):
            continue
        values = [_number(one, name) for one in settings]
        if len(set(values)) > 1:
            found[name] = np.asarray(values, np.float64)
    return found


def _number(settings: AnyOptimizer, name: str) -> float | None:
    if name == "ema":
        return None if settings.ema is None else average_momentum(settings)
    return getattr(settings, name)  # type: ignore[no-any-return]


def build_stacked_optimizer(
    settings: AnyOptimizer, steps_per_epoch: int, total_steps: int
) -> keras.optimizers.Optimizer:
    """The optimizer of a pack; `use` says what it takes in the program that is being traced.

    Args:
        settings: Those of the first member.
        steps_per_epoch: Batches an epoch.
        total_steps: Batches of the whole training.
    """
    plain = build_optimizer(
        settings.model_copy(update={"schedule": None}), steps_per_epoch, total_steps, "float32"
    )
    kind = type(plain)
    stacked: Any = type(f"Stacked{kind.__name__}", (_Stacked, kind), {})
    return stacked.from_config(plain.get_config())


class _Stacked:
    """Mixed into a class of Keras's optimizers."""

    _rates: Any = None

    def use(self, rates: Any, coefficients: Mapping[str, tuple[Any, Any]]) -> None:
        """Inside a program: the learning rates (members,) of this step, and the coefficients that differ
        with their complements, each (members,).
        """
        self._rates = _column(rates)
        for name, (value, complement) in coefficients.items():
            setattr(self, _ATTRIBUTES[name], Coefficient(_column(value), _column(complement)))

    def _get_current_learning_rate(self) -> Any:
        return self._learning_rate if self._rates is None else self._rates  # type: ignore[attr-defined]

    def _clip_gradients(self, gradients: list[Any]) -> list[Any]:
        if self.clipnorm:  # type: ignore[attr-defined]
            bound = tf.convert_to_tensor(self.clipnorm)  # type: ignore[attr-defined]
            return [tf.clip_by_norm(one, bound, axes=[1, 2]) for one in gradients]
        if self.global_clipnorm:  # type: ignore[attr-defined]
            bound = tf.convert_to_tensor(self.global_clipnorm)  # type: ignore[attr-defined]
            squares = [tf.reduce_sum(tf.square(one), [1, 2], keepdims=True) for one in gradients]
            norm = tf.sqrt(tf.add_n(squares))
            # As in Keras, a norm that is not finite makes the gradients NaN rather than small.
            scale = bound * tf.minimum(1.0 / norm, 1.0 / bound) + (norm - norm)
            return [one * scale for one in gradients]
        return super()._clip_gradients(gradients)  # type: ignore[misc, no-any-return]


def member_schedule(
    settings: AnyOptimizer, steps_per_epoch: int, total_steps: int
) -> ScheduledRate | None:
    """The learning rates of one member by batch, from 0; None where its rate is constant."""
    if settings.schedule is None:
        return None
    return ScheduledRate(settings.learning_rate, settings.schedule, steps_per_epoch, total_steps)


def _column(values: Any) -> Any:
    return tf.reshape(values, (-1, 1, 1))
