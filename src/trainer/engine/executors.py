"""Executors run the epochs of one learner, or of several networks in one program.

`LearnerExecutor` runs one epoch at a time. When an epoch takes less time than the device call that
starts it (four rows, a thousand epochs), `MultiEpochExecutor` runs a block of epochs as one program,
which returns the results of each. `trainer.engine.pack_executor` runs the epochs of many networks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.data.samples import Samples
from trainer.engine.batches import (
    Augment,
    EpochOutput,
    Evaluator,
    PartialEpoch,
    Program,
    train_augmented,
    train_in_batches,
)
from trainer.engine.epoch_result import EpochResult
from trainer.engine.learner import Learner
from trainer.engine.multi_epoch import MultiEpochProgram
from trainer.engine.rows import Part, ResidentRows, TrainingRows, row_keys
from trainer.engine.snapshot import NamedArrays, variable_arrays
from trainer.engine.state import State


class Executor(Protocol):
    """Runs the epochs of numbered networks and holds their variables."""

    @property
    def programs(self) -> Sequence[Program]:
        """The programs that are traced and compiled."""
        ...

    @property
    def weight_names(self) -> list[str]:
        """Names of a network's weights, in Keras's order."""
        ...

    @property
    def partial_steps(self) -> int:
        """Batches trained of an unfinished epoch."""
        ...

    def run_epoch(
        self, epoch: int, max_steps: int
    ) -> Generator[PartialEpoch | None, None, Mapping[int, EpochResult]]:
        """Run `epoch` (from 1, in order), the rest of it, or its first `max_steps` batches.

        Yields between device calls: the output so far if training can be saved there, else None.
        Training can be stopped at each of them by closing the generator; the state is then that after
        the latest output, or the start of the epoch if there was none.

        Returns:
            The result of each network.
        """
        ...

    def sync_variables(self, epoch: int) -> None:
        """Set the variables to the end of `epoch`, the latest one returned by `run_epoch`."""
        ...

    def set_learning_rate(self, number: int, learning_rate: float) -> None:
        """Set the learning rate of a network without a schedule, from the next batch."""
        ...

    def states(self) -> dict[int, State]:
        """Return each network's variables by name, and its unfinished epoch as `begun/…`."""
        ...

    def restore(self, states: Mapping[int, NamedArrays], partial_steps: int) -> None:
        """Restore the variables of each network, and an unfinished epoch; drop epochs run ahead.

        Args:
            states: As `states` returns them; other arrays are ignored.
            partial_steps: Batches of the unfinished epoch; 0 for none.

        Raises:
            RunError: Names or shapes do not match.
            KeyError: An array is missing.
        """
        ...

    def evaluation_weights(self) -> dict[int, list[Any]]:
        """Return the weights to evaluate (averages, if any), in Keras's order."""
        ...

    def retain(self, live: Sequence[int], steps_left: int) -> None:
        """Run only the networks that have not ended, if that saves more time than it costs.

        Args:
            live: Numbers of these networks; at least one.
            steps_left: Batches that they still train.
        """
        ...


@dataclass(frozen=True, slots=True)
class TracedLearner:
    """A learner with its programs, which can train and evaluate it on other rows from another state."""

    learner: Learner
    training: Program
    evaluator: Evaluator


