"""The numpy array types that pass between the modules of this room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]
Rows = NDArray[np.int64]
Assignment = NDArray[np.int8]
Words = NDArray[np.uint64]
