"""The section `compress`: weights that are pruned, clustered and quantized during training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from trainer.config.conflict import Conflict, conflict
from trainer.config.optimizers import Ftrl, ScheduleFreeAdamW
from trainer.config.sections import Section, shorthand_for

if TYPE_CHECKING:
    from trainer.config.schema import Config

Sparsity = Annotated[float, Field(gt=0, lt=1)]
Start = Annotated[float, Field(ge=0, lt=1)]
Clusters = Annotated[int, Field(ge=2, le=256)]


class Prune(Section):
    """Magnitude pruning: the weights with the smallest absolute values become zero."""

    sparsity: Sparsity
    """Fraction of the weights of each kernel that are zero at the end."""
    start: Start = 0.1
    """When pruning starts, as a fraction of the epochs or steps of training."""
    end: Annotated[float, Field(gt=0, le=1)] = 0.5
    """When the sparsity is reached, as a fraction of training. It increases along the cubic schedule of
    Zhu and Gupta (2017); afterwards, only the weights that are not zero are trained."""


class Cluster(Section):
    """Weight clustering: the weights of each kernel have few distinct values, which are trained."""

    clusters: Clusters
    """Number of distinct values in each kernel, zero included if it is pruned."""
    start: Start = 0.5
    """When the weights are clustered by k-means, as a fraction of training."""


class Quantize(Section):
    """Quantization-aware training: the weights are rounded in each step (straight-through estimator)."""

    dtype: Literal["int8"]
    """int8: integers from -127 to 127 times a scale for each output of a kernel, or for the kernel if
    its weights are clustered."""
    start: Start = 0.5
    """When the weights are first rounded, as a fraction of training."""


class Compress(Section):
    """Smaller weights, by any combination of the three methods.

    The kernels of all layers and the tables of embeddings are compressed; biases and normalization are
    not. The best epoch is one after all methods have been applied, and early stopping and
    `reduce_on_plateau` count from there.
    """

    prune: (
        Annotated[
            Prune,
            BeforeValidator(shorthand_for("sparsity"), json_schema_input_type=Prune | Sparsity),
        ]
        | None
    ) = None
    """Set the smallest weights to zero: the fraction of zeros, such as 0.8."""
    cluster: (
        Annotated[
            Cluster,
            BeforeValidator(shorthand_for("clusters"), json_schema_input_type=Cluster | Clusters),
        ]
        | None
    ) = None
    """Let weights share values: the number of distinct values in each kernel, such as 16."""
    quantize: (
        Annotated[
            Quantize,
            BeforeValidator(
                shorthand_for("dtype"), json_schema_input_type=Quantize | Literal["int8"]
            ),
        ]
        | None
    ) = None
    """Round weights to integers times a scale: int8. Activations are quantized when exporting
    (`trainer export --to litert --quantize int8`)."""

    @property
    def is_set(self) -> bool:
        """Whether weights are compressed."""
        return any((self.prune, self.cluster, self.quantize))


def compress_conflicts(config: Config) -> Iterator[Conflict]:
    """Yield conflicts of `compress` with itself, the optimizer and a pretrained network."""
    compress, optimizer = config.compress, config.optimizer
    prune, cluster = compress.prune, compress.cluster
    if prune is not None and prune.end <= prune.start:
        expected = f"a time after compress.prune.start, {prune.start:g}"
        fix = "increase it, or lower compress.prune.start"
        yield conflict(
            "compress.prune.end", expected, f"{prune.end:g}", fix, "compress.prune.start"
        )
    if prune is not None and cluster is not None and cluster.start < prune.end:
        expected = f"a time not before compress.prune.end, {prune.end:g}"
        fix = "increase it, or lower compress.prune.end"
        found = f"{cluster.start:g}"
        yield conflict("compress.cluster.start", expected, found, fix, "compress.prune.end")
    if not compress.is_set:
        return
    if optimizer.ema is not None:
        expected = "no average of the weights with compress, since averages are not compressed"
        yield conflict("optimizer.ema", expected, "one", "remove it, or compress", "compress")
    if isinstance(optimizer, ScheduleFreeAdamW | Ftrl):
        expected = "an optimizer that adds its steps to the weights, with compress"
        fix = "use another optimizer, such as adamw, or remove compress"
        yield conflict("optimizer.name", expected, optimizer.name, fix, "compress")
    base = config.model.pretrained
    if base is not None and (base.frozen is not False or base.lora is not None):
        key = "model.pretrained.frozen" if base.lora is None else "model.pretrained.lora"
        expected = "a pretrained network all of whose weights are trained, with compress"
        found = f"frozen: {_text(base.frozen)}" if base.lora is None else "adapters"
        fix = "set model.pretrained.frozen: false, or remove compress"
        if base.lora is not None:
            fix = "remove it and set model.pretrained.frozen: false, or remove compress"
        yield conflict(key, expected, found, fix, "compress")


def _text(value: bool | int | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
