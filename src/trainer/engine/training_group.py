"""Training of several networks by one executor; a network on its own is a group of one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from trainer.engine.executors import Executor
from trainer.engine.snapshot import Snapshot, variable_arrays
from trainer.engine.state import State
from trainer.engine.training import Training
from trainer.errors import Problem, RunError


@dataclass(frozen=True, slots=True)
class MemberState:
    """Current state of a member, or its final state.

    Attributes:
        snapshot: Its snapshot.
        evaluation_weights: The weights to evaluate (averages, if any).
    """

    snapshot: Snapshot
    evaluation_weights: list[Any]


class TrainingGroup:
    """Training of several networks together, each until it ends.

    When a member has ended, its state at the end of that epoch is kept; what the executor computes for
    it later is ignored.

    Attributes:
        members: The training runs; a member's number is its index here.
        executor: Runs their epochs.
        max_seconds: Maximum training time.
        start_time: Start of training by `perf_counter`, moved back by the training time of earlier
            processes.
    """

    def __init__(
        self, members: Sequence[Training], executor: Executor, max_seconds: float = math.inf
    ) -> None:
        """Initialize the group at the current state of the executor; `restore` restores another."""
        self.members = tuple(members)
        self.executor, self.max_seconds = executor, max_seconds
        self.start_time = perf_counter()
        self._final: dict[int, MemberState] = {}

    @property
    def live(self) -> list[int]:
        """Numbers of the members that are still training."""
        return [number for number, member in enumerate(self.members) if member.is_live]

    @property
    def epoch(self) -> int:
        """The latest completed epoch."""
        return max(member.epoch for member in self.members)

    @property
    def is_interrupted(self) -> bool:
        """Whether training ended by request before all members were complete."""
        return any(member.is_interrupted for member in self.members)

    def steps_left(self, live: Sequence[int]) -> int:
        """Return how many batches the members that are still training have left."""
        return max(self.members[number].total_steps - self.members[number].step for number in live)

    def trained_steps(self, number: int) -> int:
        """Return the batches a member has trained, including those of an unfinished epoch."""
        return self.members[number].step + self.executor.partial_steps

    def check_stop(self, number: int) -> str | None:
        """Return why a member should end after the epochs so far, or None."""
        return self.members[number].check_stop() or self.check_time()

    def check_time(self) -> str | None:
        """Return a reason if the maximum training time has passed, else None."""
        if perf_counter() - self.start_time < self.max_seconds:
            return None
        return f"fit.max_seconds: {self.max_seconds:g} seconds have passed"

    def end(self, reasons: Mapping[int, str], *, interrupted: bool = False) -> None:
        """End members, each for a reason, and keep their current state."""
        for number, reason in reasons.items():
            self.members[number].stop_reason = reason
            self.members[number].is_interrupted = interrupted
        if not reasons:
            return
        self.executor.sync_variables(self.epoch)
        # The variables of a network on its own stay as they are.
        if len(self.members) > 1:
            current = self._current_states()
            self._final |= {number: current[number] for number in reasons}

    def states(self) -> list[MemberState]:
        """Return the current state of each member; the final state of those that have ended."""
        numbers = range(len(self.members))
        is_current = any(number not in self._final for number in numbers)
        states = {**(self._current_states() if is_current else {}), **self._final}
        return [states[number] for number in numbers]

    def snapshot(self, number: int) -> Snapshot:
        """Return the current or final snapshot of a member."""
        if number in self._final:
            return self._final[number].snapshot
        self.executor.sync_variables(self.epoch)
        return self._snapshot(number, self.executor.states()[number])

    def evaluation_weights(self, number: int) -> list[Any]:
        """Return the weights that would be evaluated for a member (averages, if any)."""
        if number in self._final:
            return self._final[number].evaluation_weights
        self.executor.sync_variables(self.epoch)
        return self.executor.evaluation_weights()[number]

    def checkpointable(self, number: int) -> Checkpointable:
        """Return a member with its state."""
        return Checkpointable(self, number)

    def restore(
        self, snapshots: Sequence[Snapshot], evaluation_weights: Sequence[list[Any]] = ()
    ) -> None:
        """Restore each member to its snapshot.

        Args:
            snapshots: Snapshot of each member.
            evaluation_weights: Weights of each member to evaluate; needed if there are several.

        Raises:
            RunError: A snapshot does not match its network and optimizer, or is incomplete.
        """
        self._final = {}
        try:
            partial_steps = snapshots[0].metadata["steps_begun"]
            arrays = {number: snapshot.arrays for number, snapshot in enumerate(snapshots)}
            self.executor.restore(arrays, partial_steps)
            for number, (member, snapshot) in enumerate(zip(self.members, snapshots, strict=True)):
                member.restore(snapshot)
                if not member.is_live and len(self.members) > 1:
                    # The arrays of a pack's checkpoint also include those weights.
                    kept = self._snapshot(number, variable_arrays(snapshot.arrays))
                    self._final[number] = MemberState(kept, evaluation_weights[number])
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                Problem(
                    "checkpoint",
                    "the complete state of training",
                    f"{type(error).__name__}: {error}",
                    "restore the checkpoint from a copy of the run",
                )
            ) from error

    def _current_states(self) -> dict[int, MemberState]:
        self.executor.sync_variables(self.epoch)
        weights = self.executor.evaluation_weights()
        return {
            number: MemberState(self._snapshot(number, state), weights[number])
            for number, state in self.executor.states().items()
        }

    def _snapshot(self, number: int, state: State) -> Snapshot:
        return self.members[number].snapshot(state, self.executor.partial_steps)


class Checkpointable:
    """A member of a group: its progress and its state, which can be checkpointed."""

    def __init__(self, group: TrainingGroup, number: int) -> None:
        self._group, self._number = group, number

    @property
    def epoch(self) -> int:
        """The latest completed epoch."""
        return self._training.epoch

    @property
    def trained_steps(self) -> int:
        """Batches trained."""
        return self._group.trained_steps(self._number)

    @property
    def best_epoch(self) -> int:
        """The best epoch so far; 0 before the first."""
        return self._training.best_epoch

    @property
    def best_weights(self) -> list[Any]:
        """Weights of the best epoch, in Keras's order."""
        return self._training.best_weights

    def snapshot(self) -> Snapshot:
        """Return the current or final snapshot."""
        return self._group.snapshot(self._number)

    def evaluation_weights(self) -> list[Any]:
        """Return the weights that would be evaluated now (averages, if any), in Keras's order."""
        return self._group.evaluation_weights(self._number)

    @property
    def _training(self) -> Training:
        return self._group.members[self._number]
