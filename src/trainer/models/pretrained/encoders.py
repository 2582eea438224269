"""Encoders of texts without Keras: what their `config.json` states, and where each array belongs.

A layer of an encoder is self-attention, then two dense layers, each added to its input and normalized
(Devlin et al., BERT, 2018). The kinds differ in the names of their arrays, in the first position, and in
what is added to the vectors of tokens:

    bert         positions from 0, and the vector of the first segment; MiniLM is of this kind
    roberta      positions from the id of padding + 1, and the vector of the only segment
    distilbert   positions from 0
    electra      as bert; vectors of tokens may be narrower than the layers, and are then projected
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainer.config.layers.base import Shape
from trainer.models.pretrained.weights_error import WeightsError

ModuleKind = Literal["table", "norm", "dense", "attention"]

_KINDS = {
    "bert": "bert", "roberta": "roberta", "xlm-roberta": "roberta", "camembert": "roberta",
    "distilbert": "distilbert", "electra": "electra",
}  # fmt: skip
_KEYS = {
    "width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
    "hidden": "intermediate_size", "activation": "hidden_act", "dropout": "hidden_dropout_prob",
}  # fmt: skip
_DISTILBERT_KEYS = {
    "width": "dim", "layers": "n_layers", "heads": "n_heads", "hidden": "hidden_dim",
    "activation": "activation", "dropout": "dropout",
}  # fmt: skip
_ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "silu": "silu", "swish": "silu", "tanh": "tanh"}
_MAX_SIZE = 10_000_000
_TRUE_FLAGS = ("is_decoder", "add_cross_attention")

_ATTENTION = (
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
)  # fmt: skip
_DISTILBERT_ATTENTION = (
    "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
)  # fmt: skip
_LAYER = {
    "attention_normalization": "attention.output.LayerNorm", "hidden": "intermediate.dense",
    "outputs": "output.dense", "normalization": "output.LayerNorm",
}  # fmt: skip
_DISTILBERT_LAYER = {
    "attention_normalization": "sa_layer_norm", "hidden": "ffn.lin1", "outputs": "ffn.lin2",
    "normalization": "output_layer_norm",
}  # fmt: skip
_IGNORED = (
    (re.compile(r"embeddings\.(position_ids|token_type_ids)"), "position and segment ids"),
    (re.compile(r"pooler\..+"), "the layer for next-sentence prediction"),
    (
        re.compile(
            r"(cls|lm_head|classifier|pre_classifier|qa_outputs|vocab_transform|vocab_layer_norm|"
            r"vocab_projector|discriminator_predictions|generator_predictions|generator_lm_head)\..+"
        ),
        "output layers of another task",
    ),
)


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder of texts.

    Attributes:
        kind: bert, roberta, distilbert or electra.
        vocabulary: Number of ids of tokens.
        positions: Number of learned positions.
        segments: Number of learned segments; 0 for none.
        embedding: Dimension of the vectors of tokens, positions and segments.
        width: Dimension of the output of each layer.
        layers: Number of layers.
        heads: Attention heads of a layer.
        hidden: Units of the first dense layer of a layer.
        activation: Its activation function.
        epsilon: Epsilon of the normalizations.
        dropout: Dropout in training.
        pad_id: The id of padding, which attention ignores.
    """

    kind: str
    vocabulary: int
    positions: int
    segments: int
    embedding: int
    width: int
    layers: int
    heads: int
    hidden: int
    activation: str
    epsilon: float
    dropout: float
    pad_id: int

    @property
    def first_position(self) -> int:
        """The position of the first token."""
        return self.pad_id + 1 if self.kind == "roberta" else 0

    @property
    def max_length(self) -> int:
        """Maximum number of tokens of a text."""
        return self.positions - self.first_position

    @property
    def is_projected(self) -> bool:
        """Whether the sum of the vectors is projected to the width of the layers."""
        return self.kind == "electra" and self.embedding != self.width

    def multiplications(self, length: int) -> int:
        """Return the approximate number of multiplications for a text."""
        layer = 4 * self.width * self.width + 2 * self.width * self.hidden
        return self.layers * length * (layer + 2 * length * self.width)

    def activations(self, length: int) -> int:
        """Return the approximate number of values kept for the gradient of a text."""
        layer = length * (10 * self.width + 2 * self.hidden) + 2 * self.heads * length * length
        return self.layers * layer + 4 * length * self.embedding


