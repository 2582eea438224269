"""The section `model.pretrained`: a pretrained network in front of the hidden layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.encoders import (
    ENCODER_NAMES,
    EncoderName,
    Lora,
    encoder_conflicts,
    image_network_conflicts,
    token_columns,
)
from trainer.config.images import image_columns
from trainer.config.optimizers import ScheduleFreeAdamW
from trainer.config.sections import Duration, Section
from trainer.config.text import text_columns

if TYPE_CHECKING:
    from trainer.config.schema import Config

ArchitectureName = Literal[
    "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2",
    "mobilenet_v2", "resnet50_v2",
]  # fmt: skip
ARCHITECTURE_NAMES: tuple[str, ...] = get_args(ArchitectureName)
PRETRAINED_NAMES: tuple[str, ...] = (*ARCHITECTURE_NAMES, *ENCODER_NAMES)
PACKAGED = "efficientnet_lite0"
"""The architecture whose weights are in a Python package."""
SMALLEST_SIDE = 32


class Pretrained(Section):
    """A pretrained network in front of the layers: its output for each image or text is their input."""

    file: str | None = None
    """For images: file with the network or its weights (.keras, .h5, .safetensors, .pth), or a folder
    with one such file. For texts: folder of an encoder in the layout of Hugging Face (config.json,
    model.safetensors, and vocab.txt or tokenizer.json) of the kind BERT (as MiniLM), RoBERTa,
    DistilBERT or ELECTRA. Relative to the config file; nothing in it is executed. If unset, the weights
    of efficientnet_lite0 and all_minilm_l6_v2 are those of an installed package."""
    architecture: ArchitectureName | EncoderName | None = None
    """The network, if the file has only its weights; it scales the images itself. efficientnet_lite:
    .pth and .safetensors of PyTorch; the others: .h5 of Keras Applications. all_minilm_l6_v2 is an
    encoder of English texts, without a file."""
    layer: str | None = None
    """The layer of the network in the file whose output is used; if unset, the last one before the
    output layer. Not for encoders of texts."""
    pool: Literal["average", "max", "cls"] = "average"
    """How an output with a height and a width, or a length, becomes one number for each channel.
    average: the mean, of texts without padding. max: of images only. cls: of texts only, the output of
    the first token."""
    frozen: bool | Annotated[int, Field(ge=1, le=10_000)] | Duration = True
    """Which of its weights do not change. true: none changes; the output is computed once for each
    image or text, and cached. A number: those of the first layers with weights, as many as this; of an
    encoder, those of the embeddings and of as many layers. A duration ('5 epochs'): all until then;
    whole epochs use cached output, unless images are changed at random. Batch normalization never
    changes; dropout in the network is not applied while all is frozen."""
    lora: Lora | None = None
    """Train low-rank adapters of an encoder in place of its weights."""
    learning_rate_factor: Annotated[float, Field(gt=0, le=1000)] = 0.1
    """Learning rate of the weights that change, divided by that of the optimizer, at every moment of a
    schedule."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of each layer of an encoder, divided by that of the layer after it; the last layer
    has that of learning_rate_factor."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout of the embeddings and of both parts of each layer of an encoder in training, not of
    attention weights; if unset, that of its config.json."""

    @property
    def is_frozen(self) -> bool:
        """Whether no weight changes, so that the output is computed once."""
        return self.frozen is True and self.lora is None

    @property
    def frozen_layers(self) -> int:
        """Number of layers with weights, from the first on, that do not change."""
        return self.frozen if type(self.frozen) is int else 0


def expand_pretrained(value: Any) -> Any:
    """Expand the name of an architecture, or else a file, to a mapping."""
    if isinstance(value, dict | BaseModel):
        return value
    return {"architecture" if value in PRETRAINED_NAMES else "file": value}


def pretrained_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield conflicts of `model.pretrained` with itself, `data` and `runtime`."""
    base = config.model.pretrained
    if base is None:
        return
    key = "model.pretrained"
    if base.file is None and base.architecture is None:
        yield conflict(key, "a file or an architecture", "neither", "set model.pretrained.file")
    if config.runtime.precision != "float32":
        found, fix = f"runtime.precision: {config.runtime.precision}", "remove it"
        yield conflict("runtime.precision", "float32 with model.pretrained", found, fix, key)
    yield from _training_conflicts(config, base)
    if image_columns(config.data):
        yield from image_network_conflicts(base)
        yield from _image_conflicts(config, base)
        yield from _frozen_conflicts(config, base)
    elif token_columns(config.data):
        yield from encoder_conflicts(config, base)
    else:
        texts = text_columns(config.data)
        fix = "set data.columns.NAME.kind: image or tokens, or remove model.pretrained"
        if texts:
            fix = f"set data.columns.{texts[0]}.kind: tokens, or remove model.pretrained"
        expected = "a folder of images, or a column of kind image or tokens"
        found = "a column of kind text, of which n-grams are used" if texts else "none"
        yield conflict(key, expected, found, fix, "data.columns")


