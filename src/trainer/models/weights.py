"""Hash of a network's weights."""

from __future__ import annotations

from hashlib import sha256

import keras


def weights_sha256(network: keras.Model) -> str:
    """Return the hexadecimal SHA-256 of the network's weights, in order.

    It covers dtype, shape and little-endian bytes of each weight, trainable or not, but not names, seed
    generators or the optimizer. Equal networks have the same hash in every process.
    """
    digest = sha256()
    for variable in network.weights:
        value = variable.numpy()
        digest.update(f"{value.dtype.name}{value.shape}\n".encode())
        digest.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
