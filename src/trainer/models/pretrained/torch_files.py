"""Arrays in a file that `torch.save` wrote, without PyTorch and without executing its pickle.

A file of PyTorch 1.6 or later is a zip archive of a pickle and the bytes of each storage; an earlier one
is a sequence of pickles, followed by the storages. A pickle can call any function. The unpickler here
knows the names that a dictionary of tensors needs and refuses all others; a tensor becomes an array only
if it lies within its storage.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from trainer.models.pretrained.weights_error import WeightsError

_DTYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "|i1",
    "ByteStorage": "|u1", "BoolStorage": "|b1",
}  # fmt: skip
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MAX_PICKLE_BYTES = 1 << 26
_MAX_AXES = 8
_CONTAINERS = ("state_dict", "model", "model_state_dict")
_SAVE = "save only the weights: torch.save(model.state_dict(), FILE), or as .safetensors"


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file by name, in its order.

    Raises:
        WeightsError: The file is damaged, or contains more than a dictionary of tensors.
        OSError: The file cannot be read.
    """
    # If it cannot be opened, that is no damage; later errors are.
    path.open("rb").close()
    try:
        if zipfile.is_zipfile(path):
            content, storages = _read_archive(path)
        else:
            content, storages = _read_pickles(path)
        tensors = _tensors(content)
        _check_sizes(tensors, path.stat().st_size)
        read = cache(storages)
        return {name: _array(tensor, read) for name, tensor in tensors.items()}
    except WeightsError:
        raise
    # Pickles and zip archives that are damaged or hostile raise almost anything.
    except Exception as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise WeightsError(f"a damaged file of PyTorch ({reason})") from error


def _read_archive(path: Path) -> tuple[Any, Callable[[_Storage], bytes]]:
    archive = zipfile.ZipFile(path)
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise WeightsError("an archive with two members of the same name")
    pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError("a zip archive that PyTorch did not write", fix=_SAVE)
    root = pickles[0].removesuffix("data.pkl")
    total = path.stat().st_size
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > total:
            raise WeightsError(f"a compressed member {member.filename!r}", fix=_SAVE)
    if archive.getinfo(pickles[0]).file_size > _MAX_PICKLE_BYTES:
        raise WeightsError("a pickle of more than 64 MB", fix=_SAVE)
    orders = [name for name in names if name == f"{root}byteorder"]
    if orders and archive.read(orders[0]).strip() != b"little":
        raise WeightsError("a file of a big-endian machine", fix=_SAVE)
    content = _Unpickler(io.BytesIO(archive.read(pickles[0])), total).load()
    return content, lambda storage: archive.read(f"{root}data/{storage.key}")


def _read_pickles(path: Path) -> tuple[Any, Callable[[_Storage], bytes]]:
    total = path.stat().st_size
    with path.open("rb") as file:
        if _Unpickler(file, total).load() != _MAGIC or _Unpickler(file, total).load() != _PROTOCOL:
            raise WeightsError("another kind of file", fix=_SAVE)
        machine = _Unpickler(file, total).load()
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise WeightsError("a file of a big-endian machine", fix=_SAVE)
        reader = _Unpickler(file, total)
        content = reader.load()
        keys = _Unpickler(file, total).load()
        stored: dict[str, bytes] = {}
        for key in keys:
            storage = reader.storages[str(key)]
            size = storage.count * _item_bytes(storage.dtype)
            if int.from_bytes(file.read(8), "little") != storage.count:
                raise WeightsError("a storage of another size than its tensors")
            stored[storage.key] = file.read(size)
    return content, lambda storage: stored[storage.key]


class _Unpickler(pickle.Unpickler):
    """Reads dictionaries, lists, numbers, text and tensors; refuses everything else.

    Attributes:
        storages: The storages of tensors by key.
    """

    def __init__(self, file: IO[bytes], total: int) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}
        self._total = total

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return _rebuild_tensor
            case "torch._utils", "_rebuild_parameter":
                return _rebuild_parameter
            case "torch", _ if name in _DTYPES:
                return name
        raise WeightsError(
            f"{module}.{name} in its pickle",
            expected="a file of weights alone: a dictionary of tensors",
            fix=_SAVE,
        )

    def persistent_load(self, key: Any) -> _Storage:
        kind, dtype, name, _, count = key[:5]
        if kind != "storage" or dtype not in _DTYPES or type(count) is not int:
            raise WeightsError("an unknown kind of storage", fix=_SAVE)
        storage = _Storage(str(name), _DTYPES[dtype], count)
        if not 0 <= count * _item_bytes(storage.dtype) <= self._total:
            raise WeightsError("a tensor that is larger than the file")
        return self.storages.setdefault(storage.key, storage)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    sizes = (offset, *shape, *strides)
    is_valid = (
        isinstance(storage, _Storage)
        and len(shape) == len(strides) <= _MAX_AXES
        and all(type(size) is int and size >= 0 for size in sizes)
    )
    if not is_valid:
        raise WeightsError("a tensor without a valid shape")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _tensors(content: Any) -> dict[str, _Tensor]:
    """Return the dictionary of tensors, also within a training checkpoint."""
    for name in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if isinstance(content, Mapping):
        tensors = {name: value for name, value in content.items() if isinstance(value, _Tensor)}
        if tensors and all(isinstance(name, str) for name in tensors):
            return tensors
    raise WeightsError(
        "no tensors by name", expected="a dictionary of tensors, a state dict", fix=_SAVE
    )


def _check_sizes(tensors: Mapping[str, _Tensor], total: int) -> None:
    """Check that the arrays take no more memory than the file, but for tensors that are used twice."""
    size = sum(
        prod(tensor.shape) * _item_bytes(tensor.storage.dtype) for tensor in tensors.values()
    )
    if size > 4 * total:
        raise WeightsError(f"tensors of {size:,} bytes in a file of {total:,}")


def _array(tensor: _Tensor, storages: Callable[[_Storage], bytes]) -> NDArray[Any]:
    storage = tensor.storage
    count = prod(tensor.shape)
    last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True))
    if count > storage.count or (count and tensor.offset + last >= storage.count):
        raise WeightsError("a tensor beyond its storage")
    content = storages(storage)
    if len(content) != storage.count * _item_bytes(storage.dtype):
        raise WeightsError("a storage of another size than its tensors")
    values: NDArray[Any] = decode_values(content, storage.dtype)[tensor.offset :]
    strides = [step * values.itemsize for step in tensor.strides]
    view = np.lib.stride_tricks.as_strided(values, tensor.shape, strides, writeable=False)
    return np.ascontiguousarray(view)


def _item_bytes(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def decode_values(content: bytes | memoryview, dtype: str) -> NDArray[Any]:
    """Return the little-endian values in some bytes, float32 for `bfloat16`."""
    if dtype != "bfloat16":
        return np.frombuffer(content, dtype)
    # The upper half of a float32.
    return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
