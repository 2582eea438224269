"""How epochs come: one by one, or several in one call of the device.

Where an epoch takes less time than the call that starts it (four rows, a thousand epochs), a block of
epochs runs as one program, which hands back what each of them gave. What is recorded is the same:
whoever decides something inside a block calls `sync_variables`, and network and optimizer stand there.
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
    """Takes a network from epoch to epoch."""

    def next(
        self, epoch: int, max_steps: int, partial_epoch: PartialEpoch | None
    ) -> Generator[PartialEpoch | None, None, EpochResult]:
        """The outcome of `epoch` (from 1, in order), or of its first `max_steps` batches.

        Between two calls of the device it yields what is trained of the epoch, as in `EpochRunner`, or
        None while the network is judged: then training can be stopped, but not saved before the
        generator is closed.
        """
        ...

    def sync_variables(self, epoch: int) -> None:
        """Let network and optimizer stand at the end of `epoch`, the latest that `next` gave."""
        ...


class SingleEpochExecutor:
    """Each epoch is a call of its runner."""

    def __init__(
        self,
        runner: EpochRunner,
        network: keras.Sequential,
        optimizer: keras.optimizers.Optimizer,
        validation: Samples | None,
    ) -> None:
        self._runner, self._network, self._optimizer = runner, network, optimizer
        self._validation = validation

    def next(
        self, epoch: int, max_steps: int, partial_epoch: PartialEpoch | None
    ) -> Generator[PartialEpoch | None, None, EpochResult]:
        """As in `EpochExecutor`."""
        trained = yield from self._runner.train(epoch, max_steps, partial_epoch)
        judged = None
        if self._validation is not None and math.isfinite(trained.loss):
            with averaged_weights(self._network, self._optimizer):
                judged = yield from self._runner.evaluate(self._validation)
        return EpochResult(trained, judged, float(self._optimizer.learning_rate), self._weights)

    def sync_variables(self, epoch: int) -> None:
        """As in `EpochExecutor`; it always stands there."""

    def _weights(self) -> list[Any]:
        with averaged_weights(self._network, self._optimizer):
            return copy_weights(self._network)


class MultiEpochExecutor:
    """Several epochs are one call; an epoch that is cut short comes on its own."""

    def __init__(self, single: SingleEpochExecutor, blocks: MultiEpochProgram) -> None:
        self._single, self._blocks = single, blocks
        self._pending: deque[EpochResult] = deque()
        self._before: State = {}
        self._first = 1

    def next(
        self, epoch: int, max_steps: int, partial_epoch: PartialEpoch | None
    ) -> Generator[PartialEpoch | None, None, EpochResult]:
        """As in `EpochExecutor`."""
        if not self._pending:
            whole = min(self._blocks.epochs, max_steps // self._blocks.steps_per_epoch)
            if whole < 1 or partial_epoch is not None:
                return (yield from self._single.next(epoch, max_steps, partial_epoch))
            self._first, self._before = epoch, self._blocks.state()
            self._pending.extend(self._blocks.run(epoch, whole))
        return self._pending.popleft()

    def sync_variables(self, epoch: int) -> None:
        """As in `EpochExecutor`: a block that has gone further is done again up to there."""
        if not self._pending:
            return
        self._pending.clear()
        self._blocks.restore(self._before)
        self._blocks.run(self._first, epoch - self._first + 1)
