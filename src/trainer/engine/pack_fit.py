"""The training loop of a pack.

When a member has ended, its state at the end of that epoch is kept; what the program computes for it
later is ignored. When a smaller program would save time, the pack is rebuilt from the remaining members.
That depends only on numbers of steps, so that a resumed pack does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import Any

from trainer.engine.batches import EpochOutput, Program
from trainer.engine.divergence import (
    divergence_problem,
    first_nonfinite_step,
    first_nonfinite_variable,
)
from trainer.engine.epoch_result import EpochResult
from trainer.engine.events import EpochEnd
from trainer.engine.packs import Pack
from trainer.engine.progress import Progress
from trainer.engine.snapshot import Snapshot, best_weight_arrays, best_weights_from, variable_arrays
from trainer.engine.state import State
from trainer.errors import Problem

# Cautious estimates of the time to compile a smaller program and of a member's step.
_COMPILE_SECONDS = 4.0
_STEP_SECONDS = 15e-6
_OPERATIONS_PER_SECOND = 100e9


@dataclass(slots=True, kw_only=True)
class MemberTraining(Progress):
    """Training of one member of a pack.

    Attributes:
        problem: Why it failed, or None.
    """

    problem: Problem | None = None

    @property
    def is_live(self) -> bool:
        """Whether it is still training."""
        return self.stop_reason is None


@dataclass(frozen=True, slots=True)
class MemberState:
    """Current state of a member, or its final state.

    Attributes:
        member: The member's training.
        variables: All variables of network and optimizer.
        evaluation_weights: The weights to evaluate (averages, if any).
    """

    member: MemberTraining
    variables: State
    evaluation_weights: list[Any]

    def snapshot(self) -> Snapshot:
        """Return the snapshot, like that of a network on its own."""
        arrays = {**self.variables, **best_weight_arrays(self.member.best_weights)}
        return Snapshot(arrays, self.member.metadata())


class CheckpointableMember:
    """A `trainer.engine.snapshot.Checkpointable` member; `snapshot` requires that it has ended."""

    def __init__(self, training: PackTraining, number: int) -> None:
        self._training, self._number = training, number

    @property
    def _member(self) -> MemberTraining:
        return self._training.members[self._number]

    @property
    def epoch(self) -> int:
        return self._member.epoch

    @property
    def trained_steps(self) -> int:
        return self._member.step

    @property
    def best_epoch(self) -> int:
        return self._member.best_epoch

    @property
    def best_weights(self) -> list[Any]:
        return self._member.best_weights

    def snapshot(self) -> Snapshot:
        return self._training.final_state(self._number).snapshot()

    def evaluation_weights(self) -> list[Any]:
        """Return the weights to evaluate, also of a member that is still training."""
        return self._training.evaluation_weights(self._number)


@dataclass(frozen=True, slots=True)
class PackEpochEnd:
    """The end of an epoch of a pack.

    Attributes:
        epoch: Epoch number, from 1.
        results: Member → its event, for the members that trained in this epoch.
    """

    epoch: int
    results: Mapping[int, EpochEnd]


class PackTraining:
    """Training of all members of a pack.

    Attributes:
        members: All members; a member's number is its index here.
        slots: Numbers of the members in the current program, including ended ones.
        pack: The current program.
    """

    def __init__(
        self,
        members: Sequence[MemberTraining],
        make: Callable[[Sequence[int]], Pack],
        slots: Sequence[int] | None = None,
    ) -> None:
        """Initialize the training; `restore` restores a saved state.

        Args:
            members: All members.
            make: Builds a pack of the given members, at their initial state.
            slots: Numbers of the members in the program; all by default.
        """
        self.members = tuple(members)
        self.slots = list(range(len(members)) if slots is None else slots)
        self._make = make
        self.pack = make(self.slots)
        self.interrupted = False
        self._final: dict[int, MemberState] = {}
        self._earlier_packs: list[Pack] = []

    @property
    def live(self) -> list[int]:
        """Numbers of the members that are still training."""
        return [number for number in self.slots if self.members[number].is_live]

    @property
    def programs(self) -> list[Program]:
        """All programs that were traced and compiled."""
        return [program for pack in (*self._earlier_packs, self.pack) for program in pack.programs]

    def pack_for(self, numbers: Sequence[int]) -> Pack:
        """Return a pack of these members, to evaluate them with the weights of another epoch."""
        return self.pack if list(numbers) == self.slots else self._make(numbers)

    def states(self) -> list[MemberState]:
        """Return the current state of each member; the final state of those that have ended."""
        live = self.live
        current = self._current_states() if live else {}
        return [
            current[number] if number in live else self._final[number]
            for number in range(len(self.members))
        ]

    def checkpointable(self, number: int) -> CheckpointableMember:
        """Return a member as a checkpointable training."""
        return CheckpointableMember(self, number)

    def final_state(self, number: int) -> MemberState:
        """Return the state of a member that has ended."""
        return self._final[number]

    def evaluation_weights(self, number: int) -> list[Any]:
        """Return the weights that would be evaluated now for a member."""
        if number in self._final:
            return self._final[number].evaluation_weights
        return self.pack.weights()[list(self.slots).index(number)]

    def restore(
        self, snapshots: Sequence[Snapshot], evaluation_weights: Sequence[list[Any]]
    ) -> None:
        """Restore each member to its snapshot.

        Args:
            snapshots: Snapshot of each member.
            evaluation_weights: Weights of each member to evaluate.
        """
        for number, (member, snapshot) in enumerate(zip(self.members, snapshots, strict=True)):
            member.restore(snapshot.metadata, best_weights_from(snapshot.arrays))
            if not member.is_live:
                variables = variable_arrays(snapshot.arrays)
                self._final[number] = MemberState(member, variables, evaluation_weights[number])
        self.pack.restore([variable_arrays(snapshots[number].arrays) for number in self.slots])

    def end_members(self, reasons: Mapping[int, str]) -> None:
        """End members, each for a reason, and keep their current state."""
        current = self._current_states()
        for number, reason in reasons.items():
            self.members[number].stop_reason = reason
            self._final[number] = current[number]

    def _current_states(self) -> dict[int, MemberState]:
        members = zip(self.slots, self.pack.state(), self.pack.weights(), strict=True)
        return {
            number: MemberState(self.members[number], variables, weights)
            for number, variables, weights in members
        }

    def repack(self) -> None:
        """Rebuild the pack without ended members if that saves more time than compiling costs."""
        live = self.live
        steps_left = self.pack.total_steps - max(
            (self.members[number].step for number in live), default=0
        )
        saved = (len(self.slots) - len(live)) * steps_left * self._step_seconds()
        if not live or 2 * len(live) > len(self.slots) or saved < _COMPILE_SECONDS:
            return
        states = dict(zip(self.slots, self.pack.state(), strict=True))
        self._earlier_packs.append(self.pack)
        self.slots = live
        self.pack = self._make(live)
        self.pack.restore([states[number] for number in live])

    def _step_seconds(self) -> float:
        return _STEP_SECONDS + self.pack.operations_per_step / _OPERATIONS_PER_SECOND


def fit_pack(
    training: PackTraining, interrupted: Callable[[], str | None]
) -> Iterator[PackEpochEnd]:
    """Train until every member has ended or `interrupted` returns a reason.

    Args:
        training: Changed in place. The consumer can end members between two epochs.
        interrupted: Called about once a second and at the end of each epoch; a reason discards the
            current epoch.
    """
    while live := training.live:
        started = perf_counter()
        epoch = training.members[live[0]].epoch + 1
        outputs = _through_epoch(training, epoch, interrupted)
        if outputs is None:
            return
        results = _finish_epoch(training, epoch, *outputs, started)
        yield PackEpochEnd(epoch, results)
        if training.live and (reason := interrupted()) is not None:
            _interrupt(training, reason)
            return
        training.repack()


def _through_epoch(
    training: PackTraining, epoch: int, interrupted: Callable[[], str | None]
) -> tuple[list[EpochOutput], list[EpochOutput] | None] | None:
    """Run one epoch and return its outputs; None if it was interrupted and discarded."""
    pack = training.pack
    start = pack.state() if pack.yields_between_calls else []
    running = pack.epoch(epoch)
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if (reason := interrupted()) is not None:
            pack.restore(start)
            _interrupt(training, reason)
            return None


def _interrupt(training: PackTraining, reason: str) -> None:
    training.interrupted = True
    live = training.live
    training.end_members(dict.fromkeys(live, reason))
    for number in live:
        training.members[number].interrupted = True


def _finish_epoch(
    training: PackTraining,
    epoch: int,
    train_outputs: Sequence[EpochOutput],
    val_outputs: Sequence[EpochOutput] | None,
    started: float,
) -> dict[int, EpochEnd]:
    pack = training.pack
    all_weights = cache(pack.weights)
    results: dict[int, EpochEnd] = {}
    ending: dict[int, str] = {}
    for slot, number in enumerate(training.slots):
        member = training.members[number]
        if not member.is_live:
            continue
        trained = train_outputs[slot]
        result = EpochResult(
            trained,
            None if val_outputs is None else val_outputs[slot],
            pack.learning_rate(slot, member.step + trained.steps),
            lambda slot=slot: all_weights()[slot],  # type: ignore[misc]
        )
        if result.is_diverged():
            member.problem = _divergence(pack, slot, member, trained, epoch)
            ending[number] = "the loss is not finite"
            continue
        summary = member.end_epoch(result)
        if summary.learning_rate != result.learning_rate:
            pack.set_learning_rate(slot, summary.learning_rate)
        stop = member.check_stop()
        if stop is not None:
            ending[number] = stop
        results[number] = EpochEnd(
            member.epoch,
            member.step,
            result.learning_rate,
            summary.metrics,
            summary.improved,
            perf_counter() - started,
            stop,
        )
    if ending:
        training.end_members(ending)
    return results


def _divergence(
    pack: Pack, slot: int, member: MemberTraining, trained: EpochOutput, epoch: int
) -> Problem:
    step = member.step + first_nonfinite_step(trained)
    weight = first_nonfinite_variable(zip(pack.weight_names, pack.weights()[slot], strict=True))
    return divergence_problem(epoch, step, trained.loss, weight, member.advice)
