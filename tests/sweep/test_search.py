from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from trainer.config.sweeps import SearchName
from trainer.sweep.search import Settings, new_search
from trainer.sweep.space import Space
from trainer.sweep.trials import TrialEnded

End = Callable[..., TrialEnded]
RANGES = {
    "optimizer.learning_rate": "log(1e-4, 1e-1)",
    "fit.batch_size": "int(1, 64)",
    "seed": "1,2,3",
}


def asked(subject: Space, name: SearchName, sizes: Sequence[int], seed: int = 0) -> list[Settings]:
    search = new_search(name, subject, seed, "higher")
    return [settings for size in sizes for settings in search.ask(size)]


@pytest.mark.parametrize("name", ["random", "sobol"])
def test_a_trial_is_a_function_of_the_seed_and_its_number(
    name: SearchName, space: Callable[..., Space]
) -> None:
    subject = space(space=RANGES)
    whole = asked(subject, name, [40])
    assert asked(subject, name, [1, 9, 30]) == whole
    assert asked(subject, name, [40], seed=1) != whole
    assert len({str(trial) for trial in whole}) > 35


def test_random_trials_are_known_forever(space: Callable[..., Space]) -> None:
    # What stands here must not change with a version of anything: a resumed sweep would break.
    found = asked(space(space={"a": "uniform(0, 1)", "b": "int(0, 99)"}), "random", [3], seed=7)
    assert found == RANDOM
    found = asked(space(space={"a": "uniform(0, 1)", "b": "int(0, 99)"}), "sobol", [3], seed=7)
    assert found == SOBOL


RANDOM = [
    {"a": 0.530717920584663, "b": 3},
    {"a": 0.24090349780662434, "b": 61},
    {"a": 0.05057624534333072, "b": 35},
]
SOBOL = [
    {"a": 0.16137810051441193, "b": 33},
    {"a": 0.6613781005144119, "b": 83},
    {"a": 0.9113781005144119, "b": 8},
]


def test_random_trials_are_uniform_and_independent(space: Callable[..., Space]) -> None:
    found = asked(space(space={"a": "uniform(0, 1)", "b": "uniform(0, 1)"}), "random", [4000])
    points = np.array([[trial["a"], trial["b"]] for trial in found])
    for axis in points.T:
        assert stats.kstest(axis, "uniform").pvalue > 0.01
    assert abs(stats.spearmanr(points).statistic) < 0.05


def test_sobol_trials_fill_the_space_evenly(space: Callable[..., Space]) -> None:
    subject = space(space={"seed": list(range(8)), "fit.batch_size": list(range(1, 9))})
    found = [tuple(trial.values()) for trial in asked(subject, "sobol", [64], seed=5)]
    assert sorted(found) == list(itertools.product(range(8), range(1, 9)))


def test_a_grid_ends(space: Callable[..., Space]) -> None:
    subject = space(space={"a": [1, 2, 3], "b": [4, 5]})
    search = new_search("grid", subject, 0, "lower")
    assert [len(search.ask(size)) for size in (4, 4, 4)] == [4, 2, 0]
    assert asked(subject, "grid", [6]) == list(subject.grid())


def test_what_became_of_trials_does_not_change_them(space: Callable[..., Space], end: End) -> None:
    subject = space(space=RANGES)
    for name in ("random", "sobol"):
        search = new_search(name, subject, 0, "higher")
        found = list(search.ask(5))
        search.tell([end(number, math.nan) for number in range(5)])
        assert [*found, *search.ask(5)] == asked(subject, name, [10])
