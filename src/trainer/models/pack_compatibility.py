"""Which networks can be trained as one pack: the shape they must share, and what rules a pack out.

    shape      layers, their sizes and kinds; optimizer; loss; rows and steps
    free       seed, initialisers, learning rate and schedule, coefficients, penalties, rates of dropout,
               label smoothing, class weights, decisions, and which rows are theirs

Owns: the two lists above, how much memory a member takes. Does not own: the pack itself
(`trainer.models.stacking`, `trainer.engine.packs`). No Keras.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.config.layers import (
    AnyLayer,
    CustomLayer,
    Dense,
    DenseLayer,
    DropoutLayer,
    GaussianNoiseLayer,
    HeadKind,
)
from trainer.config.objectives import LossName
from trainer.config.optimizers import AnyOptimizer
from trainer.config.schema import Config

UNSTACKABLE = ("adafactor", "lamb", "muon", "schedule_free_adamw")
"""Optimizers whose update looks at a whole variable at once, or at a state that is one for all."""

_FREE_COEFFICIENTS = {
    "beta_1", "beta_2", "epsilon", "rho", "momentum", "weight_decay", "clip_norm",
    "global_clip_norm", "clip_value", "l1", "l2", "l2_shrinkage", "beta",
}  # fmt: skip
_FREE_OF_DENSE = (
    "kernel_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
)


@dataclass(frozen=True, slots=True)
class ModelDimensions:
    """What of a network's shape comes from its data.

    Attributes:
        width: Columns of x.
        embeddings: (levels, dimension) of each embedded column.
        head: The kind of the last layer.
        outputs: Its units.
        loss: The name of the loss.
        rows: Training rows.
        judged: Validation rows.
        steps: Batches of the whole training.
    """

    width: int
    embeddings: tuple[tuple[int, int], ...]
    head: HeadKind
    outputs: int
    loss: LossName
    rows: int
    judged: int
    steps: int


def incompatible_reason(config: Config, sizes: ModelDimensions) -> str | None:
    """What keeps a network out of packs, in words; None where nothing does."""
    fit = config.fit
    batches = -(-sizes.rows // min(fit.batch_size, sizes.rows))
    reasons = {
        "a layer of the user's own": any(
            isinstance(layer, CustomLayer) for layer in config.model.layers
        ),
        # Keras updates the vectors of a batch's levels by rules of their own.
        "embedded columns": bool(sizes.embeddings),
        "a callback of the user's own": bool(fit.callbacks),
        f"runtime.precision: {config.runtime.precision}": config.runtime.precision != "float32",
        "runtime.engine: streaming": config.runtime.engine == "streaming",
        f"optimizer.name: {config.optimizer.name}": config.optimizer.name in UNSTACKABLE,
        "fit.on_nonfinite: rollback": fit.on_nonfinite.action == "rollback",
        "fit.max_seconds": fit.max_seconds is not None,
        "fit.steps that are no whole epochs": sizes.steps % batches != 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def pack_key(config: Config, sizes: ModelDimensions) -> str:
    """What networks of one pack have in common, as a text to be compared."""
    facts = {
        "width": sizes.width,
        "head": sizes.head,
        "outputs": sizes.outputs,
        "rows": sizes.rows,
        "judged": sizes.judged > 0,
        "steps": sizes.steps,
        "batch_size": min(config.fit.batch_size, sizes.rows),
        "loss": config.loss.model_dump(exclude={"label_smoothing"}) | {"name": sizes.loss},
        "layers": [_layer_shape(layer) for layer in config.model.layers],
        "optimizer": _optimizer_shape(config.optimizer),
    }
    return json.dumps(facts, sort_keys=True)


def _layer_shape(layer: AnyLayer) -> Any:
    match layer:
        case DenseLayer(dense=dense):
            return {"dense": _dense_shape(dense)}
        # Without any, Keras makes no seed generator.
        case DropoutLayer(dropout=dropout):
            return {"dropout": dropout.rate > 0}
        case GaussianNoiseLayer(gaussian_noise=noise):
            return {"gaussian_noise": noise.stddev > 0}
        case _:
            return layer.model_dump(mode="json")


def _dense_shape(dense: Dense) -> dict[str, Any]:
    return dense.model_dump(mode="json", exclude=set(_FREE_OF_DENSE))


def _optimizer_shape(optimizer: AnyOptimizer) -> dict[str, Any]:
    settings = optimizer.model_dump(mode="json", exclude={"learning_rate", "schedule"})
    free = set(_FREE_COEFFICIENTS)
    if optimizer.name == "nadam":
        # Its product of decays is one number for all that the optimizer updates.
        free.remove("beta_1")
    for name in free & set(settings):
        # Keras leaves out what is None or has no momentum at all.
        absent = settings[name] is None or (name == "momentum" and settings[name] == 0)
        settings[name] = "absent" if absent else "any"
    if optimizer.ema is not None:
        settings["ema"] = optimizer.ema.model_dump(mode="json", exclude={"momentum"})
    return settings


def member_bytes(
    config: Config,
    sizes: ModelDimensions,
    parameters: int,
    output_shapes: Sequence[tuple[int, ...]],
) -> int:
    """Memory that one more member of a pack takes, about: on the device and while it is recorded.

    Args:
        config: Its experiment.
        sizes: Its sizes.
        parameters: Weights of its network.
        output_shapes: Of one sample, after each layer.
    """
    # Weights, gradients, two slots and an average on the device; the best, the last and a copy beside.
    weights = 4 * parameters * 8
    batch = min(config.fit.batch_size, sizes.rows)
    widths = sum(_count(shape) for shape in output_shapes) + sizes.width
    activations = 4 * 3 * batch * widths
    predictions = 4 * 3 * (sizes.rows + sizes.judged) * sizes.outputs
    orders = 4 * 4 * (sizes.rows + sizes.judged)
    return weights + activations + predictions + orders


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
