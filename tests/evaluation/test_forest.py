from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation.forest import input_importance


def test_the_shares_of_a_sum_are_those_of_its_variance() -> None:
    x = np.random.default_rng(1).random((500, 4))
    # Of a x0 + b x1 the variances are a²/12 and b²/12.
    found = input_importance(x, 3 * x[:, 0] + 1.5 * x[:, 1])
    assert found is not None
    assert found.share == pytest.approx([0.8, 0.2, 0, 0], abs=0.05)
    assert found.r2 > 0.95


def test_what_inputs_explain_together_is_no_share() -> None:
    x = np.random.default_rng(2).random((600, 3))
    product = np.where((x[:, 0] < 0.5) == (x[:, 1] < 0.5), 1.0, -1.0)
    found = input_importance(x, product)
    assert found is not None
    assert found.share.sum() < 0.2
    assert found.r2 > 0.7


def test_noise_is_not_predicted() -> None:
    random = np.random.default_rng(3)
    found = input_importance(random.random((100, 3)), random.normal(size=100))
    assert found is not None
    assert found.r2 < 0.1


def test_a_single_input_explains_all() -> None:
    x = np.random.default_rng(4).random((40, 1))
    found = input_importance(x, np.sin(6 * x[:, 0]))
    assert found is not None
    assert found.share == pytest.approx([1.0])
    assert found.std == pytest.approx([0.0])


@pytest.mark.parametrize("y", [np.ones(30), np.array([1.0, 2.0])])
def test_without_variance_or_rows_there_is_none(y: np.ndarray) -> None:
    assert input_importance(np.random.default_rng(0).random((len(y), 2)), y) is None


@given(st.integers(6, 60), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_shares_are_parts_of_a_whole(rows: int, inputs: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    # Inputs with few values, as choices have.
    x = random.integers(0, 4, (rows, inputs)) / 4 + 0.125
    y = random.normal(size=rows)
    found = input_importance(x, y, seed)
    again = input_importance(x, y, seed)
    if found is None or again is None:
        assert found is again is None
        return
    assert (found.share == again.share).all()
    assert (found.share >= 0).all()
    assert found.share.sum() <= 1 + 1e-9
