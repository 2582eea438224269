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

from trainer.engine.batches import Float32Array
from trainer.engine.state import State, named_variables
from trainer.models.optimizers import build_optimizer
from trainer.models.stacking import StackedNetwork, StackMember


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
        # An optimizer for the first member alone provides the names and shapes.
        settings = members[0].config.optimizer.model_copy(update={"schedule": None})
        single = build_optimizer(settings, 1, 1, "float32")
        single.build(self._first.trainable_variables)
        named = named_variables({"network": self._first}, {"network": single})
        all_stacked = [*stack.variables, *optimizer.variables]
        self._variables = [
            (name, tuple(variable.shape), stacked)
            for (name, variable), stacked in zip(named.items(), all_stacked, strict=True)
        ]
        self._rate = next(name for name, _, stacked in self._variables if self._is_rate(stacked))
        self._count = next(
            name for name, _, stacked in self._variables if stacked is optimizer._iterations
        )

    def state(self, rates: Sequence[float]) -> list[State]:
        """Return each member's variables by name, including its learning rate."""
        states: list[State] = [{} for _ in self._scheduled]
        for name, shape, variable in self._variables:
            value = variable.numpy()
            if _is_stacked(value, self._stack.size, shape):
                values = value.reshape((-1, *shape))
            else:
                values = np.broadcast_to(value, (self._stack.size, *shape))
            for number, state in enumerate(states):
                if self._is_rate(variable):
                    state[name] = np.asarray(rates[number], np.float32)
                else:
                    state[name] = values[number, ...].copy()
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
        for name, shape, variable in self._variables:
            if self._is_rate(variable):
                continue
            if _is_stacked(variable, self._stack.size, shape):
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
        for variable in self._first.weights:
            stacked = self._stack.stacked_variable(variable)
            values = replacements.get(id(stacked), stacked).numpy().reshape((-1, *variable.shape))
            for number, member in enumerate(weights):
                member.append(values[number, ...].copy())
        return weights

    def set_weights(self, weights: Sequence[Sequence[Any]]) -> None:
        """Set the weights of each member, in Keras's order."""
        for index, variable in enumerate(self._first.weights):
            self._assign(
                self._stack.stacked_variable(variable), [member[index] for member in weights]
            )

    def _assign(self, variable: Any, values: Sequence[Any]) -> None:
        variable.assign(np.reshape(self._stack.stacked(values), variable.shape))

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


def _is_stacked(value: Any, size: int, shape: tuple[int, ...]) -> bool:
    """Return whether a value holds one of this shape for each member; step counters are shared."""
    return bool(prod(value.shape) == size * prod(shape))
