from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.pretrained import torch_writer
from tests.models.pretrained.torch_writer import Storage, Tensor, state_dict, tensor
from trainer.models.pretrained.torch_files import read_torch_arrays
from trainer.models.pretrained.weights_error import WeightsError

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "bn.num_batches_tracked": np.array(7),
    "fc.weight": np.linspace(0, 1, 6, dtype=np.float16).reshape(2, 3),
}
WRITERS = [torch_writer.write_zip, torch_writer.write_legacy]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


@pytest.mark.parametrize("write", WRITERS)
def test_state_dicts_are_read_in_order(write: Callable[..., None], path: Path) -> None:
    write(path, state_dict(ARRAYS))
    arrays = read_torch_arrays(path)
    assert list(arrays) == list(ARRAYS)
    for name, expected in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], expected)
        assert arrays[name].dtype == expected.dtype


@pytest.mark.parametrize("write", WRITERS)
def test_a_checkpoint_contains_a_state_dict(write: Callable[..., None], path: Path) -> None:
    write(path, {"epoch": 3, "best": 0.5, "state_dict": state_dict(ARRAYS)})
    assert list(read_torch_arrays(path)) == list(ARRAYS)


def test_views_of_a_storage(path: Path) -> None:
    storage = Storage("0", np.arange(12, dtype=np.float32))
    content = OrderedDict(
        transposed=Tensor(storage, 0, (4, 3), (1, 4)),
        part=Tensor(storage, 6, (2,), (3,)),
        scalar=Tensor(storage, 11, (), ()),
        empty=Tensor(storage, 12, (0, 3), (3, 1)),
    )
    torch_writer.write_zip(path, content)
    arrays = read_torch_arrays(path)
    np.testing.assert_array_equal(arrays["transposed"], np.arange(12).reshape(3, 4).T)
    np.testing.assert_array_equal(arrays["part"], [6, 9])
    assert arrays["scalar"] == 11
    assert arrays["empty"].shape == (0, 3)


class Executing:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("write", WRITERS)
def test_pickles_are_not_executed(
    write: Callable[..., None], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    write(path, {**state_dict(ARRAYS), "more": Executing()})
    with pytest.raises(WeightsError, match=r"mkdir in its pickle") as caught:
        read_torch_arrays(path)
    assert "torch.save(model.state_dict(), FILE)" in caught.value.fix
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5, 5), (5, 1)),
        (9, (4,), (1,)),
        (0, (10**6, 10**6), (0, 0)),
        (-4, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), (1, 1)),
        (0, (True,), (1,)),
        (0, "ab", (1, 1)),
        (10**30, (2,), (1,)),
    ],
)
def test_tensors_stay_within_their_storage(
    offset: Any, shape: Any, strides: Any, path: Path
) -> None:
    storage = Storage("0", np.arange(12, dtype=np.float32))
    torch_writer.write_zip(path, {"a": Tensor(storage, offset, shape, strides)})
    with pytest.raises(WeightsError):
        read_torch_arrays(path)


def test_many_views_of_one_storage_do_not_fill_the_memory(path: Path) -> None:
    storage = Storage("0", np.arange(100_000, dtype=np.float32))
    views = {f"a{index}": Tensor(storage, 0, (100_000,), (1,)) for index in range(9)}
    torch_writer.write_zip(path, views)
    with pytest.raises(WeightsError, match="tensors of"):
        read_torch_arrays(path)


def test_compressed_archives_are_refused(path: Path) -> None:
    array = {"zeros": tensor("0", np.zeros(100_000, np.float32))}
    torch_writer.write_zip(path, array, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="compressed"):
        read_torch_arrays(path)


@pytest.mark.parametrize("write", WRITERS)
def test_damaged_files(write: Callable[..., None], path: Path) -> None:
    write(path, state_dict(ARRAYS))
    content = path.read_bytes()
    for size in range(0, len(content), len(content) // 23):
        path.write_bytes(content[:size])
        with pytest.raises(WeightsError):
            read_torch_arrays(path)
    changed = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        for position in changed.integers(0, len(content), 4):
            damaged[position] = changed.integers(256)
        path.write_bytes(damaged)
        try:
            read_torch_arrays(path)
        except WeightsError:
            continue


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02.",
        b"[]",
        pickle.dumps({"a": 1}),
        pickle.dumps([0] * 9),
        b"PK\x03\x04",
        b"\x8a\xff",
    ],
)
def test_other_files(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        read_torch_arrays(path)


def test_things_besides_tensors(path: Path) -> None:
    torch_writer.write_zip(path, [1, 2])
    with pytest.raises(WeightsError, match="no tensors by name"):
        read_torch_arrays(path)
