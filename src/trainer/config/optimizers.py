"""The `optimizer` section: Keras optimizers with clipping and weight averaging."""

from __future__ import annotations

from math import ceil, prod
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from trainer.config.schedules import Schedule
from trainer.config.sections import Duration, Section, shorthand_for

Rate = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0)]
Momentum = Annotated[float, Field(gt=0, lt=1)]


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

    keras_optimizer: ClassVar[str]
    """Name of the class in `keras.optimizers`."""
    keras_names: ClassVar[dict[str, str]] = {}
    """Settings whose argument of the Keras optimizer has another name."""
    stackable: ClassVar[bool] = True
    """Whether networks with the optimizer are trained in packs: its update is elementwise, and it has no
    state shared by all variables."""

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

    def keras_arguments(self) -> dict[str, Any]:
        """Return the arguments specific to this Keras optimizer."""
        fields = type(self).model_fields.keys() - OptimizerSettings.model_fields.keys() - {"name"}
        return {self.keras_names.get(name, name): getattr(self, name) for name in fields}

    def updates(self, batches: int) -> int:
        """Return the number of updates in `batches` batches: Keras counts some settings in updates."""
        return ceil(batches / (self.gradient_accumulation_steps or 1))

    def slots(self, shape: tuple[int, ...], *, embedded: bool) -> int:
        """Return the number of elements that the optimizer itself stores for a variable.

        Args:
            shape: Shape of the variable.
            embedded: Whether it is an embedding table.
        """
        return 2 * prod(shape)


class Sgd(OptimizerSettings):
    keras_optimizer: ClassVar[str] = "SGD"

    name: Literal["sgd"]
    learning_rate: Rate = 1e-2
    """Learning rate; with a schedule, the initial one."""
    momentum: Beta = 0.0
    """Momentum."""
    nesterov: bool = False
    """Nesterov momentum."""

    def slots(self, shape: tuple[int, ...], *, embedded: bool) -> int:
        return prod(shape) * (self.momentum > 0)


class RmsProp(OptimizerSettings):
    keras_optimizer: ClassVar[str] = "RMSprop"

    name: Literal["rmsprop"]
    rho: Beta = 0.9
    """Decay rate of the second moment of the gradients."""
    momentum: Beta = 0.0
    """Momentum."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator for numerical stability."""
    centered: bool = False
    """Normalize by the variance of the gradients rather than their second moment."""

    def slots(self, shape: tuple[int, ...], *, embedded: bool) -> int:
        return prod(shape) * (1 + (self.momentum > 0) + self.centered)


class AdamSettings(OptimizerSettings):
    beta_1: Beta = 0.9
    """Decay rate of the first moment of the gradients."""
    beta_2: Beta = 0.999
    """Decay rate of the second moment of the gradients."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator for numerical stability."""


class Adam(AdamSettings):
    keras_optimizer: ClassVar[str] = "Adam"

    name: Literal["adam"]
    amsgrad: bool = False
    """Use the AMSGrad variant: normalize by the maximum of past second moments."""

    def slots(self, shape: tuple[int, ...], *, embedded: bool) -> int:
        return prod(shape) * (2 + self.amsgrad)


class AdamW(AdamSettings):
    keras_optimizer: ClassVar[str] = "AdamW"

    name: Literal["adamw"]
    amsgrad: bool = False
    """Use the AMSGrad variant: normalize by the maximum of past second moments."""
    weight_decay: NonNegative | None = 4e-3
    """Decoupled weight decay: weights shrink by learning_rate · weight_decay at each step."""

    def slots(self, shape: tuple[int, ...], *, embedded: bool) -> int:
        return prod(shape) * (2 + self.amsgrad)


class Adamax(AdamSettings):
    keras_optimizer: ClassVar[str] = "Adamax"

    name: Literal["adamax"]


class Nadam(AdamSettings):
    keras_optimizer: ClassVar[str] = "Nadam"

    name: Literal["nadam"]


