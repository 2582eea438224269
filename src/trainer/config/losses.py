"""The `loss` section, and the losses: their settings, heads and targets, and the Keras loss of each.

To add a loss, add its name to `LossName` and its definition to `LOSSES`. `trainer.models.losses` builds
them, for one network and for a pack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from trainer.config.model import HeadKind
from trainer.config.sections import Section

LossName = Literal[
    "auto",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "kl_divergence",
    "poisson",
    "mean_squared_error",
    "half_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
    "quantile",
    "mean_with_quantiles",
]
LossSetting = Literal["label_smoothing", "gamma", "alpha", "delta", "quantiles"]


class Loss(Section):
    """The loss that training minimizes."""

    name: LossName = "auto"
    """auto: the cross-entropy of the head, or the mean squared error for regression. poisson, for
    counts: prediction - target · log(prediction). quantile: the pinball loss. mean_with_quantiles: the
    squared error of the prediction, plus the pinball losses of quantiles for prediction intervals that
    adapt to the row."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """How far the targets of a cross-entropy are moved toward the uniform distribution."""
    gamma: Annotated[float, Field(ge=0)] = 2.0
    """Focal losses: how much easy examples are down-weighted."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Focal losses: weight of the positive class."""
    delta: Annotated[float, Field(gt=0)] = 1.0
    """huber: error at which it changes from squared to linear."""
    quantiles: Annotated[
        list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1, max_length=99)
    ] = [0.05, 0.5, 0.95]
    """quantile, mean_with_quantiles: the quantiles that are predicted, increasing, each by its own
    output. Prediction intervals are based on the first and the last. With quantile, the one closest to
    0.5 is the prediction."""

    @property
    def kind(self) -> LossKind:
        """The definition of the loss."""
        return LOSSES[self.name]

    @property
    def predicted_quantiles(self) -> tuple[float, ...]:
        """The quantiles, if each has its own output; empty if there is one output per target."""
        has_outputs = self.name == "quantile" and len(self.quantiles) > 1
        return tuple(self.quantiles) if has_outputs or self.kind.has_mean else ()

    @property
    def outputs_per_target(self) -> int:
        """The number of outputs for each target column: the mean, if any, then the quantiles."""
        return max(1, self.kind.has_mean + len(self.predicted_quantiles))

    def keras_arguments(self) -> dict[str, Any]:
        """Return the arguments of the Keras loss."""
        arguments: dict[str, Any] = dict(self.kind.constants)
        arguments.update((name, getattr(self, name)) for name in self.kind.settings)
        return arguments


def center_quantile(quantiles: Sequence[float]) -> int:
    """Return the index of the quantile closest to 0.5, which is the prediction."""
    return min(range(len(quantiles)), key=lambda index: abs(quantiles[index] - 0.5))


def _expand_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


NamedLoss = Annotated[Loss, BeforeValidator(_expand_name, json_schema_input_type=Loss | LossName)]

_ANY_HEAD: tuple[HeadKind, ...] = ("sigmoid", "softmax", "linear", "softplus", "exponential")
_NEVER_NEGATIVE: tuple[HeadKind, ...] = ("sigmoid", "softmax", "softplus", "exponential")


@dataclass(frozen=True, slots=True)
class LossKind:
    """A loss.

    Attributes:
        keras_loss: Name of the class in `keras.losses` or `trainer.models.losses`; empty for `auto`.
        heads: The heads that it can be used with.
        settings: Settings of the `loss` section that are arguments of the Keras loss.
        constants: Further arguments of the Keras loss.
        targets: Which targets it is defined for. If not for all, it is meaningful only for an unscaled
            target.
        is_robust: Whether its gradient is bounded, so that outliers have little effect.
        has_mean: Whether the first output of a target is its mean, and quantiles follow.
        is_binary: Whether each output is a separate binary target, which label smoothing moves toward
            1/2. Otherwise it moves targets toward 1/outputs.
        aliases: Names in other tools, separated by spaces.
    """

    keras_loss: str
    heads: tuple[HeadKind, ...] = _ANY_HEAD
    settings: tuple[LossSetting, ...] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)
    targets: Literal["any", "not negative", "not zero"] = "any"
    is_robust: bool = False
    has_mean: bool = False
    is_binary: bool = False
    aliases: str = ""

    @property
    def is_for_counts(self) -> bool:
        """Whether it takes the logarithm of targets and predictions, so these must not be negative."""
        return self.targets == "not negative"

    @property
    def needs_unscaled_target(self) -> bool:
        """Whether it is meaningful only for an unscaled target."""
        return self.targets != "any"


LOSSES: dict[LossName, LossKind] = {
    "auto": LossKind("", settings=("label_smoothing",)),
    "binary_crossentropy": LossKind(
        "BinaryCrossentropy",
        ("sigmoid",),
        ("label_smoothing",),
        is_binary=True,
        aliases="bce bce_with_logits log_loss logloss crossentropy cross_entropy",
    ),
    "binary_focal_crossentropy": LossKind(
        "BinaryFocalCrossentropy",
        ("sigmoid",),
        ("label_smoothing", "gamma", "alpha"),
        # Without this, Keras ignores alpha.
        {"apply_class_balancing": True},
        is_binary=True,
        aliases="focal focal_loss",
    ),
    "categorical_crossentropy": LossKind(
        "CategoricalCrossentropy",
        ("softmax",),
        ("label_smoothing",),
        aliases=(
            "crossentropy cross_entropy ce sparse_categorical_crossentropy softmax_cross_entropy nll"
        ),
    ),
    "categorical_focal_crossentropy": LossKind(
        "CategoricalFocalCrossentropy", ("softmax",), ("label_smoothing", "gamma", "alpha")
    ),
    "kl_divergence": LossKind("KLDivergence", ("softmax",), aliases="kl kld"),
    # The logarithm of a negative prediction is nan, or is clipped so that its gradient is 0.
    "poisson": LossKind("Poisson", _NEVER_NEGATIVE, targets="not negative"),
    "mean_squared_error": LossKind("MeanSquaredError", aliases="mse l2 squared_error rmse"),
    "half_squared_error": LossKind("HalfSquaredError"),
    "mean_absolute_error": LossKind("MeanAbsoluteError", is_robust=True, aliases="mae l1"),
    "mean_absolute_percentage_error": LossKind(
        "MeanAbsolutePercentageError",
        ("linear", "softplus", "exponential"),
        targets="not zero",
        aliases="mape",
    ),
    "mean_squared_logarithmic_error": LossKind(
        "MeanSquaredLogarithmicError", _NEVER_NEGATIVE, targets="not negative", aliases="msle"
    ),
    "huber": LossKind("Huber", settings=("delta",), is_robust=True),
    "log_cosh": LossKind("LogCosh", is_robust=True),
    "quantile": LossKind(
        "QuantileLoss",
        ("linear", "softplus", "exponential"),
        ("quantiles",),
        is_robust=True,
        aliases="pinball pinball_loss quantile_loss quantile_regression",
    ),
    "mean_with_quantiles": LossKind(
        "MeanWithQuantilesLoss",
        ("linear", "softplus", "exponential"),
        ("quantiles",),
        has_mean=True,
        aliases="mean_and_quantiles",
    ),
}
"""All losses; `auto` has what is known before the head is chosen."""

DEFAULT_LOSS: dict[HeadKind, LossName] = {
    "sigmoid": "binary_crossentropy",
    "softmax": "categorical_crossentropy",
    "linear": "mean_squared_error",
    "softplus": "mean_squared_error",
    "exponential": "mean_squared_error",
}
"""Head → the loss of `auto`."""
