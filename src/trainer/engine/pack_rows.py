"""The rows of a pack's members on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.samples import Samples
from trainer.engine.batches import Float32Array, gather_rows
from trainer.inputs import InputArray, keras_inputs


class PackRows:
    """The rows of all members on the device; shared arrays are stored once.

    Attributes:
        tensors: Concatenated inputs, targets and sample weights (or None).
        first: (members,) int32, position of each member's first row.
        first_weight: The same for its sample weights.
        count: (members,) int32, number of rows of each member.
    """

    def __init__(self, samples: Sequence[Samples]) -> None:
        y, self.first = _concatenated([member.y for member in samples])
        inputs = {}
        for name in samples[0].inputs:
            arrays = [member.inputs[name] for member in samples]
            inputs[name], first = _concatenated(arrays, max(array.shape[1:] for array in arrays))
            assert np.array_equal(first, self.first), "inputs are shared where targets are"
        weight, self.first_weight = None, self.first
        if any(member.weight is not None for member in samples):
            ones: dict[int, Float32Array] = {}
            for member in samples:
                ones.setdefault(len(member), np.ones(len(member), np.float32))
            weight, self.first_weight = _concatenated(
                [
                    ones[len(member)] if member.weight is None else member.weight
                    for member in samples
                ]
            )
        self.tensors = (keras_inputs(inputs), y, weight)
        self.count = np.asarray([len(member) for member in samples], np.int32)


def _concatenated(
    arrays: Sequence[InputArray], shape: tuple[int, ...] | None = None
) -> tuple[Any, NDArray[np.int32]]:
    """Return the distinct arrays as one tensor, and the position at which each array begins.

    Args:
        arrays: The array of each member.
        shape: Shape of a sample; columns of zeros are appended to samples with fewer.
    """
    positions: dict[int, int] = {}
    distinct: list[NDArray[Any]] = []
    rows = 0
    for array in arrays:
        if id(array) not in positions:
            positions[id(array)] = rows
            distinct.append(array[:] if shape is None else _widened(array[:], shape))
            rows += len(array)
    first = np.asarray([positions[id(array)] for array in arrays], np.int32)
    return tf.constant(joined(distinct)), first


def _widened(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Append columns of zeros to samples, for features that only other members have."""
    if array.shape[1:] == shape:
        return array
    return np.pad(array, [(0, 0), (0, shape[0] - array.shape[1])])


def gather_by_member(data: Any, rows: Any, weight_rows: Any) -> tuple[Any, Any, Any]:
    """Gather (members, rows, …) inputs and targets and (members, rows) sample weights.

    Args:
        data: Concatenated inputs, targets and sample weights (or None).
        rows: (rows, members) positions of the inputs and targets.
        weight_rows: (rows, members) positions of the sample weights.
    """
    x, y, weight = data
    by_member = tf.transpose(rows)
    if weight is not None:
        weight = tf.gather(weight, tf.transpose(weight_rows))
    return gather_rows(x, by_member), tf.gather(y, by_member), weight


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate the arrays; a single one is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
