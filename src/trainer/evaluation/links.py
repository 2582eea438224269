"""Between logits and probabilities. Owns: the sigmoid and the softmax, and their inverses."""

from __future__ import annotations

import numpy as np

from trainer.config.data import Task
from trainer.evaluation.answers import Doubles, Floats


def logits(task: Task, p: Floats) -> Doubles:
    """Of several classes log p, else log p - log(1 - p); (n, k).

    Probabilities nearer to 0 or 1 than their dtype can tell count as being as near as it can.
    """
    epsilon = np.finfo(p.dtype).eps
    kept = np.clip(p.astype(np.float64), epsilon, 1 - epsilon)
    return np.log(kept) if task == "multiclass" else np.log(kept) - np.log1p(-kept)


def probabilities(task: Task, z: Doubles) -> Doubles:
    """Of several classes the softmax, else the sigmoid of each logit; (n, k)."""
    if task != "multiclass":
        # The tangent does not overflow.
        return 0.5 * (1 + np.tanh(0.5 * z))
    powers: Doubles = np.exp(z - z.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
