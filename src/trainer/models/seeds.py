"""Seeds of a network's initializers, dropout and noise layers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256


def derived_seed(seed: int, layer: str, purpose: str) -> int:
    """Derive a seed in [0, 2³¹) from the seed of the config, the name of a layer, and a purpose.

    It depends on the layer's name rather than its position, so that inserting a dropout layer does not
    change the initial weights of the layers after it.
    """
    digest = sha256(f"{seed}/{layer}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFF_FFFF


@contextmanager
def default_seed(seed: int) -> Iterator[None]:
    """Context manager that makes the seeds of layers and initializers without one depend on `seed`.

    Keras draws such seeds from Python's generator, whose state is restored on exit.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
