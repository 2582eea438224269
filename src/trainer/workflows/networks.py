"""The networks of a plan: as they are trained and as they are saved. Imports TensorFlow.

They differ if the network has a frozen base: it is trained on the output of the base.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from trainer.config.sections import duration_steps
from trainer.engine.supervised import BaseTraining
from trainer.inputs import FEATURES
from trainer.models.compiled_layers import has_compiled_layer
from trainer.models.network import build_network
from trainer.models.pretrained.building import random_layers, weighted_layers
from trainer.models.pretrained.description import BASE
from trainer.models.principal_components import has_components, set_principal_components
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
    """Return the network of a plan as it is saved: of Keras's own layers, with a frozen base, if any.

    Without one, it shares the variables of `network`, which is trained.
    """
    if plan.network.trained is plan.network:
        make = network_function(plan, allow_custom=allow_custom)
        return make(shared=network) if has_compiled_layer(network) else network
    return build_network(
        plan.config,
        plan.network,
        plan.task.prior(),
        allow_custom=allow_custom,
        base=plan.loaded.path.absolute().parent,
        base_weights=True,
    )


def base_training(plan: RunPlan, network: keras.Model) -> BaseTraining | None:
    """Return how the base of a network is trained; None if it is not, or like the other layers."""
    settings, optimizer = plan.config.model.pretrained, plan.config.optimizer
    if plan.network.trained.base is None or settings is None:
        return None
    start = 0
    if isinstance(settings.frozen, str):
        start = duration_steps(settings.frozen, plan.steps_per_epoch)
    factor = settings.learning_rate_factor
    if factor == 1.0 and not start:
        return None
    base = network.get_layer(BASE)
    cached = start // plan.steps_per_epoch if _has_constant_output(plan, base) else 0
    return BaseTraining(
        layers=[layer for layer in weighted_layers(base) if layer.trainable],
        random=random_layers(base),
        factor=factor,
        start=0 if start == cached * plan.steps_per_epoch else start,
        accumulation=optimizer.gradient_accumulation_steps or 1,
        cached_epochs=cached,
    )


def _has_constant_output(plan: RunPlan, base: keras.Model) -> bool:
    """Return whether a base that is not trained has the same output for an image in every epoch, and
    adds nothing to the loss.
    """
    ema = plan.config.optimizer.ema
    # Rounding makes the average of a constant weight another weight.
    is_overwritten = ema is not None and ema.overwrite_every is not None
    has_callbacks = bool(plan.config.fit.callbacks)
    return not (plan.has_changed_images or has_callbacks or is_overwritten or base.losses)
