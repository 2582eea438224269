"""Write files as `torch.save` does, in both forms, without PyTorch."""

from __future__ import annotations

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"f4": "FloatStorage", "i8": "LongStorage", "f2": "HalfStorage"}


class Storage:
    def __init__(self, key: str, values: np.ndarray) -> None:
        self.key, self.values = key, values


class Tensor:
    def __init__(self, storage: Storage, offset: Any, shape: Any, strides: Any) -> None:
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> Any:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


def tensor(key: str, array: np.ndarray) -> Tensor:
    strides = tuple(step // array.itemsize for step in array.strides)
    return Tensor(Storage(key, array.ravel()), 0, array.shape, strides)


def state_dict(arrays: Mapping[str, np.ndarray]) -> OrderedDict[str, Tensor]:
    numbered = enumerate(arrays.items())
    return OrderedDict((name, tensor(str(key), array)) for key, (name, array) in numbered)


def write_zip(path: Path, content: Any, *, compression: int = zipfile.ZIP_STORED) -> None:
    storages: dict[str, Storage] = {}
    text = dump(content, storages)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", text)
        archive.writestr("archive/byteorder", "little")
        for key, storage in storages.items():
            archive.writestr(f"archive/data/{key}", storage.values.tobytes())
        archive.writestr("archive/version", "3\n")


def write_legacy(path: Path, content: Any) -> None:
    storages: dict[str, Storage] = {}
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [dump(part, {}) for part in (0x1950A86A20F9469CFC6C, 1001, machine)]
    parts += [dump(content, storages, view=None), dump(sorted(storages), {})]
    for key in sorted(storages):
        values = storages[key].values
        parts += [len(values).to_bytes(8, "little"), values.tobytes()]
    path.write_bytes(b"".join(parts))


def dump(content: Any, storages: dict[str, Storage], **more: Any) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, item: Any) -> Any:
            if not isinstance(item, Storage):
                return None
            storages[item.key] = item
            kind = getattr(sys.modules["torch"], KINDS[item.values.dtype.str[1:]])
            return ("storage", kind, item.key, "cpu", len(item.values), *more.values())

    buffer = io.BytesIO()
    with fake_torch():
        Pickler(buffer, protocol=2).dump(content)
    return buffer.getvalue()


@contextmanager
def fake_torch() -> Iterator[None]:
    """Context manager with modules that have the names of PyTorch's."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in KINDS.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*arguments: Any) -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    before = {name: sys.modules.pop(name, None) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
