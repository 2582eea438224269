"""Named inputs of a network: name, shape and dtype of each, and the arrays that hold their values.

An encoded table has the input `features`, float32 (columns,), and, for columns with embeddings, the
input `categories`, int32 (columns,). Texts are the input `terms`, float32 (slots, 2): ids of a table of
learned vectors, and the weights with which the network adds these vectors; or the input `tokens`, int32
(length,): ids of a sequence of learned vectors. Images are the input `image`, uint8 (height, width,
channels), which the network scales first (`ImageScaling`). Nothing between the preprocessing and the
network depends on the number, rank or dtype of the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

FEATURES, CATEGORIES, IMAGE, TERMS = "features", "categories", "image", "terms"
TOKENS = "tokens"
LATENT, CONDITION = "latent", "condition"
"""The inputs of a generator: normal random numbers, and a one-hot class if it is given one."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of a network.

    Attributes:
        name: Its name in the network.
        shape: Shape of one sample.
        dtype: Type of its values, the same in memory, on disk and on the device.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "int32", "uint8"]

    @property
    def row_bytes(self) -> int:
        """Bytes of one sample."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class ImageScaling:
    """How a network scales the values of an image, 0 to 255: value · factor + offset.

    Attributes:
        factors: One number, or one for each channel.
        offsets: One number, or one for each channel.
    """

    factors: tuple[float, ...]
    offsets: tuple[float, ...]


UNIT_SCALING = ImageScaling((1 / 255,), (0.0,))
"""Scales to 0 to 1."""


class InputArray(Protocol):
    """The values of an input, (n, *shape): a numpy array, in memory or memory-mapped, or an object that
    produces the rows that it is indexed with.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any, /) -> NDArray[Any]: ...


Inputs = Mapping[str, InputArray]
"""Name → values of each input of the same samples."""


def count_rows(inputs: Inputs) -> int:
    """Return the number of samples."""
    return len(next(iter(inputs.values())))


def keras_inputs(values: Mapping[str, Value]) -> Value | dict[str, Value]:
    """Return what a network is called with: the value of its only input, or a dict by name."""
    return next(iter(values.values())) if len(values) == 1 else dict(values)
