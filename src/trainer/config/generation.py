"""The sections `networks` and `generation`: a generator and a discriminator, trained in alternation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from trainer.config.images import Side
from trainer.config.layers.kinds import Layer
from trainer.config.nodes import Entry, Node, list_node, with_entry
from trainer.config.optimizers import DEFAULT_OPTIMIZER, Adam, Optimizer
from trainer.config.sections import Duration, Section, shorthand_for
from trainer.config.task_rules import TASK_RULES

if TYPE_CHECKING:
    from trainer.config.data import Data
    from trainer.config.schema import Config

GENERATE: Final = "generate"
"""The value of `data.task`."""

NETWORK_NAMES = ("generator", "discriminator")

AdversarialLoss = Literal["non_saturating", "least_squares", "wasserstein", "hinge"]

WASSERSTEIN_PENALTY = 10.0
"""The gradient penalty of the Wasserstein loss if none is set (Gulrajani et al., 2017)."""

DEFAULT_MONITOR = "frechet_distance"
"""The metric that determines the best epoch, unless another is set."""


def _default_optimizer() -> Adam:
    return Adam(name=DEFAULT_OPTIMIZER, learning_rate=2e-4, beta_1=0.5)


class Generator(Section):
    """The network that generates rows or images from random numbers."""

    layers: list[Layer]
    """Hidden layers in order; the output layer is added: one unit for each number and category, or the
    pixels of an image."""
    optimizer: Optimizer = _default_optimizer()
    """Its optimizer; if unset, adam with learning rate 0.0002 and beta_1 0.5. With `ema`, samples and
    measures are those of the averaged weights."""


class Discriminator(Section):
    """The network that separates real rows from generated ones; only used in training."""

    layers: list[Layer]
    """Hidden layers in order; an output layer with one unit is added."""
    optimizer: Optimizer = _default_optimizer()
    """Its optimizer; if unset, adam with learning rate 0.0002 and beta_1 0.5."""
    spectral_normalization: bool = False
    """Divide the kernel of each dense and convolutional layer by its spectral norm, estimated by one
    power iteration for each batch (Miyato et al., 2018)."""


class Networks(Section):
    """The two networks of task: generate."""

    generator: Generator
    discriminator: Discriminator


class InstanceNoise(Section):
    """Normal noise that is added to what the discriminator sees, real or generated."""

    stddev: Annotated[float, Field(gt=0, le=10)]
    """Its standard deviation; images have values from -1 to 1, numbers a standard deviation of 1."""
    over: Duration | None = None
    """Time over which it falls linearly to 0; if unset, it is constant."""


class Generation(Section):
    """How rows or images are generated (task: generate)."""

    latent: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Number of normal random numbers that the generator makes a sample from."""
    condition: bool = False
    """Give both networks the class of each row, the value of `data.target`, so that samples of a class
    can be drawn."""
    loss: AdversarialLoss = "non_saturating"
    """non_saturating: cross-entropy (Goodfellow et al., 2014). least_squares: squared distance of the
    scores from 1 and 0 (Mao et al., 2017). wasserstein: difference of the mean scores, with a gradient
    penalty (Gulrajani et al., 2017). hinge: hinge loss (Lim and Ye, 2017)."""
    gradient_penalty: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """Factor of the squared distance from 1 of the norm of the gradient of the discriminator, at random
    points between real and generated rows; if unset, 10 for wasserstein, else 0."""
    discriminator_steps: Annotated[int, Field(ge=1, le=100)] = 1
    """Updates of the discriminator, each on `fit.batch_size` real rows, for each update of the
    generator. An epoch passes once through the training rows; the rest that is too small for a step is
    left out, a different one in each epoch."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """The label of real rows is 1 minus this, for the losses non_saturating and least_squares."""
    instance_noise: (
        Annotated[
            InstanceNoise,
            BeforeValidator(shorthand_for("stddev"), json_schema_input_type=InstanceNoise | float),
        ]
        | None
    ) = None
    """Noise on what the discriminator sees; if unset, none."""
    image: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    """Side, or [height, width], of the images that the columns of a table are the pixels of, row by row;
    with three times as many columns, the channels of a pixel are next to each other. Not for folders of
    images, whose size is `data.image.size`."""
    measured: Annotated[int, Field(ge=50, le=50_000)] = 1000
    """Maximum number of samples, and of rows, that the measures of an epoch compare."""


def resolved_penalty(settings: Generation) -> float:
    """Return the factor of the gradient penalty."""
    if settings.gradient_penalty is not None:
        return settings.gradient_penalty
    return WASSERSTEIN_PENALTY if settings.loss == "wasserstein" else 0.0


def generates(data: Data) -> bool:
    """Return whether rows or images are generated, instead of predictions."""
    return data.task != "auto" and TASK_RULES[data.task].is_generated


def with_generation_defaults(root: Node) -> Node:
    """Return the tree with what `data.task: generate` implies: a target is not needed."""
    data = None if root.entries is None else root.entries.get("data")
    if data is None or data.node.entries is None or "target" in data.node.entries:
        return root
    task = data.node.entries.get("task")
    if task is None or task.node.content != GENERATE:
        return root
    target = Entry(task.location, list_node((), task.location), explicit=False)
    section = with_entry(data.node, "target", target)
    return with_entry(root, "data", Entry(data.location, section, data.explicit))


def with_generation_monitor(config: Config) -> Config:
    """Return the config of task: generate with its own default monitor: there is no `val_loss`."""
    fit = config.fit
    if not generates(config.data):
        return config
    stopping, checkpoint = fit.early_stopping, fit.checkpoint
    monitor = DEFAULT_MONITOR
    changes: dict[str, Any] = {}
    if stopping is not None:
        if stopping.monitor == "val_loss":
            stopping = stopping.model_copy(update={"monitor": monitor})
        changes["early_stopping"], monitor = stopping, stopping.monitor
    if checkpoint.monitor is None:
        changes["checkpoint"] = checkpoint.model_copy(update={"monitor": monitor})
    return config.model_copy(update={"fit": fit.model_copy(update=changes)})
