"""Where every random draw of a network begins.

Owns: the seed of each initialiser, dropout and noise layer. Does not own: the order of the rows, or
the splits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256


def derived_seed(seed: int, layer: str, purpose: str) -> int:
    """The seed of one draw, in [0, 2³¹), from the experiment's seed, layer's name and purpose.

    A layer's name rather than its place is taken, so that a dropout put before a dense layer leaves
    the start of that dense layer as it was.
    """
    digest = sha256(f"{seed}/{layer}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFF_FFFF


@contextmanager
def default_seed(seed: int) -> Iterator[None]:
    """Within it, layers and initialisers made without a seed get one that is a function of `seed`.

    Keras takes such seeds from Python's generator, whose state is put back afterwards.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
