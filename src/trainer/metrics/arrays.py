"""Types of the NumPy arrays that this package passes around, and the size of blocks of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.integer[Any]]
Int64Array = NDArray[np.int64]

BLOCK_ROWS = 1 << 18
"""Rows whose intermediate results are in memory together."""