def _image_conflicts(config: Config, base: Pretrained) -> Iterator[Conflict]:
    """Yield conflicts of an architecture with its file and with `data.image`."""
    key, name, image = "model.pretrained", base.architecture, config.data.image
    if name not in ARCHITECTURE_NAMES:
        return
    if base.file is None and name != PACKAGED:
        fix = f"set model.pretrained.file, or use {PACKAGED}"
        yield conflict(f"{key}.architecture", f"a file with the weights of {name}", "none", fix)
    if base.layer is not None:
        fix = "remove it, or the architecture if the file has the whole network"
        expected = "no layer with an architecture, whose last output is used"
        yield conflict(f"{key}.layer", expected, base.layer, fix, f"{key}.architecture")
    if image.shape[2] != 3:
        fix = "remove data.image.color"
        yield conflict("data.image.color", f"rgb, which {name} takes", image.color, fix, key)
    if min(image.shape[:2]) < SMALLEST_SIDE:
        expected = f"images of at least {SMALLEST_SIDE} pixels for {name}"
        found = f"{min(image.shape[:2])}"
        yield conflict("data.image", expected, found, "set data.image.size: 224", key)
    if differs_from_default(image, "scale"):
        expected = f"no scale with {name}, which scales images itself"
        yield conflict("data.image.scale", expected, "one", "remove data.image.scale", key)


def _training_conflicts(config: Config, base: Pretrained) -> Iterator[Conflict]:
    for name in ("learning_rate_factor", "layer_decay"):
        if base.is_frozen and differs_from_default(base, name):
            expected, fix = (
                "no learning rate of a frozen network",
                "set model.pretrained.frozen: false",
            )
            found = f"{getattr(base, name):g}"
            yield conflict(
                f"model.pretrained.{name}", expected, found, fix, "model.pretrained.frozen"
            )
    factor = base.learning_rate_factor
    has_factors = factor != 1 or base.layer_decay != 1
    is_averaged = isinstance(config.optimizer, ScheduleFreeAdamW)
    if is_averaged and has_factors and not base.is_frozen and base.lora is None:
        name = "learning_rate_factor" if factor != 1 else "layer_decay"
        expected = "1 with schedule_free_adamw, whose steps also average the weights"
        found = f"{getattr(base, name):g}"
        yield conflict(f"model.pretrained.{name}", expected, found, "use adamw", "optimizer.name")


def _frozen_conflicts(config: Config, base: Pretrained) -> Iterator[Conflict]:
    """Yield random changes of images, which a frozen network sees once."""
    changes = {"model.augment": bool(config.model.augment),
               "data.image.random_crop": config.data.image.random_crop}  # fmt: skip
    for key, is_set in changes.items():
        if base.is_frozen and is_set:
            expected = (
                "no random changes of images, whose output of the pretrained network is cached"
            )
            fix = f"set model.pretrained.frozen: false, or remove {key}"
            yield conflict(key, expected, "some", fix, "model.pretrained.frozen")
