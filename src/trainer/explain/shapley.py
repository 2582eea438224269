"""SHAP values: how much each column moves the prediction for a row away from the mean prediction.

A value is the mean contribution of a column over the orders in which columns can be added (Lundberg
and Lee 2017); a column that has not been added has the value of a background row. The `shap` package
computes the sums: over all subsets of up to ten columns, else over some seeded permutations, forward
and backward (Mitchell, Cooper, Frank and Holmes 2022), which is exact for the sum and for effects of
single columns and pairs, and sampled for higher interactions. The model is a function of table columns
rather than encoded ones: its input holds, for each column, the number of the row that provides the
value. The Keras explainers of the package work on encoded columns and treat ids of embeddings as
numbers.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import Problem, UsageError
from trainer.explain.perturbations import EncodedRows, PredictFn, column_names
from trainer.inputs import Inputs, count_rows
from trainer.packages import install_command

Float64Array = NDArray[np.float64]

_EXACT_COLUMNS = 10
_MAX_ORDERS = 10
_PREDICTIONS_PER_ROW = 200_000
_MIN_BATCH, _MAX_BATCH = 512, 65_536


@dataclass(frozen=True, slots=True, eq=False)
class ShapValues:
    """SHAP values of n rows.

    Attributes:
        columns: Columns of the table.
        base: (k,) the mean prediction for the background rows.
        values: (n, columns, k); base plus their sum over the columns is the prediction.
        predictions: (n, k).
        orders: The number of permutations, used forward and backward; None for all.
    """

    columns: tuple[str, ...]
    base: Float64Array
    values: Float64Array
    predictions: Float64Array
    orders: int | None

    @property
    def largest_gap(self) -> float:
        """Return the largest difference between a prediction and the base plus the sum of its values."""
        sums = self.base + self.values.sum(axis=1)
        return float(np.abs(sums - self.predictions).max())


def load_shap() -> ModuleType:
    """Import the package; call it before any other work, so that a missing package is reported first.

    Raises:
        UsageError: The package is not installed or cannot be imported.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "numba" not in sys.modules:
            # Compilation takes eight seconds per process and saves less, as the network takes most of
            # the time. The package reads this once, when it is imported.
            os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
        try:
            return import_module("shap")
        except ImportError as error:
            fix = install_command("explain")
            found = "that it is not" if find_spec("shap") is None else f"a broken one ({error})"
            expected = "the package shap to be installed"
            raise UsageError(Problem("--rows", expected, found, fix)) from error


def shap_values(
    predict: PredictFn, rows: Sequence[EncodedRows], background: Sequence[Inputs], seed: int
) -> ShapValues:
    """Return the SHAP values of rows.

    Args:
        predict: Predicts encoded rows.
        rows: The rows, once per encoder.
        background: Rows that provide the values of missing columns, once per encoder.
        seed: The seed of the permutations.
    """
    shap = load_shap()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns = column_names(rows)
        background_size = count_rows(background[0])
        model = _Model(predict, rows, background, columns)
        numbers = np.arange(background_size + count_rows(rows[0].inputs), dtype=np.float64)
        ids = np.repeat(numbers[:, None], len(columns), axis=1)
        masker = shap.maskers.Independent(ids[:background_size], max_samples=background_size)
        orders = None
        if len(columns) <= _EXACT_COLUMNS:
            explainer = shap.explainers.Exact(model, masker)
            evaluations = 2 ** len(columns)
        else:
            explainer = shap.explainers.Permutation(model, masker, seed=seed)
            evaluations_per_order = 2 * len(columns) + 1
            orders = min(
                _MAX_ORDERS,
                max(1, _PREDICTIONS_PER_ROW // (evaluations_per_order * background_size)),
            )
            evaluations = orders * evaluations_per_order
        explanation = explainer(
            ids[background_size:],
            max_evals=evaluations,
            batch_size=max(1, _MAX_BATCH // background_size),
            silent=True,
        )
    predictions = np.asarray(predict([encoded.inputs for encoded in rows]), np.float64)
    shape = (len(predictions), len(columns), predictions.shape[1])
    base = model(ids[:background_size]).mean(axis=0)
    values = np.asarray(explanation.values, np.float64).reshape(shape)
    return ShapValues(columns, base, values, predictions, orders)


class _Model:
    """The network as a function of row numbers, one for each column."""

    def __init__(
        self,
        predict: PredictFn,
        rows: Sequence[EncodedRows],
        background: Sequence[Inputs],
        columns: Sequence[str],
    ) -> None:
        self._predict_fn = predict
        self._pools = [
            {
                name: np.concatenate([others[name][:], values[:]])
                for name, values in encoded.inputs.items()
            }
            for others, encoded in zip(background, rows, strict=True)
        ]
        self._column_indices = []
        for encoded in rows:
            column_indices = {
                name: np.zeros(values.shape[1], np.int64) for name, values in encoded.inputs.items()
            }
            for number, name in enumerate(columns):
                if name in encoded.columns:
                    place = encoded.columns[name]
                    column_indices[place.input][place.columns] = number
            self._column_indices.append(column_indices)

    def __call__(self, ids: NDArray[Any]) -> Float64Array:
        """Predict (m, columns) row numbers → (m, k)."""
        numbers = np.asarray(ids, np.float64).astype(np.int64)
        parts = [
            self._predict(numbers[start : start + _MAX_BATCH])
            for start in range(0, len(numbers), _MAX_BATCH)
        ]
        return np.concatenate(parts)

    def _predict(self, numbers: NDArray[np.int64]) -> Float64Array:
        # Pad to few different sizes: a program is traced for each.
        size = max(_MIN_BATCH, 1 << (len(numbers) - 1).bit_length())
        padded = np.zeros((size, numbers.shape[1]), np.int64)
        padded[: len(numbers)] = numbers
        encoded = [
            {
                name: values[padded[:, column_indices[name]], np.arange(values.shape[1])]
                for name, values in pool.items()
            }
            for pool, column_indices in zip(self._pools, self._column_indices, strict=True)
        ]
        return np.asarray(self._predict_fn(encoded)[: len(numbers)], np.float64)
