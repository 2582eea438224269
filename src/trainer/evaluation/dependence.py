"""Partial dependence: the mean prediction with a column set to one value in all rows (Friedman 2001)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainer.evaluation.perturbations import (
    EncodedRows,
    Float32Array,
    Perturbation,
    PredictFn,
    predict_perturbed,
)
from trainer.evaluation.predictions import Float64Array, FloatArray


def partial_dependence(
    encodings: Sequence[EncodedRows],
    values: Mapping[str, Sequence[Float32Array]],
    weight: FloatArray | None,
    predict: PredictFn,
) -> dict[str, Float64Array]:
    """Compute the mean prediction at each value of each column.

    Args:
        encodings: The rows in each encoding.
        values: Column of the table → its values in each encoding, (values, columns) each.
        weight: (n,) weights of the rows in the mean, not all 0; or None.
        predict: The predict function.

    Returns:
        Column → (values, k).
    """
    perturbations = [
        Perturbation(name, [grid[index : index + 1] for grid in grids])
        for name, grids in values.items()
        for index in range(len(grids[0]))
    ]
    predictions = predict_perturbed(predict, encodings, perturbations, len(perturbations))
    return {
        name: np.array(
            [np.average(next(predictions).astype(np.float64), axis=0, weights=weight)
             for _ in range(len(grids[0]))]
        )
        for name, grids in values.items()
    }  # fmt: skip
