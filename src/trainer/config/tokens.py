"""The section `data.tokens`: how a column of text becomes a sequence of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.sections import Section

if TYPE_CHECKING:
    from trainer.config.data import Data

Tokenizer = Literal["auto", "words", "characters", "wordpiece", "bpe"]
Truncate = Literal["end", "start", "middle"]
Normalize = Literal["nfc", "nfkc", "none"]

PIECES: tuple[Tokenizer, ...] = ("wordpiece", "bpe")
"""Tokenizers whose tokens are parts of words."""

VOCABULARY_KEY = "data.tokens.vocabulary"


class Tokens(Section):
    """Encoding of a column of `kind: tokens`: the sequence of its words, parts of words or characters.

    The tokens are those of a vocabulary file or of the training rows; others share the id of unknown
    tokens. The network looks up a learned vector for each token and gets a sequence [length, dimension],
    for `conv1d`, `gru`, `lstm`, `transformer` and pooling layers.
    """

    tokenizer: Tokenizer = "auto"
    """words: runs of letters, digits and underscores, and single symbols such as emoji. characters: all
    characters. wordpiece: words, punctuation marks and Chinese characters, of which rare words are split
    into known parts. bpe: frequent sequences of bytes, so that no token is unknown. auto: that of the
    vocabulary file; else characters if many letters of the training texts are of a script without blanks
    between words (Chinese, Japanese, Thai, …), otherwise words. wordpiece and bpe need the package
    tokenizers."""
    vocabulary: str | None = None
    """A `vocab.txt` (WordPiece) or `tokenizer.json` of a pretrained network, or a folder with one of
    them, relative to the config file. If unset, the tokens are those of the training rows."""
    length: Annotated[int, Field(ge=1, le=4096)] = 64
    """Number of tokens of a row, with special tokens. With task: translate, at most that of the longest
    training text, rounded up to a multiple of 8."""
    truncate: Truncate = "end"
    """Where longer texts are cut off."""
    pad: Literal["auto", "start", "end"] = "auto"
    """Where shorter texts are padded. auto: at the end with a vocabulary file, else at the start."""
    special_tokens: Literal["auto"] | bool = "auto"
    """Whether texts begin with [CLS] and end with [SEP], or the tokens of the vocabulary file for these.
    auto: with a vocabulary file."""
    lowercase: Literal["auto"] | bool = "auto"
    """Whether to ignore upper and lower case. auto: true, or as the vocabulary file needs."""
    normalize: Literal["auto"] | Normalize = "auto"
    """Unicode normalization. nfc: letters and accents are composed. nfkc: also, full-width letters,
    ligatures and other variants become plain characters. auto: nfc, or that of the vocabulary file."""
    min_count: Annotated[int, Field(ge=1)] = 2
    """Minimum number of training rows with a token; for wordpiece and bpe, of its occurrences."""
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Maximum number of different tokens; the most frequent ones are kept."""
    dimension: Annotated[int, Field(ge=1, le=4096)] = 64
    """Dimension of the learned vectors of the tokens."""

    @property
    def has_special_tokens(self) -> bool:
        """Whether texts begin and end with special tokens."""
        chosen = self.special_tokens
        return chosen if isinstance(chosen, bool) else self.vocabulary is not None

    @property
    def pads_at_start(self) -> bool:
        """Whether shorter texts are padded at their start."""
        return self.vocabulary is None if self.pad == "auto" else self.pad == "start"

    @property
    def ignores_case(self) -> bool:
        """Whether upper and lower case are ignored, for tokens of the training rows."""
        return self.lowercase if isinstance(self.lowercase, bool) else True

    @property
    def normalization(self) -> Normalize:
        """The Unicode normalization, for tokens of the training rows."""
        return "nfc" if self.normalize == "auto" else self.normalize


def token_conflicts(data: Data) -> Iterator[Conflict]:
    """Yield conflicts of columns of tokens with each other and with a column of images, and between the
    settings of `data.tokens`.
    """
    names = [name for name, column in data.columns.items() if column.kind == "tokens"]
    sequences = [
        *names,
        *(name for name, column in data.columns.items() if column.kind == "image" and names),
    ]
    for name in sequences[1:]:
        yield conflict(
            f"data.columns.{name}.kind",
            "one column of tokens or images",
            f"'{sequences[0]}' and '{name}'",
            "set kind: text for columns of text",
            f"data.columns.{sequences[0]}.kind",
        )
    yield from _tokenizer_conflicts(data.tokens)


def _tokenizer_conflicts(tokens: Tokens) -> Iterator[Conflict]:
    key, found = "data.tokens.tokenizer", f"tokenizer: {tokens.tokenizer}"
    if tokens.vocabulary is None:
        if tokens.special_tokens is True and tokens.tokenizer not in PIECES:
            expected = "special tokens only with a vocabulary, or with tokenizer: wordpiece or bpe"
            fix = "remove it, or set data.tokens.tokenizer: wordpiece"
            yield conflict("data.tokens.special_tokens", expected, found, fix, key, VOCABULARY_KEY)
        return
    if tokens.tokenizer in ("words", "characters"):
        expected = "tokenizer: auto with a vocabulary, which determines it"
        fix = "remove it, or remove data.tokens.vocabulary"
        yield conflict(key, expected, found, fix, VOCABULARY_KEY)
    for name in ("min_count", "max_tokens"):
        if differs_from_default(tokens, name):
            expected = f"either a vocabulary or {name}, which selects tokens of the training rows"
            fix = "remove one of the two"
            yield conflict(f"data.tokens.{name}", expected, "both", fix, VOCABULARY_KEY)
