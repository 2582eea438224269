"""The network that `trainer init` proposes for translations, by the number and the lengths of the texts.

Sizes follow `configs/dates_translate.yaml` and `configs/phrases_translate.yaml`; for more texts, layers
are wider, up to about those of Vaswani et al. (2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from trainer.config.tokens import Tokens
from trainer.data.arrays import RowIndex
from trainer.data.ngrams import unspaced_share
from trainer.data.recipes import Effort
from trainer.data.token_columns import TokenColumn
from trainer.data.token_fitting import token_accumulator
from trainer.data.values import to_text

_SAMPLED = 20_000
"""Rows whose tokens are counted."""
_MIN_TOKENS, _MAX_TOKENS, _TOKEN_STEP = 300, 8_000, 100
_TOKENS_PER_CHARACTER = 2
"""For scripts without blanks between words, whose characters are tokens already."""
_UNSPACED = 0.3
_LENGTH_QUANTILE, _LENGTH_STEP, _MAX_LENGTH = 0.995, 8, 256
_SAME_CHARACTERS = 0.9
_FREQUENT = 50.0
"""Mean occurrences of a token, from which a network does not memorize single texts."""
# Minimum number of rows, layers, heads, width, batch size.
_SIZES = (
    (0, 2, 4, 64, 32),
    (2_000, 2, 4, 128, 64),
    (20_000, 3, 8, 256, 128),
    (200_000, 4, 8, 384, 256),
)
# Steps in which a small network learns; large tables need few epochs.
_STEPS, _MIN_EPOCHS, _MAX_EPOCHS = 3_000, 5, 100
_QUICK_PART = 3
_MIN_WORDS = 5.0
"""Mean words of a text, from which most texts have the four successive words that BLEU compares."""


@dataclass(frozen=True, slots=True)
class TranslationRecipe:
    """Properties of the texts, and the network for them.

    Attributes:
        shares_vocabulary: Whether source and target have the same tokens.
        tokens: Maximum number of tokens.
        length: Number of tokens of a text.
        layers, heads, width, dropout: The network.
        learning_rate: The greatest learning rate.
        warmup: Steps of the warm-up.
        epochs: Maximum number of epochs.
        patience: Patience of early stopping.
        batch_size: Rows per batch.
        monitor: The metric of early stopping.
        beam: Number of texts that are continued at the same time.
        lengths: The lengths of the texts, in words.
    """

    shares_vocabulary: bool
    tokens: int
    length: int
    layers: int
    heads: int
    width: int
    dropout: float
    learning_rate: float
    warmup: int
    epochs: int
    patience: int
    batch_size: int
    monitor: str
    beam: int
    lengths: str


def choose_translation_recipe(
    sources: pl.Series, targets: pl.Series, effort: Effort
) -> TranslationRecipe:
    """Choose the network for pairs of texts.

    Args:
        sources: The sources, without missing ones.
        targets: Their translations.
        effort: The training effort.

    Raises:
        DataError: The package `tokenizers` is not installed.
    """
    rows = len(sources)
    sample = np.unique(np.linspace(0, rows - 1, _SAMPLED).astype(np.int64))
    texts = [to_text(column).gather(sample).to_list() for column in (sources, targets)]
    shares = _share_characters(*texts)
    tokens = _token_limit([*texts[0], *texts[1]])
    counts = _token_counts(texts, tokens, together=shares)
    length = int(max(np.quantile(part, _LENGTH_QUANTILE) for part in counts)) + 2
    length = min(_MAX_LENGTH, -(-length // _LENGTH_STEP) * _LENGTH_STEP)
    layers, heads, width, batch_size = [size[1:] for size in _SIZES if rows >= size[0]][-1]
    if effort == "quick":
        width //= 2
    elif effort == "best":
        layers += 1
    occurrences = sum(int(part.sum()) for part in counts) * rows / len(sample) / tokens
    steps = max(1, rows * 8 // 10 // batch_size)
    epochs = min(_MAX_EPOCHS, max(_MIN_EPOCHS, round(_STEPS / steps)))
    if effort == "quick":
        epochs = max(1, epochs // _QUICK_PART)
    words = float(np.mean([text.count(" ") + 1 for text in texts[1]]))
    return TranslationRecipe(
        shares_vocabulary=shares,
        tokens=tokens,
        length=length,
        layers=layers,
        heads=heads,
        width=width,
        dropout=0.1 if occurrences >= _FREQUENT else 0.3,
        learning_rate=2e-3 if width < 256 else 1e-3,
        warmup=max(1, min(2_000, steps * epochs // 10)),
        epochs=epochs,
        patience=max(3, epochs // 5),
        batch_size=batch_size,
        monitor="val_bleu" if words >= _MIN_WORDS else "val_chrf",
        beam=1 if effort == "quick" else 4,
        lengths=f"{_mean_words(texts[0])} and {_mean_words(texts[1])}",
    )


def _mean_words(texts: list[str]) -> str:
    if unspaced_share(texts) > _UNSPACED:
        return f"{np.mean([len(text) for text in texts]):.0f} characters"
    return f"{np.mean([len(text.split()) for text in texts]):.1f} words"


def _share_characters(sources: list[str], targets: list[str]) -> bool:
    """Return whether nearly all characters of the targets are characters of the sources, too."""
    known = set().union(*sources)
    total = sum(map(len, targets))
    return sum(character in known for text in targets for character in text) >= (
        _SAME_CHARACTERS * total
    )


def _token_limit(texts: list[str]) -> int:
    """Return a maximum number of tokens: half the number of different words."""
    if unspaced_share(texts) > _UNSPACED:
        count = _TOKENS_PER_CHARACTER * len(set().union(*texts))
    else:
        count = len({word for text in texts for word in text.split()}) // 2
    rounded = -(-count // _TOKEN_STEP) * _TOKEN_STEP
    return min(_MAX_TOKENS, max(_MIN_TOKENS, rounded))


def _token_counts(texts: list[list[str]], tokens: int, *, together: bool) -> list[RowIndex]:
    """Return the number of tokens of each text of both columns, without special tokens.

    Args:
        texts: The texts of each column.
        tokens: Maximum number of tokens.
        together: Whether the columns have the same tokens.
    """
    if together:
        columns = [_fitted_tokens([*texts[0], *texts[1]], tokens)] * 2
    else:
        columns = [_fitted_tokens(column, tokens) for column in texts]
    # Without a token that occurs twice, each byte is one.
    return [
        np.array([len(text.encode()) for text in parts])
        if column is None
        else column.split(parts)[1]
        for parts, column in zip(texts, columns, strict=True)
    ]


def _fitted_tokens(texts: list[str], tokens: int) -> TokenColumn | None:
    settings = Tokens(tokenizer="bpe", special_tokens=True, lowercase=False, max_tokens=tokens)
    accumulator = token_accumulator(settings, 0)
    accumulator.add(pl.Series(texts, dtype=pl.String))
    return accumulator.fitted("text")
