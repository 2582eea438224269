"""The training loop: a generator of epochs, for one network and for many.

It trains, validates, applies the decisions and yields events; its consumer writes files and output.
Early stopping is reported as a reason in an event, a failure as a problem, never as an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from time import perf_counter

from trainer.engine.divergence import (
    divergence_problem,
    first_nonfinite_step,
    first_nonfinite_variable,
)
from trainer.engine.epoch_result import EpochResult
from trainer.engine.events import EpochEnd, Event, GroupEpochEnd, RolledBack, StepCheckpoint
from trainer.engine.training import EpochSummary
from trainer.engine.training_group import TrainingGroup

_DIVERGED = "the loss is not finite"


def fit(group: TrainingGroup, interrupted: Callable[[], str | None]) -> Iterator[Event]:
    """Train until every member has ended or `interrupted` returns a reason.

    Yields nothing if training has already ended. A member whose loss is not finite ends with a problem
    and keeps its best weights.

    Args:
        group: Changed in place. The consumer can end members at the end of an epoch.
        interrupted: Called about once a second and at the end of each epoch.
    """
    group.end({number: stop for number in group.live if (stop := group.check_stop(number))})
    callbacks = [
        (member, member.callbacks)
        for member in group.members
        if member.is_live and member.callbacks is not None
    ]
    for _, member_callbacks in callbacks:
        member_callbacks.on_train_begin()
    while live := group.live:
        started = perf_counter()
        group.executor.retain(live, group.steps_left(live))
        _begin_epoch(group, live)
        results = yield from _through_epoch(group, live, interrupted)
        if results is None:
            break
        if (rolled_back := _roll_back(group, live, results)) is not None:
            yield rolled_back
            continue
        epoch = group.epoch + 1
        ends, reason = _end_epoch(group, live, results, interrupted, started)
        yield GroupEpochEnd(epoch, ends)
        if reason is not None:
            group.end(dict.fromkeys(group.live, reason), interrupted=True)
    for member, member_callbacks in callbacks:
        if member.problem is None:
            member_callbacks.on_train_end()


def _begin_epoch(group: TrainingGroup, live: Sequence[int]) -> None:
    if group.executor.partial_steps:
        return
    for number in live:
        member = group.members[number]
        if member.callbacks is not None:
            member.callbacks.on_epoch_begin(member.epoch + 1)
        if member.rollback is not None:
            member.rollback.start_epoch()


def _through_epoch(
    group: TrainingGroup, live: Sequence[int], interrupted: Callable[[], str | None]
) -> Generator[StepCheckpoint, None, Mapping[int, EpochResult] | None]:
    """Run one epoch, or the rest of it; return None if training ends within it."""
    epoch = group.epoch + 1
    running = group.executor.run_epoch(epoch, group.steps_left(live))
    while True:
        try:
            partial_epoch = next(running)
        except StopIteration as end:
            results: Mapping[int, EpochResult] = end.value
            return results
        request = interrupted()
        stop = request or group.check_time()
        if stop is not None:
            # Closing also restores weights that were replaced by their averages for validation.
            running.close()
            group.end(dict.fromkeys(live, stop), interrupted=request is not None)
        if stop is not None or partial_epoch is not None:
            yield StepCheckpoint(epoch, group.trained_steps(live[0]), stop)
        if stop is not None:
            return None


def _roll_back(
    group: TrainingGroup, live: Sequence[int], results: Mapping[int, EpochResult]
) -> RolledBack | None:
    """Return to the start of the epoch with a lower learning rate if the loss is not finite.

    A network that rolls back is the only one of its group, as packs do not support rollbacks.

    Returns:
        The event; None if there is no need, or rollbacks are disabled or exhausted.
    """
    for number in live:
        member, result = group.members[number], results[number]
        rollback = member.rollback
        if rollback is None or rollback.is_exhausted or not result.is_diverged():
            continue
        step = member.step + first_nonfinite_step(result.train)
        return RolledBack(member.epoch + 1, step, rollback.apply())
    return None


def _end_epoch(
    group: TrainingGroup,
    live: Sequence[int],
    results: Mapping[int, EpochResult],
    interrupted: Callable[[], str | None],
    started: float,
) -> tuple[dict[int, EpochEnd], str | None]:
    """Update the members and end those that are complete or have failed.

    Returns:
        The event of each member that completed the epoch, and why all others should end, or None.
    """
    summaries: dict[int, EpochSummary] = {}
    stops: dict[int, str] = {}
    for number in live:
        member, result = group.members[number], results[number]
        if result.is_diverged():
            step = member.step + first_nonfinite_step(result.train)
            _fail(group, number, result, member.epoch + 1, step)
            stops[number] = _DIVERGED
            continue
        summaries[number] = summary = member.end_epoch(result)
        if summary.learning_rate != result.learning_rate:
            group.executor.sync_variables(group.epoch)
            group.executor.set_learning_rate(number, summary.learning_rate)
        stop = group.check_stop(number)
        if member.callbacks is not None:
            logs = {**summary.metrics, "learning_rate": result.learning_rate}
            stop = member.callbacks.on_epoch_end(member.epoch, logs) or stop
        if stop is not None:
            stops[number] = stop
    reason = interrupted() if len(stops) < len(live) else None
    ends: dict[int, EpochEnd] = {}
    for number, summary in summaries.items():
        member, result = group.members[number], results[number]
        stop = stops.get(number, reason)
        if stop is not None and _nonfinite_weight(group, result) is not None:
            _fail(group, number, result, member.epoch, member.step)
            stops[number] = _DIVERGED
            continue
        ends[number] = EpochEnd(
            member.epoch,
            member.step,
            result.learning_rate,
            summary.metrics,
            summary.improved,
            perf_counter() - started,
            stop,
        )
    group.end(stops)
    return ends, reason


def _fail(group: TrainingGroup, number: int, result: EpochResult, epoch: int, step: int) -> None:
    """Set the problem of a member whose loss or weights are not finite after a step of an epoch."""
    member = group.members[number]
    weight = _nonfinite_weight(group, result)
    rollbacks = 0 if member.rollback is None else member.rollback.count
    member.problem = divergence_problem(
        epoch, step, result.train.loss, weight, member.advice, rollbacks
    )


def _nonfinite_weight(group: TrainingGroup, result: EpochResult) -> str | None:
    """Return the name of the first weights with a value that is not finite."""
    return first_nonfinite_variable(zip(group.executor.weight_names, result.weights(), strict=True))
