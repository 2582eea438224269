"""Tokenizers of the package `tokenizers`, whose tokens are parts of words, stored as plain JSON.

The stored definition is all that `encode` needs: a run has no other file of its tokenizer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trainer.data.arrays import RowIndex
from trainer.data.fitted_base import FittedBase
from trainer.data.ngrams import MAX_CHARACTERS
from trainer.data.spellings import without_surrogates
from trainer.errors import DataError, Problem
from trainer.packages import install_command

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Id = Annotated[int, Field(ge=0)]

_PROBE = "a"
_MAX_BUILT = 8
_BUILT: dict[int, tuple[Mapping[str, Any], Tokenizer]] = {}
"""Identity of a definition → the definition, which keeps the identity in use, and its tokenizer."""


class DefinitionError(Exception):
    """A definition is not that of a tokenizer."""


class FittedPieces(FittedBase):
    """A tokenizer whose tokens are parts of words.

    Attributes:
        definition: The content of a `tokenizer.json`, without truncation and padding.
        size: Number of ids: the greatest one and 1.
        pad_id: The id of padding.
        unknown_id: The id of unknown tokens; None if there are none, as any byte is a token.
        prefix: The ids before each text, such as that of [CLS].
        suffix: The ids after each text, such as that of [SEP].
        source_sha256: SHA-256 of the vocabulary file; None for tokens of the training rows.
    """

    definition: dict[str, Any]
    size: Annotated[int, Field(ge=1)]
    pad_id: Id
    unknown_id: Id | None
    prefix: tuple[Id, ...]
    suffix: tuple[Id, ...]
    source_sha256: str | None = None

    @property
    def model(self) -> str:
        """The kind of tokenizer, such as WordPiece, BPE or Unigram."""
        return str(self.definition["model"].get("type", "tokens"))

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], RowIndex]:
        """Return the ids of all tokens of texts, without special tokens, and their number in each text.

        Raises:
            DataError: The package `tokenizers` is not installed.
        """
        encodings = build_tokenizer(self.definition).encode_batch_fast(
            [readable(text) for text in texts], add_special_tokens=False
        )
        parts = [np.array(encoding.ids, np.int32) for encoding in encodings]
        counts = np.array([len(part) for part in parts], np.int64)
        return np.concatenate([np.empty(0, np.int32), *parts]), counts

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Return the texts of ids, without special tokens and with single blanks.

        Raises:
            DataError: The package `tokenizers` is not installed.
        """
        tokenizer = build_tokenizer(self.definition)
        if self.definition.get("decoder") is None:
            # A decoder has no effect on `encode`.
            tokenizer.decoder = _decoder(self.definition)
        texts = tokenizer.decode_batch([list(row) for row in ids], skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Return each token as text; a special token, which has none, by its name.

        Raises:
            DataError: The package `tokenizers` is not installed.
        """
        tokenizer = build_tokenizer(self.definition)
        texts = self.decode([[token] for token in ids])
        names = [tokenizer.id_to_token(token) or "" for token in ids]
        return [text or name for text, name in zip(texts, names, strict=True)]

    def problems(self, where: str) -> Iterator[str]:
        """Yield what is inconsistent, each as text with its location.

        Raises:
            DataError: The package `tokenizers` is not installed.
        """
        try:
            expected = describe(
                self.definition, with_special_tokens=bool(self.prefix or self.suffix)
            )
        except DefinitionError as error:
            yield f"{error} at {where}.definition"
            return
        for name in ("size", "unknown_id", "prefix", "suffix"):
            if getattr(self, name) != getattr(expected, name):
                yield f"{getattr(self, name)} at {where}.{name}"
        if self.pad_id >= expected.size:
            yield f"{self.pad_id} at {where}.pad_id"


def readable(text: str) -> str:
    """Return the part of a text that is read, with U+FFFD in place of lone surrogates."""
    return without_surrogates(text[:MAX_CHARACTERS])


def describe(
    definition: dict[str, Any],
    *,
    with_special_tokens: bool,
    pad_id: int = 0,
    source_sha256: str | None = None,
) -> FittedPieces:
    """Return the tokenizer of a definition.

    Raises:
        DefinitionError: It is not that of a tokenizer.
        DataError: The package `tokenizers` is not installed.
    """
    tokenizer = build_tokenizer(definition)
    known = tokenizer.get_vocab()
    inner = list(tokenizer.encode(_PROBE, add_special_tokens=False).ids)
    whole = list(tokenizer.encode(_PROBE, add_special_tokens=True).ids)
    surplus = len(whole) - len(inner)
    starts = [start for start in range(surplus + 1) if whole[start : start + len(inner)] == inner]
    start = starts[0] if starts and with_special_tokens else 0
    model = definition["model"]
    unknown = known.get(model.get("unk_token"), model.get("unk_id"))
    return FittedPieces(
        definition=definition,
        size=max(known.values(), default=0) + 1,
        pad_id=pad_id,
        unknown_id=unknown,
        prefix=tuple(whole[:start]),
        suffix=tuple(whole[start + len(inner) :]) if with_special_tokens else (),
        source_sha256=source_sha256,
    )


def build_tokenizer(definition: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer of a definition, which is built once.

    Special tokens in a text are read as any other characters.

    Raises:
        DefinitionError: The definition is not that of a tokenizer.
        DataError: The package `tokenizers` is not installed.
    """
    built = _BUILT.get(id(definition))
    if built is not None and built[0] is definition:
        return built[1]
    require_tokenizers()
    # Otherwise the package warns on stderr whenever a process is forked.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(json.dumps(definition))
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        # The package raises Exception itself, and its panics are not even an Exception.
        raise DefinitionError(str(error) or type(error).__name__) from error
    tokenizer.encode_special_tokens = True
    while len(_BUILT) >= _MAX_BUILT:
        _BUILT.pop(next(iter(_BUILT)))
    _BUILT[id(definition)] = definition, tokenizer
    return tokenizer


def require_tokenizers() -> None:
    """Check that the package `tokenizers` is installed.

    Raises:
        DataError: It is not.
    """
    if find_spec("tokenizers") is None:
        expected, fix = (
            "tokenizers, which splits texts into parts of words",
            install_command("text"),
        )
        raise DataError(Problem("", expected, "no such package", fix))


def _decoder(definition: Mapping[str, Any]) -> Any:
    """Return what joins the tokens of a definition without a decoder: bytes, or parts of words."""
    from tokenizers import decoders

    if definition["model"].get("type") == "WordPiece":
        prefix = definition["model"].get("continuing_subword_prefix", "##")
        return decoders.WordPiece(prefix=prefix, cleanup=True)
    return decoders.ByteLevel()
