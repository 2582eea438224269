"""N-grams of words and characters of many texts at once, as 64-bit keys.

There is no Python loop over words: texts are joined to one array of code points, a word's key is a hash
of its characters and their positions, and the key of an n-gram a hash of the keys of its units. Two of
n different n-grams share a key with a probability of n² / 2^65: 3e-6 for ten million.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.config.tokens import Normalize
from trainer.data.arrays import RowIndex, UInt64Array
from trainer.data.hashing import mix64

Unit = Literal["words", "characters"]

MAX_CHARACTERS = 1_000_000
"""The characters of a text that are read."""

MAX_NORMALIZED = 1_000
"""Longer runs without white space are not normalized: it takes quadratic time for combining marks."""

_OTHER, _WORD, _SYMBOL, _UNKNOWN = 0, 1, 2, 255
_CLASSES = np.full(0x110000, _UNKNOWN, np.uint8)
"""The class of each code point that has occurred."""

_UNSPACED = (
    (0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3040, 0x3100), (0x3400, 0x4DC0),
    (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x40000),
)  # fmt: skip
"""Thai, Lao, Myanmar, Khmer, Kana, and Chinese characters: scripts without blanks between words."""

_SEPARATOR = ord("\n")


def clean_text(text: str, *, lowercase: bool, form: Normalize = "nfc") -> str:
    """Return a text in a Unicode normal form, with single blanks in place of white space."""
    words = text[:MAX_CHARACTERS].split()
    if form != "none" and not text.isascii():
        name: Literal["NFC", "NFKC"] = "NFC" if form == "nfc" else "NFKC"
        words = [
            word if len(word) > MAX_NORMALIZED else unicodedata.normalize(name, word)
            for word in words
        ]
    cleaned = " ".join(words)
    return cleaned.lower() if lowercase else cleaned


@dataclass(frozen=True, slots=True, eq=False)
class Ngrams:
    """N-grams of texts.

    Attributes:
        keys: Their keys.
        documents: The text of each.
        firsts: Its first unit.
        sizes: Its number of units.
    """

    keys: UInt64Array
    documents: RowIndex
    firsts: RowIndex
    sizes: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The words or characters of texts, in order.

    Attributes:
        unit: Which of the two.
        text: All texts, joined.
        starts: Position of the first character of each unit.
        stops: Position after its last one.
        keys: The key of each unit.
        documents: The text of each unit, increasing.
    """

    unit: Unit
    text: str
    starts: RowIndex
    stops: RowIndex
    keys: UInt64Array
    documents: RowIndex

    def ngrams(self, lengths: tuple[int, int]) -> Ngrams:
        """Return the n-grams of `lengths[0]` to `lengths[1]` units."""
        parts: list[tuple[UInt64Array, RowIndex, int]] = []
        keys = self.keys
        count = len(keys)
        for size in range(1, lengths[1] + 1):
            if size > 1:
                keys = mix64(keys[:-1]) + self.keys[size - 1 :]
            if size >= lengths[0] and len(keys):
                within = self.documents[: count - size + 1] == self.documents[size - 1 :]
                firsts = np.flatnonzero(within)
                parts.append((keys[firsts], firsts, size))
        if not parts:
            empty = np.empty(0, np.int64)
            return Ngrams(empty.astype(np.uint64), empty, empty, empty.astype(np.uint8))
        firsts = np.concatenate([part[1] for part in parts])
        return Ngrams(
            keys=np.concatenate([part[0] for part in parts]),
            documents=self.documents[firsts],
            firsts=firsts,
            sizes=np.concatenate([np.full(len(part[1]), part[2], np.uint8) for part in parts]),
        )

    def text_of(self, first: int, size: int) -> str:
        """Return the text of an n-gram; words are separated by a blank."""
        starts, stops = self.starts[first : first + size], self.stops[first : first + size]
        if self.unit == "characters":
            return self.text[starts[0] : stops[-1]]
        return " ".join(
            self.text[start:stop]
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
        )


