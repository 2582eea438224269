"""Influential words of texts, by occlusion: how much a prediction changes without each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from trainer.data.ngrams import clean_text, unspaced_share
from trainer.data.values import to_text
from trainer.metrics.arrays import FloatArray
from trainer.runs.explanations import ExplainedText, WordInfluence

MAX_PIECES = 100
"""Parts of a text that are left out; those of longer texts have several words."""
_UNSPACED_SHARE = 0.3
_MAX_CHARACTERS = 5_000

PredictFrame = Callable[[pl.DataFrame], FloatArray]


def split_pieces(text: str) -> list[str]:
    """Return the words of a text, or its characters in a script without blanks between words.

    Each includes the blank after it. There are at most `MAX_PIECES`, of several words if necessary.
    """
    if unspaced_share([text]) > _UNSPACED_SHARE:
        pieces = list(text)
    else:
        pieces = [f"{word} " for word in text.split(" ") if word]
    size = max(1, -(-len(pieces) // MAX_PIECES))
    return ["".join(pieces[start : start + size]) for start in range(0, len(pieces), size)]


def explain_texts(
    column: str,
    frame: pl.DataFrame,
    rows: Sequence[int],
    actual: Sequence[str],
    names: Sequence[str],
    predict: PredictFrame,
) -> tuple[ExplainedText, ...]:
    """Return the influence of each word of some texts on the largest output of their rows.

    It is the prediction minus the prediction without the word.

    Args:
        column: The column of text.
        frame: The rows, with all features.
        rows: Their numbers in the source.
        actual: Their targets.
        names: The names of the predictions.
        predict: Returns predictions (n, k) for a table.
    """
    cells = to_text(frame[column]).fill_null("").to_list()
    pieces = [split_pieces(clean_text(cell[:_MAX_CHARACTERS], lowercase=False)) for cell in cells]
    variants = [
        "".join(parts[:left_out] + parts[left_out + 1 :])
        for parts in pieces
        for left_out in range(len(parts))
    ]
    counts = [len(parts) for parts in pieces]
    whole = predict(frame.with_columns(pl.Series(column, ["".join(parts) for parts in pieces])))
    outputs = whole[:, : len(names)].argmax(axis=1)
    without: FloatArray = np.empty((0, whole.shape[1]))
    if variants:
        repeated = frame[np.repeat(np.arange(frame.height), counts)]
        without = predict(repeated.with_columns(pl.Series(column, variants)))
    explained = []
    start = 0
    for number, parts in enumerate(pieces):
        index = int(outputs[number])
        prediction = float(whole[number, index])
        changes = prediction - without[start : start + len(parts), index]
        start += len(parts)
        words = tuple(
            WordInfluence(part.strip(), change)
            for part, change in zip(parts, changes.tolist(), strict=True)
        )
        explained.append(
            ExplainedText(rows[number], actual[number], names[index], prediction, words)
        )
    return tuple(explained)
