"""The kinds of hidden layers, and the entries of `model.layers`.

A layer is a mapping with one key, its kind; a bare name or a scalar is a shorthand for it:
`- flatten`, `- dense: 64`, `- dense: {units: 64, activation: relu}`.

To add a kind, write its class in a module of this package and add it to `LAYER_KINDS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import BeforeValidator, Discriminator, Tag

from trainer.config.layers.base import LayerEntry, LayerKind, entry_model
from trainer.config.layers.custom import Custom
from trainer.config.layers.dense import ActivationSettings, Dense
from trainer.config.layers.noise import Dropout, GaussianNoise
from trainer.config.layers.normalization import (
    BatchNormalization,
    LayerNormalization,
    UnitNormalization,
)
from trainer.config.layers.shaping import Flatten, Reshape
from trainer.config.sections import name_to_mapping, single_key

LAYER_KINDS: tuple[type[LayerKind], ...] = (
    Dense,
    ActivationSettings,
    Dropout,
    GaussianNoise,
    BatchNormalization,
    LayerNormalization,
    UnitNormalization,
    Flatten,
    Reshape,
    Custom,
)

_ENTRIES = {kind.kind: entry_model(kind) for kind in LAYER_KINDS}
# Where pickle looks them up.
globals().update({entry.__name__: entry for entry in _ENTRIES.values()})

if TYPE_CHECKING:
    Layer = LayerEntry
else:
    _AnyLayer = Union[*(Annotated[entry, Tag(kind)] for kind, entry in _ENTRIES.items())]
    _BareLayer = Literal[*(kind.kind for kind in LAYER_KINDS if kind.is_optional())]
    Layer = Annotated[
        _AnyLayer,
        Discriminator(single_key),
        BeforeValidator(name_to_mapping, json_schema_input_type=_AnyLayer | _BareLayer),
    ]


def layer_entry(settings: LayerKind) -> LayerEntry:
    """Return the entry of `model.layers` with these settings."""
    return _ENTRIES[settings.kind](**{settings.kind: settings})
