"""The `optimizer` section: Keras's optimizers, their settings, schedules, clipping, averages."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from trainer.config.sections import Duration, Section, name_to_mapping, shorthand_for, single_key

Rate = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0)]
Momentum = Annotated[float, Field(gt=0, lt=1)]


class Scheduled(Section):
    """What every schedule has: an optional warm-up from 0 to the learning rate."""

    warmup: Duration | None = None
    """Linear rise from 0 to the learning rate over this long; the schedule starts after it."""


class Warmup(Scheduled):
    warmup: Duration
    """Linear rise from 0 to the learning rate over this long; constant afterwards."""


class Cosine(Scheduled):
    over: Duration | None = None
    """Length of the decay, after the warm-up; unset, to the end of training."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the learning rate that is left at the end."""


class CosineRestarts(Scheduled):
    first: Duration
    """Length of the first cycle."""
    factor: Annotated[float, Field(ge=1)] = 2.0
    """Each cycle is this many times as long as the one before."""
    peak_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each cycle starts at this share of the one before."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the learning rate that is left at the end of a cycle."""


class Exponential(Scheduled):
    every: Duration
    """After this long the learning rate is multiplied by `factor`."""
    factor: Annotated[float, Field(gt=0, le=1)]
    """What it is multiplied by."""
    staircase: bool = False
    """Jump every `every`, rather than fall smoothly."""


class InverseTime(Scheduled):
    every: Duration
    """The unit of time t in learning_rate / (1 + rate · t)."""
    rate: Annotated[float, Field(gt=0)]
    """The rate of the decay."""
    staircase: bool = False
    """Jump every `every`, rather than fall smoothly."""


class Polynomial(Scheduled):
    over: Duration | None = None
    """Length of the decay, after the warm-up; unset, to the end of training."""
    power: Annotated[float, Field(gt=0)] = 1.0
    """Power of the polynomial; 1 is a straight line."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the learning rate that is left at the end."""


class Piecewise(Scheduled):
    at: Annotated[list[Duration], Field(min_length=1)]
    """Moments, in rising order from the start of training, at which the learning rate changes."""
    factors: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    """The factor of the learning rate from each moment on."""


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
    """Half a cosine down to `final`."""


class CosineRestartsSchedule(Section):
    cosine_restarts: CosineRestarts
    """Cosines, one after the other."""


class ExponentialSchedule(Section):
    exponential: Exponential
    """Exponential decay."""


class InverseTimeSchedule(Section):
    inverse_time: InverseTime
    """Decay with the inverse of time."""


class PolynomialSchedule(Section):
    polynomial: Annotated[
        Polynomial,
        BeforeValidator(shorthand_for("over"), json_schema_input_type=Polynomial | Duration | None),
    ]
    """Polynomial decay."""


class PiecewiseSchedule(Section):
    piecewise: Piecewise
    """Another learning rate from each moment on."""


AnySchedule = (
    Annotated[WarmupSchedule, Tag("constant")]
    | Annotated[CosineSchedule, Tag("cosine")]
    | Annotated[CosineRestartsSchedule, Tag("cosine_restarts")]
    | Annotated[ExponentialSchedule, Tag("exponential")]
    | Annotated[InverseTimeSchedule, Tag("inverse_time")]
    | Annotated[PolynomialSchedule, Tag("polynomial")]
    | Annotated[PiecewiseSchedule, Tag("piecewise")]
)
Schedule = Annotated[
    AnySchedule,
    Discriminator(single_key),
    BeforeValidator(
        name_to_mapping, json_schema_input_type=AnySchedule | Literal["cosine", "polynomial"]
    ),
]


class Average(Section):
    """An exponential moving average of the weights, used for validation, test and the best one."""

    momentum: Momentum = 0.99
    """Share of the old average kept at each step."""
    overwrite_every: Duration | None = None
    """Put the average in place of the weights this often; unset, only at the end of training."""


class OptimizerSettings(Section):
    """What every optimizer has."""

    learning_rate: Rate = 1e-3
    """The learning rate; with a schedule, the one it starts from."""
    schedule: Schedule | None = None
    """How the learning rate changes over training; unset, it does not."""
    clip_norm: Rate | None = None
    """Each variable's gradient has at most this norm."""
    global_clip_norm: Rate | None = None
    """All gradients together have at most this norm."""
    clip_value: Rate | None = None
    """Each gradient lies in [-clip_value, clip_value]."""
    weight_decay: NonNegative | None = None
    """Decoupled weight decay: weights shrink by learning_rate · weight_decay at each step."""
    ema: (
        Annotated[
            Average,
            BeforeValidator(shorthand_for("momentum"), json_schema_input_type=Average | Momentum),
        ]
        | None
    ) = None
    """Moving average of the weights."""
    gradient_accumulation_steps: Annotated[int, Field(ge=2)] | None = None
    """Gradients of this many batches are averaged into one step."""


class Sgd(OptimizerSettings):
    name: Literal["sgd"]
    learning_rate: Rate = 1e-2
    """The learning rate; with a schedule, the one it starts from."""
    momentum: Beta = 0.0
    """Momentum."""
    nesterov: bool = False
    """Nesterov momentum."""


class RmsProp(OptimizerSettings):
    name: Literal["rmsprop"]
    rho: Beta = 0.9
    """Decay of the mean of squares."""
    momentum: Beta = 0.0
    """Momentum."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator."""
    centered: bool = False
    """Divide by the variance rather than the mean of squares."""