class Lamb(AdamSettings):
    keras_optimizer: ClassVar[str] = "Lamb"
    stackable: ClassVar[bool] = False

    name: Literal["lamb"]


class ScheduleFreeAdamW(AdamSettings):
    keras_optimizer: ClassVar[str] = "ScheduleFreeAdamW"
    stackable: ClassVar[bool] = False

    name: Literal["schedule_free_adamw"]
    beta_1: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Interpolation between the weights (0) and their average (1), at which gradients are computed."""
    learning_rate: Rate = 2.5e-3
    """Learning rate."""
    epsilon: Epsilon = 1e-8
    """Added to the denominator for numerical stability."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Number of steps of the linear warm-up from 0."""

    def keras_arguments(self) -> dict[str, Any]:
        return {**super().keras_arguments(), "warmup_steps": self.updates(self.warmup_steps)}


class Adadelta(OptimizerSettings):
    keras_optimizer: ClassVar[str] = "Adadelta"

    name: Literal["adadelta"]
    rho: Beta = 0.95
    """Decay rate of the second moment of the gradients."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator for numerical stability."""


class Adagrad(OptimizerSettings):
    keras_optimizer: ClassVar[str] = "Adagrad"
    keras_names: ClassVar[dict[str, str]] = {"initial_accumulator": "initial_accumulator_value"}

    name: Literal["adagrad"]
    initial_accumulator: NonNegative = 0.1
    """Initial value of the sum of squared gradients."""
    epsilon: Epsilon = 1e-7
    """Added to the denominator for numerical stability."""

    def slots(self, shape: tuple[int, ...], *, embedded: bool) -> int:
        return prod(shape)


class Adafactor(OptimizerSettings):
    keras_optimizer: ClassVar[str] = "Adafactor"
    stackable: ClassVar[bool] = False

    name: Literal["adafactor"]
    beta_2_decay: Annotated[float, Field(lt=0)] = -0.8
    """Exponent of the decay rate of the second moment."""
    epsilon_1: Epsilon = 1e-30
    """Added to squared gradients for numerical stability."""
    epsilon_2: Epsilon = 1e-3
    """Lower bound of a variable's scale."""
    clip_threshold: Rate = 1.0
    """Upper bound of the root mean square of an update."""

    def slots(self, shape: tuple[int, ...], *, embedded: bool) -> int:
        # Row and column means of matrices, and the outer product of both.
        factors = prod(shape[:-1]) + prod(shape[:-2]) * shape[-1] if len(shape) > 1 else 0
        return prod(shape) + factors


class Ftrl(OptimizerSettings):
    keras_optimizer: ClassVar[str] = "Ftrl"
    keras_names: ClassVar[dict[str, str]] = {
        "initial_accumulator": "initial_accumulator_value",
        "l1": "l1_regularization_strength",
        "l2": "l2_regularization_strength",
        "l2_shrinkage": "l2_shrinkage_regularization_strength",
    }

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
    keras_optimizer: ClassVar[str] = "Lion"

    name: Literal["lion"]
    beta_1: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Weight of the momentum in the update."""
    beta_2: Beta = 0.99
    """Decay rate of the first moment of the gradients."""

    def slots(self, shape: tuple[int, ...], *, embedded: bool) -> int:
        return prod(shape)


class Muon(OptimizerSettings):
    keras_optimizer: ClassVar[str] = "Muon"
    keras_names: ClassVar[dict[str, str]] = {"iterations": "ns_steps"}
    stackable: ClassVar[bool] = False

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

    def slots(self, shape: tuple[int, ...], *, embedded: bool) -> int:
        # Only matrices are orthogonalized; Adam updates all other variables and embedding tables.
        return prod(shape) * (1 if len(shape) == 2 and not embedded else 2)


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


def _expand_name(value: Any) -> Any:
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
    BeforeValidator(_expand_name, json_schema_input_type=AnyOptimizer | OptimizerName),
]
