"""What a network would say of the same rows if one column of the table were another.

A column of the table can be several columns of `x`: one for each level, one for missing values, waves
of a date. They are always changed together. Networks that answer together may each encode the rows in
its own way; the same change is made in all of those.

Owns: changed copies of rows, as many at a time as fit well into one call. Does not own: which values a
column takes, what is made of the answers (`importance`, `dependence`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from trainer.evaluation.answers import Floats

Singles = npt.NDArray[np.float32]

Ask = Callable[[Sequence[Singles]], Floats]
"""Rows as each encoding has them, (n, width) each → answers (n, k): probabilities or numbers."""

_ROWS_IN_A_CALL = 65_536
_CELLS_IN_A_CALL = 8_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """Rows as numbers.

    Attributes:
        x: (n, width).
        places: Column of the table → its columns of x.
    """

    x: Singles
    places: Mapping[str, Sequence[int]]

    def of(self, column: str) -> list[int]:
        """The columns of x of a column of the table; none where it did not vary in training."""
        return list(self.places[column]) if column in self.places else []


@dataclass(frozen=True, slots=True, eq=False)
class Alteration:
    """Other values for one column.

    Attributes:
        column: A column of the table.
        values: For each encoding (n, places) a row's own, or (1, places) one for all.
    """

    column: str
    values: Sequence[Singles]


def column_names(encodings: Sequence[Encoding]) -> tuple[str, ...]:
    """The columns of the table that any encoding has."""
    return tuple(dict.fromkeys(name for each in encodings for name in each.places))


def ask_altered(
    ask: Ask, encodings: Sequence[Encoding], alterations: Iterable[Alteration | None], count: int
) -> Iterator[Floats]:
    """The answers (n, k) for each alteration of the rows, in turn.

    Several altered copies are asked about in one call, every call with as many rows: a program that is
    made for one number of rows serves all of them. Between two calls only the altered columns are
    written; the rows are copied once.

    Args:
        ask: The network.
        encodings: The rows, as often as they are encoded.
        alterations: What is changed, each by itself; None for nothing.
        count: How many alterations there are.
    """
    rows = len(encodings[0].x)
    copies = _copies(rows, max(each.x.shape[1] for each in encodings), count)
    stacks = [np.repeat(each.x[None], copies, axis=0) for each in encodings]
    waiting = iter(alterations)
    while batch := list(islice(waiting, copies)):
        changed = [(slot, altered) for slot, altered in enumerate(batch) if altered is not None]
        for slot, altered in changed:
            for stack, each, values in zip(stacks, encodings, altered.values, strict=True):
                stack[slot][:, each.of(altered.column)] = values
        answers = ask([stack.reshape(copies * rows, stack.shape[2]) for stack in stacks])
        yield from answers.reshape(copies, rows, -1)[: len(batch)]
        for slot, altered in changed:
            for stack, each in zip(stacks, encodings, strict=True):
                own = each.of(altered.column)
                stack[slot][:, own] = each.x[:, own]


def _copies(rows: int, width: int, count: int) -> int:
    """Copies in one call: as many as are well asked at once, in calls of nearly the same number."""
    most = max(1, min(_ROWS_IN_A_CALL // rows, _CELLS_IN_A_CALL // max(1, rows * width)))
    calls = -(-count // most)
    return -(-count // max(1, calls))
