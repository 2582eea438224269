"""Types of the numpy arrays that this package passes around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
RowIndex = NDArray[np.int64]
Assignment = NDArray[np.int8]
UInt64Array = NDArray[np.uint64]
