from __future__ import annotations

import pytest

from trainer.engine.checkpoint_schedule import CheckpointSchedule


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("every", "epoch", "step", "seconds", "is_due"),
    [
        ("2 epochs", 6, 999, 999.0, False),
        ("2 epochs", 7, 0, 0.0, True),
        ("30 steps", 99, 79, 999.0, False),
        ("30 steps", 5, 80, 0.0, True),
        ("30 seconds", 99, 999, 29.9, False),
        ("30 seconds", 5, 50, 30.0, True),
        ("2 minutes", 99, 999, 119.0, False),
        ("2 minutes", 5, 50, 120.0, True),
    ],
)
def test_checkpoint_is_due_by_epochs_steps_or_time(
    every: str, epoch: int, step: int, seconds: float, is_due: bool
) -> None:
    clock = Clock()
    schedule = CheckpointSchedule(every, 5, 50, clock)
    clock.now += seconds
    assert schedule.is_due(epoch, step) is is_due


def test_writing_takes_at_most_a_twentieth_of_the_time() -> None:
    clock = Clock()
    schedule = CheckpointSchedule("1 epoch", 0, 0, clock)
    start_time = clock.now
    clock.now += 2.0
    schedule.record_write(1, 10, start_time)
    clock.now += 39.0
    assert not schedule.is_due(2, 20)
    clock.now += 1.5
    assert schedule.is_due(2, 20)
    assert not schedule.is_due(1, 19)
