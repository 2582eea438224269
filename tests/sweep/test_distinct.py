"""No settings are trained twice: equality of settings, and the number of combinations."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import cycle, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.marks import slow_except
from tests.sweep.conftest import config_of, ended
from trainer.config.sweeps import SearchName
from trainer.sweep.search import new_search
from trainer.sweep.space import Space, settings_key
from trainer.sweep.trial_count import combinations_warning, trial_count

MakeSpace = Callable[..., Space]
SEARCHES: list[SearchName] = ["random", "sobol", "tpe"]
SPACES: dict[str, tuple[dict[str, Any], int]] = {
    "choices": ({"space": {"optimizer.learning_rate": [0.1, 0.01], "seed": [1, 2, 3]}}, 6),
    "integers": ({"space": {"fit.batch_size": "int(1, 4)", "seed": "int(1, 8, log)"}}, 32),
    "a condition": (
        {
            "space": {"optimizer.name": ["adam", "sgd"], "optimizer.momentum": [0, 0.5, 0.9]},
            "when": {"optimizer.momentum": "optimizer.name == sgd"},
        },
        4,
    ),
    "a chain of conditions": (
        {
            "space": {"a": [1, 2], "b": [1, 2], "c": "int(1, 5)"},
            "when": {"b": "a == 1", "c": "b == 1"},
        },
        # c depends on b, which has the config's value (None) if a is 2.
        1 + 1 + 5,
    ),
    "pairs": ({"space": {"a": [1, 2]}, "pairs": [{"b": [1, 2, 3], "c": [4, 5, 6]}]}, 6),
    "pairs with equal rows": ({"pairs": [{"b": [1, 1, 2], "c": [4, 4, 6]}]}, 2),
    "equal values": ({"space": {"a": [16, 16.0, 32], "b": [True, 1]}}, 4),
    "one value": ({"space": {"a": [16]}}, 1),
    "a section and a setting in it": (
        {
            "space": {
                "model.layers": [[{"dense": {"units": 8}}], [{"dense": {"units": 9}}]],
                "model.layers.0.dense.units": [1, 2],
            }
        },
        2,
    ),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    # Each space is quick with one search.
    slow_except([*zip(SPACES, cycle(SEARCHES), strict=False)], [*product(SPACES, SEARCHES)]),
)
def test_every_trial_is_suggested_once(space: MakeSpace, name: SearchName, kind: str) -> None:
    section, count = SPACES[kind]
    search_space = space(**section)
    assert search_space.count(1000) == count
    search = new_search(name, search_space, 3, "higher")
    trials: list[Any] = []
    for size in (3, 1, 2, 40):
        batch = list(search.ask(size))
        search.tell([ended(len(trials) + number) for number in range(len(batch))])
        trials += batch
    assert len(trials) == count
    assert len({settings_key(trial) for trial in trials}) == count
    assert sorted(map(settings_key, trials)) == sorted(map(settings_key, search_space.grid()))
    assert list(search.ask(5)) == []


@pytest.mark.parametrize("name", SEARCHES)
def test_no_repeats_in_a_partly_continuous_space(space: MakeSpace, name: SearchName) -> None:
    section = {
        "space": {"optimizer.name": ["adam", "sgd"], "optimizer.momentum": "uniform(0, 1)"},
        "when": {"optimizer.momentum": "optimizer.name == sgd"},
    }
    search_space = space(**section)
    assert search_space.count(10) is None
    trials = new_search(name, search_space, 0, "higher").ask(20)
    assert len(trials) == 20
    assert sum(trial == {"optimizer.name": "adam"} for trial in trials) == 1


@pytest.mark.parametrize("name", SEARCHES)
def test_suggestions_do_not_depend_on_batch_sizes(space: MakeSpace, name: SearchName) -> None:
    section, count = SPACES["integers"]
    whole = list(new_search(name, space(**section), 1, "higher").ask(count))
    for cut in (1, 17, 31):
        search = new_search(name, space(**section), 1, "higher")
        assert [*search.ask(cut), *search.ask(count)] == whole


def test_non_distinct_search_repeats_trials(space: MakeSpace) -> None:
    search_space = space(space={"a": [1, 2], "b": [1, 2]})
    for name in SEARCHES:
        trials = new_search(name, search_space, 0, "higher", is_distinct=False).ask(12)
        assert len(trials) == 12
        assert len({settings_key(trial) for trial in trials}) <= 4


def test_distinct_search_is_the_non_distinct_one_without_repeats(space: MakeSpace) -> None:
    search_space = space(**SPACES["integers"][0])
    for name in ("random", "sobol"):
        repeating = new_search(name, search_space, 5, "higher", is_distinct=False).ask(60)
        first = list({settings_key(trial): trial for trial in repeating}.values())
        assert list(new_search(name, search_space, 5, "higher").ask(len(first))) == first


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2) | st.booleans() | st.none()))
@settings(max_examples=50)
def test_settings_key_is_equal_only_for_equal_settings(values: dict[str, Any]) -> None:
    assert settings_key(values) == settings_key(dict(reversed(values.items())))
    for key in values:
        assert settings_key({**values, key: "another"}) != settings_key(values)
    json.loads(settings_key(values))


def test_settings_key_of_shorthands_and_types() -> None:
    units = "model.layers.0.dense.units"
    short = [{"model.layers": [{"dense": width}], units: 4} for width in (8, 9)]
    assert settings_key(short[0]) != settings_key(short[1])
    assert settings_key({"a": 1}) != settings_key({"a": True}) != settings_key({"a": "1"})


@pytest.mark.parametrize(
    ("section", "trials", "message"),
    [
        ({"space": {"a": [1, 2], "b": [1, 2, 3]}, "search": "random", "trials": 12}, 6, "6 comb"),
        (
            {"space": {"a": "int(1, 9)"}, "trials": 10},
            9,
            "9 combinations of settings exist; running 9 tr",
        ),
        ({"space": {"a": [3]}, "search": "sobol", "trials": 2}, 1, "1 combination of settings ex"),
        ({"space": {"a": "int(1, 9)"}, "trials": 9}, 9, ""),
        ({"space": {"a": "int(1, 9)"}}, 9, ""),
        ({"space": {"a": "uniform(1, 9)"}, "trials": 70}, 70, ""),
        ({"space": {"a": "int(1, 1000000000000)"}, "trials": 70}, 70, ""),
        ({"space": {"a": "int(1, 9)"}, "max_seconds": 5}, 9, ""),
        ({"space": {"a": "uniform(1, 9)"}, "max_seconds": 5}, None, ""),
        ({**SPACES["a condition"][0], "search": "grid"}, 4, ""),
        (
            {**SPACES["a condition"][0], "trials": 6},
            4,
            "4 combinations of settings exist; running 4 tri",
        ),
    ],
)
def test_trial_count_is_limited_by_the_combinations(
    section: dict[str, Any], trials: int | None, message: str
) -> None:
    config = config_of(**section)
    assert trial_count(config) == trials
    warning = combinations_warning(config)
    assert message in warning
    assert bool(warning) is bool(message)