class LearnerExecutor:
    """Runs the epochs of one learner, number 0, each on its own.

    Attributes:
        augment: Changes each batch of training rows, or None.
        partial_epoch: Output so far of the next epoch, or None.
        evaluator: Evaluates the learner with its current weights.
    """

    def __init__(
        self,
        learner: Learner,
        rows: TrainingRows,
        validation: Samples | None,
        *,
        compiled: bool,
        augment: Augment | None = None,
    ) -> None:
        """Initialize the executor.

        Args:
            learner: Its variables change in place.
            rows: The training rows.
            validation: The validation rows, or None.
            compiled: Whether to compile training with XLA; otherwise it runs as a TensorFlow graph.
            augment: Changes each batch of training rows; None for no changes.
        """
        self.partial_epoch: PartialEpoch | None = None
        self.evaluator = Evaluator(learner)
        self._learner, self._rows, self._validation = learner, rows, validation
        self.augment = augment
        train = (
            partial(train_in_batches, learner, rows.batch)
            if augment is None
            else partial(train_augmented, learner, rows.batch, augment)
        )
        self._program = Program(train, compiled=compiled)

    @property
    def programs(self) -> list[Program]:
        return [self._program, self.evaluator.evaluation]

    @property
    def weight_names(self) -> list[str]:
        return [str(weight.path) for weight in self._learner.weights]

    @property
    def partial_steps(self) -> int:
        return 0 if self.partial_epoch is None else self.partial_epoch.steps

    def run_epoch(
        self, epoch: int, max_steps: int
    ) -> Generator[PartialEpoch | None, None, Mapping[int, EpochResult]]:
        trained = yield from self._train(epoch, max_steps)
        validated = None
        if self._validation is not None and math.isfinite(trained.loss):
            with self._learner.averaged():
                validated = yield from self.evaluator.evaluate_in_parts(self._validation)
        self.partial_epoch = None
        learning_rate = float(self._learner.learning_rate)
        weights = self._learner.evaluation_weights
        return {0: EpochResult(trained, validated, learning_rate, weights)}

    @property
    def traced(self) -> TracedLearner:
        """The learner with its programs."""
        return TracedLearner(self._learner, self._program, self.evaluator)

    def use_programs(self, traced: TracedLearner) -> None:
        """Use the programs of an earlier executor of the same learner; their times start at 0."""
        self._program, self.evaluator = traced.training, traced.evaluator
        for program in self.programs:
            program.reset_times()

    def take_over(self, other: LearnerExecutor) -> None:
        """Continue the unfinished epoch of another executor of the same rows and variables."""
        self.partial_epoch, other.partial_epoch = other.partial_epoch, None
        variables = zip(self._learner.epoch_variables, other._learner.epoch_variables, strict=True)
        for variable, value in variables:
            variable.assign(value)

    def sync_variables(self, epoch: int) -> None:
        """Do nothing: no epoch is run ahead."""

    def set_learning_rate(self, number: int, learning_rate: float) -> None:
        self._learner.set_learning_rate(learning_rate)

    def states(self) -> dict[int, State]:
        state = self._learner.state()
        if self.partial_epoch is not None:
            variables = self._learner.epoch_variables
            state |= {
                "begun/predictions": self.partial_epoch.predictions,
                "begun/losses": self.partial_epoch.losses,
                **{f"begun/mean/{number}": value.numpy() for number, value in enumerate(variables)},
            }
        return {0: state}

    def restore(self, states: Mapping[int, NamedArrays], partial_steps: int) -> None:
        state = states[0]
        self._learner.restore(variable_arrays(state))
        self.partial_epoch = None
        if partial_steps:
            self.partial_epoch = PartialEpoch(state["begun/predictions"], state["begun/losses"])
            for number, variable in enumerate(self._learner.epoch_variables):
                variable.assign(state[f"begun/mean/{number}"])

    def evaluation_weights(self) -> dict[int, list[Any]]:
        return {0: self._learner.evaluation_weights()}

    def retain(self, live: Sequence[int], steps_left: int) -> None:
        """Do nothing: there is one learner."""

    def _train(self, epoch: int, max_steps: int) -> Generator[PartialEpoch, None, EpochOutput]:
        """Train one epoch, the rest of it, or its first `max_steps` batches.

        Ends early at a loss that is not finite.
        """
        calls = 0 if self.partial_epoch is None else 1
        trained = self.partial_epoch
        if trained is None:
            self._learner.start_epoch()
            trained = PartialEpoch()
        order = np.empty(self._rows.row_count(epoch, max_steps), np.int32)
        with closing(self._rows.parts(epoch, trained.rows, order)) as parts:
            for part in parts:
                trained.append(*self._run(part, epoch, order[trained.rows :]))
                self.partial_epoch = trained
                if trained.has_diverged:
                    break
                calls += 1
                # No stop within an epoch of one call.
                if calls > 1 or trained.rows < len(order):
                    yield trained
        return trained.to_output(order[: trained.rows])

    def _run(self, part: Part, epoch: int, positions: NDArray[np.int32]) -> tuple[Any, Any]:
        """Train on rows, of which the first are at `positions`; return their outputs and the losses."""
        arguments: tuple[Any, ...] = part
        if self.augment is not None:
            order, _, y, _ = part
            count = len(y if order is None else order)
            arguments = (row_keys(positions[:count], epoch), part)
        outputs, losses = self._program(*arguments)
        return outputs, losses


class MultiEpochExecutor(LearnerExecutor):
    """Runs several epochs per device call; a partial epoch runs on its own."""

    def __init__(
        self,
        learner: Learner,
        rows: ResidentRows,
        validation: Samples | None,
        *,
        compiled: bool,
        epochs: int,
    ) -> None:
        """Initialize the executor.

        Args:
            learner: Its variables change in place.
            rows: The training rows.
            validation: The validation rows, or None.
            compiled: Whether to compile training, and the validation after each epoch, with XLA.
            epochs: Maximum number of epochs per call.
        """
        super().__init__(learner, rows, validation, compiled=compiled)
        self._block = MultiEpochProgram(
            learner, rows, self.evaluator, validation, epochs=epochs, compiled=compiled
        )
        self._pending: deque[EpochResult] = deque()
        self._start_state: State = {}
        self._first = 1

    @property
    def programs(self) -> list[Program]:
        return [*super().programs, self._block.program]

    def run_epoch(
        self, epoch: int, max_steps: int
    ) -> Generator[PartialEpoch | None, None, Mapping[int, EpochResult]]:
        if not self._pending:
            epochs = min(self._block.epochs, max_steps // self._rows.steps_per_epoch)
            if epochs < 1 or self.partial_epoch is not None:
                return (yield from super().run_epoch(epoch, max_steps))
            self._first, self._start_state = epoch, self._learner.state()
            self._pending.extend(self._block.run(epoch, epochs))
        return {0: self._pending.popleft()}

    def sync_variables(self, epoch: int) -> None:
        """Rerun the block up to `epoch` if it has run further."""
        if not self._pending:
            return
        self._pending.clear()
        self._learner.restore(self._start_state)
        if (epochs := epoch - self._first + 1) > 0:
            self._block.run(self._first, epochs)

    def restore(self, states: Mapping[int, NamedArrays], partial_steps: int) -> None:
        self._pending.clear()
        super().restore(states, partial_steps)