def split_units(texts: Sequence[str], unit: Unit, *, shortest: int = 2) -> Units:
    """Return the words or characters of cleaned texts, which contain no line break.

    Words have at least `shortest` characters.
    """
    joined = "\n".join(texts)
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    if unit == "words":
        classes = _classes(codes)
        starts, stops = _words(classes, shortest)
        keys = _word_keys(codes, starts, stops)
    else:
        starts = np.flatnonzero(codes != _SEPARATOR)
        stops = starts + 1
        keys = mix64(codes[starts].astype(np.uint64))
    ends = np.flatnonzero(codes == _SEPARATOR)
    documents = np.searchsorted(ends, starts)
    return Units(unit, joined, starts, stops, keys, documents)


def term_keys(unit: Unit, terms: Sequence[str], max_length: int) -> UInt64Array:
    """Return the key of each term: of the n-gram of all its units."""
    units = split_units(terms, unit, shortest=1)
    ngrams = units.ngrams((1, max_length))
    counts = np.bincount(units.documents, minlength=len(terms))
    begins = np.cumsum(counts) - counts
    whole = (ngrams.sizes == counts[ngrams.documents]) & (ngrams.firsts == begins[ngrams.documents])
    keys = np.zeros(len(terms), np.uint64)
    keys[ngrams.documents[whole]] = ngrams.keys[whole]
    return keys


def unspaced_share(texts: Sequence[str]) -> float:
    """Return the share of letters in scripts without blanks between words; 0 without letters."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = codes[_classes(codes) == _WORD]
    unspaced = sum(int(np.count_nonzero((codes >= a) & (codes < b))) for a, b in _UNSPACED)
    return unspaced / max(1, len(codes))


def _classes(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return the class of each code point: part of a word, a symbol, or other."""
    classes = _CLASSES[codes]
    for code in np.unique(codes[classes == _UNKNOWN]).tolist():
        character = chr(code)
        category = unicodedata.category(character)
        is_word = character.isalnum() or character == "_" or category.startswith("M")
        _CLASSES[code] = _WORD if is_word else _SYMBOL if category == "So" else _OTHER
    return _CLASSES[codes]


def _words(classes: NDArray[np.uint8], shortest: int) -> tuple[RowIndex, RowIndex]:
    """Return where each word of `shortest` or more characters and each symbol starts and stops."""
    is_word = np.concatenate([[False], classes == _WORD, [False]])
    changes = np.flatnonzero(is_word[1:] != is_word[:-1])
    starts, stops = changes[::2], changes[1::2]
    is_long = stops - starts >= shortest
    symbols = np.flatnonzero(classes == _SYMBOL)
    starts = np.concatenate([starts[is_long], symbols])
    stops = np.concatenate([stops[is_long], symbols + 1])
    order = np.argsort(starts, kind="stable")
    return starts[order], stops[order]


def _word_keys(codes: NDArray[np.uint32], starts: RowIndex, stops: RowIndex) -> UInt64Array:
    """Return a key for each word: the sum of hashes of its characters with their positions."""
    if not len(starts):
        return np.empty(0, np.uint64)
    lengths = stops - starts
    ends = np.cumsum(lengths)
    offsets = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    characters = codes[np.repeat(starts, lengths) + offsets].astype(np.uint64)
    hashes = mix64(characters | offsets.astype(np.uint64) << np.uint64(32))
    sums: UInt64Array = np.add.reduceat(hashes, ends - lengths)
    return mix64(sums ^ lengths.astype(np.uint64))


def text_chunks(texts: Sequence[str], max_characters: int) -> list[slice]:
    """Return consecutive slices of texts of about a number of characters each, or of one text."""
    bounds, characters = [0], 0
    for index, text in enumerate(texts):
        if characters and characters + len(text) > max_characters:
            bounds.append(index)
            characters = 0
        characters += len(text) + 1
    return [slice(start, stop) for start, stop in pairwise([*bounds, len(texts)])]
