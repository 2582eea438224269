"""Conflicts in the `model` and `optimizer` sections."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from trainer.config.conflict import Conflict, conflict
from trainer.config.layers import (
    ActivationLayer,
    BatchNormalizationLayer,
    Constraint,
    CustomLayer,
    DenseLayer,
    DropoutLayer,
    FlattenLayer,
    GaussianNoiseLayer,
    Initializer,
    LayerNormalizationLayer,
    MinMaxNorm,
    Model,
    RandomUniform,
    ReshapeLayer,
)
from trainer.config.optimizers import (
    PiecewiseSchedule,
    ScheduleFreeAdamW,
    Sgd,
)
from trainer.config.schema import Config
from trainer.config.sections import interval_parts


def network_conflicts(model: Model) -> Iterator[Conflict]:
    """Yield conflicts between the settings of a layer."""
    for index, layer in enumerate(model.layers):
        key = f"model.layers.{index}"
        match layer:
            case DenseLayer(dense=dense):
                for name in ("kernel", "bias"):
                    initializer = getattr(dense, f"{name}_initializer")
                    yield from _initializer_conflicts(
                        initializer, f"{key}.dense.{name}_initializer"
                    )
                    constraint = getattr(dense, f"{name}_constraint")
                    yield from _constraint_conflicts(constraint, f"{key}.dense.{name}_constraint")
                for name in ("bias_regularizer", "bias_constraint"):
                    if not dense.use_bias and getattr(dense, name) is not None:
                        use = f"{key}.dense.use_bias"
                        expected = "a layer with a bias"
                        fix = "remove one of the two"
                        yield conflict(f"{key}.dense.{name}", expected, "use_bias: false", fix, use)
            case ReshapeLayer(reshape=reshape):
                shape = reshape.shape
                if shape.count(-1) > 1 or any(size < 1 and size != -1 for size in shape):
                    yield conflict(
                        f"{key}.reshape",
                        "sizes of at least 1, one of which may be -1",
                        str(shape),
                        "write for example [8, -1]",
                    )
            case (
                ActivationLayer()
                | DropoutLayer()
                | GaussianNoiseLayer()
                | BatchNormalizationLayer()
                | LayerNormalizationLayer()
                | FlattenLayer()
                | CustomLayer()
            ):
                pass
    yield from _initializer_conflicts(model.head_initializer, "model.head_initializer")


def _initializer_conflicts(initializer: Initializer, key: str) -> Iterator[Conflict]:
    match initializer:
        case RandomUniform(random_uniform=bounds) if bounds.low >= bounds.high:
            found = f"{bounds.low:g} and {bounds.high:g}"
            expected = "a lower bound below the upper bound"
            yield conflict(f"{key}.random_uniform", expected, found, "change one of the two")
        case _:
            pass


def _constraint_conflicts(constraint: Constraint | None, key: str) -> Iterator[Conflict]:
    match constraint:
        case MinMaxNorm(min_max_norm=[low, high]) if low > high:
            expected = "the smaller norm first"
            fix = f"write [{high:g}, {low:g}]"
            yield conflict(f"{key}.min_max_norm", expected, f"[{low:g}, {high:g}]", fix)
        case _:
            pass


def optimizer_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield conflicts between clipping, momentum, averages and schedules."""
    optimizer = config.optimizer
    clips = [
        name
        for name in ("clip_norm", "global_clip_norm", "clip_value")
        if getattr(optimizer, name) is not None
    ]
    if len(clips) > 1:
        yield conflict(
            f"optimizer.{clips[1]}",
            "one kind of clipping",
            " and ".join(clips),
            "keep one of them",
            *(f"optimizer.{name}" for name in clips),
        )
    if isinstance(optimizer, Sgd) and optimizer.nesterov and optimizer.momentum == 0:
        yield conflict(
            "optimizer.nesterov",
            "a momentum above 0 with nesterov: true",
            "momentum: 0",
            "set optimizer.momentum, for example to 0.9",
            "optimizer.momentum",
        )
    if optimizer.schedule is None:
        return
    if isinstance(optimizer, ScheduleFreeAdamW):
        yield conflict(
            "optimizer.schedule",
            "no schedule with schedule_free_adamw",
            "a schedule",
            "use adamw with the schedule, or optimizer.warmup_steps",
            "optimizer.name",
        )
    if isinstance(optimizer.schedule, PiecewiseSchedule):
        piecewise = optimizer.schedule.piecewise
        yield from _piecewise_conflicts(piecewise.at, piecewise.factors)


def _piecewise_conflicts(at: list[str], factors: list[float]) -> Iterator[Conflict]:
    key = "optimizer.schedule.piecewise"
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
