"""The population stability index."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.audit.stability import (
    STABILITY_LIMIT,
    column_drift,
    stability_index,
    stability_limit,
)


def test_index_by_hand() -> None:
    index, bins = stability_index(np.array([10, 30, 0]), np.array([30, 10, 0]))
    p, q = np.array([10.5, 30.5]) / 41, np.array([30.5, 10.5]) / 41
    assert index == pytest.approx(float(((q - p) * np.log(q / p)).sum()))
    assert bins == 2


def test_limit_falls_with_the_rows_to_a_quarter() -> None:
    assert stability_limit(10, 5, 50, 50) > stability_limit(10, 5, 200, 200) >= STABILITY_LIMIT
    assert stability_limit(10, 5, 10_000, 10_000) == STABILITY_LIMIT
    assert stability_limit(1, 5, 10_000, 10_000) == float("inf")


def test_same_distribution_rarely_drifts() -> None:
    rng = np.random.default_rng(0)
    drifted = 0
    for _ in range(300):
        training, other = rng.multinomial(1_000, [0.1] * 10), rng.multinomial(60, [0.1] * 10)
        drift = column_drift(training.tolist(), other.tolist(), 1)
        assert drift is not None
        drifted += drift.has_drifted
    assert drifted <= 3
