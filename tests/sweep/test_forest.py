from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.sweep.forest import input_importance


def test_importance_of_a_sum() -> None:
    x = np.random.default_rng(1).random((500, 4))
    # The variances of a x0 and b x1 are a²/12 and b²/12.
    result = input_importance(x, 3 * x[:, 0] + 1.5 * x[:, 1])
    assert result is not None
    assert result.share == pytest.approx([0.8, 0.2, 0, 0], abs=0.05)
    assert result.r2 > 0.95


def test_interactions_are_not_attributed() -> None:
    x = np.random.default_rng(2).random((600, 3))
    product = np.where((x[:, 0] < 0.5) == (x[:, 1] < 0.5), 1.0, -1.0)
    result = input_importance(x, product)
    assert result is not None
    assert result.share.sum() < 0.2
    assert result.r2 > 0.7


def test_noise_is_not_predicted() -> None:
    rng = np.random.default_rng(3)
    result = input_importance(rng.random((100, 3)), rng.normal(size=100))
    assert result is not None
    assert result.r2 < 0.1


def test_single_input_explains_everything() -> None:
    x = np.random.default_rng(4).random((40, 1))
    result = input_importance(x, np.sin(6 * x[:, 0]))
    assert result is not None
    assert result.share == pytest.approx([1.0])
    assert result.std == pytest.approx([0.0])


@pytest.mark.parametrize("y", [np.ones(30), np.array([1.0, 2.0])])
def test_no_importance_without_variance_or_rows(y: np.ndarray) -> None:
    assert input_importance(np.random.default_rng(0).random((len(y), 2)), y) is None


@given(st.integers(6, 60), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_shares_sum_to_at_most_one(rows: int, inputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Inputs with few values, like choices.
    x = rng.integers(0, 4, (rows, inputs)) / 4 + 0.125
    y = rng.normal(size=rows)
    result = input_importance(x, y, seed)
    again = input_importance(x, y, seed)
    if result is None or again is None:
        assert result is again is None
        return
    assert (result.share == again.share).all()
    assert (result.share >= 0).all()
    assert result.share.sum() <= 1 + 1e-9