@dataclass(frozen=True, slots=True)
class Module:
    """A part of an encoder: the Keras layer that gets its arrays, and their names and shapes.

    Attributes:
        layer: Name of the Keras layer.
        kind: table: one array; norm: scale and shift; dense: a transposed kernel and a bias; attention:
            those of queries, keys, values and outputs.
        shapes: Name → shape of each array, in the order of the kind.
        depth: 0 for the embeddings, 1 for the first layer, …
    """

    layer: str
    kind: ModuleKind
    shapes: Mapping[str, Shape]
    depth: int


def encoder_modules(encoder: Encoder) -> Iterator[Module]:
    """Yield the parts of an encoder from its input to its output."""
    width, hidden = encoder.width, encoder.hidden
    dimension = encoder.embedding
    tables = {
        "words": ("word_embeddings", encoder.vocabulary),
        "positions": ("position_embeddings", encoder.positions),
        "segments": ("token_type_embeddings", encoder.segments),
    }
    for layer, (name, rows) in tables.items():
        if rows:
            yield Module(layer, "table", {f"embeddings.{name}.weight": (rows, dimension)}, 0)
    yield Module("embeddings_normalization", "norm", _norm("embeddings.LayerNorm", dimension), 0)
    if encoder.is_projected:
        shapes = _dense("embeddings_project", dimension, width)
        yield Module("embeddings_projection", "dense", shapes, 0)
    is_distilbert = encoder.kind == "distilbert"
    attention = _DISTILBERT_ATTENTION if is_distilbert else _ATTENTION
    names = _DISTILBERT_LAYER if is_distilbert else _LAYER
    for number in range(encoder.layers):
        layer = f"layer_{number}"
        prefix = f"{'transformer' if is_distilbert else 'encoder'}.layer.{number}."
        shapes = {}
        for part in attention:
            shapes |= _dense(f"{prefix}{part}", width, width)
        depth = number + 1
        yield Module(f"{layer}_attention", "attention", shapes, depth)
        for part, name in names.items():
            if part in ("hidden", "outputs"):
                sizes = (width, hidden) if part == "hidden" else (hidden, width)
                yield Module(f"{layer}_{part}", "dense", _dense(prefix + name, *sizes), depth)
            else:
                yield Module(f"{layer}_{part}", "norm", _norm(prefix + name, width), depth)


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _dense(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    """Return the shapes of a layer of PyTorch, whose kernel is transposed."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def place_arrays(
    encoder: Encoder, shapes: Mapping[str, Shape]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return where each array of a file belongs.

    Args:
        encoder: The encoder.
        shapes: Name → shape of each array of the file.

    Returns:
        The name of each array of the encoder → its name in the file; and the name of each other array →
        why it is not needed.

    Raises:
        WeightsError: An array is missing, unknown, or of another shape.
    """
    expected: dict[str, Shape] = {}
    for module in encoder_modules(encoder):
        expected |= module.shapes
    names: dict[str, str] = {}
    ignored: dict[str, str] = {}
    unknown = []
    for name in shapes:
        short = _short_name(name, encoder.kind)
        reason = next((text for rule, text in _IGNORED if rule.fullmatch(short)), None)
        if reason is not None:
            ignored[name] = reason
        elif short not in expected or short in names:
            unknown.append(name)
        else:
            names[short] = name
    missing = [name for name in expected if name not in names]
    kind = f"the arrays of the encoder in config.json ({encoder.kind})"
    if missing:
        raise WeightsError(f"{len(missing)} missing, such as '{missing[0]}',", expected=kind)
    if unknown:
        raise WeightsError(f"{len(unknown)} more, such as '{unknown[0]}',", expected=kind)
    for short, name in names.items():
        if shapes[name] != expected[short]:
            shape = f"shape {list(expected[short])} of '{name}', as in config.json"
            raise WeightsError(f"shape {list(shapes[name])}", expected=shape)
    return names, ignored


def _short_name(name: str, kind: str) -> str:
    """Return the name without that of the encoder; older files name the parts of norms otherwise."""
    short = name.removeprefix(f"{kind}.")
    if short.endswith("LayerNorm.gamma"):
        return short.removesuffix("gamma") + "weight"
    return short.removesuffix("beta") + "bias" if short.endswith("LayerNorm.beta") else short


def parse_encoder(content: Mapping[str, Any]) -> Encoder:
    """Return the encoder that a `config.json` of Hugging Face describes.

    Raises:
        WeightsError: It is of another kind, or a value is missing or invalid.
    """
    named = content.get("model_type")
    if not isinstance(named, str) or named not in _KINDS:
        found = f"model_type: {named}" if named else "no model_type"
        expected = f"a config.json with one of the model types {', '.join(_KINDS)}"
        raise WeightsError(found, expected=expected)
    kind = _KINDS[named]
    keys = _DISTILBERT_KEYS if kind == "distilbert" else _KEYS
    _check_variants(content)
    activation = content.get(keys["activation"], "gelu")
    if activation not in _ACTIVATIONS:
        expected = f"one of the activation functions {', '.join(_ACTIVATIONS)}"
        raise WeightsError(f"{keys['activation']}: {activation}", expected=expected)
    width = _size(content, keys["width"])
    encoder = Encoder(
        kind=kind,
        vocabulary=_size(content, "vocab_size"),
        positions=_size(content, "max_position_embeddings"),
        segments=0 if kind == "distilbert" else _size(content, "type_vocab_size", 2),
        embedding=_size(content, "embedding_size", width) if kind == "electra" else width,
        width=width,
        layers=_size(content, keys["layers"]),
        heads=_size(content, keys["heads"]),
        hidden=_size(content, keys["hidden"]),
        activation=_ACTIVATIONS[activation],
        epsilon=_fraction(content, "layer_norm_eps", 1e-12),
        dropout=_fraction(content, keys["dropout"], 0.1),
        pad_id=_size(content, "pad_token_id", 1 if kind == "roberta" else 0, minimum=0),
    )
    if width % encoder.heads:
        found = f"{width} and {encoder.heads}"
        expected = f"a {keys['width']} that {keys['heads']} divides"
        raise WeightsError(found, expected=expected)
    if encoder.max_length < 1 or encoder.pad_id >= encoder.vocabulary:
        found = f"{encoder.positions} positions, {encoder.vocabulary} ids"
        raise WeightsError(found, expected=f"more than pad_token_id, {encoder.pad_id}")
    return encoder


def _check_variants(content: Mapping[str, Any]) -> None:
    """Check that attention is the plain one.

    Raises:
        WeightsError: It has relative positions, or is that of a decoder.
    """
    positions = content.get("position_embedding_type", "absolute")
    if positions not in (None, "absolute"):
        expected = "an encoder with position_embedding_type: absolute"
        raise WeightsError(f"position_embedding_type: {positions}", expected=expected)
    for name in _TRUE_FLAGS:
        if content.get(name):
            raise WeightsError(f"{name}: true", expected="an encoder, not a decoder")


def _size(
    content: Mapping[str, Any], key: str, default: int | None = None, *, minimum: int = 1
) -> int:
    value = content.get(key, default)
    if value is None and default is not None:
        value = default
    if type(value) is not int or not minimum <= value <= _MAX_SIZE:
        found = "none" if value is None else repr(value)[:80]
        raise WeightsError(found, expected=f"a whole number {key} in config.json")
    return value


def _fraction(content: Mapping[str, Any], key: str, default: float) -> float:
    value = content.get(key, default)
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise WeightsError(repr(value)[:80], expected=f"a number from 0 to 1 {key} in config.json")
    return float(value)
