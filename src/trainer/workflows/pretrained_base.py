"""The pretrained network of a plan, described before the table is read. Does not import TensorFlow."""

from __future__ import annotations

from trainer.config.encoders import token_columns
from trainer.config.nodes import column_key
from trainer.config.schema import Config
from trainer.data.token_columns import TokenColumn
from trainer.errors import ConfigError, Problem
from trainer.models.pretrained.contents import check_weights
from trainer.models.pretrained.description import BaseNetwork, describe_base
from trainer.models.pretrained.encoder_folder import describe_encoder
from trainer.models.pretrained.encoders import Encoder
from trainer.models.summary import NetworkShape

_VOCABULARY = "data.tokens.vocabulary"


def describe_configured_encoder(config: Config) -> BaseNetwork | None:
    """Return the encoder of a config; None without one.

    Raises:
        ConfigError: Its folder is missing, incomplete or damaged.
    """
    settings = config.model.pretrained
    if settings is None or not token_columns(config.data):
        return None
    return describe_encoder(settings, config.data.tokens.length)


def with_pretrained(
    config: Config, network: NetworkShape, tokens: TokenColumn | None, encoder: BaseNetwork | None
) -> NetworkShape:
    """Return the shape of a network with its pretrained network, if it has one.

    Args:
        config: The config.
        network: The shape without it.
        tokens: The column of tokens.
        encoder: The encoder of the config.

    Raises:
        ConfigError: The network in the file does not fit the images, or the vocabulary the encoder.
    """
    settings = config.model.pretrained
    if settings is None:
        return network
    if encoder is not None and encoder.encoder is not None and tokens is not None:
        _check_vocabulary(tokens, encoder.encoder)
        return network.with_base(encoder)
    if network.image is not None:
        base = describe_base(settings, network.image)
        check_weights(base)
        return network.with_base(base)
    name = next(iter(token_columns(config.data)), None)
    found = "no column that it is for" if name is None else f"'{name}' is not among the features"
    fix = "keep the column in data.features, or remove model.pretrained"
    key = "model.pretrained" if name is None else column_key(name)
    raise ConfigError(Problem("", "an image or tokens for the pretrained network", found, fix, key))


def ignored_note(encoder: BaseNetwork | None) -> tuple[str, ...]:
    """Return a note on the arrays in the file of an encoder that have no place in it."""
    if encoder is None or not encoder.ignored:
        return ()
    return (f"arrays of {encoder.file} that are not needed: {', '.join(encoder.ignored)}",)


def _check_vocabulary(tokens: TokenColumn, encoder: Encoder) -> None:
    """Check that the ids of a column are those of the vectors of an encoder.

    Raises:
        ConfigError: They are of another vocabulary.
    """
    fix = f"remove {_VOCABULARY}, so that it is that of model.pretrained"
    expected, found = "", ""
    if tokens.pieces is None or tokens.pieces.source_sha256 is None:
        expected = "the vocabulary of the pretrained encoder"
        found = "tokens of the training rows"
    elif not (tokens.pieces.prefix or tokens.pieces.suffix):
        # An empty text would have no token to pool.
        expected, found = "a vocabulary with special tokens around each text, such as [CLS]", "none"
        fix = "use the tokenizer.json of the encoder"
    elif tokens.vocabulary_size > encoder.vocabulary:
        expected = f"at most {encoder.vocabulary:,} ids, as the pretrained encoder has"
        found = f"{tokens.vocabulary_size:,}"
    elif tokens.pad_id != encoder.pad_id:
        expected = f"{encoder.pad_id} as the id of padding, as in config.json of the encoder"
        found = f"{tokens.pad_id}"
    if expected:
        raise ConfigError(Problem("", expected, found, fix, _VOCABULARY))
