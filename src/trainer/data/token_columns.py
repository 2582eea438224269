"""A column of text as a sequence of tokens, which are words, parts of words or characters.

Ids of words and characters are 0 for padding, 1 for unknown tokens, then those of the tokens; ids of
parts of words are those of their vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from trainer.config.tokens import Normalize, Truncate
from trainer.data.arrays import BoolArray, RowIndex
from trainer.data.fitted_base import FittedBase
from trainer.data.ngrams import Unit, Units, clean_text, split_units, text_chunks
from trainer.data.text_columns import CHUNK_CHARACTERS, sorted_keys
from trainer.data.token_pieces import FittedPieces
from trainer.data.values import to_text
from trainer.inputs import TOKENS, InputSpec

PADDING, UNKNOWN, FIRST = 0, 1, 2
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]

_MANY_UNKNOWN = 0.1
_MANY_UNKNOWN_WORDS = 0.3


class TokenCounts(FittedBase):
    """Counts of the training texts; for parts of words, of the first 10,000.

    Attributes:
        texts: Texts that are not missing.
        empty: Texts without tokens.
        truncated: Texts with more tokens than the length.
        tokens: Tokens, without special tokens.
        unknown: Those that are unknown.
        cut_off: Those beyond the length.
        characters: Characters that are not white space.
    """

    texts: Count = 0
    empty: Count = 0
    truncated: Count = 0
    tokens: Count = 0
    unknown: Count = 0
    cut_off: Count = 0
    characters: Count = 0

    def share(self, count: int) -> float:
        """Return a number of tokens as a share of all tokens."""
        return count / max(1, self.tokens)


class TokenColumn(FittedBase):
    """A fitted column of tokens.

    Attributes:
        missing: Training rows without a value.
        counts: Counts of the training texts.
        unit: What tokens are.
        lowercase: Whether upper and lower case of words and characters are ignored.
        normalize: Unicode normalization of words and characters.
        length: Number of tokens of a row, with special tokens.
        truncate: Where longer texts are cut off.
        pads_at_start: Whether shorter texts are padded at their start, or at their end.
        tokens: Words or characters, those of the most training rows first.
        pieces: The tokenizer of parts of words.
        dimension: Dimension of the learned vectors.
    """

    kind: Literal["tokens"] = "tokens"
    name: str
    missing: Count
    counts: TokenCounts
    unit: Unit | Literal["pieces"]
    lowercase: bool
    normalize: Normalize
    length: Positive
    truncate: Truncate
    pads_at_start: bool
    tokens: tuple[str, ...] = ()
    pieces: FittedPieces | None = None
    dimension: Positive

    @property
    def coverage(self) -> str:
        """How much of the training texts the tokens and the length cover, in words."""
        counts = self.counts
        if self.pieces is None:
            known = 1 - counts.share(counts.unknown)
            text = f"the {len(self.tokens):,} {self.unit} are {known:.0%} of those in the training texts"
        else:
            text = (
                f"{self.pieces.model} with {self.pieces.size:,} tokens, "
                f"{counts.share(counts.unknown):.0%} of the tokens of {counts.texts:,} training texts "
                "are unknown"
            )
        return (
            f"{text}; {counts.truncated:,} texts are longer than {self.room:,}, which cuts off "
            f"{counts.share(counts.cut_off):.0%} of the tokens; {counts.empty:,} are empty, "
            f"{self.missing:,} missing"
        )

    @property
    def warning(self) -> str:
        """Why the tokens do not fit the training texts; empty if they do."""
        counts, name = self.counts, self.name
        unknown = counts.share(counts.unknown)
        if self.pieces is None:
            if self.unit == "characters" or unknown <= _MANY_UNKNOWN_WORDS:
                return ""
            return (
                f"{unknown:.0%} of the words of '{name}' are unknown, as they are in few training rows; "
                "data.tokens.tokenizer: wordpiece splits them into known parts"
            )
        fix = (
            "the vocabulary does not fit the language of the texts; use that of a network for this "
            "language, or remove data.tokens.vocabulary"
        )
        if self.pieces.source_sha256 is None:
            return ""
        if unknown > _MANY_UNKNOWN:
            return f"{unknown:.0%} of the tokens of '{name}' are unknown: {fix}"
        if counts.tokens > counts.characters:
            rate = counts.tokens / max(1, counts.characters)
            return f"'{name}' has {rate:.1f} tokens for each character: {fix}"
        return ""

    @property
    def features(self) -> tuple[str, ...]:
        """The columns of the input `features`: none, as tokens are an input of their own."""
        return ()

    @property
    def spec(self) -> InputSpec:
        """The input of the network."""
        return InputSpec(TOKENS, (self.length,), "int32")

    @property
    def vocabulary_size(self) -> int:
        """Number of ids: the greatest one and 1."""
        return FIRST + len(self.tokens) if self.pieces is None else self.pieces.size

    @property
    def pad_id(self) -> int:
        """The id of padding."""
        return PADDING if self.pieces is None else self.pieces.pad_id

    @property
    def unknown_id(self) -> int | None:
        """The id of unknown tokens; None if there are none."""
        return UNKNOWN if self.pieces is None else self.pieces.unknown_id

    @property
    def room(self) -> int:
        """Number of tokens of a row that are not special tokens."""
        ends = () if self.pieces is None else (*self.pieces.prefix, *self.pieces.suffix)
        return self.length - len(ends)

    @property
    def vectors(self) -> tuple[int, int]:
        """(number of ids, dimension) of the vectors of tokens."""
        return self.vocabulary_size, self.dimension

    def encode(self, series: pl.Series) -> tuple[NDArray[np.int32], BoolArray]:
        """Return the ids of each row, int32 (n, length), and the mask of texts without a known token.

        Raises:
            DataError: Tokens are parts of words, and the package `tokenizers` is not installed.
        """
        texts = to_text(series).fill_null("").to_list()
        ids = np.full((len(texts), self.length), self.pad_id, np.int32)
        unknown = np.zeros(len(texts), np.bool_)
        for part in text_chunks(texts, CHUNK_CHARACTERS):
            tokens, counts = self.split(texts[part])
            unknown[part] = self._put(tokens, counts, ids[part])
        return ids, unknown

    def split(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], RowIndex]:
        """Return the ids of all tokens of texts, without special tokens, and their number in each text.

        Raises:
            DataError: Tokens are parts of words, and the package `tokenizers` is not installed.
        """
        if self.pieces is not None:
            return self.pieces.encode(texts)
        assert self.unit != "pieces", "there are pieces"
        units = tokens_of(
            [clean_text(text, lowercase=self.lowercase, form=self.normalize) for text in texts],
            self.unit,
        )
        keys, order = sorted_keys(self.unit, self.tokens, 1)
        places = np.minimum(np.searchsorted(keys, units.keys), len(keys) - 1)
        ids = np.where(keys[places] == units.keys, FIRST + order[places], UNKNOWN)
        return ids.astype(np.int32), np.bincount(units.documents, minlength=len(texts))

    def _put(
        self, tokens: NDArray[np.int32], counts: RowIndex, ids: NDArray[np.int32]
    ) -> BoolArray:
        """Write the ids of texts, and return the mask of texts without a known token.

        Args:
            tokens: The ids of all their tokens.
            counts: Number of tokens of each text.
            ids: (n, length), filled with padding.
        """
        prefix = () if self.pieces is None else self.pieces.prefix
        suffix = () if self.pieces is None else self.pieces.suffix
        rows = np.arange(len(counts))
        used = np.minimum(counts, self.room)
        firsts = self.room - used if self.pads_at_start else np.zeros_like(used)
        texts = np.repeat(rows, counts)
        ranks = np.arange(len(tokens)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept, slots = self._slots(ranks, (counts - used)[texts])
        slots = slots + firsts[texts] + len(prefix)
        ids[texts[kept], slots[kept]] = tokens[kept]
        for offset, token in enumerate(prefix):
            ids[rows, firsts + offset] = token
        for offset, token in enumerate(suffix):
            ids[rows, firsts + len(prefix) + used + offset] = token
        unknown_id = -1 if self.unknown_id is None else self.unknown_id
        known = np.bincount(texts[kept & (tokens != unknown_id)], minlength=len(counts))
        only_unknown: BoolArray = (counts > 0) & (known == 0)
        return only_unknown

    def _slots(self, ranks: RowIndex, surplus: RowIndex) -> tuple[BoolArray, RowIndex]:
        """Return which tokens are kept, and their position among those that are.

        Args:
            ranks: Number of tokens before each token in its text.
            surplus: Number of tokens of its text that are cut off.
        """
        match self.truncate:
            case "end":
                return ranks < self.room, ranks
            case "start":
                return ranks >= surplus, ranks - surplus
            case "middle":
                half = (self.room + 1) // 2
                is_later = ranks >= half
                kept = ~is_later | (ranks >= half + surplus)
                return kept, np.where(is_later, ranks - surplus, ranks)


def tokens_of(texts: Sequence[str], unit: Unit) -> Units:
    """Return the tokens of cleaned texts; words of one letter are tokens, too."""
    return split_units(texts, unit, shortest=1)
