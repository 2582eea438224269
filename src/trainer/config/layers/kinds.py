"""The kinds of hidden layers, and the entries of `model.layers`.

To add a kind, write its class in a module of this package and add it to `LAYER_KINDS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.config.kinds import entry_model, entry_union
from trainer.config.layers.base import LayerEntry, LayerKind
from trainer.config.layers.components import PrincipalComponents
from trainer.config.layers.convolution import (
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    DepthwiseConv2D,
    SeparableConv2D,
)
from trainer.config.layers.custom import Custom
from trainer.config.layers.dense import ActivationSettings, Dense
from trainer.config.layers.noise import Dropout, GaussianNoise, SpatialDropout
from trainer.config.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    UnitNormalization,
)
from trainer.config.layers.pooling import (
    AveragePool1D,
    AveragePool2D,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool1D,
    MaxPool2D,
)
from trainer.config.layers.residual import Residual
from trainer.config.layers.scaling import LearnedScale
from trainer.config.layers.sequences import Gru, Lstm, Transformer
from trainer.config.layers.shaping import (
    Flatten,
    Rescaling,
    Reshape,
    UpSampling2D,
    ZeroPadding2D,
)

LAYER_KINDS: tuple[type[LayerKind], ...] = (
    Dense,
    ActivationSettings,
    Dropout,
    SpatialDropout,
    GaussianNoise,
    BatchNormalization,
    LayerNormalization,
    GroupNormalization,
    UnitNormalization,
    Conv1D,
    Conv2D,
    DepthwiseConv2D,
    SeparableConv2D,
    Conv2DTranspose,
    MaxPool1D,
    MaxPool2D,
    AveragePool1D,
    AveragePool2D,
    GlobalMaxPool,
    GlobalAveragePool,
    ZeroPadding2D,
    UpSampling2D,
    Rescaling,
    LearnedScale,
    PrincipalComponents,
    Flatten,
    Reshape,
    Residual,
    Gru,
    Lstm,
    Transformer,
    Custom,
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
