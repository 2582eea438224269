"""Run the epochs of a pack, and rebuild it without the networks that have ended."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cache
from typing import Any

from trainer.engine.batches import Program
from trainer.engine.epoch_result import EpochResult
from trainer.engine.packs import Pack
from trainer.engine.snapshot import NamedArrays
from trainer.engine.state import State

# Cautious estimates of the time to compile a smaller program and of a member's step.
_COMPILE_SECONDS = 4.0
_STEP_SECONDS = 15e-6
_OPERATIONS_PER_SECOND = 100e9


class PackExecutor:
    """A `trainer.engine.executors.Executor` of the members of a pack.

    Attributes:
        slots: Numbers of the members in the current program, including ended ones.
        pack: The current program.
        partial_steps: Always 0: an epoch that is stopped starts again.
    """

    partial_steps = 0

    def __init__(self, make: Callable[[Sequence[int]], Pack], slots: Sequence[int]) -> None:
        """Build the pack.

        Args:
            make: Builds a pack of the given members, at their initial state.
            slots: Numbers of the members in the program.
        """
        self._make = make
        self.slots = list(slots)
        self.pack = make(self.slots)
        self._earlier_packs: list[Pack] = []

    @property
    def programs(self) -> list[Program]:
        return [program for pack in (*self._earlier_packs, self.pack) for program in pack.programs]

    @property
    def weight_names(self) -> list[str]:
        return self.pack.weight_names

    def pack_for(self, numbers: Sequence[int]) -> Pack:
        """Return a pack of these members, to evaluate them with the weights of another epoch."""
        return self.pack if list(numbers) == self.slots else self._make(numbers)

    def run_epoch(
        self, epoch: int, max_steps: int
    ) -> Generator[None, None, Mapping[int, EpochResult]]:
        pack = self.pack
        start = pack.state() if pack.yields_between_calls else []
        try:
            train_outputs = yield from pack.train(epoch)
            val_outputs = yield from pack.validate()
        except GeneratorExit:
            pack.restore(start)
            raise
        step = epoch * pack.steps_per_epoch
        all_weights = cache(pack.weights)
        return {
            number: EpochResult(
                train_outputs[slot],
                None if val_outputs is None else val_outputs[slot],
                pack.learning_rate(slot, step),
                lambda slot=slot: all_weights()[slot],  # type: ignore[misc]
            )
            for slot, number in enumerate(self.slots)
        }

    def sync_variables(self, epoch: int) -> None:
        """Do nothing: no epoch is run ahead."""

    def set_learning_rate(self, number: int, learning_rate: float) -> None:
        self.pack.set_learning_rate(self.slots.index(number), learning_rate)

    def states(self) -> dict[int, State]:
        return dict(zip(self.slots, self.pack.state(), strict=True))

    def restore(self, states: Mapping[int, NamedArrays], partial_steps: int) -> None:
        self.pack.restore([states[number] for number in self.slots])

    def evaluation_weights(self) -> dict[int, list[Any]]:
        return dict(zip(self.slots, self.pack.weights(), strict=True))

    def retain(self, live: Sequence[int], steps_left: int) -> None:
        """Rebuild the pack without ended members if that saves more time than compiling costs.

        That depends only on numbers of steps, so that a resumed pack does the same.
        """
        saved = (len(self.slots) - len(live)) * steps_left * self._step_seconds()
        if 2 * len(live) > len(self.slots) or saved < _COMPILE_SECONDS:
            return
        states = self.states()
        self._earlier_packs.append(self.pack)
        self.slots = list(live)
        self.pack = self._make(self.slots)
        self.pack.restore([states[number] for number in self.slots])

    def _step_seconds(self) -> float:
        return _STEP_SECONDS + self.pack.operations_per_step / _OPERATIONS_PER_SECOND
