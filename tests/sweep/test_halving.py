from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.sweep.halving import Direction, is_rung, ranked, trials_to_eliminate

NAN = math.nan


def test_rungs_are_powers_of_the_factor() -> None:
    assert [epoch for epoch in range(1, 200) if is_rung(epoch, 3, 3)] == [3, 9, 27, 81]
    assert [epoch for epoch in range(1, 200) if is_rung(epoch, 1, 4)] == [1, 4, 16, 64]
    assert [epoch for epoch in range(1, 60) if is_rung(epoch, 6, 2)] == [6, 12, 24, 48]


@pytest.mark.parametrize(
    ("objectives", "factor", "direction", "ended"),
    [
        ({0: 0.1, 1: 0.3, 2: 0.2}, 3, "higher", (0, 2)),
        ({0: 0.1, 1: 0.3, 2: 0.2}, 3, "lower", (1, 2)),
        ({0: 0.1, 1: 0.3, 2: 0.2}, 2, "higher", (0,)),
        ({4: 1.0, 2: 1.0, 3: 1.0}, 3, "higher", (3, 4)),
        ({0: NAN, 1: 0.5}, 2, "higher", (0,)),
        ({0: NAN, 1: 0.5}, 2, "lower", (0,)),
        ({0: NAN, 1: NAN, 2: NAN}, 3, "lower", (1, 2)),
        ({0: math.inf, 1: NAN}, 2, "lower", (1,)),
        ({5: NAN}, 3, "lower", ()),
        ({}, 3, "lower", ()),
    ],
)
def test_worst_trials_are_eliminated(
    objectives: dict[int, float], factor: int, direction: Direction, ended: tuple[int, ...]
) -> None:
    assert trials_to_eliminate(objectives, factor, direction) == ended


@given(
    st.dictionaries(st.integers(0, 99), st.floats(), max_size=30),
    st.integers(2, 5),
    st.sampled_from(["higher", "lower"]),
)
def test_survivors_are_at_least_as_good_as_eliminated_trials(
    objectives: dict[int, float], factor: int, direction: Direction
) -> None:
    ended = trials_to_eliminate(objectives, factor, direction)
    survivors = set(objectives) - set(ended)
    assert len(survivors) == math.ceil(len(objectives) / factor)
    for better in survivors:
        for worse in ended:
            kept, dropped = objectives[better], objectives[worse]
            if math.isnan(kept):
                assert math.isnan(dropped)
            elif not math.isnan(dropped):
                assert kept >= dropped if direction == "higher" else kept <= dropped
    reordered = dict(sorted(objectives.items(), reverse=True))
    assert ranked(reordered, direction) == ranked(objectives, direction)
