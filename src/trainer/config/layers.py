"""The `model` section: layers with their initializers, regularizers and constraints, and the head.

A layer is a mapping with one key, its type; a bare name or a scalar is a shorthand for it:
`- flatten`, `- dense: 64`, `- dense: {units: 64, activation: relu}`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from trainer.config.sections import (
    Reference,
    Section,
    name_to_mapping,
    null_to_mapping,
    shorthand_for,
    single_key,
)

Activation = Literal[
    "celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax",
    "softplus", "softsign", "swish", "tanh",
]  # fmt: skip
HeadKind = Literal["sigmoid", "softmax", "linear", "softplus", "exponential"]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Size = Annotated[int, Field(ge=1, le=1_000_000)]

InitializerName = Literal[
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "identity", "lecun_normal",
    "lecun_uniform", "ones", "orthogonal", "random_normal", "random_uniform", "truncated_normal",
    "zeros",
]  # fmt: skip


class Normal(Section):
    mean: float = 0.0
    """Mean."""
    stddev: Positive = 0.05
    """Standard deviation."""


class Uniform(Section):
    low: float = -0.05
    """Lower bound."""
    high: float = 0.05
    """Upper bound."""


class VarianceScaling(Section):
    scale: Positive = 1.0
    """Scale factor of the variance."""
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in"
    """What the variance is divided by: inputs, outputs or their mean."""
    distribution: Literal["normal", "truncated_normal", "uniform"] = "truncated_normal"
    """Distribution of the weights."""


class RandomNormal(Section):
    random_normal: Normal
    """Normal distribution."""


class TruncatedNormal(Section):
    truncated_normal: Normal
    """Normal distribution truncated at two standard deviations."""


class RandomUniform(Section):
    random_uniform: Uniform
    """Uniform distribution."""


class Constant(Section):
    constant: float
    """Value of every weight."""


class Orthogonal(Section):
    orthogonal: Positive
    """Orthogonal matrix multiplied by this gain."""


class VarianceScaled(Section):
    variance_scaling: VarianceScaling
    """Variance scaled by the layer's fan."""


Initializer = (
    InitializerName
    | Annotated[
        Annotated[RandomNormal, Tag("random_normal")]
        | Annotated[TruncatedNormal, Tag("truncated_normal")]
        | Annotated[RandomUniform, Tag("random_uniform")]
        | Annotated[Constant, Tag("constant")]
        | Annotated[Orthogonal, Tag("orthogonal")]
        | Annotated[VarianceScaled, Tag("variance_scaling")],
        Discriminator(single_key),
    ]
)


class Regularizer(Section):
    """A penalty added to the loss: l1 · Σ|w| + l2 · Σw²."""

    l1: NonNegative = 0.0
    """Factor of the sum of absolute values."""
    l2: NonNegative = 0.0
    """Factor of the sum of squares."""


class MaxNorm(Section):
    max_norm: Positive
    """Maximum norm of each unit's incoming weights."""


class MinMaxNorm(Section):
    min_max_norm: Annotated[list[NonNegative], Field(min_length=2, max_length=2)]
    """Minimum and maximum norm of each unit's incoming weights."""


Constraint = (
    Literal["non_negative", "unit_norm"]
    | Annotated[
        Annotated[MaxNorm, Tag("max_norm")] | Annotated[MinMaxNorm, Tag("min_max_norm")],
        Discriminator(single_key),
    ]
)


class Dense(Section):
    """activation(x · kernel + bias)."""

    units: Size
    """Number of units, the dimension of the output."""
    activation: Activation = "linear"
    """The activation function."""
    use_bias: bool = True
    """Whether to add a bias."""
    kernel_initializer: Initializer = "glorot_uniform"
    """Initializer of the kernel."""
    bias_initializer: Initializer = "zeros"
    """Initializer of the bias."""
    kernel_regularizer: Regularizer | None = None
    """Penalty on the kernel."""
    bias_regularizer: Regularizer | None = None
    """Penalty on the bias."""
    activity_regularizer: Regularizer | None = None
    """Penalty on the layer's output."""
    kernel_constraint: Constraint | None = None
    """Constraint on the kernel."""
    bias_constraint: Constraint | None = None
    """Constraint on the bias."""


class ActivationSettings(Section):
    name: Activation
    """The activation function."""


class Dropout(Section):
    rate: Fraction
    """Fraction of inputs set to 0 in training; the others are scaled up by 1 / (1 - rate)."""


class GaussianNoise(Section):
    stddev: Annotated[float, Field(ge=0, le=1)]
    """Standard deviation of the noise added in training."""


