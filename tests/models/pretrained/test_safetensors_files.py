from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.models.pretrained.safetensors_files import read_safetensors
from trainer.models.pretrained.weights_error import WeightsError


def write(path: Path, header: Any, content: bytes = b"", length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(
        (len(text) if length is None else length).to_bytes(8, "little") + text + content
    )


def entry(dtype: str, shape: list[int], first: int, last: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


def test_arrays_of_each_type(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    brain = (np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    header = {
        "__metadata__": {"format": "pt"},
        "a": entry("F32", [2, 3], 0, 24),
        "b": entry("BF16", [2], 24, 28),
        "c": entry("I64", [], 28, 36),
    }
    write(path, header, weights.tobytes() + brain.tobytes() + np.int64(7).tobytes())
    arrays = read_safetensors(path)
    np.testing.assert_array_equal(arrays["a"], weights)
    np.testing.assert_array_equal(arrays["b"], [1.5, -2.0])
    assert arrays["c"] == 7


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        [],
        {"a": entry("F32", [2], 0, 80)},
        {"a": entry("F32", [3], 0, 8)},
        {"a": entry("F32", [-2], 0, 8)},
        {"a": entry("F32", [2**40, 2**40], 0, 8)},
        {"a": entry("OBJ", [2], 0, 8)},
        {"a": {"dtype": "F32"}},
        {"a": entry("F32", [2], 8, 0)},
        {"a": 3},
    ],
)
def test_damaged_headers(header: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write(path, header, bytes(8))
    with pytest.raises(WeightsError):
        read_safetensors(path)


@pytest.mark.parametrize("length", [0, 10**12, 2**63])
def test_lengths_of_the_header(length: int, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write(path, {}, length=length)
    with pytest.raises(WeightsError, match="header"):
        read_safetensors(path)
