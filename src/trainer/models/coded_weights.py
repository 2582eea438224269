"""Weights in fewer bytes, without loss: few distinct values, or integers times a scale.

    kernel (float32) ─ code ─► {codes: uint8, values: float32}  or  {codes: int8, scale: float32}

Compressed weights (`trainer.engine.compression`) have one of these forms, which is found from the values
alone. Codes of pruned weights are mostly equal, which `deflate` makes use of. Does not import Keras.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_MOST_VALUES = 256
_LARGEST_CODE = 127
_ULPS = 2
"""The scale is that of the largest weight up to the rounding of two divisions and a product."""


def code(values: Array) -> dict[str, Array] | None:
    """Return the parts of a coded weight; None if it has no such form, or would not be smaller.

    Args:
        values: float32, of any shape.
    """
    if values.dtype != np.float32 or values.ndim < 2 or not np.isfinite(values).all():
        return None
    distinct, codes = np.unique(values, return_inverse=True)
    if len(distinct) <= min(_MOST_VALUES, values.size // 8):
        return {"codes": codes.reshape(values.shape).astype(np.uint8), "values": distinct}
    scale = _scale(values)
    if scale is None:
        return None
    divisor = np.where(scale > 0, scale, np.float32(1))
    return {"codes": np.rint(values / divisor).astype(np.int8), "scale": scale}


def decode(parts: dict[str, Array]) -> Array:
    """Return the float32 values of a coded weight."""
    if "values" in parts:
        return parts["values"][parts["codes"]]
    return parts["codes"] * parts["scale"]


def stored_bytes(weights: Iterable[Array]) -> int:
    """Return the bytes of weights that are coded where possible, and compressed by deflate."""
    size = 0
    for values in weights:
        parts = code(values)
        for array in [values] if parts is None else parts.values():
            size += len(zlib.compress(np.ascontiguousarray(array).tobytes(), 9))
    return size


def _scale(values: Array) -> Array | None:
    """Return the scale of each index of the last axis of which all values are multiples, or None."""
    flat = values.reshape(-1, values.shape[-1])
    base = np.abs(flat).max(axis=0) / np.float32(_LARGEST_CODE)
    scale = np.full_like(base, np.nan)
    for steps in sorted(range(-_ULPS, _ULPS + 1), key=abs):
        candidate = base
        for _ in range(abs(steps)):
            candidate = np.nextafter(candidate, np.float32(np.copysign(np.inf, steps)))
        candidate = np.where(base > 0, candidate, np.float32(0))
        multiples = np.rint(flat / np.where(candidate > 0, candidate, np.float32(1))) * candidate
        fits = np.isnan(scale) & (multiples == flat).all(axis=0)
        scale[fits] = candidate[fits]
    return None if np.isnan(scale).any() else scale