class BatchNormalization(Section):
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Momentum of the moving mean and variance."""
    epsilon: Positive = 1e-3
    """Added to the variance for numerical stability."""
    center: bool = True
    """Whether to learn an offset (beta)."""
    scale: bool = True
    """Whether to learn a factor (gamma)."""


class LayerNormalization(Section):
    epsilon: Positive = 1e-3
    """Added to the variance for numerical stability."""
    center: bool = True
    """Whether to learn an offset (beta)."""
    scale: bool = True
    """Whether to learn a factor (gamma)."""


class Flatten(Section):
    """Flattens each sample to one axis."""


class Reshape(Section):
    shape: Annotated[list[int], Field(min_length=1, max_length=8)]
    """New shape of a sample; one axis may be -1."""


class Custom(Section):
    function: Reference
    """package.module:function that returns the Keras object; importing it needs --allow-custom."""
    arguments: dict[str, str | int | float | bool | list[str | int | float | bool] | None] = {}
    """Keyword arguments of the function."""
    folder: str | None = None
    """Folder to search for the module before the installed packages, relative to the config file;
    if unset, the folder of the config file."""


class DenseLayer(Section):
    dense: Annotated[
        Dense, BeforeValidator(shorthand_for("units"), json_schema_input_type=Dense | Size)
    ]
    """Fully connected layer."""


class ActivationLayer(Section):
    activation: Annotated[
        ActivationSettings,
        BeforeValidator(
            shorthand_for("name"), json_schema_input_type=ActivationSettings | Activation
        ),
    ]
    """An activation function as a layer."""


class DropoutLayer(Section):
    dropout: Annotated[
        Dropout, BeforeValidator(shorthand_for("rate"), json_schema_input_type=Dropout | Fraction)
    ]
    """Sets inputs to 0 at random in training."""


class GaussianNoiseLayer(Section):
    gaussian_noise: Annotated[
        GaussianNoise,
        BeforeValidator(
            shorthand_for("stddev"),
            json_schema_input_type=GaussianNoise | Annotated[float, Field(ge=0, le=1)],
        ),
    ]
    """Adds noise in training."""


class BatchNormalizationLayer(Section):
    batch_normalization: Annotated[
        BatchNormalization,
        BeforeValidator(
            shorthand_for("momentum"), json_schema_input_type=BatchNormalization | float | None
        ),
    ]
    """Normalizes each input over the batch."""


class LayerNormalizationLayer(Section):
    layer_normalization: Annotated[
        LayerNormalization,
        BeforeValidator(
            shorthand_for("epsilon"), json_schema_input_type=LayerNormalization | float | None
        ),
    ]
    """Normalizes each sample over its inputs."""


class FlattenLayer(Section):
    flatten: Annotated[
        Flatten, BeforeValidator(null_to_mapping, json_schema_input_type=Flatten | None)
    ]
    """Flattens each sample to one axis."""


class ReshapeLayer(Section):
    reshape: Annotated[
        Reshape, BeforeValidator(shorthand_for("shape"), json_schema_input_type=Reshape | list[int])
    ]
    """Reshapes each sample."""


class CustomLayer(Section):
    custom: Annotated[
        Custom, BeforeValidator(shorthand_for("function"), json_schema_input_type=Custom | str)
    ]
    """A custom Keras layer."""


AnyLayer = (
    Annotated[DenseLayer, Tag("dense")]
    | Annotated[ActivationLayer, Tag("activation")]
    | Annotated[DropoutLayer, Tag("dropout")]
    | Annotated[GaussianNoiseLayer, Tag("gaussian_noise")]
    | Annotated[BatchNormalizationLayer, Tag("batch_normalization")]
    | Annotated[LayerNormalizationLayer, Tag("layer_normalization")]
    | Annotated[FlattenLayer, Tag("flatten")]
    | Annotated[ReshapeLayer, Tag("reshape")]
    | Annotated[CustomLayer, Tag("custom")]
)
BareLayer = Literal["batch_normalization", "layer_normalization", "flatten"]
Layer = Annotated[
    AnyLayer,
    Discriminator(single_key),
    BeforeValidator(name_to_mapping, json_schema_input_type=AnyLayer | BareLayer),
]


class Model(Section):
    """The model: hidden layers, then a head that fits the target."""

    layers: list[Layer] = [
        DenseLayer(dense=Dense(units=64, activation="relu")),
        DenseLayer(dense=Dense(units=64, activation="relu")),
    ]
    """Hidden layers in order; [] for a linear model."""
    head: Literal["auto"] | HeadKind = "auto"
    """Activation of the output layer: sigmoid (two classes, yes/no columns, numbers in [0, 1]),
    softmax (classes), linear (numbers), softplus or exponential (numbers above 0, such as counts:
    log(1 + exp(z)) or exp(z)). auto: from the target; exponential for a count loss (`poisson`,
    `mean_squared_logarithmic_error`)."""
    output_bias: Literal["prior", "zeros"] = "prior"
    """Initial bias of the head. prior: the untrained model predicts the class frequencies or the mean of
    the training rows. zeros: 0."""
    head_initializer: Initializer = "glorot_uniform"
    """Initializer of the head's kernel."""
    head_regularizer: Regularizer | None = None
    """Penalty on the head's kernel."""
