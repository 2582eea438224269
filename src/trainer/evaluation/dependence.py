"""Partial dependence: the mean answer when a column has one value in all rows (Friedman 2001).

Owns: the curve of values that are encoded. Does not own: which values, and their encoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainer.evaluation.alterations import Alteration, Ask, Encoding, Singles, ask_altered
from trainer.evaluation.answers import Doubles, Floats


def partial_dependence(
    encodings: Sequence[Encoding],
    values: Mapping[str, Sequence[Singles]],
    weight: Floats | None,
    ask: Ask,
) -> dict[str, Doubles]:
    """The mean answers at each value of each column.

    Args:
        encodings: The rows, as often as they are encoded.
        values: Column of the table → its values as each encoding has them, (values, places) each.
        weight: (n,) not all 0, or None: of the rows in the mean.
        ask: The network.

    Returns:
        Column → (values, k).
    """
    alterations = [
        Alteration(name, [one[at : at + 1] for one in encoded])
        for name, encoded in values.items()
        for at in range(len(encoded[0]))
    ]
    answers = ask_altered(ask, encodings, alterations, len(alterations))
    return {
        name: np.array(
            [np.average(next(answers).astype(np.float64), axis=0, weights=weight)
             for _ in range(len(encoded[0]))]
        )
        for name, encoded in values.items()
    }  # fmt: skip
