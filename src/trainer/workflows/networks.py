"""The networks of a plan: as they are trained and as they are saved. Imports TensorFlow.

They differ if the network has a frozen base: it is trained on the output of the base.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from trainer.config.metrics import METRICS
from trainer.config.resolve import monitored_metrics
from trainer.config.sections import duration_steps
from trainer.config.translation import Decoding, encoder_decoder
from trainer.engine.compression import build_compression
from trainer.engine.evaluators import shorter_networks
from trainer.engine.supervised import BaseTraining, SupervisedLearner
from trainer.engine.translation import TranslationLearner
from trainer.inputs import FEATURES
from trainer.models.compiled_layers import has_compiled_layer
from trainer.models.losses import build_loss
from trainer.models.network import Variant, build_network
from trainer.models.pretrained.building import random_layers, weighted_layers
from trainer.models.pretrained.description import BASE
from trainer.models.pretrained.encoder_network import has_adapters, layer_depths
from trainer.models.principal_components import has_components, set_principal_components
from trainer.models.translation.network import build_shorter_translation
from trainer.workflows.plan import RunPlan


def network_function(plan: RunPlan, *, allow_custom: bool) -> Callable[..., keras.Model]:
    """Return a function that builds the network of a plan with its initial weights."""
    build = partial(
        build_network,
        plan.config,
        plan.network.trained,
        plan.task.prior(),
        allow_custom=allow_custom,
        base=plan.loaded.path.absolute().parent,
    )
    if not has_components(plan.config):
        return build

    def build_with_components(**options: Any) -> keras.Model:
        network = build(**options)
        # Another network of shared layers has them already.
        if options.get("shared") is None:
            samples = plan.samples("train")
            assert samples is not None, "a plan has training rows"
            set_principal_components(network, samples.inputs[FEATURES])
        return network

    return build_with_components


def saved_network(plan: RunPlan, network: keras.Model, *, allow_custom: bool) -> keras.Model:
    """Return the network of a plan as it is saved: of Keras's own layers, with a frozen base, if any,
    and without adapters.

    Without a frozen base, it shares the variables of `network`, which is trained.
    """
    if plan.network.trained is plan.network:
        make = network_function(plan, allow_custom=allow_custom)
        is_other = has_compiled_layer(network) or has_adapters(network)
        return make(shared=network) if is_other else network
    return build_network(
        plan.config,
        plan.network,
        plan.task.prior(),
        allow_custom=allow_custom,
        base=plan.loaded.path.absolute().parent,
        variant=Variant(base_weights=True),
    )


def base_training(plan: RunPlan, network: keras.Model) -> BaseTraining | None:
    """Return how the base of a network is trained; None if it is not, or like the other layers."""
    settings, optimizer = plan.config.model.pretrained, plan.config.optimizer
    base = plan.network.trained.base
    if base is None or settings is None or settings.lora is not None:
        return None
    start = 0
    if isinstance(settings.frozen, str):
        start = duration_steps(settings.frozen, plan.steps_per_epoch)
    inner = network.get_layer(BASE)
    layers = [layer for layer in weighted_layers(inner) if layer.trainable]
    factors = [settings.learning_rate_factor] * len(layers)
    if base.encoder is not None:
        depths = layer_depths(inner)
        factors = [
            factor * settings.layer_decay ** (base.encoder.layers - depths[layer.name])
            for layer, factor in zip(layers, factors, strict=True)
        ]
    if not start and all(factor == 1.0 for factor in factors):
        return None
    cached = start // plan.steps_per_epoch if _has_constant_output(plan, inner) else 0
    return BaseTraining(
        layers=layers,
        random=random_layers(inner),
        factors=factors,
        start=0 if start == cached * plan.steps_per_epoch else start,
        accumulation=optimizer.gradient_accumulation_steps or 1,
        cached_epochs=cached,
    )


def _has_constant_output(plan: RunPlan, base: keras.Model) -> bool:
    """Return whether a base that is not trained has the same output for a sample in every epoch, and
    adds nothing to the loss.
    """
    ema = plan.config.optimizer.ema
    # Rounding makes the average of a constant weight another weight.
    is_overwritten = ema is not None and ema.overwrite_every is not None
    has_callbacks = bool(plan.config.fit.callbacks)
    return not (plan.has_changed_images or has_callbacks or is_overwritten or base.losses)


def make_learner(
    plan: RunPlan,
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
) -> SupervisedLearner | TranslationLearner:
    """Return the learner that trains the network of a plan.

    Args:
        plan: The plan of the run.
        network: Its network.
        optimizer: The optimizer, not yet built.
    """
    config, task = plan.config, plan.task
    shape = plan.network.translation
    if shape is None:
        return SupervisedLearner(
            network,
            build_loss(task.loss),
            optimizer,
            keep_outputs=bool(task.metrics),
            base=base_training(plan, network),
            compression=build_compression(config.compress, network, plan.total_steps),
            shorter=shorter_networks(config, plan.network.trained, network),
        )
    # Texts are written in each epoch only if they matter for training, and then greedily.
    monitored = {metric.removeprefix("val_") for _, metric in monitored_metrics(config.fit)}
    needs_texts = any(METRICS[name].needs_decoding for name in task.metrics if name in monitored)
    return TranslationLearner(
        network,
        encoder_decoder(config.model),
        shape,
        optimizer,
        label_smoothing=task.loss.label_smoothing,
        decoding=Decoding(beam=1) if needs_texts else None,
        shorter=_shorter_translations(plan, network),
    )


def _shorter_translations(plan: RunPlan, network: keras.Model) -> dict[int, keras.Model]:
    """Return networks of the layers of a network that translates, by the number of tokens they take."""
    if plan.token_batches is None:
        return {}
    longest = max(length for tensor in network.inputs for length in tensor.shape[1:])
    compiled = has_compiled_layer(network)
    return {
        length: build_shorter_translation(
            plan.config, network, plan.network, length, compiled=compiled
        )
        for length in np.unique(plan.token_batches.lengths).tolist()
        if length < longest
    }
