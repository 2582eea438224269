"""How epochs come: one by one, or several in one call of the device.

Where an epoch takes less time than the call that starts it (four rows, a thousand epochs), a block of
epochs runs as one program, which hands back what each of them gave. What is recorded is the same:
whoever decides something inside a block calls `settle`, and network and optimizer stand there.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from typing import Any, Protocol

import keras

from trainer.data.samples import Samples
from trainer.engine.averages import averaged
from trainer.engine.batches import Begun
from trainer.engine.blocks import EpochBlocks
from trainer.engine.outcome import Outcome
from trainer.engine.runner import EpochRunner
from trainer.engine.state import State, weights_of


class Pace(Protocol):
    """Takes a network from epoch to epoch."""

    def next(
        self, epoch: int, max_steps: int, begun: Begun | None
    ) -> Generator[Begun | None, None, Outcome]:
        """The outcome of `epoch` (from 1, in order), or of its first `max_steps` batches.

        Between two calls of the device it yields what is trained of the epoch, as in `EpochRunner`, or
        None while the network is judged: then training can be stopped, but not saved before the
        generator is closed.
        """
        ...

    def settle(self, epoch: int) -> None:
        """Let network and optimizer stand at the end of `epoch`, the latest that `next` gave."""
        ...


class OneByOne:
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
        self, epoch: int, max_steps: int, begun: Begun | None
    ) -> Generator[Begun | None, None, Outcome]:
        """As in `Pace`."""
        trained = yield from self._runner.train(epoch, max_steps, begun)
        judged = None
        if self._validation is not None and math.isfinite(trained.loss):
            with averaged(self._network, self._optimizer):
                judged = yield from self._runner.evaluate(self._validation)
        return Outcome(trained, judged, float(self._optimizer.learning_rate), self._weights)

    def settle(self, epoch: int) -> None:
        """As in `Pace`; it always stands there."""

    def _weights(self) -> list[Any]:
        with averaged(self._network, self._optimizer):
            return weights_of(self._network)


class InBlocks:
    """Several epochs are one call; an epoch that is cut short comes on its own."""

    def __init__(self, one_by_one: OneByOne, blocks: EpochBlocks) -> None:
        self._one_by_one, self._blocks = one_by_one, blocks
        self._waiting: deque[Outcome] = deque()
        self._before: State = {}
        self._first = 1

    def next(
        self, epoch: int, max_steps: int, begun: Begun | None
    ) -> Generator[Begun | None, None, Outcome]:
        """As in `Pace`."""
        if not self._waiting:
            whole = min(self._blocks.epochs, max_steps // self._blocks.steps_per_epoch)
            if whole < 1 or begun is not None:
                return (yield from self._one_by_one.next(epoch, max_steps, begun))
            self._first, self._before = epoch, self._blocks.state()
            self._waiting.extend(self._blocks.run(epoch, whole))
        return self._waiting.popleft()

    def settle(self, epoch: int) -> None:
        """As in `Pace`: a block that has gone further is done again up to there."""
        if not self._waiting:
            return
        self._waiting.clear()
        self._blocks.put_back(self._before)
        self._blocks.run(self._first, epoch - self._first + 1)
