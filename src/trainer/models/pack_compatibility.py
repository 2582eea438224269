"""Which networks can be trained as one pack: the settings they must share, and what rules packs out.

    shared     layers, their sizes and kinds; optimizer; loss; batch size, number of steps
    free       seed, initializers, learning rate and schedule, coefficients, regularizers, dropout rates,
               label smoothing, class weights, early stopping, number of features before a dense layer,
               number of rows in the last batch, and which rows a member is trained on

Does not import Keras. Packs are built in `trainer.models.stacking` and `trainer.engine.packs`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from trainer.config.layers.base import LayerKind
from trainer.config.layers.components import PrincipalComponents
from trainer.config.layers.dense import Dense
from trainer.config.layers.scaling import LearnedScale
from trainer.config.losses import Loss
from trainer.config.optimizers import AnyOptimizer
from trainer.config.schema import Config
from trainer.inputs import FEATURES
from trainer.models.summary import NetworkShape

_FREE_COEFFICIENTS = {
    "beta_1", "beta_2", "epsilon", "rho", "momentum", "weight_decay", "clip_norm",
    "global_clip_norm", "clip_value", "l1", "l2", "l2_shrinkage", "beta",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelDimensions:
    """Dimensions of a network and its training that depend on the data.

    Attributes:
        network: Its inputs and its output layer.
        loss: The loss; its name is never `auto`.
        rows: Number of training rows.
        validation_rows: Number of validation rows.
        steps: Batches of the whole training run.
    """

    network: NetworkShape
    loss: Loss
    rows: int
    validation_rows: int
    steps: int


def incompatible_reason(config: Config, dimensions: ModelDimensions) -> str | None:
    """Return why a network cannot be trained in a pack, as text, or None if it can."""
    fit = config.fit
    steps_per_epoch = -(-dimensions.rows // fit.batch_size)
    reasons = {
        **{
            _layer_reason(layer.settings): layer.settings.stacking is None
            for layer in config.model.layers
        },
        "a pretrained network that is not frozen": dimensions.network.base is not None,
        "an image as an input": dimensions.network.image is not None,
        "tokens as an input": dimensions.network.tokens is not None,
        "compressed weights": config.compress.is_set,
        "an encoder and decoder": dimensions.network.translation is not None,
        "a callback": bool(fit.callbacks),
        f"runtime.precision: {config.runtime.precision}": config.runtime.precision != "float32",
        "runtime.engine: streaming": config.runtime.engine == "streaming",
        f"optimizer.name: {config.optimizer.name}": not config.optimizer.stackable,
        "fit.on_nonfinite: rollback": fit.on_nonfinite.action == "rollback",
        "fit.max_seconds": fit.max_seconds is not None,
        "fit.steps that is not an integer number of epochs": dimensions.steps % steps_per_epoch
        != 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _layer_reason(layer: LayerKind) -> str:
    if not layer.convolutional:
        return f"a {layer.kind} layer"
    # CPU time of a step of a network with two convolutions of 8 and 16 filters, batch 32, on one core,
    # alone and in a pack of 5: 2.6 and 5.8 ms for 28 × 28 pixels (as a grouped convolution 3.9, as 5
    # convolutions 4.0), but 1.1 and 0.4 ms for 8 × 8.
    return f"a {layer.kind} layer, which trains faster alone unless images are tiny"


def pack_key(config: Config, dimensions: ModelDimensions) -> str:
    """Return a string that is equal for networks that can be trained in the same pack."""
    steps_per_epoch = -(-dimensions.rows // config.fit.batch_size)
    shared = {
        "network": _shared_shape(config, dimensions.network),
        "has_validation": dimensions.validation_rows > 0,
        "steps": dimensions.steps,
        "steps_per_epoch": steps_per_epoch,
        "batch_size": config.fit.batch_size if steps_per_epoch > 1 else "all rows",
        "loss": dimensions.loss.model_dump(exclude={"label_smoothing"}),
        "layers": [
            {layer.settings.kind: layer.settings.shared_settings()} for layer in config.model.layers
        ],
        "optimizer": _shared_optimizer_settings(config.optimizer),
    }
    return json.dumps(shared, sort_keys=True)


def _shared_shape(config: Config, network: NetworkShape) -> dict[str, Any]:
    """Return the shape of the network, without the number of features if a kernel follows them."""
    shape = asdict(network)
    layers = (layer.settings for layer in config.model.layers)
    first = next((layer for layer in layers if not isinstance(layer, LearnedScale)), None)
    if first is None or isinstance(first, Dense | PrincipalComponents):
        for spec in shape["inputs"]:
            if spec["name"] == FEATURES and len(spec["shape"]) == 1:
                spec["shape"] = "any"
    return shape


def _shared_optimizer_settings(optimizer: AnyOptimizer) -> dict[str, Any]:
    settings = optimizer.model_dump(mode="json", exclude={"learning_rate", "schedule"})
    free = set(_FREE_COEFFICIENTS)
    if optimizer.name == "nadam":
        # Its running product of beta_1 is a single value for all variables.
        free.remove("beta_1")
    for name in free & set(settings):
        # Keras skips terms that are None, and momentum if it is 0.
        absent = settings[name] is None or (name == "momentum" and settings[name] == 0)
        settings[name] = "absent" if absent else "any"
    if optimizer.ema is not None:
        settings["ema"] = optimizer.ema.model_dump(mode="json", exclude={"momentum"})
    return settings


def member_bytes(
    config: Config,
    dimensions: ModelDimensions,
    parameters: int,
    output_shapes: Sequence[tuple[int, ...]],
) -> int:
    """Estimate the memory of one member of a pack, on the device and for its checkpoints.

    Args:
        config: Config of the network.
        dimensions: Its dimensions.
        parameters: Number of weights.
        output_shapes: Output shape of each layer for one sample.
    """
    # On the device: weights, gradients, two optimizer variables and an average. In memory: the best
    # weights, the latest weights and a copy.
    weights = 4 * parameters * 8
    batch = min(config.fit.batch_size, dimensions.rows)
    input_shapes = [spec.shape for spec in dimensions.network.inputs]
    values_per_sample = sum(map(prod, [*input_shapes, *output_shapes]))
    activations = 4 * 3 * batch * values_per_sample
    predictions = (
        4 * 3 * (dimensions.rows + dimensions.validation_rows) * dimensions.network.outputs
    )
    shuffle_orders = 4 * 4 * (dimensions.rows + dimensions.validation_rows)
    return weights + activations + predictions + shuffle_orders
