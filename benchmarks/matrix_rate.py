"""Measure the rate of float32 matrix multiplication with all available cores.

    python -m benchmarks.matrix_rate

Prints operations per second as a JSON object: for NumPy and TensorFlow, the best of several products of
two 2,048 × 2,048 matrices; for TensorFlow also the largest product of W2 (128 × 784 by 784 × 512).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from time import perf_counter

import numpy as np
import tensorflow as tf

SECONDS = 1.5


def best_rate(multiply: Callable[[], object], operations: float) -> float:
    best = 0.0
    end = perf_counter() + SECONDS
    multiply()
    while (start_time := perf_counter()) < end:
        multiply()
        best = max(best, operations / (perf_counter() - start_time))
    return best


def tensorflow_rate(rows: int, inner: int, columns: int, repeats: int) -> float:
    left = tf.random.normal((rows, inner))
    right = tf.random.normal((inner, columns))

    @tf.function
    def multiply() -> tf.Tensor:
        total = tf.zeros((rows, columns))
        # Each product depends on the previous one, so that none is skipped or run in parallel.
        for _ in tf.range(repeats):
            total = tf.matmul(left + total[0, 0] * 0, right)
        return total[0, 0]

    return best_rate(lambda: float(multiply()), 2.0 * rows * inner * columns * repeats)


def main() -> None:
    square = np.random.default_rng(0).standard_normal((2_048, 2_048), dtype=np.float32)
    print(
        json.dumps(
            {
                "numpy": best_rate(lambda: square @ square, 2.0 * 2_048**3),
                "tensorflow": tensorflow_rate(2_048, 2_048, 2_048, 1),
                "tensorflow_w2": tensorflow_rate(128, 784, 512, 50),
            }
        )
    )


if __name__ == "__main__":
    main()
