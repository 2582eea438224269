"""The settings of `task: translate`: encoder and decoder, tokens of the target, decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainer.config.layers.settings import Activation, Size
from trainer.config.sections import Section
from trainer.config.task_rules import TASK_RULES
from trainer.config.tokens import Tokens

if TYPE_CHECKING:
    from trainer.config.data import Data
    from trainer.config.model import Model
    from trainer.config.schema import Config


class EncoderDecoder(Section):
    """A transformer encoder and decoder (Vaswani et al., Attention is all you need, 2017)."""

    layers: Annotated[int, Field(ge=1, le=64)] = 2
    """Number of layers of the encoder, and of the decoder."""
    heads: Annotated[int, Field(ge=1, le=256)] = 4
    """Number of attention heads, which divides the width."""
    width: Annotated[int, Field(ge=2, le=8192)] = 128
    """Dimension of the vectors of tokens and of the outputs of all layers; even."""
    feed_forward: Size | None = None
    """Units of the first dense layer of each layer; if unset, four times the width."""
    activation: Activation = "relu"
    """Activation function of that dense layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout of the vectors of tokens, and of the output of each attention and each pair of dense
    layers."""
    normalization: Literal["pre", "post"] = "pre"
    """pre: normalize the input of each attention and each pair of dense layers, and the output of
    encoder and decoder; trains without a long warm-up. post: normalize each sum, as in the paper."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """Vectors that are added for the positions of tokens."""
    tied: Literal["auto", "none", "output", "all"] = "auto"
    """Which vectors of tokens are the same weights. output: those of the target and of the output
    layer. all: those of the source, too, which needs `data.shared_vocabulary`. auto: all with a shared
    vocabulary, else output."""

    @property
    def hidden(self) -> int:
        """Units of the first dense layer of each layer."""
        return 4 * self.width if self.feed_forward is None else self.feed_forward

    def is_output_tied(self) -> bool:
        """Return whether the output layer has the vectors of the target's tokens."""
        return self.tied != "none"

    def is_source_tied(self, *, shared: bool) -> bool:
        """Return whether source and target have the same vectors; `shared`: the same tokens."""
        return self.tied == "all" or (self.tied == "auto" and shared)


class Decoding(Section):
    """How a text is chosen from the probabilities of its tokens (task: translate)."""

    beam: Annotated[int, Field(ge=1, le=64)] = 4
    """Number of texts that are continued at the same time; 1 takes the most likely token each time."""
    length_penalty: Annotated[float, Field(ge=0, le=2)] = 0.6
    """How much longer texts are preferred: the logarithm of the probability of a text with n tokens is
    divided by ((5 + n) / 6) to this power (Wu et al., 2016). Without effect for a beam of 1."""


def translates(data: Data) -> bool:
    """Return whether the target is a text."""
    return data.task != "auto" and TASK_RULES[data.task].has_text


def target_tokens(data: Data) -> Tokens:
    """Return the settings of the tokens of the target."""
    return data.tokens if data.target_tokens is None else data.target_tokens


def encoder_decoder(model: Model) -> EncoderDecoder:
    """Return the settings of the encoder and decoder of a network that translates."""
    return EncoderDecoder() if model.encoder_decoder is None else model.encoder_decoder


def with_translation_tokens(config: Config) -> Config:
    """Return the config with the settings of tokens that are `auto` and depend on the task.

    Texts are written from tokens again, so these are parts of words in upper and lower case, with tokens
    for the start and the end of a text.
    """
    data = config.data
    if not translates(data):
        return config
    changes: dict[str, Tokens] = {"tokens": _resolved(data.tokens)}
    if data.target_tokens is not None:
        changes["target_tokens"] = _resolved(data.target_tokens)
    return config.model_copy(update={"data": data.model_copy(update=changes)})


def _resolved(tokens: Tokens) -> Tokens:
    chosen: dict[str, str | bool] = {}
    if tokens.vocabulary is None and tokens.tokenizer == "auto":
        chosen["tokenizer"] = "bpe"
    if tokens.vocabulary is None and tokens.lowercase == "auto":
        chosen["lowercase"] = False
    if tokens.special_tokens == "auto":
        chosen["special_tokens"] = True
    if tokens.pad == "auto":
        chosen["pad"] = "end"
    return tokens.model_copy(update=chosen)
