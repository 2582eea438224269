"""Pruned, clustered and quantized kernels, as a part of the training step.

Each kernel has another value, its latent one, which the optimizer's steps are added to. After each step,
the variable of the network is set to the compressed form of the latent value: the network computes,
is evaluated and is saved with compressed weights only. The gradient is that of the compressed weights
(straight-through estimator: Bengio et al., 2013); it does not reach the latent values of zeros.

    variable ─ Keras's step ─► variable + change;  latent + change ─ mask, cluster, round ─► variable

Everything else is a function of the latent values and the number of batches: latent values, masks and
clusters are the only state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from trainer.config.compress import Compress
from trainer.models.compression_schedule import (
    CompressionSchedule,
    is_compressed,
    make_schedule,
)

_ITERATIONS = 25
"""Iterations of k-means."""
_LARGEST_CODE = 127
_LARGEST_BITS = 0x7FFFFFFF
_BITS = 31


class Compression:
    """The compressed kernels of a network.

    Attributes:
        variables: Everything that has to be saved, by its name in the state.
    """

    def __init__(self, network: keras.Model, schedule: CompressionSchedule) -> None:
        """Initialize the latent values with the current weights of the network."""
        self._step = _variable(0, "int64", "step")
        self._kernels = [
            _Kernel(variable, schedule)
            for variable in network.trainable_variables
            if is_compressed(variable.name, variable.shape)
        ]
        self.variables: dict[str, Any] = {"compression/step": self._step}
        for number, kernel in enumerate(self._kernels):
            for name, variable in kernel.state.items():
                self.variables[f"compression/{number:04d}/{name}"] = variable

    def step(self, update: Callable[[], Any]) -> Any:
        """Train on a batch, and compress the kernels; for use in a `tf.function`.

        Args:
            update: Trains the network on the batch.

        Returns:
            What `update` returns.
        """
        before = [tf.identity(kernel.variable.value) for kernel in self._kernels]
        outputs = update()
        step = tf.identity(self._step.value) + 1
        self._step.assign(step)
        for kernel, value in zip(self._kernels, before, strict=True):
            kernel.compress(tf.identity(kernel.variable.value) - value, step)
        return outputs


def build_compression(
    settings: Compress, network: keras.Model, total_steps: int
) -> Compression | None:
    """Return the compression of a network; None if the config does not compress it.

    Args:
        settings: The section `compress`.
        network: The network, with its initial weights.
        total_steps: Batches of the whole training run.
    """
    schedule = make_schedule(settings, total_steps)
    return None if schedule is None else Compression(network, schedule)


class _Kernel:
    """A kernel, its latent values, and the masks and clusters of these.

    Attributes:
        variable: The variable of the network.
        state: Variables to be saved, by name.
    """

    def __init__(self, variable: Any, schedule: CompressionSchedule) -> None:
        self.variable, self._schedule = variable, schedule
        value = tf.convert_to_tensor(variable.value)
        self._size = int(tf.size(value))
        self.state = {"latent": _variable(value, "float32", "latent")}
        if schedule.updates:
            self.state["mask"] = _variable(tf.ones(value.shape, tf.bool), "bool", "mask")
        if schedule.clusters:
            self.state["cluster"] = _variable(tf.zeros(value.shape, tf.int32), "int32", "cluster")

    def compress(self, change: Any, step: Any) -> None:
        """Add the change of a step to the latent values, and set the variable to their compressed form.

        Args:
            change: What the optimizer has added to the variable.
            step: The number of batches so far, with this one.
        """
        mask = tf.identity(self.state["mask"].value) if "mask" in self.state else None
        if mask is not None:
            change = tf.where(mask, change, 0.0)
        latent = tf.identity(self.state["latent"].value) + change
        self.state["latent"].assign(latent)
        if mask is not None:
            mask = self._updated_mask(latent, mask, step)
            self.state["mask"].assign(mask)
            latent = tf.where(mask, latent, 0.0)
        if "cluster" in self.state:
            value = self._clustered(latent, mask, step)
        else:
            value = self._rounded(latent, step, range(len(latent.shape) - 1))
        self.variable.assign(value)

    def _updated_mask(self, latent: Any, mask: Any, step: Any) -> Any:
        updates = self._schedule.updates
        zeros = [self._schedule.zeros_at(update, self._size) for update in updates]

        def update_mask() -> Any:
            number = tf.reduce_sum(tf.cast(step > tf.constant(updates, tf.int64), tf.int32))
            return largest_weights(latent, tf.gather(tf.constant(zeros, tf.int32), number))

        is_due = tf.reduce_any(step == tf.constant(updates, tf.int64))
        return tf.cond(is_due, update_mask, lambda: mask)

    def _clustered(self, latent: Any, mask: Any, step: Any) -> Any:
        """Return the weights with the means of their clusters in place of them.

        The mean of the changes in a cluster is the projection of the step onto weights that are equal
        within clusters, whatever the optimizer.
        """
        schedule, axes = self._schedule, range(len(latent.shape))
        # Zeros are a value of their own.
        clusters = schedule.clusters - (mask is not None)
        kept = tf.ones_like(latent, tf.bool) if mask is None else mask
        cluster = tf.cond(
            tf.equal(step, schedule.cluster_step),
            lambda: nearest_centroids(latent, kept, clusters),
            lambda: tf.identity(self.state["cluster"].value),
        )
        self.state["cluster"].assign(cluster)

        def means() -> Any:
            centroids = self._rounded(cluster_means(latent, kept, cluster, clusters), step, [0])
            return tf.where(kept, tf.gather(centroids, cluster), 0.0)

        return tf.cond(
            step >= schedule.cluster_step,
            means,
            lambda: self._rounded(latent, step, axes),
        )

    def _rounded(self, values: Any, step: Any, axes: Sequence[int]) -> Any:
        schedule = self._schedule
        if not schedule.is_quantized:
            return values
        return tf.where(step >= schedule.quantize_step, on_grid(values, axes), values)


def largest_weights(values: Any, zeros: Any) -> Any:
    """Return a mask of all values but the `zeros` smallest absolute ones, of equal ones the first.

    The bits of a float32 that is not negative are in the order of its values, so that bisection finds
    the largest of these exactly, without sorting.
    """
    flat = tf.reshape(values, [-1])
    bits = tf.bitcast(tf.abs(flat), tf.int32)
    threshold = _smallest(lambda bound: _count(bits <= bound) >= zeros, _LARGEST_BITS)
    smaller, equal = bits < threshold, tf.equal(bits, threshold)
    positions = tf.range(int(flat.shape[0]))
    missing = zeros - _count(smaller)
    end = _smallest(lambda bound: _count(equal & (positions < bound)) >= missing, _LARGEST_BITS)
    return tf.reshape(~(smaller | (equal & (positions < end))), values.shape)


def _smallest(is_enough: Callable[[Any], Any], limit: int) -> Any:
    """Return the smallest integer from 0 to `limit` for which a monotonic condition holds."""

    def halve(low: Any, high: Any) -> tuple[Any, Any]:
        middle = low + (high - low) // 2
        enough = is_enough(middle)
        return tf.where(enough, low, middle + 1), tf.where(enough, middle, high)

    bounds = (tf.constant(0, tf.int32), tf.constant(limit, tf.int32))
    low, _ = tf.while_loop(
        lambda low, high: low < high, halve, bounds, maximum_iterations=_BITS + 1
    )
    return low


def _count(condition: Any) -> Any:
    return tf.reduce_sum(tf.cast(condition, tf.int32))


def nearest_centroids(values: Any, kept: Any, clusters: int) -> Any:
    """Return the cluster of each value by k-means, from centroids that are evenly spaced.

    Such centroids keep the largest weights apart, which matter most (Han et al., "Deep compression",
    2016, section 3.2).

    Args:
        values: The values.
        kept: Which of them belong to clusters; the others get any number.
        clusters: The number of clusters.
    """
    low = tf.reduce_min(tf.where(kept, values, values.dtype.max))
    high = tf.reduce_max(tf.where(kept, values, values.dtype.min))
    places = tf.range(clusters, dtype=values.dtype) / max(1, clusters - 1)

    def improve(count: Any, centroids: Any) -> tuple[Any, Any]:
        nearest = _nearest(values, centroids)
        return count + 1, cluster_means(values, kept, nearest, clusters, centroids)

    start = (tf.constant(0), low + (high - low) * places)
    _, centroids = tf.while_loop(
        lambda count, _: count < _ITERATIONS, improve, start, maximum_iterations=_ITERATIONS
    )
    return _nearest(values, centroids)


def _nearest(values: Any, centroids: Any) -> Any:
    """Return the index of the nearest of increasing centroids for each value."""
    if int(centroids.shape[0]) == 1:
        return tf.zeros(values.shape, tf.int32)
    flat = tf.reshape(values, [-1])
    index = tf.searchsorted((centroids[1:] + centroids[:-1]) / 2, flat)
    return tf.reshape(index, values.shape)


def cluster_means(values: Any, kept: Any, cluster: Any, clusters: int, otherwise: Any = 0.0) -> Any:
    """Return the (clusters,) means of the kept values of each cluster.

    Args:
        values: The values.
        kept: Which of them count.
        cluster: The cluster of each, int32.
        clusters: The number of clusters.
        otherwise: The means of empty clusters.
    """
    numbers = tf.reshape(cluster, [-1])
    counted = tf.reshape(tf.where(kept, values, 0.0), [-1])
    sums = tf.math.unsorted_segment_sum(counted, numbers, clusters)
    ones = tf.reshape(tf.cast(kept, values.dtype), [-1])
    counts = tf.math.unsorted_segment_sum(ones, numbers, clusters)
    return tf.where(counts > 0, sums / tf.maximum(counts, 1.0), otherwise)


def on_grid(values: Any, axes: Sequence[int]) -> Any:
    """Return the nearest multiples, by -127 to 127, of a scale that is common to some axes.

    The scale is the largest absolute value along them, divided by 127.
    """
    scale = tf.reduce_max(tf.abs(values), axis=list(axes), keepdims=True) / _LARGEST_CODE
    return tf.round(values / tf.where(scale > 0, scale, 1.0)) * scale


def _variable(value: Any, dtype: str, name: str) -> Any:
    return keras.Variable(value, dtype=dtype, trainable=False, name=name)
