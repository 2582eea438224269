"""Conflicts between the settings of a layer's weights."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.conflict import Conflict, conflict
from trainer.config.layers.base import LayerKind
from trainer.config.weights import constraint_conflicts, initializer_conflicts, needs_matrix


def weight_conflicts(layer: LayerKind, key: str) -> Iterator[Conflict]:
    """Yield conflicts between initializers, constraints and the bias of a layer.

    Args:
        layer: Its settings; those of the weights are named `…_initializer` and `…_constraint`, and
            `bias_…` and `use_bias` if it can have a bias.
        key: Key of the settings.
    """
    names = type(layer).model_fields
    for name in names:
        if name.endswith("_initializer"):
            yield from initializer_conflicts(getattr(layer, name), f"{key}.{name}")
        elif name.endswith("_constraint"):
            yield from constraint_conflicts(getattr(layer, name), f"{key}.{name}")
    if getattr(layer, "use_bias", False):
        initializer = getattr(layer, "bias_initializer")  # noqa: B009
        if needs_matrix(initializer):
            yield conflict(
                f"{key}.bias_initializer",
                "an initializer for one-dimensional variables",
                initializer if isinstance(initializer, str) else "orthogonal",
                "use zeros, the usual initializer of a bias",
            )
        return
    for name in ("bias_regularizer", "bias_constraint"):
        if getattr(layer, name, None) is not None:
            expected, fix = "a layer with a bias", "remove one of the two"
            yield conflict(f"{key}.{name}", expected, "use_bias: false", fix, f"{key}.use_bias")
