"""When the weights of a network are pruned, clustered and rounded. Does not import Keras.

    0 ── prune.start ── masks grow ── prune.end ── cluster.start ── quantize.start ── end of training

Times are numbers of trained batches. A schedule depends on the settings and the length of training only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.config.compress import Compress

_UPDATES = 50
"""Maximum number of times that masks are computed; each takes as long as some tens of steps."""
_KERNELS = ("kernel", "embeddings")


def is_compressed(name: str, shape: Sequence[int]) -> bool:
    """Return whether a trained weight is compressed: kernels and tables of embeddings.

    Args:
        name: The last part of its path in Keras, such as `kernel` or `depthwise_kernel`.
        shape: Its shape.
    """
    return len(shape) > 1 and name.endswith(_KERNELS)


@dataclass(frozen=True, slots=True)
class CompressionSchedule:
    """The schedule of one training run.

    Attributes:
        sparsity: Fraction of zeros at the end; 0 without pruning.
        updates: After how many batches the masks are computed, in increasing order.
        prune_start: The batches before pruning starts.
        clusters: Number of distinct values of a kernel; 0 without clustering.
        cluster_step: After how many batches the weights are clustered.
        is_quantized: Whether the weights are rounded.
        quantize_step: After how many batches the weights are rounded for the first time.
    """

    sparsity: float = 0.0
    updates: tuple[int, ...] = ()
    prune_start: int = 0
    clusters: int = 0
    cluster_step: int = 0
    is_quantized: bool = False
    quantize_step: int = 0

    @property
    def complete_step(self) -> int:
        """The batches after which all methods have been applied."""
        return max((0, *self.updates[-1:], self.cluster_step, self.quantize_step))

    def sparsity_at(self, step: int) -> float:
        """Return the fraction of zeros after a number of batches.

        s · (1 - (1 - t)³), where t is the part of the time from the start to the end of pruning at the
        last update (Zhu and Gupta, "To prune, or not to prune", 2017, equation 1).
        """
        passed = [update for update in self.updates if update <= step]
        if not passed:
            return 0.0
        time = (passed[-1] - self.prune_start) / (self.updates[-1] - self.prune_start)
        return self.sparsity * (1 - (1 - time) ** 3)

    def zeros_at(self, step: int, size: int) -> int:
        """Return the number of zeros in a kernel of `size` weights; at least one remains."""
        return min(round(self.sparsity_at(step) * size), size - 1)


def make_schedule(settings: Compress, total_steps: int) -> CompressionSchedule | None:
    """Return the schedule of a training run of `total_steps` batches, None without compression."""
    if not settings.is_set:
        return None
    prune, cluster, quantize = settings.prune, settings.cluster, settings.quantize
    start, updates = 0, tuple[int, ...]()
    if prune is not None:
        start = min(round(prune.start * total_steps), total_steps - 1)
        updates = _updates(start, max(start + 1, round(prune.end * total_steps)))
    cluster_step = quantize_step = 0
    if cluster is not None:
        cluster_step = max(1, round(cluster.start * total_steps), *updates[-1:])
    if quantize is not None:
        quantize_step = max(1, round(quantize.start * total_steps))
    return CompressionSchedule(
        sparsity=0.0 if prune is None else prune.sparsity,
        updates=updates,
        prune_start=start,
        clusters=0 if cluster is None else cluster.clusters,
        cluster_step=cluster_step,
        is_quantized=quantize is not None,
        quantize_step=quantize_step,
    )


def complete_epoch(settings: Compress, total_steps: int, steps_per_epoch: int) -> int:
    """Return the first epoch at whose end all methods have been applied; 1 without compression."""
    schedule = make_schedule(settings, total_steps)
    return 1 if schedule is None else max(1, -(-schedule.complete_step // steps_per_epoch))


def _updates(start: int, end: int) -> tuple[int, ...]:
    """Return the times of updates: as many as batches, or about evenly spaced, the last at `end`."""
    count = min(_UPDATES, end - start)
    return tuple(start + -(-(end - start) * number // count) for number in range(1, count + 1))
