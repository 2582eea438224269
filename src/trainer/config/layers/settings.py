"""Types of the settings of layers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Activation = Literal[
    "celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax",
    "softplus", "softsign", "swish", "tanh",
]  # fmt: skip
Fraction = Annotated[float, Field(ge=0, lt=1)]
Size = Annotated[int, Field(ge=1, le=1_000_000)]
Extent = Annotated[int, Field(ge=1, le=10_000)]
Extents = Extent | Annotated[list[Extent], Field(min_length=2, max_length=2)]
"""A size along the height and the width of an image: one for both, or [height, width]."""
Padding = Literal["valid", "same"]