class AdamSettings(OptimizerSettings):
    beta_1: Beta = 0.9
    """Decay of the mean of gradients."""
    beta_2: Beta = 0.999
    """Decay of the mean of squares."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator."""


class Adam(AdamSettings):
    name: Literal["adam"]
    amsgrad: bool = False
    """Divide by the largest mean of squares so far."""


class AdamW(AdamSettings):
    name: Literal["adamw"]
    amsgrad: bool = False
    """Divide by the largest mean of squares so far."""
    weight_decay: NonNegative | None = 4e-3
    """Decoupled weight decay: weights shrink by learning_rate · weight_decay at each step."""


class Adamax(AdamSettings):
    name: Literal["adamax"]


class Nadam(AdamSettings):
    name: Literal["nadam"]


class Lamb(AdamSettings):
    name: Literal["lamb"]


class ScheduleFreeAdamW(AdamSettings):
    name: Literal["schedule_free_adamw"]
    beta_1: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Weight of the average in the place where the gradient is taken."""
    learning_rate: Rate = 2.5e-3
    """The learning rate."""
    epsilon: Epsilon = 1e-8
    """Added to the denominator."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises from 0."""


class Adadelta(OptimizerSettings):
    name: Literal["adadelta"]
    rho: Beta = 0.95
    """Decay of the mean of squares."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator."""


class Adagrad(OptimizerSettings):
    name: Literal["adagrad"]
    initial_accumulator: NonNegative = 0.1
    """Where the sum of squares starts."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator."""


class Adafactor(OptimizerSettings):
    name: Literal["adafactor"]
    beta_2_decay: Annotated[float, Field(lt=0)] = -0.8
    """Exponent of the decay of the mean of squares."""
    epsilon_1: Epsilon = 1e-30
    """Added to squared gradients."""
    epsilon_2: Epsilon = 1e-3
    """Lower bound of a variable's scale."""
    clip_threshold: Rate = 1.0
    """Bound of an update's root mean square."""


class Ftrl(OptimizerSettings):
    name: Literal["ftrl"]
    learning_rate_power: Annotated[float, Field(le=0)] = -0.5
    """How the learning rate falls with the sum of squares."""
    initial_accumulator: NonNegative = 0.1
    """Where the sum of squares starts."""
    l1: NonNegative = 0.0
    """Factor of the L1 penalty."""
    l2: NonNegative = 0.0
    """Factor of the L2 penalty."""
    l2_shrinkage: NonNegative = 0.0
    """Factor of the L2 penalty on gradients' magnitude."""
    beta: NonNegative = 0.0
    """The β of the FTRL paper."""


class Lion(OptimizerSettings):
    name: Literal["lion"]
    beta_1: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Weight of the past in the update."""
    beta_2: Beta = 0.99
    """Decay of the mean of gradients."""


class Muon(OptimizerSettings):
    name: Literal["muon"]
    momentum: Beta = 0.95
    """Momentum of matrices."""
    nesterov: bool = True
    """Nesterov momentum."""
    iterations: Annotated[int, Field(ge=1, le=20)] = 5
    """Newton-Schulz iterations that make an update orthogonal."""
    adam_beta_1: Beta = 0.9
    """beta_1 of the Adam that updates everything but matrices."""
    adam_beta_2: Beta = 0.999
    """beta_2 of the Adam that updates everything but matrices."""
    adam_weight_decay: NonNegative = 4e-3
    """Weight decay of what that Adam updates."""
    epsilon: Epsilon = 1e-7
    """Added to denominators."""


AnyOptimizer = (
    Annotated[Sgd, Tag("sgd")]
    | Annotated[RmsProp, Tag("rmsprop")]
    | Annotated[Adam, Tag("adam")]
    | Annotated[AdamW, Tag("adamw")]
    | Annotated[Adamax, Tag("adamax")]
    | Annotated[Nadam, Tag("nadam")]
    | Annotated[Lamb, Tag("lamb")]
    | Annotated[ScheduleFreeAdamW, Tag("schedule_free_adamw")]
    | Annotated[Adadelta, Tag("adadelta")]
    | Annotated[Adagrad, Tag("adagrad")]
    | Annotated[Adafactor, Tag("adafactor")]
    | Annotated[Ftrl, Tag("ftrl")]
    | Annotated[Lion, Tag("lion")]
    | Annotated[Muon, Tag("muon")]
)
OptimizerName = Literal[
    "sgd", "rmsprop", "adam", "adamw", "adamax", "nadam", "lamb", "schedule_free_adamw", "adadelta",
    "adagrad", "adafactor", "ftrl", "lion", "muon",
]  # fmt: skip
DEFAULT_OPTIMIZER: Final = "adam"


def _named(value: Any) -> Any:
    """A bare word is the name; without a name it is adam."""
    match value:
        case None:
            return {"name": DEFAULT_OPTIMIZER}
        case str():
            return {"name": value}
        case dict() if "name" not in value:
            return {"name": DEFAULT_OPTIMIZER, **value}
    return value


def _name_of(value: Any) -> Any:
    return value.get("name") if isinstance(value, dict) else getattr(value, "name", None)


Optimizer = Annotated[
    AnyOptimizer,
    Discriminator(_name_of),
    BeforeValidator(_named, json_schema_input_type=AnyOptimizer | OptimizerName),
]
