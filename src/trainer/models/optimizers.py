"""The Keras optimizer for the `optimizer` section of the config.

Call `optimizer.build(network.trainable_variables)` eagerly, after the initial weights are set:
schedule_free_adamw copies them, and would copy zeros if Keras's `fit` built it.
"""

from __future__ import annotations

from typing import Any, Literal

import keras

from trainer.config.optimizers import AdamW, AnyOptimizer
from trainer.config.sections import duration_steps
from trainer.models.schedules import ScheduledRate

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]


def build_optimizer(
    settings: AnyOptimizer, steps_per_epoch: int, total_steps: int, precision: Precision
) -> keras.optimizers.Optimizer:
    """Return the Keras optimizer, not yet built.

    Without a schedule its learning rate is a variable: `optimizer.learning_rate.assign(…)` changes it.
    Under mixed_float16 it is wrapped in a `LossScaleOptimizer`, which skips batches whose gradients are
    not finite and does not count them. With `ema`, call
    `finalize_variable_values(network.trainable_variables)` at the end to replace the weights by the
    averages.

    Args:
        settings: The `optimizer` section.
        steps_per_epoch: Batches per epoch.
        total_steps: Batches of the whole training run.
        precision: Dtype policy of the network.
    """
    optimizer = getattr(keras.optimizers, settings.keras_optimizer)(
        **settings.keras_arguments(), **_shared(settings, steps_per_epoch, total_steps)
    )
    apply_without_replicas(optimizer)
    if precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer


def apply_without_replicas(optimizer: keras.optimizers.Optimizer) -> None:
    """Make an optimizer apply gradients as they are, without adding up those of several replicas.

    Even for one replica, Keras adds them up with an operation that has a custom gradient. TensorFlow
    keeps custom gradients, and with them the graph of the whole program, until the process ends.
    """
    optimizer._all_reduce_sum_gradients = list


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
            "ema_momentum": ema_momentum_per_batch(settings),
            "ema_overwrite_frequency": None
            if every is None
            else max(settings.updates(duration_steps(every, steps_per_epoch)), 1),
        }
    return arguments


def ema_momentum_per_batch(settings: AnyOptimizer) -> float:
    """Return the momentum of the moving average of the weights per batch.

    Keras updates the average at every batch; over the `gradient_accumulation_steps` batches of one
    update, the momentum is that of the config.
    """
    assert settings.ema is not None
    return float(settings.ema.momentum ** (1 / (settings.gradient_accumulation_steps or 1)))
