"""Keras regularizers and constraints for the settings of the config."""

from __future__ import annotations

from typing import assert_never

import keras

from trainer.config.weights import Constraint, MaxNorm, MinMaxNorm, Regularizer


def build_regularizer(regularizer: Regularizer | None) -> keras.regularizers.Regularizer | None:
    """Return the Keras regularizer, l1 · Σ|w| + l2 · Σw², or None."""
    if regularizer is None:
        return None
    return keras.regularizers.L1L2(l1=regularizer.l1, l2=regularizer.l2)


def build_constraint(constraint: Constraint | None) -> keras.constraints.Constraint | None:
    """Return the Keras constraint; norms are over each unit's incoming weights."""
    match constraint:
        case None:
            return None
        case "non_negative":
            return keras.constraints.NonNeg()
        case "unit_norm":
            return keras.constraints.UnitNorm()
        case MaxNorm(max_norm=bound):
            return keras.constraints.MaxNorm(bound)
        case MinMaxNorm(min_max_norm=bounds):
            return keras.constraints.MinMaxNorm(bounds[0], bounds[1])
        case _:
            assert_never(constraint)
