"""Memory of a network in training, without Keras: what it takes, and which setting lowers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from trainer.config.compress import Compress
from trainer.config.layers.base import Shape
from trainer.config.model import Model
from trainer.config.optimizers import AnyOptimizer, Sgd
from trainer.errors import Problem
from trainer.models.summary import EMBEDDINGS, LayerSummary, layer_names

VALUE_BYTES = 4
"""Weights are float32 under every dtype policy; activations are counted as such."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Memory of a network in bytes, without data.

    Peaks of runs with 67 million weights on a CPU, beyond those of a tiny network, were 6.7 times the
    weights by sgd with momentum and 8.7 times by adam; `total` and `copies` are 7 and 9 times.

    Attributes:
        weights: All weights.
        gradients: Gradients of the trainable weights.
        optimizer: Optimizer variables, moving averages, accumulated gradients and the state of
            compression, without scalars.
        activations: Outputs of the layers for a batch, and the gradients of the largest two.
        augmentation: The images of a batch while they are changed at random.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    augmentation: int = 0

    @property
    def total(self) -> int:
        """Bytes in training, at least: all parts and the weights of the best epoch."""
        return 2 * self.weights + self.gradients + self.optimizer + self.batch

    @property
    def batch(self) -> int:
        """Bytes of a batch: images are changed before the layers compute."""
        return max(self.activations, self.augmentation)

    @property
    def copies(self) -> int:
        """Bytes of copies in main memory, for an update of the weights and for a checkpoint."""
        return 2 * self.weights + self.optimizer


def estimate_memory(
    layers: Sequence[LayerSummary],
    optimizer: AnyOptimizer,
    batch: int,
    changed_values: int = 0,
    compress: Compress | None = None,
) -> MemoryEstimate | None:
    """Estimate the memory of a network; None with a custom layer.

    Args:
        layers: The summaries of its layers.
        optimizer: The `optimizer` section.
        batch: Rows per step.
        changed_values: Values of an image while it is changed at random, see `augmentation_values`.
        compress: The `compress` section.
    """
    parameters = trainable = slots = 0
    outputs = [0]
    for layer in layers:
        if layer.parameters is None or layer.trainable is None or layer.trainable_shapes is None:
            return None
        parameters += layer.parameters
        trainable += layer.trainable
        outputs.append(layer.activations or 0)
        for shape in layer.trainable_shapes:
            slots += slot_elements(optimizer, shape, embedded=layer.kind == EMBEDDINGS)
            if compress is not None and compress.is_set and len(shape) > 1:
                # Latent values, clusters, and masks of a byte for each weight.
                slots += (1 + (compress.cluster is not None)) * prod(shape)
                slots += (compress.prune is not None) * prod(shape) // VALUE_BYTES
    # Measured with convolutions of 128 images of 64×64: the sum and twice the largest, within 15 %.
    values = batch * (sum(outputs) + 2 * max(outputs))
    counts = (parameters, trainable, slots, values, batch * changed_values)
    return MemoryEstimate(*(VALUE_BYTES * count for count in counts))


def augmentation_values(model: Model, image: Shape | None) -> int:
    """Return the number of values of an image while `model.augment` changes it; 0 without.

    With eight kinds, 64 images of 160 × 160 took 6.4 times their size in float32; with three kinds that
    change colors, 1.4 times.

    Args:
        model: The `model` section.
        image: Shape of an image, or None.
    """
    return 0 if image is None else len(model.augment) * prod(image)


def slot_elements(optimizer: AnyOptimizer, shape: Shape, *, embedded: bool = False) -> int:
    """Return the number of elements that an optimizer stores for one variable.

    Args:
        optimizer: The `optimizer` section.
        shape: Shape of the variable.
        embedded: Whether it is an embedding table, for which Muon uses Adam.
    """
    shared = (optimizer.ema is not None) + (optimizer.gradient_accumulation_steps is not None)
    return shared * prod(shape) + optimizer.slots(shape, embedded=embedded)


def memory_problem(
    model: Model,
    optimizer: AnyOptimizer,
    layers: Sequence[LayerSummary],
    memory: MemoryEstimate,
    batch: int,
    available: int,
    device: str,
) -> Problem | None:
    """Return the problem of a network that exceeds the memory of its device, or None.

    Args:
        model: The `model` section.
        optimizer: The `optimizer` section.
        layers: The summaries of the layers.
        memory: The estimate.
        batch: Rows per step.
        available: Bytes of the device.
        device: Name of the device.
    """
    if memory.total <= available:
        return None
    parts = {
        "weights": memory.weights,
        "the best weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
    }
    if memory.augmentation > memory.activations:
        parts[f"{batch} images that are changed at random"] = memory.augmentation
    else:
        parts[f"activations of {batch} rows"] = memory.activations
    parameters = memory.total - memory.batch
    names = dict(zip(layer_names(model.layers), range(len(model.layers)), strict=True))
    largest = max(layers, key=lambda layer: layer.parameters or 0)
    key = "fit.batch_size"
    if memory.batch >= parameters:
        rows = batch * (available - parameters) // memory.batch
        fix = f"lower fit.batch_size to {rows}" if rows > 0 else "use smaller or fewer layers"
    else:
        fix = _weights_fix(layers, largest)
        if layers[0].kind == "source_embedding":
            key, fix = "model.encoder_decoder", "lower its width or its number of layers"
        if largest.name in names:
            key = f"model.layers.{names[largest.name]}.{largest.kind}"
        if memory.optimizer and not (isinstance(optimizer, Sgd) and not optimizer.momentum):
            saved = _gigabytes(memory.optimizer)
            fix += f"; or set optimizer.name: sgd without momentum, which takes {saved} less"
    return Problem(
        where="",
        expected=f"a network that trains within the {_gigabytes(available)} of {device}",
        found=f"{_gigabytes(memory.total)}: "
        + ", ".join(f"{name} {_gigabytes(size)}" for name, size in parts.items()),
        fix=fix,
        key=key,
    )


def _weights_fix(layers: Sequence[LayerSummary], largest: LayerSummary) -> str:
    """Return how to lower the number of weights of the largest layer."""
    before = layers[layers.index(largest) - 1]
    weights = f"{largest.name} has {(largest.parameters or 0) / 1e6:,.0f} million weights"
    if before.kind != "flatten" or before.output_shape is None:
        return f"{weights}; lower its units"
    return (
        f"{weights}, one for each of {before.output_shape[0]:,} values and each unit; use smaller "
        "images (data.image.size), `{max_pool2d: 2}` before flatten, `global_average_pool` in its "
        "place, or fewer units"
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
