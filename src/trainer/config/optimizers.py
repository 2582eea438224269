"""The `optimizer` section: Keras optimizers with schedules, clipping and weight averaging."""

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
    """Factor of the initial learning rate from each of these points on."""


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
    """An exponential moving average of the weights, used for validation, test and the best
    checkpoint.
    """

    momentum: Momentum = 0.99
    """Weight of the previous average at each step."""
    overwrite_every: Duration | None = None
    """How often to overwrite the weights with the average; if unset, only at the end of training."""


class OptimizerSettings(Section):
    """Settings of all optimizers."""

    learning_rate: Rate = 1e-3
    """Learning rate; with a schedule, the initial one."""
    schedule: Schedule | None = None
    """Learning rate schedule; if unset, the learning rate is constant."""
    clip_norm: Rate | None = None
    """Maximum norm of each variable's gradient."""
    global_clip_norm: Rate | None = None
    """Maximum global norm of all gradients."""
    clip_value: Rate | None = None
    """Gradients are clipped to [-clip_value, clip_value]."""
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
    """Number of batches whose gradients are averaged into one update."""


class Sgd(OptimizerSettings):
    name: Literal["sgd"]
    learning_rate: Rate = 1e-2
    """Learning rate; with a schedule, the initial one."""
    momentum: Beta = 0.0
    """Momentum."""
    nesterov: bool = False
    """Nesterov momentum."""


class RmsProp(OptimizerSettings):
    name: Literal["rmsprop"]
    rho: Beta = 0.9
    """Decay rate of the second moment of the gradients."""
    momentum: Beta = 0.0
    """Momentum."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator for numerical stability."""
    centered: bool = False
    """Normalize by the variance of the gradients rather than their second moment."""


class AdamSettings(OptimizerSettings):
    beta_1: Beta = 0.9
    """Decay rate of the first moment of the gradients."""
    beta_2: Beta = 0.999
    """Decay rate of the second moment of the gradients."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator for numerical stability."""


class Adam(AdamSettings):
    name: Literal["adam"]
    amsgrad: bool = False
    """Use the AMSGrad variant: normalize by the maximum of past second moments."""


class AdamW(AdamSettings):
    name: Literal["adamw"]
    amsgrad: bool = False
    """Use the AMSGrad variant: normalize by the maximum of past second moments."""
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
    """Interpolation factor towards the averaged weights of the point where gradients are computed."""
    learning_rate: Rate = 2.5e-3
    """Learning rate."""
    epsilon: Epsilon = 1e-8
    """Added to the denominator for numerical stability."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Number of steps of the linear warm-up from 0."""


class Adadelta(OptimizerSettings):
    name: Literal["adadelta"]
    rho: Beta = 0.95
    """Decay rate of the second moment of the gradients."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator for numerical stability."""


class Adagrad(OptimizerSettings):
    name: Literal["adagrad"]
    initial_accumulator: NonNegative = 0.1
    """Initial value of the sum of squared gradients."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator for numerical stability."""


class Adafactor(OptimizerSettings):
    name: Literal["adafactor"]
    beta_2_decay: Annotated[float, Field(lt=0)] = -0.8
    """Exponent of the decay rate of the second moment."""
    epsilon_1: Epsilon = 1e-30
    """Added to squared gradients for numerical stability."""
    epsilon_2: Epsilon = 1e-3
    """Lower bound of a variable's scale."""
    clip_threshold: Rate = 1.0
    """Upper bound of the root mean square of an update."""


class Ftrl(OptimizerSettings):
    name: Literal["ftrl"]
    learning_rate_power: Annotated[float, Field(le=0)] = -0.5
    """Power by which the learning rate falls with the sum of squared gradients."""
    initial_accumulator: NonNegative = 0.1
    """Initial value of the sum of squared gradients."""
    l1: NonNegative = 0.0
    """Factor of the L1 penalty."""
    l2: NonNegative = 0.0
    """Factor of the L2 penalty."""
    l2_shrinkage: NonNegative = 0.0
    """Factor of the L2 shrinkage penalty."""
    beta: NonNegative = 0.0
    """β of the FTRL paper."""


class Lion(OptimizerSettings):
    name: Literal["lion"]
    beta_1: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Weight of the momentum in the update."""
    beta_2: Beta = 0.99
    """Decay rate of the first moment of the gradients."""


class Muon(OptimizerSettings):
    name: Literal["muon"]
    momentum: Beta = 0.95
    """Momentum of the updates of matrices."""
    nesterov: bool = True
    """Nesterov momentum."""
    iterations: Annotated[int, Field(ge=1, le=20)] = 5
    """Number of Newton-Schulz iterations that orthogonalize an update."""
    adam_beta_1: Beta = 0.9
    """beta_1 of Adam, which updates all other variables."""
    adam_beta_2: Beta = 0.999
    """beta_2 of Adam, which updates all other variables."""
    adam_weight_decay: NonNegative = 4e-3
    """Weight decay of the variables that Adam updates."""
    epsilon: Epsilon = 1e-7
    """Added to denominators for numerical stability."""


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
    """Expand a bare name; the default name is adam."""
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
