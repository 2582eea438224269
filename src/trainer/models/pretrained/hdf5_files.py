"""Weights of layers by name in an `.h5` file of Keras, read without Keras.

Links, and datasets that read other files, are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.models.pretrained.weights_error import WeightsError

Shape = tuple[int, ...]


def read_hdf5_layers(
    path: Path, shapes: Mapping[str, Sequence[Shape]]
) -> dict[str, list[NDArray[np.float32]]]:
    """Return the weights of layers in a file of Keras 2 or 3; other layers are ignored.

    Args:
        path: The file.
        shapes: Name of each layer → shapes of its weights.

    Raises:
        WeightsError: The file is damaged, or a layer is missing or has other shapes.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            root = file["model_weights"] if "model_weights" in file else file
            if "layer_names" not in root.attrs:
                raise WeightsError("no layers by name", expected="an .h5 file of layers by name")
            return {name: _layer_weights(root, name, shapes[name]) for name in shapes}
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise WeightsError("a damaged HDF5 file") from error


def _layer_weights(root: Any, name: str, shapes: Sequence[Shape]) -> list[NDArray[np.float32]]:
    if name not in root:
        raise WeightsError(f"no layer '{name}'", expected="the weights of the architecture")
    group = _member(root, name)
    names = [
        weight.decode() if isinstance(weight, bytes) else str(weight)
        for weight in group.attrs.get("weight_names", ())
    ]
    values = [_member(group, weight) for weight in names]
    if [tuple(value.shape) for value in values] != list(shapes):
        found = f"other shapes in '{name}'"
        raise WeightsError(found, expected=f"weights {list(shapes)}, as in the architecture")
    return [np.asarray(value, np.float32) for value in values]


def _member(group: Any, path: str) -> Any:
    import h5py

    member = group
    for name in path.strip("/").split("/"):
        if not isinstance(member.get(name, getlink=True), h5py.HardLink):
            raise WeightsError(f"a link '{name}'")
        member = member[name]
    if isinstance(member, h5py.Dataset) and (member.external or member.is_virtual):
        raise WeightsError(f"data of other files in '{path}'")
    return member
