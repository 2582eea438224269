"""Initializers, regularizers and constraints of the weights of a layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from trainer.config.conflict import Conflict, conflict
from trainer.config.sections import Section, single_key

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]

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


def initializer_conflicts(initializer: Initializer, key: str) -> Iterator[Conflict]:
    """Yield conflicts between the settings of an initializer."""
    match initializer:
        case RandomUniform(random_uniform=bounds) if bounds.low >= bounds.high:
            found = f"{bounds.low:g} and {bounds.high:g}"
            expected = "a lower bound below the upper bound"
            yield conflict(f"{key}.random_uniform", expected, found, "change one of the two")
        case _:
            pass


def constraint_conflicts(constraint: Constraint | None, key: str) -> Iterator[Conflict]:
    """Yield conflicts between the settings of a constraint."""
    match constraint:
        case MinMaxNorm(min_max_norm=[low, high]) if low > high:
            expected = "the smaller norm first"
            fix = f"write [{high:g}, {low:g}]"
            yield conflict(f"{key}.min_max_norm", expected, f"[{low:g}, {high:g}]", fix)
        case _:
            pass


def needs_matrix(initializer: Initializer) -> bool:
    """Return whether an initializer is defined only for variables of at least two axes."""
    return isinstance(initializer, Orthogonal) or initializer in ("identity", "orthogonal")
