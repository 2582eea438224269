"""Execution of epochs: one at a time, or several per device call.

When an epoch takes less time than the device call that starts it (four rows, a thousand epochs), a
block of epochs runs as one program, which returns the results of each. The recorded results are the
same: `sync_variables` sets network and optimizer to the end of an epoch within a block.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from typing import Any, Protocol

import keras

from trainer.data.samples import Samples
from trainer.engine.averages import averaged_weights
from trainer.engine.batches import PartialEpoch
from trainer.engine.epoch_result import EpochResult
from trainer.engine.multi_epoch import MultiEpochProgram
from trainer.engine.runner import EpochRunner
from trainer.engine.state import State, copy_weights


class EpochExecutor(Protocol):
    """Runs the epochs of a network."""

    def run_epoch(
        self, epoch: int, max_steps: int, partial_epoch: PartialEpoch | None
    ) -> Generator[PartialEpoch | None, None, EpochResult]:
        """Run `epoch` (from 1, in order), or its first `max_steps` batches, and return its result.

        Yields between device calls: the output so far of the epoch, or None during validation. Then
        training can be stopped, but not saved before the generator is closed.
        """
        ...

    def sync_variables(self, epoch: int) -> None:
        """Set network and optimizer to the end of `epoch`, the latest one returned by `run_epoch`."""
        ...


class SingleEpochExecutor:
    """Runs each epoch on its own."""

    def __init__(
        self,
        runner: EpochRunner,
        network: keras.Sequential,
        optimizer: keras.optimizers.Optimizer,
        validation: Samples | None,
    ) -> None:
        self._runner, self._network, self._optimizer = runner, network, optimizer
        self._validation = validation

    def run_epoch(
        self, epoch: int, max_steps: int, partial_epoch: PartialEpoch | None
    ) -> Generator[PartialEpoch | None, None, EpochResult]:
        trained = yield from self._runner.train(epoch, max_steps, partial_epoch)
        validated = None
        if self._validation is not None and math.isfinite(trained.loss):
            with averaged_weights(self._network, self._optimizer):
                validated = yield from self._runner.evaluate(self._validation)
        return EpochResult(trained, validated, float(self._optimizer.learning_rate), self._weights)

    def sync_variables(self, epoch: int) -> None:
        """Do nothing: no epoch is run ahead."""

    def _weights(self) -> list[Any]:
        with averaged_weights(self._network, self._optimizer):
            return copy_weights(self._network)


class MultiEpochExecutor:
    """Runs several epochs per device call; a partial epoch runs on its own."""

    def __init__(self, single: SingleEpochExecutor, blocks: MultiEpochProgram) -> None:
        self._single, self._blocks = single, blocks
        self._pending: deque[EpochResult] = deque()
        self._start_state: State = {}
        self._first = 1

    def run_epoch(
        self, epoch: int, max_steps: int, partial_epoch: PartialEpoch | None
    ) -> Generator[PartialEpoch | None, None, EpochResult]:
        if not self._pending:
            epochs = min(self._blocks.epochs, max_steps // self._blocks.steps_per_epoch)
            if epochs < 1 or partial_epoch is not None:
                return (yield from self._single.run_epoch(epoch, max_steps, partial_epoch))
            self._first, self._start_state = epoch, self._blocks.state()
            self._pending.extend(self._blocks.run(epoch, epochs))
        return self._pending.popleft()

    def sync_variables(self, epoch: int) -> None:
        """Rerun the block up to `epoch` if it has run further."""
        if not self._pending:
            return
        self._pending.clear()
        self._blocks.restore(self._start_state)
        self._blocks.run(self._first, epoch - self._first + 1)
