"""The evaluator of a network that is not trained, for any task."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trainer.config.schema import Config
from trainer.config.translation import encoder_decoder
from trainer.engine.batches import Evaluator
from trainer.engine.lengths import ShorterNetworks
from trainer.engine.supervised import SupervisedLearner
from trainer.engine.translation import TranslationLearner
from trainer.inputs import TOKENS
from trainer.models.losses import build_loss
from trainer.models.network import build_shorter_network
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
        shorter = shorter_networks(config, shape, network)
        return Evaluator(SupervisedLearner(network, build_loss(task.loss), shorter=shorter))
    learner = TranslationLearner(
        network,
        encoder_decoder(config.model),
        shape.translation,
        label_smoothing=task.loss.label_smoothing,
        decoding=config.evaluate.decoding if decodes else None,
    )
    return Evaluator(learner)


def shorter_networks(
    config: Config, shape: NetworkShape, network: keras.Model
) -> ShorterNetworks | None:
    """Return the networks for texts of fewer tokens; None without an encoder.

    Only an encoder masks padding and takes most of the time of a step.
    """
    has_tokens = any(spec.name == TOKENS for spec in shape.inputs)
    if config.model.pretrained is None or shape.token_padding is None or not has_tokens:
        return None
    make = partial(build_shorter_network, config, network, shape)
    return ShorterNetworks(make, shape.token_padding[0])
