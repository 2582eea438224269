"""Time a function on one row and on many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter, perf_counter_ns
from typing import Any

import numpy as np

SIZES = (1, 1_000, 100_000)
WARM_UP, MIN_CALLS = 30, 5


def measure(
    call: Callable[[Any], Any], inputs: Mapping[int, Any], seconds: float
) -> dict[str, float]:
    """Return the time of a row in microseconds, and the rows per second of larger calls.

    Args:
        call: The function.
        inputs: Number of rows → its argument, for each of `SIZES`.
        seconds: How long it is called with each of them, at least.
    """
    for _ in range(WARM_UP):
        call(inputs[1])
    times = np.array(_times(call, inputs[1], seconds)) / 1e3
    p50, p99 = np.quantile(times, (0.5, 0.99))
    figures = {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "calls": len(times)}
    for rows in SIZES[1:]:
        call(inputs[rows])
        median = float(np.median(_times(call, inputs[rows], seconds))) / 1e9
        figures[str(rows)] = round(rows / median)
    return figures


def _times(call: Callable[[Any], Any], argument: Any, seconds: float) -> list[int]:
    """Return the nanoseconds of each call."""
    times: list[int] = []
    end = perf_counter() + seconds
    while len(times) < MIN_CALLS or perf_counter() < end:
        start = perf_counter_ns()
        call(argument)
        times.append(perf_counter_ns() - start)
    return times
