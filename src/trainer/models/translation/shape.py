"""What the network of a translation depends on, besides the config."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TranslationShape:
    """The tokens of source and target.

    Attributes:
        source_ids: Number of ids of the source.
        source_pad: The id of padding in the source.
        target_ids: Number of ids of the target.
        target_pad: The id of padding in the target.
        target_length: Number of tokens of a text that are predicted, with that of its end.
        start: The id with which a target starts.
        end: The id with which a target ends.
        shares_tokens: Whether the tokens of source and target are the same.
    """

    source_ids: int
    source_pad: int
    target_ids: int
    target_pad: int
    target_length: int
    start: int
    end: int
    shares_tokens: bool
