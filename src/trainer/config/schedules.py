"""The `optimizer.schedule` section: schedules of the learning rate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from trainer.config.sections import Duration, Section, name_to_mapping, shorthand_for, single_key


class Scheduled(Section):
    """Base of the schedules, with an optional warm-up from 0 to the learning rate."""

    warmup: Duration | None = None
    """Length of a linear warm-up from 0 to the learning rate; the schedule starts after it."""


class Warmup(Scheduled):
    warmup: Duration
    """Length of a linear warm-up from 0 to the learning rate, which is constant afterwards."""


class Cosine(Scheduled):
    over: Duration | None = None
    """Length of the decay, after the warm-up; if unset, until the end of training."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Final learning rate, as a fraction of the initial one."""


class CosineRestarts(Scheduled):
    first: Duration
    """Length of the first cycle."""
    factor: Annotated[float, Field(ge=1)] = 2.0
    """Each cycle is this many times as long as the previous one."""
    peak_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each cycle starts at this fraction of the previous cycle's start."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate at the end of a cycle, as a fraction of the initial one."""


class Exponential(Scheduled):
    every: Duration
    """Interval after which the learning rate is multiplied by `factor`."""
    factor: Annotated[float, Field(gt=0, le=1)]
    """Decay factor of the learning rate per interval."""
    staircase: bool = False
    """Decay in discrete steps rather than continuously."""


class InverseTime(Scheduled):
    every: Duration
    """Unit of the time t in learning_rate / (1 + rate · t)."""
    rate: Annotated[float, Field(gt=0)]
    """Decay rate."""
    staircase: bool = False
    """Decay in discrete steps rather than continuously."""


class Polynomial(Scheduled):
    over: Duration | None = None
    """Length of the decay, after the warm-up; if unset, until the end of training."""
    power: Annotated[float, Field(gt=0)] = 1.0
    """Power of the polynomial; 1 is a straight line."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Final learning rate, as a fraction of the initial one."""


class Piecewise(Scheduled):
    at: Annotated[list[Duration], Field(min_length=1)]
    """Points in training, in increasing order, at which the learning rate changes."""
    factors: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    """Factors of the initial learning rate, one for each point in `at`."""


class InverseSquareRoot(Scheduled):
    warmup: Duration
    """Length of the linear warm-up, and the unit of the decay after it."""


class WarmupSchedule(Section):
    constant: Annotated[
        Warmup, BeforeValidator(shorthand_for("warmup"), json_schema_input_type=Warmup | Duration)
    ]
    """Constant after a warm-up."""


class CosineSchedule(Section):
    cosine: Annotated[
        Cosine,
        BeforeValidator(shorthand_for("over"), json_schema_input_type=Cosine | Duration | None),
    ]
    """Cosine decay to `final`."""


class CosineRestartsSchedule(Section):
    cosine_restarts: CosineRestarts
    """Cosine decay with warm restarts."""


class ExponentialSchedule(Section):
    exponential: Exponential
    """Exponential decay."""


class InverseTimeSchedule(Section):
    inverse_time: InverseTime
    """Inverse time decay."""


class PolynomialSchedule(Section):
    polynomial: Annotated[
        Polynomial,
        BeforeValidator(shorthand_for("over"), json_schema_input_type=Polynomial | Duration | None),
    ]
    """Polynomial decay."""


class PiecewiseSchedule(Section):
    piecewise: Piecewise
    """Piecewise constant learning rate."""


class InverseSquareRootSchedule(Section):
    inverse_square_root: Annotated[
        InverseSquareRoot,
        BeforeValidator(
            shorthand_for("warmup"), json_schema_input_type=InverseSquareRoot | Duration
        ),
    ]
    """Decay with the square root of the number of steps (Vaswani et al., 2017, "Noam")."""


AnySchedule = (
    Annotated[WarmupSchedule, Tag("constant")]
    | Annotated[CosineSchedule, Tag("cosine")]
    | Annotated[CosineRestartsSchedule, Tag("cosine_restarts")]
    | Annotated[ExponentialSchedule, Tag("exponential")]
    | Annotated[InverseTimeSchedule, Tag("inverse_time")]
    | Annotated[PolynomialSchedule, Tag("polynomial")]
    | Annotated[PiecewiseSchedule, Tag("piecewise")]
    | Annotated[InverseSquareRootSchedule, Tag("inverse_square_root")]
)
Schedule = Annotated[
    AnySchedule,
    Discriminator(single_key),
    BeforeValidator(
        name_to_mapping, json_schema_input_type=AnySchedule | Literal["cosine", "polynomial"]
    ),
]
