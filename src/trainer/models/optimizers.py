"""The Keras optimizer for the `optimizer` section of the config.

Call `optimizer.build(network.trainable_variables)` eagerly, after the initial weights are set:
schedule_free_adamw copies them, and would copy zeros if Keras's `fit` built it.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Literal, assert_never

import keras

from trainer.config.optimizers import (
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamSettings,
    AdamW,
    AnyOptimizer,
    Ftrl,
    Lamb,
    Lion,
    Muon,
    Nadam,
    RmsProp,
    ScheduleFreeAdamW,
    Sgd,
)
from trainer.config.sections import duration_steps
from trainer.models.schedules import ScheduledRate

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]


def build_optimizer(
    settings: AnyOptimizer, steps_per_epoch: int, total_steps: int, precision: Precision
) -> keras.optimizers.Optimizer:
    """Return the Keras optimizer, not yet built.

    Without a schedule its learning rate is a variable: `optimizer.learning_rate.assign(…)` changes it.
    Under mixed_float16 it is wrapped in a `LossScaleOptimizer`, which skips batches whose gradients are
    not finite and does not count them. With `ema`, the averages replace the weights only when
    `finalize_variable_values(network.trainable_variables)` is called.

    Args:
        settings: The `optimizer` section.
        steps_per_epoch: Batches per epoch.
        total_steps: Batches of the whole training.
        precision: Dtype policy of the network.
    """
    optimizer = _build(settings, _shared(settings, steps_per_epoch, total_steps))
    if precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer


def schedule_scale(optimizer: keras.optimizers.Optimizer) -> keras.Variable | None:
    """Return the variable that scales the learning rates of a `ScheduledRate`; None without one."""
    rate = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    return rate.scale if isinstance(rate, ScheduledRate) else None


def lower_rate(optimizer: keras.optimizers.Optimizer, factor: float) -> None:
    """Multiply the learning rate, or all learning rates of a schedule, by `factor`."""
    scale = schedule_scale(optimizer)
    if scale is None:
        optimizer.learning_rate = float(optimizer.learning_rate) * factor
    else:
        scale.assign(scale * factor)


def _build(settings: AnyOptimizer, shared: dict[str, Any]) -> keras.optimizers.Optimizer:
    match settings:
        case Sgd():
            return keras.optimizers.SGD(
                momentum=float(settings.momentum), nesterov=settings.nesterov, **shared
            )
        case RmsProp():
            return keras.optimizers.RMSprop(
                rho=settings.rho,
                momentum=settings.momentum,
                epsilon=settings.epsilon,
                centered=settings.centered,
                **shared,
            )
        case Adam():
            return keras.optimizers.Adam(amsgrad=settings.amsgrad, **_moments(settings), **shared)
        case AdamW():
            return keras.optimizers.AdamW(amsgrad=settings.amsgrad, **_moments(settings), **shared)
        case Adamax():
            return keras.optimizers.Adamax(**_moments(settings), **shared)
        case Nadam():
            return keras.optimizers.Nadam(**_moments(settings), **shared)
        case Lamb():
            return keras.optimizers.Lamb(**_moments(settings), **shared)
        case ScheduleFreeAdamW():
            return keras.optimizers.ScheduleFreeAdamW(
                warmup_steps=_updates(settings, settings.warmup_steps),
                **_moments(settings),
                **shared,
            )
        case Adadelta():
            return keras.optimizers.Adadelta(rho=settings.rho, epsilon=settings.epsilon, **shared)
        case Adagrad():
            return keras.optimizers.Adagrad(
                initial_accumulator_value=settings.initial_accumulator,
                epsilon=settings.epsilon,
                **shared,
            )
        case Adafactor():
            return keras.optimizers.Adafactor(
                beta_2_decay=settings.beta_2_decay,
                epsilon_1=settings.epsilon_1,
                epsilon_2=settings.epsilon_2,
                clip_threshold=settings.clip_threshold,
                **shared,
            )
        case Ftrl():
            return keras.optimizers.Ftrl(
                learning_rate_power=settings.learning_rate_power,
                initial_accumulator_value=settings.initial_accumulator,
                l1_regularization_strength=settings.l1,
                l2_regularization_strength=settings.l2,
                l2_shrinkage_regularization_strength=settings.l2_shrinkage,
                beta=settings.beta,
                **shared,
            )
        case Lion():
            return keras.optimizers.Lion(beta_1=settings.beta_1, beta_2=settings.beta_2, **shared)
        case Muon():
            return keras.optimizers.Muon(
                momentum=settings.momentum,
                nesterov=settings.nesterov,
                ns_steps=settings.iterations,
                adam_beta_1=settings.adam_beta_1,
                adam_beta_2=settings.adam_beta_2,
                adam_weight_decay=settings.adam_weight_decay,
                epsilon=settings.epsilon,
                **shared,
            )
        case _:
            assert_never(settings)


def _shared(settings: AnyOptimizer, steps_per_epoch: int, total_steps: int) -> dict[str, Any]:
    """Return the arguments that every Keras optimizer takes."""
    arguments: dict[str, Any] = {
        "learning_rate": float(settings.learning_rate)
        if settings.schedule is None
        else ScheduledRate(settings.learning_rate, settings.schedule, steps_per_epoch, total_steps),
        "clipnorm": settings.clip_norm,
        "global_clipnorm": settings.global_clip_norm,
        "clipvalue": settings.clip_value,
        "weight_decay": settings.weight_decay,
        "gradient_accumulation_steps": settings.gradient_accumulation_steps,
        "name": settings.name,
    }
    if isinstance(settings, AdamW) and settings.weight_decay is None:
        # Keras's AdamW does not accept None; 0 is equivalent.
        arguments["weight_decay"] = 0.0
    if settings.ema is not None:
        every = settings.ema.overwrite_every
        arguments |= {
            "use_ema": True,
            "ema_momentum": average_momentum(settings),
            "ema_overwrite_frequency": None
            if every is None
            else max(_updates(settings, duration_steps(every, steps_per_epoch)), 1),
        }
    return arguments


def average_momentum(settings: AnyOptimizer) -> float:
    """Return the momentum of the moving average of the weights per batch.

    Keras updates the average at every batch; over the `gradient_accumulation_steps` batches of one
    update, the momentum is that of the config.
    """
    assert settings.ema is not None
    return float(settings.ema.momentum ** (1 / (settings.gradient_accumulation_steps or 1)))


def _moments(settings: AdamSettings) -> dict[str, float]:
    return {
        "beta_1": settings.beta_1,
        "beta_2": settings.beta_2,
        "epsilon": settings.epsilon,
    }


def _updates(settings: AnyOptimizer, batches: int) -> int:
    """Return the number of updates in `batches` batches, for settings that Keras counts in updates."""
    return ceil(batches / (settings.gradient_accumulation_steps or 1))
