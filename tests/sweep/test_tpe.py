"""The tree-structured Parzen estimator: the same when told again, and better than chance."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from trainer.errors import ConfigError
from trainer.sweep.search import Settings, new_search
from trainer.sweep.space import Space
from trainer.sweep.tpe import TpeSearch
from trainer.sweep.trials import TrialEnded, TrialStatus

End = Callable[..., TrialEnded]
SEARCHED: dict[str, Any] = {
    "space": {
        "optimizer.momentum": "uniform(0, 0.99)",
        "optimizer.learning_rate": "log(1e-4, 1)",
        "optimizer.name": ["adam", "sgd"],
        "model.layers": [["flatten"], [{"dense": 3}, "flatten"], []],
    },
    "pairs": [{"fit.batch_size": [16, 64], "fit.epochs": [5, 20]}],
    "when": {"optimizer.momentum": "optimizer.name == sgd"},
}


def score(settings: Settings) -> float:
    """Best at a learning rate of 0.01, with sgd and a momentum of 0.9."""
    value = -abs(math.log10(settings["optimizer.learning_rate"]) + 2) - len(
        settings["model.layers"]
    )
    if settings["optimizer.name"] == "sgd":
        value += 0.5 - abs(settings["optimizer.momentum"] - 0.9)
    return value


STATUSES: list[TrialStatus] = [
    "finished",
    "finished",
    "eliminated",
    "failed",
    "stopped",
    "finished",
]


def told(number: int, settings: Settings, end: End) -> TrialEnded:
    """A trial's end, a function of its settings and number; of every kind of end some."""
    objective = math.nan if number % 7 == 3 else score(settings)
    return end(number, objective, STATUSES[number % 6], epochs=1 + number % 4)


def history(search: TpeSearch, sizes: list[int], end: End, first: int = 0) -> list[list[Settings]]:
    batches = []
    for size in sizes:
        batch: list[Settings] = list(search.ask(size))
        assert len(batch) == size
        search.tell([told(first + index, each, end) for index, each in enumerate(batch)])
        first += size
        batches.append(batch)
    return batches


SIZES = [8, 8, 5, 8, 1, 8]


def test_a_search_cut_after_any_batch_goes_on_as_the_undisturbed_one(
    space: Callable[..., Space], end: End
) -> None:
    subject = space(**SEARCHED)
    whole = history(TpeSearch(subject, 3, "higher"), SIZES, end)
    for cut in range(len(SIZES) + 1):
        search = TpeSearch(space(**SEARCHED), 3, "higher")
        assert history(search, SIZES[:cut], end) == whole[:cut]
        # cut in the middle of the next batch: it was asked for and not told
        if cut < len(SIZES):
            assert list(search.ask(SIZES[cut])) == whole[cut]
            ends = [told(sum(SIZES[:cut]) + n, each, end) for n, each in enumerate(whole[cut])]
            search.tell(ends)
            rest = history(search, SIZES[cut + 1 :], end, sum(SIZES[: cut + 1]))
            assert rest == whole[cut + 1 :]
    assert history(TpeSearch(subject, 4, "higher"), SIZES[:1], end) != whole[:1]


def test_what_it_is_told_matters(space: Callable[..., Space], end: End) -> None:
    found = []
    for sign in (1.0, -1.0):
        search = TpeSearch(space(**SEARCHED), 0, "higher")
        batch = list(search.ask(16))
        search.tell([end(number, sign * score(each)) for number, each in enumerate(batch)])
        found.append(list(search.ask(4)))
    assert found[0] != found[1]


def test_settings_that_are_not_in_force_are_left_out(space: Callable[..., Space]) -> None:
    search = TpeSearch(space(**SEARCHED), 0, "higher")
    search.ask(60)
    for trial in search._study.trials:
        assert ("optimizer.momentum" in trial.params) == (trial.params["optimizer.name"] == 1)
    for settings in TpeSearch(space(**SEARCHED), 0, "higher").ask(60):
        assert ("optimizer.momentum" in settings) == (settings["optimizer.name"] == "sgd")
        assert (settings["fit.batch_size"], settings["fit.epochs"]) in ((16, 5), (64, 20))
        assert settings["model.layers"] in SEARCHED["space"]["model.layers"]


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_it_finds_better_trials_than_chance(
    direction: Any, space: Callable[..., Space], end: End
) -> None:
    sign = 1 if direction == "higher" else -1
    found = {}
    for name in ("tpe", "random"):
        means = []
        for seed in range(3):
            search = new_search(name, space(**SEARCHED), seed, direction)
            for first in range(0, 96, 8):
                batch = list(search.ask(8))
                ends = [end(first + n, sign * score(each)) for n, each in enumerate(batch)]
                search.tell(ends)
            means.append(sum(score(each) for each in batch) / len(batch))
        found[name] = sum(means) / len(means)
    assert found["tpe"] > found["random"] + 0.5


def test_it_is_told_what_optuna_calls_it(space: Callable[..., Space], end: End) -> None:
    search = TpeSearch(space(**SEARCHED), 0, "higher")
    search.ask(5)
    search.tell(
        [
            end(0, 0.5), end(1, 0.25, "eliminated", epochs=3), end(2, math.nan),
            end(3, 0.5, "failed"), end(4, 0.125, "stopped", epochs=2),
        ]
    )  # fmt: skip
    states = optuna.trial.TrialState
    trials = search._study.trials
    assert [each.state for each in trials] == [
        states.COMPLETE, states.PRUNED, states.FAIL, states.FAIL, states.PRUNED,
    ]  # fmt: skip
    assert trials[0].value == 0.5
    assert trials[1].intermediate_values == {3: 0.25}
    assert trials[4].intermediate_values == {2: 0.125}


WITHOUT = """
import sys
for name in {names!r}:
    sys.modules[name] = None
import warnings
warnings.simplefilter("error")
from trainer.config.schema import Config
from trainer.sweep.search import new_search
from trainer.sweep.space import Space
from trainer.sweep.trials import TrialEnded
config = Config.model_validate({{"data": {{"source": "x", "target": "y"}},
                                "sweep": {{"space": {{"a": "log(1, 2)", "b": "int(1, 9, log)"}}}}}})
search = new_search("tpe", Space(config), 2**63 - 1, "lower")
for first in range(0, 40, 8):
    batch = search.ask(8)
    search.tell([TrialEnded(first + n, "finished", s["a"], 1, 1, "", 1.0) for n, s in enumerate(batch)])
print(sorted({{n.split(".")[0] for n, m in sys.modules.items() if m}} & set({heavy!r})))
"""


def test_it_needs_no_heavy_package() -> None:
    heavy = ["scipy", "sklearn", "pandas", "torch", "jax", "tensorflow", "keras", "matplotlib"]
    code = WITHOUT.format(names=heavy, heavy=[*heavy, "sqlalchemy", "alembic"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_without_optuna_it_says_what_to_install(
    space: Callable[..., Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError) as caught:
        new_search("tpe", space(**SEARCHED), 0, "higher")
    (problem,) = caught.value.problems
    assert problem.key == "sweep.search"
    assert problem.fix.startswith("pip install 'optuna")
    assert new_search("sobol", space(**SEARCHED), 0, "higher").ask(2)


def test_the_room_is_light() -> None:
    code = (
        "import sys, trainer.sweep.study, trainer.sweep.leaderboard\n"
        "print([m for m in ('tensorflow', 'keras', 'optuna', 'scipy', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
