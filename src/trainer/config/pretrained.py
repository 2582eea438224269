"""The section `model.pretrained`: a pretrained network in front of the hidden layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.images import image_columns
from trainer.config.optimizers import ScheduleFreeAdamW
from trainer.config.sections import Duration, Section

if TYPE_CHECKING:
    from trainer.config.schema import Config

ArchitectureName = Literal[
    "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2",
    "mobilenet_v2", "resnet50_v2",
]  # fmt: skip
ARCHITECTURE_NAMES: tuple[str, ...] = get_args(ArchitectureName)
PACKAGED = "efficientnet_lite0"
"""The architecture whose weights are in a Python package."""
SMALLEST_SIDE = 32


class Pretrained(Section):
    """A pretrained network in front of the layers: its output for each image is their input."""

    file: str | None = None
    """File with the network or its weights (.keras, .h5, .safetensors, .pth), or a folder with one such
    file, relative to the config file; nothing in it is executed. If unset, the weights of
    efficientnet_lite0 are those of an installed package."""
    architecture: ArchitectureName | None = None
    """The network, if the file has only its weights; it scales the images itself. efficientnet_lite:
    .pth and .safetensors of PyTorch; the others: .h5 of Keras Applications."""
    layer: str | None = None
    """The layer of the network in the file whose output is used; if unset, the last one before the
    output layer."""
    pool: Literal["average", "max"] = "average"
    """How an output with a height and a width becomes one number for each channel."""
    frozen: bool | Annotated[int, Field(ge=1, le=10_000)] | Duration = True
    """Which of its weights do not change. true: none changes; the output is computed once for each
    image, and cached. A number: those of the first layers with weights, as many as this. A duration
    ('5 epochs'): all until then; whole epochs use cached output, unless images are changed at random.
    Batch normalization never changes; dropout in the network is not applied while all is frozen."""
    learning_rate_factor: Annotated[float, Field(gt=0, le=1000)] = 0.1
    """Learning rate of the weights that change, divided by that of the optimizer, at every moment of a
    schedule."""

    @property
    def is_frozen(self) -> bool:
        """Whether no weight changes, so that the output is computed once."""
        return self.frozen is True

    @property
    def frozen_layers(self) -> int:
        """Number of layers with weights, from the first on, that do not change."""
        return self.frozen if type(self.frozen) is int else 0


def expand_pretrained(value: Any) -> Any:
    """Expand the name of an architecture, or else a file, to a mapping."""
    if isinstance(value, dict | BaseModel):
        return value
    return {"architecture" if value in ARCHITECTURE_NAMES else "file": value}


def pretrained_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield conflicts of `model.pretrained` with itself, `data.image` and `runtime`."""
    base, image = config.model.pretrained, config.data.image
    if base is None:
        return
    key = "model.pretrained"
    if not image_columns(config.data):
        fix = "set data.columns.NAME.kind: image, or remove model.pretrained"
        expected = "a folder of images or a column of kind image"
        yield conflict(key, expected, "neither", fix, "data.columns")
    name = base.architecture
    if base.file is None and name is None:
        yield conflict(key, "a file or an architecture", "neither", "set model.pretrained.file")
    if base.file is None and name not in (None, PACKAGED):
        fix = f"set model.pretrained.file, or use {PACKAGED}"
        yield conflict(f"{key}.architecture", f"a file with the weights of {name}", "none", fix)
    if config.runtime.precision != "float32":
        found, fix = f"runtime.precision: {config.runtime.precision}", "remove it"
        yield conflict("runtime.precision", "float32 with model.pretrained", found, fix, key)
    yield from _training_conflicts(config, base)
    yield from _frozen_conflicts(config, base)
    if name is None:
        return
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
    key = "model.pretrained.learning_rate_factor"
    if base.is_frozen and differs_from_default(base, "learning_rate_factor"):
        expected, fix = "no learning rate of a frozen network", "set model.pretrained.frozen: false"
        found = f"{base.learning_rate_factor:g}"
        yield conflict(key, expected, found, fix, "model.pretrained.frozen")
    is_averaged = isinstance(config.optimizer, ScheduleFreeAdamW)
    if is_averaged and not base.is_frozen and base.learning_rate_factor != 1:
        expected = "1 with schedule_free_adamw, whose steps also average the weights"
        found = f"{base.learning_rate_factor:g}"
        yield conflict(key, expected, found, "use adamw", "optimizer.name")


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
