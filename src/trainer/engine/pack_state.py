"""Conversion between the state of a pack and the states of its members.

A member's variables have the same names, shapes and values as in a network trained on its own
(`trainer.engine.state`), so that `trainer resume` can continue from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.engine.batches import Float32Array
from trainer.engine.state import State, named_variables
from trainer.models.optimizers import build_optimizer
from trainer.models.stacking import StackedNetwork, StackMember

Shape = tuple[int, ...]


class PackState:
    """Converts stacked variables to each member's variables by name, and back."""

    def __init__(
        self,
        members: Sequence[StackMember],
        stack: StackedNetwork,
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        self._stack, self._optimizer = stack, optimizer
        self._first = members[0].network
        self._scheduled = [member.config.optimizer.schedule is not None for member in members]
        self._weight_shapes = [
            [tuple(weight.shape) for weight in member.network.weights] for member in members
        ]
        shapes = _shapes_by_name(members, self._weight_shapes)
        all_stacked = [*stack.variables, *optimizer.variables]
        self._variables = [
            (name, [member[name] for member in shapes], stacked)
            for name, stacked in zip(shapes[0], all_stacked, strict=True)
        ]
        self._rate = next(name for name, _, stacked in self._variables if self._is_rate(stacked))
        self._count = next(
            name for name, _, stacked in self._variables if stacked is optimizer._iterations
        )

    def state(self, rates: Sequence[float]) -> list[State]:
        """Return each member's variables by name.

        Args:
            rates: The learning rates, which only members without a schedule keep.
        """
        states: list[State] = [{} for _ in self._scheduled]
        for name, shapes, variable in self._variables:
            if self._is_rate(variable):
                values = [np.asarray(rate, np.float32) for rate in rates]
            elif _is_stacked(variable, shapes):
                values = self._members_values(variable, shapes)
            else:
                values = [variable.numpy().copy() for _ in shapes]
            for state, value in zip(states, values, strict=True):
                state[name] = value
        return [
            self._with_schedule(state) if scheduled else state
            for state, scheduled in zip(states, self._scheduled, strict=True)
        ]

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Restore the variables of each member."""
        plain = [
            self._without_schedule(state) if scheduled else state
            for state, scheduled in zip(states, self._scheduled, strict=True)
        ]
        # Variables shared by all members, such as the step count, are those of the longest training.
        latest = max(plain, key=lambda state: int(state[self._count]))
        for name, shapes, variable in self._variables:
            if self._is_rate(variable):
                continue
            if _is_stacked(variable, shapes):
                self._assign(variable, [state[name] for state in plain])
            else:
                variable.assign(latest[name])

    def learning_rate(self, number: int, state: Mapping[str, Any]) -> float | None:
        """Return the learning rate in a member's state; None if a schedule determines it."""
        return None if self._scheduled[number] else float(state[self._rate])

    def weights(self, *, averaged: bool) -> list[list[Float32Array]]:
        """Return each member's weights in Keras's order; averages in their place if `averaged`."""
        weights: list[list[Float32Array]] = [[] for _ in self._scheduled]
        averages = self._optimizer._model_variables_moving_average if averaged else []
        replacements = {
            id(trainable): average
            for trainable, average in zip(self._stack.trainable, averages, strict=False)
        }
        for index, variable in enumerate(self._first.weights):
            stacked = self._stack.stacked_variable(variable)
            shapes = [member[index] for member in self._weight_shapes]
            values = self._members_values(replacements.get(id(stacked), stacked), shapes)
            for member, value in zip(weights, values, strict=True):
                member.append(value)
        return weights

    def set_weights(self, weights: Sequence[Sequence[Any]]) -> None:
        """Set the weights of each member, in Keras's order."""
        for index, variable in enumerate(self._first.weights):
            self._assign(
                self._stack.stacked_variable(variable), [member[index] for member in weights]
            )

    def _assign(self, variable: Any, values: Sequence[Any]) -> None:
        variable.assign(np.reshape(self._stack.stacked(values), variable.shape))

    def _members_values(self, variable: Any, shapes: Sequence[Shape]) -> list[NDArray[Any]]:
        """Return copies of the members' values of a stacked variable, each in its shape."""
        values = variable.numpy().reshape((-1, *max(shapes)))
        return [
            self._stack.unpadded(values[number, ...], shape) for number, shape in enumerate(shapes)
        ]

    def _is_rate(self, variable: Any) -> bool:
        return variable is self._optimizer._learning_rate

    def _with_schedule(self, state: State) -> State:
        """Convert to the state of an optimizer with a schedule: its scale instead of a learning rate."""
        names = [name for name in state if name != self._rate]
        renamed = dict(zip(names, _renumbered(names), strict=True))
        return {**{renamed[name]: state[name] for name in names}, _SCALE: np.ones((), np.float32)}

    def _without_schedule(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        names = [name for name, _, stacked in self._variables if not self._is_rate(stacked)]
        return {name: state[key] for name, key in zip(names, _renumbered(names), strict=True)}


_SCALE = "optimizer/scale"


def _renumbered(names: Sequence[str]) -> list[str]:
    """Number the names `optimizer/0002/…` consecutively."""
    count = 0
    result = []
    for name in names:
        owner, _, rest = name.partition("/")
        if owner == "optimizer":
            result.append(f"optimizer/{count:04d}/{rest.partition('/')[2]}")
            count += 1
        else:
            result.append(name)
    return result


def _shapes_by_name(
    members: Sequence[StackMember], weight_shapes: Sequence[Sequence[Shape]]
) -> list[dict[str, Shape]]:
    """Return the shapes of each member's variables by name, those of an optimizer for it alone too."""
    shapes: dict[tuple[Shape, ...], dict[str, Shape]] = {}
    for member, weights in zip(members, weight_shapes, strict=True):
        if tuple(weights) in shapes:
            continue
        settings = members[0].config.optimizer.model_copy(update={"schedule": None})
        single = build_optimizer(settings, 1, 1, "float32")
        single.build(member.network.trainable_variables)
        named = named_variables({"network": member.network}, {"network": single})
        shapes[tuple(weights)] = {name: tuple(value.shape) for name, value in named.items()}
    return [shapes[tuple(weights)] for weights in weight_shapes]


def _is_stacked(variable: Any, shapes: Sequence[Shape]) -> bool:
    """Return whether a variable holds a value for each member; step counters are shared."""
    return bool(prod(variable.shape) == len(shapes) * prod(max(shapes)))
