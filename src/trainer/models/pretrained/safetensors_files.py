"""Arrays in a `.safetensors` file: a JSON header with the place of each array, then their bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.models.pretrained.torch_files import decode_values
from trainer.models.pretrained.weights_error import WeightsError

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bfloat16", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_MAX_HEADER_BYTES = 100_000_000


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by name.

    Raises:
        WeightsError: The file is damaged, or an array has an unknown type.
        OSError: The file cannot be read.
    """
    entries, start = _header(path)
    size = path.stat().st_size
    content = np.memmap(path, np.uint8, "r", offset=start) if size > start else b""
    return {name: _array(entry, content) for name, entry in entries.items()}


def read_safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array of a file by name, from its header.

    Raises:
        WeightsError: The file is damaged, or an array has an unknown type.
        OSError: The file cannot be read.
    """
    entries, _ = _header(path)
    return {name: tuple(entry["shape"]) for name, entry in entries.items()}


def _header(path: Path) -> tuple[dict[str, Mapping[str, Any]], int]:
    """Return the checked entries of the header by name, and where the bytes of the arrays start."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _MAX_HEADER_BYTES):
            raise WeightsError("a file without the header of safetensors")
        header = file.read(length)
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        for name, entry in entries.items():
            _check_entry(name, entry, size - 8 - length)
    except WeightsError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise WeightsError(f"a damaged safetensors file ({reason})") from error
    return entries, 8 + length


def _check_entry(name: str, entry: Any, size: int) -> None:
    """Check that an array of a known type lies within the bytes of a file."""
    dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in _DTYPES:
        raise WeightsError(f"an array '{name}' of type {dtype}")
    numbers = (first, last, *shape)
    if not all(type(number) is int and number >= 0 for number in numbers) or last > size:
        raise WeightsError(f"an array '{name}' beyond the end of the file")
    width = 2 if dtype == "BF16" else np.dtype(_DTYPES[dtype]).itemsize
    if last - first != prod(shape) * width:
        raise WeightsError(f"an array '{name}' of {last - first} bytes for shape {shape}")


def _array(entry: Mapping[str, Any], content: Any) -> NDArray[Any]:
    first, last = entry["data_offsets"]
    return decode_values(bytes(content[first:last]), _DTYPES[entry["dtype"]]).reshape(
        entry["shape"]
    )
