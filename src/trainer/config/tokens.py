"""The section `data.tokens`: how a column of text becomes a sequence of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainer.config.conflict import Conflict, conflict
from trainer.config.sections import Section

if TYPE_CHECKING:
    from trainer.config.data import Data


class Tokens(Section):
    """Encoding of a column of `kind: tokens`: the sequence of its words or characters.

    The tokens are those of the training rows; others share the id of unknown tokens. The network looks
    up a learned vector for each token and gets a sequence [length, dimension], for `conv1d`, `gru`,
    `lstm`, `transformer` and pooling layers. Shorter texts are padded at their start. Unicode is
    normalized (NFC).
    """

    unit: Literal["auto", "words", "characters"] = "auto"
    """words: runs of letters, digits and underscores, and single symbols such as emoji. characters: all
    characters. auto: characters if many letters of the training texts are of a script without blanks
    between words (Chinese, Japanese, Thai, …), otherwise words."""
    length: Annotated[int, Field(ge=1, le=4096)] = 64
    """Number of tokens of a row."""
    truncate: Literal["end", "start", "middle"] = "end"
    """Where longer texts are cut off."""
    lowercase: bool = True
    """Whether to ignore upper and lower case."""
    min_count: Annotated[int, Field(ge=1)] = 2
    """Minimum number of training rows with a token."""
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Maximum number of different tokens; those of the most training rows are kept."""
    dimension: Annotated[int, Field(ge=1, le=4096)] = 64
    """Dimension of the learned vectors of the tokens."""


def token_conflicts(data: Data) -> Iterator[Conflict]:
    """Yield conflicts of columns of tokens with each other and with a column of images."""
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
