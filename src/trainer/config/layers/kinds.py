"""The kinds of hidden layers, and the entries of `model.layers`.

To add a kind, write its class in a module of this package and add it to the `KINDS` of the module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.config.kinds import entry_model, entry_union
from trainer.config.layers import (
    components,
    convolution,
    custom,
    dense,
    noise,
    normalization,
    pooling,
    residual,
    scaling,
    sequences,
    shaping,
)
from trainer.config.layers.base import LayerEntry, LayerKind

LAYER_KINDS: tuple[type[LayerKind], ...] = (
    *dense.KINDS,
    *noise.KINDS,
    *normalization.KINDS,
    *convolution.KINDS,
    *pooling.KINDS,
    *shaping.KINDS,
    *scaling.KINDS,
    *components.KINDS,
    *residual.KINDS,
    *sequences.KINDS,
    *custom.KINDS,
)

# Where pickle looks them up.
globals().update(
    {entry.__name__: entry for entry in (entry_model(kind, LayerEntry) for kind in LAYER_KINDS)}
)

if TYPE_CHECKING:
    Layer = LayerEntry
else:
    Layer = entry_union(LAYER_KINDS, LayerEntry)


def layer_entry(settings: LayerKind) -> LayerEntry:
    """Return the entry of `model.layers` with these settings."""
    entry: LayerEntry = entry_model(type(settings), LayerEntry)(**{settings.kind: settings})
    return entry
