"""The state of a pack as the state of each member, and back.

A member's variables have the names, shapes and numbers that they have in a network trained alone
(`trainer.engine.state`), so that its checkpoint is one that `trainer resume` goes on from.

Owns: names and shapes. Does not own: the stacked variables (`trainer.models.stacking`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from trainer.engine.batches import Float32Array
from trainer.engine.state import State, named_variables
from trainer.models.optimizers import build_optimizer
from trainer.models.stacking import StackedNetwork, StackMember


class PackState:
    """The stacked variables as those of each member, by the names that a member's own have."""

    def __init__(
        self,
        members: Sequence[StackMember],
        stack: StackedNetwork,
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        self._stack, self._optimizer = stack, optimizer
        self._first = members[0].network
        self._scheduled = [one.config.optimizer.schedule is not None for one in members]
        # One of the first member's own, for its names and shapes.
        settings = members[0].config.optimizer.model_copy(update={"schedule": None})
        alone = build_optimizer(settings, 1, 1, "float32")
        alone.build(self._first.trainable_variables)
        named = named_variables(self._first, alone)
        stacked = [*stack.variables, *optimizer.variables]
        self._variables = [
            (name, tuple(variable.shape), ours)
            for (name, variable), ours in zip(named, stacked, strict=True)
        ]
        self._rate = next(name for name, _, ours in self._variables if self._is_rate(ours))
        self._count = next(
            name for name, _, ours in self._variables if ours is optimizer._iterations
        )

    def split(self, rates: Sequence[float]) -> list[State]:
        """Each member's variables by name, with its learning rate."""
        states: list[State] = [{} for _ in self._scheduled]
        for name, shape, variable in self._variables:
            value = variable.numpy()
            stacked = _is_stacked(value, self._stack.size, shape)
            for number, state in enumerate(states):
                if self._is_rate(variable):
                    state[name] = np.asarray(rates[number], np.float32)
                else:
                    own = value[number].reshape(shape) if stacked else value
                    state[name] = own.copy()
        return [
            self._with_schedule(state) if scheduled else state
            for state, scheduled in zip(states, self._scheduled, strict=True)
        ]

    def join(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Put them back."""
        plain = [
            self._without_schedule(state) if scheduled else state
            for state, scheduled in zip(states, self._scheduled, strict=True)
        ]
        # What is one for all, as the count of steps, went on with those that ended last.
        latest = max(plain, key=lambda state: int(state[self._count]))
        for name, shape, variable in self._variables:
            if self._is_rate(variable):
                continue
            if _is_stacked(variable, self._stack.size, shape):
                self._assign(variable, [state[name] for state in plain])
            else:
                variable.assign(latest[name])

    def learning_rate(self, number: int, state: Mapping[str, Any]) -> float | None:
        """The learning rate in a member's state; None where a schedule says it."""
        return None if self._scheduled[number] else float(state[self._rate])

    def weights(self, *, judged: bool) -> list[list[Float32Array]]:
        """Each member's weights in Keras's order."""
        found: list[list[Float32Array]] = [[] for _ in self._scheduled]
        averages = self._optimizer._model_variables_moving_average if judged else []
        instead = {
            id(own): average for own, average in zip(self._stack.trainable, averages, strict=False)
        }
        for variable in self._first.weights:
            ours = self._stack.of(variable)
            value = instead.get(id(ours), ours).numpy()
            for number, member in enumerate(found):
                member.append(value[number].reshape(variable.shape).copy())
        return found

    def set_weights(self, weights: Sequence[Sequence[Any]]) -> None:
        """Let each member have these weights, in Keras's order."""
        for place, variable in enumerate(self._first.weights):
            self._assign(self._stack.of(variable), [member[place] for member in weights])

    def _assign(self, variable: Any, values: Sequence[Any]) -> None:
        variable.assign(np.reshape(self._stack.stacked(values), variable.shape))

    def _is_rate(self, variable: Any) -> bool:
        return variable is self._optimizer._learning_rate

    def _with_schedule(self, state: State) -> State:
        """As an optimizer with a schedule has it: no learning rate, and the schedule's scale."""
        kept = [name for name in state if name != self._rate]
        renamed = dict(zip(kept, _renumbered(kept), strict=True))
        return {**{renamed[name]: state[name] for name in kept}, _SCALE: np.ones((), np.float32)}

    def _without_schedule(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        kept = [name for name, _, ours in self._variables if not self._is_rate(ours)]
        return {name: state[renamed] for name, renamed in zip(kept, _renumbered(kept), strict=True)}


_SCALE = "optimizer/scale"


def _renumbered(names: Sequence[str]) -> list[str]:
    """`optimizer/0002/…` by its place among those that are left."""
    count = 0
    found = []
    for name in names:
        owner, _, rest = name.partition("/")
        if owner == "optimizer":
            found.append(f"optimizer/{count:04d}/{rest.partition('/')[2]}")
            count += 1
        else:
            found.append(name)
    return found


def _is_stacked(value: Any, size: int, shape: tuple[int, ...]) -> bool:
    """Whether it is of all members, where one's has this shape; a counter of steps is one for all."""
    return len(value.shape) > len(shape) and int(value.shape[0]) == size
