"""Conflicts in the `model` and `optimizer` sections."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from trainer.config.augment import Saturation
from trainer.config.conflict import Conflict, conflict
from trainer.config.images import image_columns
from trainer.config.model import Model
from trainer.config.optimizers import AnyOptimizer, ScheduleFreeAdamW, Sgd
from trainer.config.schedules import PiecewiseSchedule
from trainer.config.schema import Config
from trainer.config.sections import interval_parts
from trainer.config.weights import initializer_conflicts


def network_conflicts(model: Model) -> Iterator[Conflict]:
    """Yield conflicts between the settings of a layer."""
    for index, layer in enumerate(model.layers):
        settings = layer.settings
        yield from settings.conflicts(f"model.layers.{index}.{settings.kind}")
    yield from initializer_conflicts(model.head_initializer, "model.head_initializer")


def augment_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield conflicts of random changes of images with each other, the images and the loss."""
    entries = config.model.augment
    if entries and not image_columns(config.data):
        yield conflict(
            "model.augment",
            "random changes of images only with a folder of images or a column of kind image",
            "neither",
            "set data.columns.NAME.kind: image, or remove model.augment",
            "data.columns",
        )
    for index, entry in enumerate(entries):
        settings = entry.settings
        key = f"model.augment.{index}.{settings.kind}"
        yield from settings.conflicts(key)
        if isinstance(settings, Saturation) and config.data.image.color == "grey":
            fix = "remove it, or set data.image.color: rgb"
            yield conflict(key, "images in color", "grey ones", fix, "data.image.color")
        # The weight of alpha is chosen by whether a target is exactly 1.
        if settings.mixes and config.loss.name == "binary_focal_crossentropy":
            expected = f"a loss that is defined for the targets between 0 and 1 of {settings.kind}"
            fix = f"set loss to binary_crossentropy, or remove {settings.kind}"
            yield conflict(key, expected, config.loss.name, fix, "loss.name")


def optimizer_conflicts(optimizer: AnyOptimizer, key: str = "optimizer") -> Iterator[Conflict]:
    """Yield conflicts between the settings of an optimizer, the section `key`."""
    clips = [
        name
        for name in ("clip_norm", "global_clip_norm", "clip_value")
        if getattr(optimizer, name) is not None
    ]
    if len(clips) > 1:
        yield conflict(
            f"{key}.{clips[1]}",
            "one kind of clipping",
            " and ".join(clips),
            "keep one of them",
            *(f"{key}.{name}" for name in clips),
        )
    if isinstance(optimizer, Sgd) and optimizer.nesterov and optimizer.momentum == 0:
        yield conflict(
            f"{key}.nesterov",
            "a momentum above 0 with nesterov: true",
            "momentum: 0",
            f"set {key}.momentum, for example to 0.9",
            f"{key}.momentum",
        )
    if optimizer.schedule is None:
        return
    if isinstance(optimizer, ScheduleFreeAdamW):
        yield conflict(
            f"{key}.schedule",
            "no schedule with schedule_free_adamw",
            "a schedule",
            f"use adamw with the schedule, or {key}.warmup_steps",
            f"{key}.name",
        )
    if isinstance(optimizer.schedule, PiecewiseSchedule):
        piecewise = optimizer.schedule.piecewise
        yield from _piecewise_conflicts(
            piecewise.at, piecewise.factors, f"{key}.schedule.piecewise"
        )


def _piecewise_conflicts(at: list[str], factors: list[float], key: str) -> Iterator[Conflict]:
    if len(at) != len(factors):
        yield conflict(
            f"{key}.factors",
            f"one factor for each time in `at`, {len(at)}",
            str(len(factors)),
            "write one factor for each time",
            f"{key}.at",
        )
    for before, after in pairwise(at):
        (first, unit), (second, other) = interval_parts(before), interval_parts(after)
        if unit == other and second <= first:
            fix = "put the times in increasing order"
            yield conflict(f"{key}.at", f"a time after {before}", f"'{after}'", fix)
