"""The `model` section: hidden layers, then the output layer (head)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from trainer.config.augment import Augment
from trainer.config.layers.dense import Dense
from trainer.config.layers.kinds import Layer, layer_entry
from trainer.config.pretrained import Pretrained, expand_pretrained
from trainer.config.sections import Section
from trainer.config.translation import EncoderDecoder
from trainer.config.weights import Initializer, Regularizer

HeadKind = Literal["sigmoid", "softmax", "linear", "softplus", "exponential"]

POSITIVE_HEADS: tuple[HeadKind, ...] = ("softplus", "exponential")
"""Heads whose output is positive and unbounded above."""


class Model(Section):
    """The model: hidden layers, then a head that fits the target."""

    pretrained: (
        Annotated[
            Pretrained,
            BeforeValidator(expand_pretrained, json_schema_input_type=Pretrained | str),
        ]
        | None
    ) = None
    """A pretrained network whose output for an image is the input of the layers: its name, its file, or
    a mapping."""
    layers: list[Layer] = [
        layer_entry(Dense(units=64, activation="relu")),
        layer_entry(Dense(units=64, activation="relu")),
    ]
    """Hidden layers in order; [] for a linear model."""
    encoder_decoder: EncoderDecoder | None = None
    """The network of task: translate, in place of `layers`; if unset, with its default settings."""
    augment: Annotated[list[Augment], Field(max_length=32)] = []
    """Random changes of the training images, in this order and different in each epoch; a function of
    (seed, epoch, row). Validation and test images are never changed. Loss and metrics of the training
    rows in the log of epochs are of the changed images, those in evaluations are not."""
    head: Literal["auto"] | HeadKind = "auto"
    """Activation of the output layer: sigmoid (two classes, yes/no columns, numbers in [0, 1]),
    softmax (classes), linear (numbers), softplus or exponential (numbers above 0, such as counts:
    log(1 + exp(z)) or exp(z)). auto: from the target; exponential for `poisson` and
    `mean_squared_logarithmic_error`."""
    output_bias: Literal["prior", "zeros"] = "prior"
    """Initial bias of the head. prior: the untrained model predicts the class frequencies or the mean of
    the training rows. zeros: 0."""
    head_initializer: Initializer = "glorot_uniform"
    """Initializer of the head's kernel."""
    head_regularizer: Regularizer | None = None
    """Penalty on the head's kernel."""
