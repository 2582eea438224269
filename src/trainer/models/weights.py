"""Values of a network's weights, without copies: they can take most of the memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf


def variable_value(variable: Any) -> npt.NDArray[Any]:
    """Return the value of a variable as a read-only array, which later changes do not affect.

    On a CPU they share memory until the variable changes: TensorFlow copies a value that is still in
    use before it changes it.
    """
    return np.asarray(memoryview(tf.convert_to_tensor(variable.value)))


def weights_sha256(network: keras.Model) -> str:
    """Return the hexadecimal SHA-256 of the network's weights; see `values_sha256`."""
    return values_sha256(map(variable_value, network.weights))


def values_sha256(values: Iterable[npt.NDArray[Any]]) -> str:
    """Return the hexadecimal SHA-256 of the weights of a network, in Keras's order.

    It covers dtype, shape and little-endian bytes of each weight, trainable or not, but not names, seed
    generators or the optimizer. Equal networks have the same hash in every process.
    """
    digest = sha256()
    for value in values:
        digest.update(f"{value.dtype.name}{value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value, value.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


@contextmanager
def replaced_weights(network: keras.Model, values: Sequence[Any]) -> Iterator[None]:
    """Context manager within which the weights of a network have other values, in Keras's order."""
    originals = [tf.convert_to_tensor(weight.value) for weight in network.weights]
    network.set_weights(values)
    try:
        yield
    finally:
        for weight, original in zip(network.weights, originals, strict=True):
            weight.assign(original)
