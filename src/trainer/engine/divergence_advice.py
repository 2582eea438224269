"""Advice for a non-finite loss: settings of this config, each of which helps."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.model import POSITIVE_HEADS
from trainer.config.nodes import column_key
from trainer.config.resolve import resolved_target_scale
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.engine.divergence import DivergenceAdvice
from trainer.tasks.task import Task

_LOWER = 0.1
_CLIPS = ("clip_norm", "global_clip_norm", "clip_value")


def divergence_advice(config: Config, task: Task) -> DivergenceAdvice:
    """Return the settings to name in the error."""
    scales = [f"{key}: standard" for key in _unscaled(config, task)]
    first = (
        f"set {' and '.join(scales)}"
        if scales
        else (
            "set other initializers or a smaller model: the network overflows before it is trained"
        )
    )
    return DivergenceAdvice(first, f"set {', or '.join(_alternatives(config, task, scales))}")


def _unscaled(config: Config, task: Task) -> Iterator[str]:
    """Yield the keys of disabled scales of features and target."""
    data = config.data
    if data.numeric.scale == "none":
        yield "data.numeric.scale"
    for name, settings in data.columns.items():
        if settings.scale == "none":
            yield f"{column_key(name)}.scale"
    target = task.target
    is_linear = TASK_RULES[target.task].has_numbers and task.head == "linear"
    if is_linear and not task.loss.kind.needs_unscaled_target:
        scales = [resolved_target_scale(config, target.task, name) for name in target.columns]
        if "none" in scales:
            yield "data.target_scale"


def _alternatives(config: Config, task: Task, scales: list[str]) -> Iterator[str]:
    """Yield alternatives, each of which is sufficient."""
    optimizer = config.optimizer
    default_rate = type(optimizer).model_fields["learning_rate"].default
    is_high = optimizer.learning_rate > default_rate
    is_clipped = any(getattr(optimizer, name) is not None for name in _CLIPS)
    clip = [] if is_clipped else ["optimizer.clip_norm: 1.0"]
    rate = [f"optimizer.learning_rate: {default_rate:g}"] if is_high else []
    if scales or is_high:
        # The gradient of a positive head grows with its output: the default rate can still be too high.
        extra = clip if task.head in POSITIVE_HEADS else []
        yield " and ".join([*scales, *rate, *extra])
    if not is_high:
        lower = f"optimizer.learning_rate: {optimizer.learning_rate * _LOWER:g}"
        yield clip[0] if clip else lower
    if task.head == "exponential" and task.loss.kind.is_for_counts:
        yield " and ".join([*rate, "model.head: softplus"])
    if config.runtime.precision == "mixed_float16":
        yield "runtime.precision: float32"
