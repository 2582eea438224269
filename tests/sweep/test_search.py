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

MakeTrialEnd = Callable[..., TrialEnded]
RANGES = {
    "optimizer.learning_rate": "log(1e-4, 1e-1)",
    "fit.batch_size": "int(1, 64)",
    "seed": "1,2,3",
}


def suggest(
    search_space: Space, name: SearchName, sizes: Sequence[int], seed: int = 0
) -> list[Settings]:
    search = new_search(name, search_space, seed, "higher")
    return [settings for size in sizes for settings in search.ask(size)]


@pytest.mark.parametrize("name", ["random", "sobol"])
def test_trial_is_a_function_of_seed_and_number(
    name: SearchName, space: Callable[..., Space]
) -> None:
    search_space = space(space=RANGES)
    whole = suggest(search_space, name, [40])
    assert suggest(search_space, name, [1, 9, 30]) == whole
    assert suggest(search_space, name, [40], seed=1) != whole
    assert len({str(trial) for trial in whole}) > 35


def test_trials_are_stable_across_versions(space: Callable[..., Space]) -> None:
    # These values must not change with any version of any package, or resumed sweeps would break.
    trials = suggest(space(space={"a": "uniform(0, 1)", "b": "int(0, 99)"}), "random", [3], seed=7)
    assert trials == RANDOM
    trials = suggest(space(space={"a": "uniform(0, 1)", "b": "int(0, 99)"}), "sobol", [3], seed=7)
    assert trials == SOBOL


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
    trials = suggest(space(space={"a": "uniform(0, 1)", "b": "uniform(0, 1)"}), "random", [4000])
    points = np.array([[trial["a"], trial["b"]] for trial in trials])
    for axis in points.T:
        assert stats.kstest(axis, "uniform").pvalue > 0.01
    assert abs(stats.spearmanr(points).statistic) < 0.05


def test_sobol_trials_fill_the_space_evenly(space: Callable[..., Space]) -> None:
    search_space = space(space={"seed": list(range(8)), "fit.batch_size": list(range(1, 9))})
    trials = [tuple(trial.values()) for trial in suggest(search_space, "sobol", [64], seed=5)]
    assert sorted(trials) == list(itertools.product(range(8), range(1, 9)))


def test_grid_search_ends(space: Callable[..., Space]) -> None:
    search_space = space(space={"a": [1, 2, 3], "b": [4, 5]})
    search = new_search("grid", search_space, 0, "lower")
    assert [len(search.ask(size)) for size in (4, 4, 4)] == [4, 2, 0]
    assert suggest(search_space, "grid", [6]) == list(search_space.grid())


def test_random_and_sobol_ignore_results(
    space: Callable[..., Space], make_end: MakeTrialEnd
) -> None:
    search_space = space(space=RANGES)
    for name in ("random", "sobol"):
        search = new_search(name, search_space, 0, "higher")
        trials = list(search.ask(5))
        search.tell([make_end(number, math.nan) for number in range(5)])
        assert [*trials, *search.ask(5)] == suggest(search_space, name, [10])
