"""Executors run the epochs of one network, or of several in one program.

`NetworkExecutor` runs one epoch at a time. When an epoch takes less time than the device call that
starts it (four rows, a thousand epochs), `MultiEpochExecutor` runs a block of epochs as one program,
which returns the results of each. `trainer.engine.pack_executor` runs the epochs of many networks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

from trainer.data.samples import Samples
from trainer.engine.averages import averaged_weights
from trainer.engine.batches import EpochOutput, PartialEpoch, Program
from trainer.engine.epoch_result import EpochResult
from trainer.engine.multi_epoch import MultiEpochProgram
from trainer.engine.runner import EpochRunner
from trainer.engine.snapshot import NamedArrays, variable_arrays
from trainer.engine.state import State, copy_weights, get_state, restore


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
        """Return copies of each network's variables by name, and its unfinished epoch as `begun/…`."""
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
        """Return copies of the weights to evaluate (averages, if any), in Keras's order."""
        ...

    def retain(self, live: Sequence[int], steps_left: int) -> None:
        """Run only the networks that have not ended, if that saves more time than it costs.

        Args:
            live: Numbers of these networks; at least one.
            steps_left: Batches that they still train.
        """
        ...


class NetworkExecutor:
    """Runs the epochs of one network, number 0, each on its own.

    Attributes:
        partial_epoch: Output so far of the next epoch, or None.
    """

    def __init__(self, runner: EpochRunner, validation: Samples | None) -> None:
        """Initialize the executor.

        Args:
            runner: Trains and evaluates the network.
            validation: The validation rows, or None.
        """
        self.partial_epoch: PartialEpoch | None = None
        self._runner, self._validation = runner, validation
        self._network, self._optimizer = runner.train_step.network, runner.train_step.optimizer

    @property
    def programs(self) -> list[Program]:
        return [self._runner.program, self._runner.evaluator.evaluation]

    @property
    def weight_names(self) -> list[str]:
        return [str(weight.path) for weight in self._network.weights]

    @property
    def partial_steps(self) -> int:
        return 0 if self.partial_epoch is None else self.partial_epoch.steps

    def run_epoch(
        self, epoch: int, max_steps: int
    ) -> Generator[PartialEpoch | None, None, Mapping[int, EpochResult]]:
        trained = yield from self._train(epoch, max_steps)
        validated = None
        if self._validation is not None and math.isfinite(trained.loss):
            with averaged_weights(self._network, self._optimizer):
                validated = yield from self._runner.evaluate(self._validation)
        self.partial_epoch = None
        learning_rate = float(self._optimizer.learning_rate)
        return {0: EpochResult(trained, validated, learning_rate, self._weights)}

    def sync_variables(self, epoch: int) -> None:
        """Do nothing: no epoch is run ahead."""

    def set_learning_rate(self, number: int, learning_rate: float) -> None:
        self._optimizer.learning_rate = learning_rate

    def states(self) -> dict[int, State]:
        state = get_state(self._network, self._optimizer)
        if self.partial_epoch is not None:
            mean = self._runner.train_step.loss_mean.variables
            state |= {
                "begun/predictions": self.partial_epoch.predictions,
                "begun/losses": self.partial_epoch.losses,
                **{f"begun/mean/{number}": value.numpy() for number, value in enumerate(mean)},
            }
        return {0: state}

    def restore(self, states: Mapping[int, NamedArrays], partial_steps: int) -> None:
        state = states[0]
        restore(self._network, self._optimizer, variable_arrays(state))
        self.partial_epoch = None
        if partial_steps:
            self.partial_epoch = PartialEpoch(state["begun/predictions"], state["begun/losses"])
            for number, variable in enumerate(self._runner.train_step.loss_mean.variables):
                variable.assign(state[f"begun/mean/{number}"])

    def evaluation_weights(self) -> dict[int, list[Any]]:
        return {0: self._weights()}

    def retain(self, live: Sequence[int], steps_left: int) -> None:
        """Do nothing: there is one network."""

    def _train(self, epoch: int, max_steps: int) -> Generator[PartialEpoch, None, EpochOutput]:
        calls = 0 if self.partial_epoch is None else 1
        running = self._runner.train(epoch, max_steps, self.partial_epoch)
        while True:
            try:
                self.partial_epoch = next(running)
            except StopIteration as end:
                trained: EpochOutput = end.value
                return trained
            calls += 1
            is_complete = self.partial_epoch.steps == min(self._runner.steps_per_epoch, max_steps)
            # No stop within an epoch of one call, or before a loss that is not finite is reported.
            if not (is_complete and calls == 1) and not self.partial_epoch.diverged:
                yield self.partial_epoch

    def _weights(self) -> list[Any]:
        with averaged_weights(self._network, self._optimizer):
            return copy_weights(self._network)


class MultiEpochExecutor(NetworkExecutor):
    """Runs several epochs per device call; a partial epoch runs on its own."""

    def __init__(
        self, runner: EpochRunner, validation: Samples | None, blocks: MultiEpochProgram
    ) -> None:
        """Initialize the executor.

        Args:
            runner: Trains and evaluates the network.
            validation: The validation rows, or None.
            blocks: Runs several epochs of the runner.
        """
        super().__init__(runner, validation)
        self._blocks = blocks
        self._pending: deque[EpochResult] = deque()
        self._start_state: State = {}
        self._first = 1

    @property
    def programs(self) -> list[Program]:
        return [*super().programs, self._blocks.program]

    def run_epoch(
        self, epoch: int, max_steps: int
    ) -> Generator[PartialEpoch | None, None, Mapping[int, EpochResult]]:
        if not self._pending:
            epochs = min(self._blocks.epochs, max_steps // self._blocks.steps_per_epoch)
            if epochs < 1 or self.partial_epoch is not None:
                return (yield from super().run_epoch(epoch, max_steps))
            self._first, self._start_state = epoch, get_state(self._network, self._optimizer)
            self._pending.extend(self._blocks.run(epoch, epochs))
        return {0: self._pending.popleft()}

    def sync_variables(self, epoch: int) -> None:
        """Rerun the block up to `epoch` if it has run further."""
        if not self._pending:
            return
        self._pending.clear()
        restore(self._network, self._optimizer, self._start_state)
        if (epochs := epoch - self._first + 1) > 0:
            self._blocks.run(self._first, epochs)

    def restore(self, states: Mapping[int, NamedArrays], partial_steps: int) -> None:
        self._pending.clear()
        super().restore(states, partial_steps)
