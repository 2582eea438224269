"""What identifies a network's weights."""

from __future__ import annotations

from hashlib import sha256

import keras


def weights_sha256(network: keras.Model) -> str:
    """SHA-256, in hexadecimal, over the network's weights in their order.

    Dtype, shape and little-endian bytes of each, trainable or not; neither names, nor seed
    generators, nor the optimizer. Equal networks agree in every process.
    """
    digest = sha256()
    for variable in network.weights:
        value = variable.numpy()
        digest.update(f"{value.dtype.name}{value.shape}\n".encode())
        digest.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
