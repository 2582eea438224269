"""The loop over several training runs: each can end before the others, and its final state is kept."""

import math

import numpy as np
import pytest

from trainer.config.schema import EarlyStopping
from trainer.data.samples import Samples
from trainer.engine.batches import EpochOutput
from trainer.engine.epoch_result import EpochResult
from trainer.engine.events import GroupEpochEnd, StepCheckpoint
from trainer.engine.fit import fit
from trainer.engine.monitors import BestEpochState, EarlyStoppingState, Monitors
from trainer.engine.snapshot import Snapshot
from trainer.engine.training import Training
from trainer.engine.training_group import TrainingGroup
from trainer.errors import RunError

STEPS, EPOCHS = 2, 5
ROWS = np.arange(4, dtype=np.int32)
FEATURES = {"features": np.zeros((4, 2), np.float32)}
SAMPLES = Samples(FEATURES, np.zeros((4, 1), np.float32), None, ROWS, ROWS > 9)


class ScriptedExecutor:
    """Returns given losses; the weight of a member is the number of the latest epoch."""

    partial_steps = 0
    weight_names = ("kernel",)

    def __init__(self, losses, weights=lambda number, epoch: float(epoch)):
        self.epoch, self.live = 0, None
        self._losses, self._weights = losses, weights

    def run_epoch(self, epoch, max_steps):
        yield None
        self.epoch = epoch
        return {number: self._result(number) for number in range(len(self._losses))}

    def _result(self, number):
        loss = self._losses[number][self.epoch - 1]
        losses = np.full(STEPS, loss, np.float32)
        output = EpochOutput(loss, np.zeros((4, 1), np.float32), ROWS, losses)
        return EpochResult(output, None, 0.1, lambda: self.evaluation_weights()[number])

    def sync_variables(self, epoch):
        pass

    def states(self):
        weights = self.evaluation_weights()
        return {number: {"network/0000/kernel": value[0]} for number, value in weights.items()}

    def evaluation_weights(self):
        return {
            number: [np.float32(self._weights(number, self.epoch))]
            for number in range(len(self._losses))
        }

    def restore(self, states, partial_steps):
        self.epoch = int(states[0]["network/0000/kernel"])

    def retain(self, live, steps_left):
        self.live = (live, steps_left)


def group(*losses, **options):
    stopping = EarlyStopping(monitor="loss", patience=1)
    members = [
        Training(
            train=SAMPLES,
            validation=None,
            compute_metrics=lambda output, samples: {},
            monitors=Monitors(
                BestEpochState.start("lower"), EarlyStoppingState.start(stopping, "lower"), None
            ),
            monitor="loss",
            total_steps=EPOCHS * STEPS,
        )
        for _ in losses
    ]
    return TrainingGroup(members, ScriptedExecutor(losses, **options))


FALLING = [5.0, 4.0, 3.0, 2.0, 1.0]


def epochs(events):
    return {event.epoch: sorted(event.results) for event in events}


def test_members_end_at_their_own_epochs_and_keep_their_final_states():
    state = group(FALLING, [1.0, 2.0, 0.0, 0.0, 0.0], [1.0, 0.5, math.nan, 0.0, 0.0])
    assert epochs(fit(state, lambda: None)) == {
        1: [0, 1, 2], 2: [0, 1, 2], 3: [0], 4: [0], 5: [0],
    }  # fmt: skip
    assert [member.stop_reason for member in state.members] == [
        "all epochs done", "loss has not improved for 1 epoch", "the loss is not finite",
    ]  # fmt: skip
    assert [member.best_epoch for member in state.members] == [5, 1, 2]
    # The third failed during its third epoch.
    assert [float(state.evaluation_weights(number)[0]) for number in range(3)] == [5, 2, 3]
    assert [float(member.snapshot.arrays["best/0000"]) for member in state.states()] == [5, 1, 2]
    assert state.executor.live == ([0], STEPS)
    problems = [member.problem for member in state.members]
    assert problems[:2] == [None, None]
    assert (problems[2].where, problems[2].found) == ("epoch 3, step 5", "nan")


def test_weights_that_are_not_finite_at_the_end_fail_a_member():
    weights = lambda number, epoch: math.inf if (number, epoch) == (1, EPOCHS) else 1.0  # noqa: E731
    state = group(FALLING, FALLING, weights=weights)
    last = list(fit(state, lambda: None))[-1]
    assert sorted(last.results) == [0]
    assert state.members[0].problem is None
    assert "kernel" in state.members[1].problem.found


def test_interrupted_members_continue_when_restored():
    state, resumed = group(FALLING, FALLING), group(FALLING, FALLING)
    checks = iter([None, None, None, None, None, "stop requested"])
    events = list(fit(state, lambda: next(checks)))
    assert state.is_interrupted
    assert [end.stop for end in events[-1].results.values()] == ["stop requested"] * 2
    saved = state.states()
    resumed.restore(
        [member.snapshot for member in saved], [member.evaluation_weights for member in saved]
    )
    assert not resumed.is_interrupted
    assert epochs(fit(resumed, lambda: None)) == {4: [0, 1], 5: [0, 1]}


def test_interruption_within_an_epoch_ends_all_members():
    state = group(FALLING, FALLING)
    checks = iter([None, None, "stop requested"])
    events = list(fit(state, lambda: next(checks)))
    assert isinstance(events[0], GroupEpochEnd)
    assert events[-1] == StepCheckpoint(2, STEPS, "stop requested")
    assert [member.epoch for member in state.members] == [1, 1]


def test_consumer_can_end_members_after_an_epoch():
    state = group(FALLING, FALLING)
    for event in fit(state, lambda: None):
        if event.epoch == 2:
            state.end({1: "eliminated"})
    assert [member.epoch for member in state.members] == [5, 2]
    assert float(state.snapshot(1).arrays["network/0000/kernel"]) == 2


def test_ended_members_are_restored_with_their_final_state():
    state, resumed = group(FALLING, [1.0, 2.0, 0.0, 0.0, 0.0]), group(FALLING, FALLING)
    events = fit(state, lambda: None)
    for _ in range(3):
        next(events)
    saved = state.states()
    other = {"judged/0000": np.zeros(1)}
    snapshots = [
        Snapshot({**member.snapshot.arrays, **other}, member.snapshot.metadata) for member in saved
    ]
    resumed.restore(snapshots, [member.evaluation_weights for member in saved])
    assert resumed.live == [0]
    assert resumed.evaluation_weights(1) == state.evaluation_weights(1)
    assert resumed.states()[1].snapshot == saved[1].snapshot


@pytest.mark.parametrize("missing", ["monitors", "epoch"])
def test_incomplete_snapshot_is_rejected(missing):
    (saved,) = group(FALLING).states()
    metadata = {name: value for name, value in saved.snapshot.metadata.items() if name != missing}
    with pytest.raises(RunError, match="the complete state of training"):
        group(FALLING).restore([Snapshot(saved.snapshot.arrays, metadata)])
