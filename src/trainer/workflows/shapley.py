"""SHAP values: how much each column moved the answer for one row away from the mean answer.

A value is the mean, over the orders in which columns may be added, of what the column adds (Lundberg and
Lee 2017); a column that is not there yet has the value of a background row. The `shap` package does the
sums: over all sets of columns where there are at most ten, else over some seeded orders forth and back
(Mitchell, Cooper, Frank and Holmes 2022), which is exact in the sum and for effects of single columns
and of pairs, and sampled for those of more.
It is asked about table columns rather than encoded ones: the rows it sees hold, for each column, the
number of the row whose value the column has there. Its explainers for Keras work on encoded columns, and
take the ids of embeddings for numbers.

Owns: the package, and asking it. Does not own: which rows (`explain`).
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
from trainer.evaluation.perturbations import EncodedRows, Float32Array, PredictFn, column_names
from trainer.packages import install_command

Float64Array = NDArray[np.float64]

_EXACT_COLUMNS = 10
_MOST_ORDERS = 10
_ANSWERS_A_ROW = 200_000
_FEWEST, _MOST = 512, 65_536


@dataclass(frozen=True, slots=True, eq=False)
class ShapValues:
    """What moved the answers for n rows.

    Attributes:
        columns: Columns of the table.
        base: (k,) the mean answer of the background rows.
        values: (n, columns, k); base + their sum over the columns is the answer.
        answers: (n, k).
        orders: In how many orders columns were added, forth and back; None for all.
    """

    columns: tuple[str, ...]
    base: Float64Array
    values: Float64Array
    answers: Float64Array
    orders: int | None

    @property
    def largest_gap(self) -> float:
        """How far an answer is from the base and the sum of its values, at most."""
        sums = self.base + self.values.sum(axis=1)
        return float(np.abs(sums - self.answers).max())


def load_shap() -> ModuleType:
    """Import the package; before any other work, as this is what fails first.

    Raises:
        UsageError: It is not installed, or cannot be imported.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "numba" not in sys.modules:
            # Its compiling takes eight seconds in each process and saves less: the time is the
            # network's. It reads this once, when it is imported.
            os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
        try:
            return import_module("shap")
        except ImportError as error:
            fix = install_command("explain")
            found = "it is not installed" if find_spec("shap") is None else f"that {error}"
            raise UsageError(Problem("--rows", "the shap package", found, fix)) from error


def shap_values(
    ask: PredictFn, rows: Sequence[EncodedRows], background: Sequence[Float32Array], seed: int
) -> ShapValues:
    """The SHAP values of some rows.

    Args:
        ask: The network.
        rows: The rows, as often as they are encoded.
        background: Rows that missing columns are taken from, encoded as often.
        seed: Of the orders in which columns are added.
    """
    shap = load_shap()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns = column_names(rows)
        apart = len(background[0])
        model = _Model(ask, rows, background, columns)
        ids = np.repeat(np.arange(apart + len(rows[0].x), dtype=np.float64)[:, None],
                        len(columns), axis=1)  # fmt: skip
        masker = shap.maskers.Independent(ids[:apart], max_samples=apart)
        orders = None
        if len(columns) <= _EXACT_COLUMNS:
            explainer = shap.explainers.Exact(model, masker)
            evaluations = 2 ** len(columns)
        else:
            explainer = shap.explainers.Permutation(model, masker, seed=seed)
            sets = 2 * len(columns) + 1
            orders = min(_MOST_ORDERS, max(1, _ANSWERS_A_ROW // (sets * apart)))
            evaluations = orders * sets
        found = explainer(
            ids[apart:],
            max_evals=evaluations,
            batch_size=max(1, _MOST // apart),
            silent=True,
        )
    answers = np.asarray(ask([each.x for each in rows]), np.float64)
    shape = (len(answers), len(columns), answers.shape[1])
    base = model(ids[:apart]).mean(axis=0)
    values = np.asarray(found.values, np.float64).reshape(shape)
    return ShapValues(columns, base, values, answers, orders)


class _Model:
    """A network that is asked by the numbers of rows, one for each column."""

    def __init__(
        self,
        ask: PredictFn,
        rows: Sequence[EncodedRows],
        background: Sequence[Float32Array],
        columns: Sequence[str],
    ) -> None:
        self._ask = ask
        self._pools = [
            np.concatenate([apart, each.x]) for apart, each in zip(background, rows, strict=True)
        ]
        self._owners = []
        for each in rows:
            owner = np.zeros(each.x.shape[1], np.int64)
            for number, name in enumerate(columns):
                owner[each.columns_of(name)] = number
            self._owners.append(owner)

    def __call__(self, ids: NDArray[Any]) -> Float64Array:
        """(m, columns) row numbers → (m, k) answers."""
        numbers = np.asarray(ids, np.float64).astype(np.int64)
        parts = [self._answers(numbers[at : at + _MOST]) for at in range(0, len(numbers), _MOST)]
        return np.concatenate(parts)

    def _answers(self, numbers: NDArray[np.int64]) -> Float64Array:
        # Few different numbers of rows: a program is made for each.
        size = max(_FEWEST, 1 << (len(numbers) - 1).bit_length())
        padded = np.zeros((size, numbers.shape[1]), np.int64)
        padded[: len(numbers)] = numbers
        encoded = [
            pool[padded[:, owner], np.arange(pool.shape[1])]
            for pool, owner in zip(self._pools, self._owners, strict=True)
        ]
        return np.asarray(self._ask(encoded)[: len(numbers)], np.float64)
