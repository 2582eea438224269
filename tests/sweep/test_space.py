from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.domains import Choices, Domain, Floats, Integers
from trainer.sweep.space import Space, domain_value

SHARES = st.floats(0, 1, exclude_max=True)
NUMBERS = st.floats(-1e300, 1e300)


@given(SHARES, st.lists(st.integers(), min_size=1))
def test_choice_is_one_of_its_values(share: float, values: list[int]) -> None:
    assert domain_value(Choices(tuple(values)), share) in values


@given(SHARES, st.integers(-(10**15), 10**15), st.integers(1, 10**15))
def test_integer_is_in_range(share: float, low: int, width: int) -> None:
    value = domain_value(Integers(low, low + width, log=False), share)
    assert isinstance(value, int)
    assert low <= value <= low + width


@given(SHARES, st.integers(1, 10**9), st.integers(1, 10**9))
def test_log_integer_is_in_range(share: float, low: int, width: int) -> None:
    value = domain_value(Integers(low, low + width, log=True), share)
    assert isinstance(value, int)
    assert low <= value <= low + width


@given(SHARES, NUMBERS, NUMBERS)
def test_float_is_in_range(share: float, first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert low <= domain_value(Floats(low, high, log=False), share) <= high
    low, high = abs(first) + 1e-300, abs(first) * 3 + 1e-299
    assert low <= domain_value(Floats(low, high, log=True), share) <= high


@pytest.mark.parametrize(
    ("domain", "first", "middle"),
    [
        (Choices(("a", "b", "c")), "a", "b"),
        (Integers(1, 5, log=False), 1, 3),
        (Integers(1, 9, log=True), 1, 2),
        (Floats(0.0, 1.0, log=False), 0.0, 0.5),
        (Floats(1e-4, 1e-2, log=True), 1e-4, 1e-3),
    ],
)
def test_scale_of_the_domain(domain: Domain, first: Any, middle: Any) -> None:
    assert domain_value(domain, 0.0) == pytest.approx(first)
    assert domain_value(domain, 0.5) == pytest.approx(middle)


def test_integers_are_equally_likely() -> None:
    shares = (np.arange(7000) + 0.5) / 7000
    counts = Counter(domain_value(Integers(3, 9, log=False), share) for share in shares)
    assert set(counts.values()) == {1000}
    assert set(counts) == set(range(3, 10))


def test_log_integers_have_the_share_of_their_interval() -> None:
    shares = (np.arange(100_000) + 0.5) / 100_000
    counts = Counter(domain_value(Integers(1, 8, log=True), share) for share in shares)
    for k in range(1, 9):
        expected = math.log((k + 0.5) / (k - 0.5)) / math.log(8.5 / 0.5)
        assert counts[k] / 100_000 == pytest.approx(expected, abs=1e-4)


def test_settings_at_a_point(space: Callable[..., Space]) -> None:
    search_space = space(
        space={"fit.batch_size": "int(1, 4)", "seed": "7,8"},
        pairs=[{"fit.epochs": [1, 2], "optimizer.learning_rate": [0.1, 0.2]}],
    )
    assert search_space.at((0.99, 0.0, 0.6)) == {
        "seed": 7, "fit.batch_size": 4, "fit.epochs": 2, "optimizer.learning_rate": 0.2,
    }  # fmt: skip


def test_last_dimension_of_a_grid_changes_fastest(space: Callable[..., Space]) -> None:
    search_space = space(space={"a": [1, 2], "b": ["x", "y"]}, pairs=[{"c": [0, 1], "d": [2, 3]}])
    trials = [tuple(trial.values()) for trial in search_space.grid()]
    assert trials[:5] == [
        (1, "x", 0, 2),
        (1, "x", 1, 3),
        (1, "y", 0, 2),
        (1, "y", 1, 3),
        (2, "x", 0, 2),
    ]
    assert len(trials) == 8


def test_grid_has_no_repeats(space: Callable[..., Space]) -> None:
    search_space = space(
        space={"optimizer.momentum": [0.5, 0.9], "optimizer.name": ["adam", "sgd"]},
        when={"optimizer.momentum": "optimizer.name == sgd"},
    )
    assert list(search_space.grid()) == [
        {"optimizer.name": "adam"},
        {"optimizer.momentum": 0.5, "optimizer.name": "sgd"},
        {"optimizer.momentum": 0.9, "optimizer.name": "sgd"},
    ]


def test_conditions_on_the_base_config(space: Callable[..., Space]) -> None:
    section = {"space": {"fit.epochs": [5]}}
    assert space(**section, when={"fit.epochs": "optimizer.name == adam"}).at((0.0,)) == {
        "fit.epochs": 5
    }
    assert space(**section, when={"fit.epochs": "fit.batch_size != 32"}).at((0.0,)) == {}
    units = "model.layers.1.dense.units"
    assert space(**section, when={"fit.epochs": f"{units} == 64"}).at((0.0,)) == {"fit.epochs": 5}
    assert (
        space(**section, when={"fit.epochs": "model.layers.7.dense.units == 64"}).at((0.0,)) == {}
    )


def test_dependency_order(space: Callable[..., Space]) -> None:
    search_space = space(
        space={"c": [1], "b": [1], "a": [1]},
        pairs=[{"d": [1], "e": [1]}],
        when={"c": "b == 1", "b": "a == 1", "a": "e == 1"},
    )
    assert [dimension.keys for dimension in search_space.in_dependency_order()] == [
        ("d", "e"),
        ("a",),
        ("b",),
        ("c",),
    ]
    assert [dimension.keys[0] for dimension in search_space.dimensions] == ["c", "b", "a", "d"]


def test_dependency_order_of_mutually_dependent_groups(
    space: Callable[..., Space],
) -> None:
    search_space = space(
        space={"b": [1]},
        pairs=[{"a1": [1, 2], "a2": [1, 2]}],
        when={"a1": "b == 1", "b": "a2 == 1"},
    )
    assert len(search_space.in_dependency_order()) == 2
