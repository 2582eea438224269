"""Zero rows in the kernel of a first dense layer, for features that a network does not have.

A feature that is always 0 and the zeros that multiply it contribute nothing to outputs, norms and
penalties, and every optimizer leaves these weights 0: networks with different numbers of features can
be stacked. Features come first among the rows of a kernel, the vectors of categories after them. The
weights of a learned scale before the kernel are padded in the same way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pad_kernel(kernel: NDArray[Any], rows: int, embedded: int) -> NDArray[Any]:
    """Insert zero rows after those of the features.

    Args:
        kernel: (features + embedded, units), or the (features + embedded,) weights of a learned scale.
        rows: Number of rows to return.
        embedded: Number of rows of category vectors.
    """
    features = len(kernel) - embedded
    zeros = np.zeros((rows - len(kernel), *kernel.shape[1:]), kernel.dtype)
    return np.concatenate([kernel[:features], zeros, kernel[features:]])


def crop_kernel(kernel: NDArray[Any], rows: int, embedded: int) -> NDArray[Any]:
    """Remove the rows that `pad_kernel` inserted into a kernel of `rows` rows."""
    return np.concatenate([kernel[: rows - embedded], kernel[len(kernel) - embedded :]])
