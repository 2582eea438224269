"""The evaluator of a network that is not trained, for any task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.config.schema import Config
from trainer.config.translation import encoder_decoder
from trainer.engine.batches import Evaluator
from trainer.engine.supervised import SupervisedLearner
from trainer.engine.translation import TranslationLearner
from trainer.models.losses import build_loss
from trainer.models.summary import NetworkShape
from trainer.tasks.task import Task

if TYPE_CHECKING:
    import keras


def make_evaluator(
    config: Config, task: Task, shape: NetworkShape, network: keras.Model, *, decodes: bool = True
) -> Evaluator:
    """Return the evaluator of a network.

    Args:
        config: The config of the run.
        task: Its task.
        shape: The inputs and outputs of its network.
        network: The network.
        decodes: Whether a network that translates writes texts, as `evaluate.decoding` sets; otherwise
            only the loss and the metrics of tokens are computed.
    """
    if shape.translation is None:
        return Evaluator(SupervisedLearner(network, build_loss(task.loss)))
    learner = TranslationLearner(
        network,
        encoder_decoder(config.model),
        shape.translation,
        label_smoothing=task.loss.label_smoothing,
        decoding=config.evaluate.decoding if decodes else None,
    )
    return Evaluator(learner)
