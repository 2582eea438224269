"""Epochs in which a pretrained base does not change: its output is computed once for each image or text,
and the layers after it are trained on that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

import keras

from trainer.config.schema import Config
from trainer.data.samples import Samples
from trainer.engine.base_features import with_output_of
from trainer.engine.batches import PartialEpoch, Program, steps_per_execution
from trainer.engine.epoch_result import EpochResult
from trainer.engine.executors import LearnerExecutor
from trainer.engine.rows import TrainingRows
from trainer.engine.snapshot import NamedArrays
from trainer.engine.state import State
from trainer.engine.supervised import SupervisedLearner
from trainer.models.network import build_head_network
from trainer.models.summary import NetworkShape


class HeadLearner(SupervisedLearner):
    """The layers after a base.

    State, weights and averages are those of the whole network, with which it shares its layers and its
    optimizer.
    """

    def __init__(self, whole: SupervisedLearner, head: keras.Model) -> None:
        """Initialize the learner.

        Args:
            whole: The learner of the whole network.
            head: The layers after the base, of the whole network.
        """
        steps = whole.keras_model
        super().__init__(
            head, steps.loss, steps.optimizer, keep_outputs=bool(whole.trained_outputs)
        )
        self._whole = whole

    @property
    def weights(self) -> list[Any]:
        return self._whole.weights

    def state(self) -> State:
        return self._whole.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._whole.restore(state)

    def evaluation_weights(self) -> list[Any]:
        return self._whole.evaluation_weights()

    def use_averages(self) -> list[tuple[Any, Any]]:
        return self._whole.use_averages()


def build_head_executor(
    whole: SupervisedLearner,
    config: Config,
    network: NetworkShape,
    train: Samples,
    validation: Samples | None,
    make_rows: Callable[[Samples, int], TrainingRows],
) -> LearnerExecutor:
    """Return the executor of the layers after a base, on its output.

    Args:
        whole: The learner of the whole network.
        config: Its config.
        network: Its inputs and its base.
        train: The training rows, with images or tokens.
        validation: The validation rows, with images or tokens, or None.
        make_rows: Divides rows into batches and device calls of a number of batches.

    Raises:
        StorageError: There is not enough disk space for the output.
    """
    head = HeadLearner(whole, build_head_network(config, whole.network, network))
    steps = steps_per_execution(head.parameters, min(config.fit.batch_size, len(train)))
    rows = make_rows(with_output_of(whole.network, train, network), steps)
    if validation is not None:
        validation = with_output_of(whole.network, validation, network)
    # These epochs are too few for XLA to save the time that it takes.
    return LearnerExecutor(head, rows, validation, compiled=False)


class FrozenBaseExecutor(LearnerExecutor):
    """Runs the first epochs on the output of the base, and the others on images or tokens."""

    def __init__(
        self,
        learner: SupervisedLearner,
        rows: TrainingRows,
        validation: Samples | None,
        make_head: Callable[[], LearnerExecutor],
        *,
        compiled: bool,
        epochs: int,
    ) -> None:
        """Initialize the executor.

        Args:
            learner: The learner of the whole network.
            rows: The training rows, with images or tokens.
            validation: The validation rows, with images or tokens, or None.
            make_head: Returns the executor of a `HeadLearner`; called before the first of its epochs,
                when the weights of the base are those of the run.
            compiled: Whether to compile training of the whole network with XLA.
            epochs: Number of epochs in which the base does not change.
        """
        super().__init__(learner, rows, validation, compiled=compiled)
        self._make_head, self._epochs = make_head, epochs
        self._head: LearnerExecutor | None = None

    @property
    def programs(self) -> list[Program]:
        return [*super().programs, *([] if self._head is None else self._head.programs)]

    @property
    def partial_steps(self) -> int:
        return self._partial.steps if self._partial is not None else 0

    @property
    def _partial(self) -> PartialEpoch | None:
        head = None if self._head is None else self._head.partial_epoch
        return self.partial_epoch if head is None else head

    def run_epoch(
        self, epoch: int, max_steps: int
    ) -> Generator[PartialEpoch | None, None, Mapping[int, EpochResult]]:
        if epoch > self._epochs:
            return (yield from super().run_epoch(epoch, max_steps))
        if self._head is None:
            self._head = self._make_head()
        if self.partial_epoch is not None:
            self._head.take_over(self)
        return (yield from self._head.run_epoch(epoch, max_steps))

    def states(self) -> dict[int, State]:
        if self._head is not None and self._head.partial_epoch is not None:
            return self._head.states()
        return super().states()

    def restore(self, states: Mapping[int, NamedArrays], partial_steps: int) -> None:
        if self._head is not None:
            self._head.partial_epoch = None
        super().restore(states, partial_steps)
