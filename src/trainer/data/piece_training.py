"""Choose parts of words as tokens from the training rows: byte-pair merges (Sennrich et al., 2016).

The most frequent pair of neighboring parts becomes a part of its own, again and again. The result is a
function of the texts: of pairs with the same count, that of the smaller ids is merged first. The trainer
of the package `tokenizers` for WordPiece numbers letters in the order of a hash table, which differs
between processes; that for BPE finds the same merges as this one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from trainer.config.tokens import Tokens
from trainer.data.token_definitions import (
    CONTINUATION,
    FIRST_TOKEN,
    LAST_TOKEN,
    PAD,
    UNKNOWN,
    byte_pair_definition,
    wordpiece_definition,
)
from trainer.data.token_pieces import (
    FittedPieces,
    build_tokenizer,
    describe,
    readable,
    require_tokenizers,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer


_MAX_WORDS, _MAX_LETTERS = 200_000, 64
"""The most frequent words are used for training, in parts of this many letters."""
_MAX_COUNTED = 2_000_000
"""With more different words, those that occurred once so far are forgotten."""


@dataclass(frozen=True, slots=True)
class Merges:
    """Parts of words.

    Attributes:
        tokens: The parts: letters in the order of their code points, then merged parts.
        pairs: The pairs that were merged, in order.
    """

    tokens: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]


def train_merges(
    words: Mapping[str, int],
    max_tokens: int,
    min_count: int,
    *,
    alphabet: Iterable[str] = (),
    continuation: str = "",
) -> Merges:
    """Merge the parts of words, most frequent pairs first.

    Args:
        words: How often each word occurs.
        max_tokens: Maximum number of parts, except for `alphabet`.
        min_count: Minimum number of occurrences of a letter or a pair.
        alphabet: Letters that are parts in any case.
        continuation: What the parts after the first one of a word begin with.
    """
    ordered = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:_MAX_WORDS]
    parts: Counter[tuple[str, ...]] = Counter()
    for word, count in ordered:
        for part in _parts(word, continuation):
            parts[part] += count
    letter_counts: Counter[str] = Counter()
    for part, count in parts.items():
        for letter in part:
            letter_counts[letter] += count
    frequent = [letter for letter, count in letter_counts.items() if count >= min_count]
    frequent.sort(key=lambda letter: (-letter_counts[letter], letter))
    trainer = _Trainer(sorted({*frequent[:max_tokens], *alphabet}), continuation)
    for part, count in parts.items():
        trainer.add(part, count)
    return trainer.train(max_tokens, min_count)


def _parts(word: str, continuation: str) -> Iterator[tuple[str, ...]]:
    """Yield the letters of a word, of a long one in parts."""
    for start in range(0, len(word), _MAX_LETTERS):
        letters = word[start : start + _MAX_LETTERS]
        first = letters[0] if start == 0 else continuation + letters[0]
        yield (first, *(continuation + letter for letter in letters[1:]))


Pair = tuple[int, int]


@dataclass(slots=True)
class _Trainer:
    """The words as sequences of ids, and where each pair of ids occurs."""

    tokens: list[str]
    continuation: str
    _ids: dict[str, int] = field(init=False)
    _words: list[list[int]] = field(default_factory=list)
    _counts: list[int] = field(default_factory=list)
    _pair_counts: Counter[Pair] = field(default_factory=Counter)
    _places: defaultdict[Pair, set[int]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self._ids = {token: number for number, token in enumerate(self.tokens)}

    def add(self, letters: Sequence[str], count: int) -> None:
        """Add a word; letters that are not tokens divide it."""
        part: list[int] = []
        for letter in [*letters, ""]:
            number = self._ids.get(letter)
            if number is not None:
                part.append(number)
                continue
            if len(part) > 1:
                for pair in pairwise(part):
                    self._pair_counts[pair] += count
                    self._places[pair].add(len(self._words))
                self._words.append(part)
                self._counts.append(count)
            part = []

    def train(self, max_tokens: int, min_count: int) -> Merges:
        """Merge pairs until there are enough tokens or no pair is frequent enough."""
        queue = [(-count, pair) for pair, count in self._pair_counts.items()]
        heapify(queue)
        merged: list[tuple[str, str]] = []
        while queue and len(self.tokens) < max_tokens:
            negative, pair = heappop(queue)
            count = self._pair_counts[pair]
            if count < min_count:
                continue
            if count != -negative:
                heappush(queue, (-count, pair))
                continue
            first, second = (self.tokens[number] for number in pair)
            merged.append((first, second))
            for changed in self._merge(pair, first + second.removeprefix(self.continuation)):
                heappush(queue, (-self._pair_counts[changed], changed))
        return Merges(tuple(self.tokens), tuple(merged))

    def _merge(self, pair: Pair, token: str) -> set[Pair]:
        """Replace a pair by a token in all words; return the pairs with that token."""
        if token not in self._ids:
            self._ids[token] = len(self.tokens)
            self.tokens.append(token)
        new = self._ids[token]
        changed: set[Pair] = set()
        for place in self._places.pop(pair):
            self._merge_in(place, pair, new, changed)
        return changed

    def _merge_in(self, place: int, pair: Pair, new: int, changed: set[Pair]) -> None:
        """Replace a pair in a word, from its start on; add the pairs with the new id to `changed`."""
        word, count = self._words[place], self._counts[place]
        first, second = pair
        position = 0
        while first in word[position:-1]:
            position = word.index(first, position)
            if word[position + 1] == second:
                self._pair_counts[pair] -= count
                if position:
                    before = word[position - 1]
                    self._pair_counts[before, first] -= count
                    self._add((before, new), place, changed)
                if position + 2 < len(word):
                    after = word[position + 2]
                    self._pair_counts[second, after] -= count
                    self._add((new, after), place, changed)
                word[position : position + 2] = [new]
            position += 1

    def _add(self, pair: Pair, place: int, changed: set[Pair]) -> None:
        self._pair_counts[pair] += self._counts[place]
        self._places[pair].add(place)
        changed.add(pair)


class WordCounts:
    """Counts the words of texts, as a tokenizer divides them before it splits words into parts."""

    def __init__(self, settings: Tokens) -> None:
        require_tokenizers()
        self._settings = settings
        self._counts: Counter[str] = Counter()
        self._empty = _definition(settings, Merges((), ()))

    def add(self, texts: Iterable[str]) -> None:
        """Count the words of texts."""
        tokenizer = build_tokenizer(self._empty)
        for text in texts:
            self._counts.update(split_words(tokenizer, readable(text)))
        if len(self._counts) > _MAX_COUNTED:
            self._counts = Counter({word: n for word, n in self._counts.items() if n > 1})

    def fitted(self) -> FittedPieces | None:
        """Return the tokenizer; None without words."""
        if not self._counts:
            return None
        settings, is_bytes = self._settings, self._settings.tokenizer == "bpe"
        merges = train_merges(
            self._counts,
            settings.max_tokens,
            settings.min_count,
            alphabet=_byte_letters() if is_bytes else (),
            continuation="" if is_bytes else CONTINUATION,
        )
        if not merges.tokens:
            return None
        definition = _definition(settings, merges)
        return describe(definition, with_special_tokens=settings.has_special_tokens)


def split_words(tokenizer: Tokenizer, text: str) -> list[str]:
    """Return the words of a text."""
    normalized = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]


def _byte_letters() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return list(ByteLevel.alphabet())


def _definition(settings: Tokens, merges: Merges) -> dict[str, Any]:
    """Return the definition of a tokenizer with tokens of the training rows."""
    is_bytes = settings.tokenizer == "bpe"
    specials = [PAD] if is_bytes else [PAD, UNKNOWN]
    if settings.has_special_tokens:
        specials += [FIRST_TOKEN, LAST_TOKEN]
    vocabulary = {token: number for number, token in enumerate([*specials, *merges.tokens])}
    if is_bytes:
        return byte_pair_definition(
            vocabulary,
            merges.pairs,
            specials,
            settings.normalization,
            lowercase=settings.ignores_case,
        )
    return wordpiece_definition(
        vocabulary,
        specials,
        settings.normalization,
        lowercase=settings.ignores_case,
        strip_accents=False,
    )
