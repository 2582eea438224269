"""The training loop of a pack: epochs of all its members, decisions of each.

A member that has stopped is frozen: its state at the end of that epoch is kept, whatever the program
computes in its place. Once few enough are left for a smaller program to pay, the pack is rebuilt from
those; when that is depends on numbers of steps alone, so that a resumed pack does the same.

Owns: the loop, decisions, repacking. Does not own: the programs (`trainer.engine.packs`), the disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from trainer.data.samples import Samples
from trainer.engine.batches import EpochOutput, Program
from trainer.engine.divergence import (
    DivergenceAdvice,
    divergence_problem,
    first_nonfinite_step,
    first_nonfinite_variable,
)
from trainer.engine.events import EpochEnd
from trainer.engine.fit import MetricFunction
from trainer.engine.monitors import Monitors
from trainer.engine.packs import Pack
from trainer.engine.snapshot import Snapshot, best_weight_arrays, best_weights_from, variable_arrays
from trainer.engine.state import State
from trainer.errors import Problem

# A smaller program has to be compiled; these are cautious guesses of that and of a member's step.
_COMPILE_SECONDS = 4.0
_STEP_SECONDS = 15e-6
_OPERATIONS_PER_SECOND = 100e9


@dataclass(slots=True)
class MemberTraining:
    """One member's part of a training.

    Attributes:
        train: The rows its training metrics are measured on.
        validation: The rows each epoch is judged by, or None.
        compute_metrics: Computes the metrics of a pass.
        monitors: The decisions.
        monitor: The measure that says which epoch is best.
        keep_last: The latest epoch counts as the best.
        advice: What helps where the loss is not finite.
        best_weights: Weights of the best epoch (averages, where the optimizer keeps them).
        best_epoch: Its number.
        epoch: The latest epoch done.
        step: Batches done with it.
        ended: Why its training has ended, or None.
        interrupted: It ended because it was asked to, not because it was done.
        problem: Why it failed, where it did.
    """

    train: Samples
    validation: Samples | None
    compute_metrics: MetricFunction
    monitors: Monitors
    monitor: str
    keep_last: bool
    advice: DivergenceAdvice = field(default_factory=DivergenceAdvice)
    best_weights: list[Any] = field(default_factory=list)
    best_epoch: int = 0
    epoch: int = 0
    step: int = 0
    ended: str | None = None
    interrupted: bool = False
    problem: Problem | None = None

    @property
    def is_live(self) -> bool:
        """It is still trained."""
        return self.ended is None


@dataclass(frozen=True, slots=True)
class MemberState:
    """A member as it stands, or stood when it ended.

    Attributes:
        member: Whose.
        variables: All of network and optimizer.
        judged: The weights that it would be judged by.
    """

    member: MemberTraining
    variables: State
    judged: list[Any]

    def snapshot(self) -> Snapshot:
        """As `trainer.engine.snapshot.take` tells it of a training alone."""
        member = self.member
        facts = {
            "epoch": member.epoch,
            "step": member.step,
            "callbacks": [],
            "steps_begun": 0,
            "best_epoch": member.best_epoch,
            "monitors": member.monitors.state(),
            "rewound": 0,
            "stopped_because": None if member.interrupted else member.ended,
        }
        return Snapshot({**self.variables, **best_weight_arrays(member.best_weights)}, facts)


class CheckpointableMember:
    """A member as it is recorded (`trainer.engine.snapshot.Checkpointable`); a snapshot once it
    has ended.
    """

    def __init__(self, training: PackTraining, number: int) -> None:
        self._training, self._number = training, number

    @property
    def _member(self) -> MemberTraining:
        return self._training.members[self._number]

    @property
    def epoch(self) -> int:
        """As in `Checkpointable`."""
        return self._member.epoch

    @property
    def position(self) -> int:
        """As in `Checkpointable`."""
        return self._member.step

    @property
    def best_epoch(self) -> int:
        """As in `Checkpointable`."""
        return self._member.best_epoch

    @property
    def best_weights(self) -> list[Any]:
        """As in `Checkpointable`."""
        return self._member.best_weights

    def snapshot(self) -> Snapshot:
        """As in `Checkpointable`."""
        return self._training.frozen(self._number).snapshot()

    def evaluation_weights(self) -> list[Any]:
        """As in `Checkpointable`; of a member that is still trained, too."""
        return self._training.judged(self._number)


@dataclass(frozen=True, slots=True)
class PackEpochEnd:
    """What one epoch gave.

    Attributes:
        epoch: Its number, from 1.
        results: Member → its result; of those that trained in it.
    """

    epoch: int
    results: Mapping[int, EpochEnd]


class PackTraining:
    """Members in training.

    Attributes:
        members: All of them; one is called by its place here.
        slots: Those that the program trains now, ended ones among them.
        pack: The program.
    """

    def __init__(
        self,
        members: Sequence[MemberTraining],
        make: Callable[[Sequence[int]], Pack],
        slots: Sequence[int] | None = None,
    ) -> None:
        """Members that begin, or whose state `restore` brings.

        Args:
            members: All of them.
            make: A pack of some of them, at their start.
            slots: Those in the program; all unless stated.
        """
        self.members = tuple(members)
        self.slots = list(range(len(members)) if slots is None else slots)
        self._make = make
        self.pack = make(self.slots)
        self.interrupted = False
        self._frozen: dict[int, MemberState] = {}
        self._former: list[Pack] = []

    @property
    def live(self) -> list[int]:
        """The members that are still trained."""
        return [number for number in self.slots if self.members[number].is_live]

    @property
    def programs(self) -> list[Program]:
        """All that were traced and compiled."""
        return [program for pack in (*self._former, self.pack) for program in pack.programs]

    def pack_for(self, numbers: Sequence[int]) -> Pack:
        """A pack of these members, to be evaluated with weights of another epoch."""
        return self.pack if list(numbers) == self.slots else self._make(numbers)

    def states(self) -> list[MemberState]:
        """Where each member stands; of one that ended, where it ended."""
        live = self.live
        held = self._current_states() if live else {}
        return [
            held[number] if number in live else self._frozen[number]
            for number in range(len(self.members))
        ]

    def checkpointable(self, number: int) -> CheckpointableMember:
        """A member as it is recorded."""
        return CheckpointableMember(self, number)

    def frozen(self, number: int) -> MemberState:
        """Where a member stands that has ended."""
        return self._frozen[number]

    def judged(self, number: int) -> list[Any]:
        """The weights that a member would be judged by where it stands."""
        if number in self._frozen:
            return self._frozen[number].judged
        return self.pack.weights()[list(self.slots).index(number)]

    def restore(self, snapshots: Sequence[Snapshot], judged: Sequence[list[Any]]) -> None:
        """Let each member stand where its snapshot was taken.

        Args:
            snapshots: Of each member.
            judged: Of each member, the weights that it would be judged by.
        """
        for number, (member, snapshot) in enumerate(zip(self.members, snapshots, strict=True)):
            facts = snapshot.facts
            member.monitors.restore(facts["monitors"])
            member.epoch, member.step = facts["epoch"], facts["step"]
            member.best_epoch, member.ended = facts["best_epoch"], facts["stopped_because"]
            member.best_weights = best_weights_from(snapshot.arrays)
            if not member.is_live:
                variables = variable_arrays(snapshot.arrays)
                self._frozen[number] = MemberState(member, variables, judged[number])
        self.pack.restore([variable_arrays(snapshots[number].arrays) for number in self.slots])

    def end_members(self, reasons: Mapping[int, str]) -> None:
        """End members where they stand."""
        held = self._current_states()
        for number, reason in reasons.items():
            self.members[number].ended = reason
            self._frozen[number] = held[number]

    def _current_states(self) -> dict[int, MemberState]:
        both = zip(self.slots, self.pack.state(), self.pack.weights(), strict=True)
        return {
            number: MemberState(self.members[number], variables, judged)
            for number, variables, judged in both
        }

    def repack(self) -> None:
        """Leave out the members that have ended, where that saves more than compiling costs."""
        live = self.live
        left = self.pack.total_steps - max(
            (self.members[number].step for number in live), default=0
        )
        saved = (len(self.slots) - len(live)) * left * self._step_seconds()
        if not live or 2 * len(live) > len(self.slots) or saved < _COMPILE_SECONDS:
            return
        states = dict(zip(self.slots, self.pack.state(), strict=True))
        self._former.append(self.pack)
        self.slots = live
        self.pack = self._make(live)
        self.pack.restore([states[number] for number in live])

    def _step_seconds(self) -> float:
        return _STEP_SECONDS + self.pack.operations_per_step / _OPERATIONS_PER_SECOND


def fit_pack(
    training: PackTraining, interrupted: Callable[[], str | None]
) -> Iterator[PackEpochEnd]:
    """Train until every member has ended or `interrupted` gives a reason.

    Args:
        training: Changed in place. Whoever takes an epoch may end members before taking the next.
        interrupted: Asked about once a second and at the end of each epoch; a reason leaves the epoch
            that is being trained undone.
    """
    while live := training.live:
        started = perf_counter()
        epoch = training.members[live[0]].epoch + 1
        done = _through_epoch(training, epoch, interrupted)
        if done is None:
            return
        results = _decided(training, epoch, *done, started)
        yield PackEpochEnd(epoch, results)
        if training.live and (reason := interrupted()) is not None:
            _interrupt(training, reason)
            return
        training.repack()


def _through_epoch(
    training: PackTraining, epoch: int, interrupted: Callable[[], str | None]
) -> tuple[list[EpochOutput], list[EpochOutput] | None] | None:
    """The passes of one epoch; None where it was interrupted, and undone."""
    pack = training.pack
    start = pack.state() if pack.yields_between_calls else []
    working = pack.epoch(epoch)
    while True:
        try:
            next(working)
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]
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


def _decided(
    training: PackTraining,
    epoch: int,
    trained: Sequence[EpochOutput],
    judged: Sequence[EpochOutput] | None,
    started: float,
) -> dict[int, EpochEnd]:
    pack = training.pack
    results: dict[int, EpochEnd] = {}
    ending: dict[int, str] = {}
    weights: list[list[Any]] = []
    for slot, number in enumerate(training.slots):
        member = training.members[number]
        if not member.is_live:
            continue
        own = trained[slot]
        seen = None if judged is None else judged[slot]
        if not math.isfinite(own.loss) or (
            # The last step can break weights whose loss was finite; the rows can be at fault, too.
            seen is not None and not math.isfinite(seen.loss) and _broken(pack, slot) is not None
        ):
            member.problem = _diverged(pack, slot, member, own, epoch)
            ending[number] = "the loss is not finite"
            continue
        member.epoch, member.step = epoch, member.step + own.steps
        metrics = {"loss": own.loss, **member.compute_metrics(own, member.train)}
        if seen is not None:
            assert member.validation is not None
            metrics["val_loss"] = seen.loss
            val_metrics = member.compute_metrics(seen, member.validation)
            metrics.update({f"val_{name}": value for name, value in val_metrics.items()})
        improved = member.monitors.best.update(epoch, metrics[member.monitor])
        if improved or member.keep_last or not member.best_weights:
            weights = weights or pack.weights()
            improved, member.best_epoch, member.best_weights = True, epoch, weights[slot]
        rate = pack.learning_rate(slot, member.step)
        stop = _stopped(pack, member, slot, metrics, rate)
        if stop is not None:
            ending[number] = stop
        results[number] = EpochEnd(
            epoch, member.step, rate, metrics, improved, perf_counter() - started, stop
        )
    if ending:
        training.end_members(ending)
    return results


def _stopped(
    pack: Pack, member: MemberTraining, slot: int, metrics: Mapping[str, float], rate: float
) -> str | None:
    """Why a member's training ends with this epoch; a plateau lowers its learning rate."""
    reduce_lr, early_stopping = member.monitors.reduce_lr, member.monitors.early_stopping
    if reduce_lr is not None:
        lowered = reduce_lr.update(metrics[reduce_lr.settings.monitor], rate)
        if lowered != rate:
            pack.set_learning_rate(slot, lowered)
    if early_stopping is not None:
        early_stopping.update(member.epoch, metrics[early_stopping.settings.monitor])
    if member.step >= pack.total_steps:
        return "all epochs done"
    return early_stopping.reason() if early_stopping is not None else None


def _broken(pack: Pack, slot: int) -> str | None:
    """The first weights of a member with a value that is not finite."""
    return first_nonfinite_variable(zip(pack.weight_names, pack.weights()[slot], strict=True))


def _diverged(
    pack: Pack, slot: int, member: MemberTraining, trained: EpochOutput, epoch: int
) -> Problem:
    step = member.step + first_nonfinite_step(trained)
    return divergence_problem(epoch, step, trained.loss, _broken(pack, slot), member.advice)
