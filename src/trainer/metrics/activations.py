"""Sigmoid and softmax, their inverses, and temperature scaling."""

from __future__ import annotations

import numpy as np

from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import Float64Array, FloatArray
from trainer.metrics.labels import clip_probabilities
from trainer.task_names import TaskName


def logits(task: TaskName, p: FloatArray) -> Float64Array:
    """Return log p for multiclass tasks, else log p - log(1 - p); (n, k).

    Probabilities are clipped by the epsilon of their dtype.
    """
    clipped = clip_probabilities(p)
    if TASK_RULES[task].predicts_most_likely:
        return np.log(clipped)
    return np.log(clipped) - np.log1p(-clipped)


def probabilities(task: TaskName, z: Float64Array) -> Float64Array:
    """Return the softmax of the logits for multiclass tasks, else the sigmoid; (n, k)."""
    if not TASK_RULES[task].predicts_most_likely:
        # tanh does not overflow.
        return 0.5 * (1 + np.tanh(0.5 * z))
    exponentials: Float64Array = np.exp(z - z.max(axis=1, keepdims=True))
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials


def apply_temperature(task: TaskName, p: FloatArray, temperature: float) -> Float64Array:
    """Return the probabilities (n, k) after dividing their logits by the temperature."""
    return probabilities(task, logits(task, p) / temperature)
