"""The tree-structured Parzen estimator: it can be replayed, and it beats random search."""

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

MakeTrialEnd = Callable[..., TrialEnded]
SECTION: dict[str, Any] = {
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
    """Return a score that is best at a learning rate of 0.01, with sgd and a momentum of 0.9."""
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


def trial_end(number: int, settings: Settings, make_end: MakeTrialEnd) -> TrialEnded:
    """Return a trial's end as a function of settings and number, covering all statuses."""
    objective = math.nan if number % 7 == 3 else score(settings)
    return make_end(number, objective, STATUSES[number % 6], epochs=1 + number % 4)


def history(
    search: TpeSearch, sizes: list[int], make_end: MakeTrialEnd, first: int = 0
) -> list[list[Settings]]:
    batches = []
    for size in sizes:
        batch: list[Settings] = list(search.ask(size))
        assert len(batch) == size
        search.tell(
            [trial_end(first + index, trial, make_end) for index, trial in enumerate(batch)]
        )
        first += size
        batches.append(batch)
    return batches


SIZES = [8, 8, 5, 8, 1, 8]


def test_search_restored_after_any_batch_continues_identically(
    space: Callable[..., Space], make_end: MakeTrialEnd
) -> None:
    search_space = space(**SECTION)
    expected = history(TpeSearch(search_space, 3, "higher"), SIZES, make_end)
    for cut in range(len(SIZES) + 1):
        search = TpeSearch(space(**SECTION), 3, "higher")
        assert history(search, SIZES[:cut], make_end) == expected[:cut]
        # cut in the middle of the next batch, whose results are not known
        if cut < len(SIZES):
            assert list(search.ask(SIZES[cut])) == expected[cut]
            ends = [
                trial_end(sum(SIZES[:cut]) + n, trial, make_end)
                for n, trial in enumerate(expected[cut])
            ]
            search.tell(ends)
            rest = history(search, SIZES[cut + 1 :], make_end, sum(SIZES[: cut + 1]))
            assert rest == expected[cut + 1 :]
    assert history(TpeSearch(search_space, 4, "higher"), SIZES[:1], make_end) != expected[:1]


def test_results_change_later_suggestions(
    space: Callable[..., Space], make_end: MakeTrialEnd
) -> None:
    results = []
    for sign in (1.0, -1.0):
        search = TpeSearch(space(**SECTION), 0, "higher")
        batch = list(search.ask(16))
        search.tell([make_end(number, sign * score(trial)) for number, trial in enumerate(batch)])
        results.append(list(search.ask(4)))
    assert results[0] != results[1]


def test_inactive_settings_are_omitted(space: Callable[..., Space]) -> None:
    search = TpeSearch(space(**SECTION), 0, "higher")
    search.ask(60)
    for trial in search._study.trials:
        assert ("optimizer.momentum" in trial.params) == (trial.params["optimizer.name"] == 1)
    for settings in TpeSearch(space(**SECTION), 0, "higher").ask(60):
        assert ("optimizer.momentum" in settings) == (settings["optimizer.name"] == "sgd")
        assert (settings["fit.batch_size"], settings["fit.epochs"]) in ((16, 5), (64, 20))
        assert settings["model.layers"] in SECTION["space"]["model.layers"]


@pytest.mark.parametrize("direction", [pytest.param("higher", marks=pytest.mark.slow), "lower"])
def test_tpe_beats_random_search(
    direction: Any, space: Callable[..., Space], make_end: MakeTrialEnd
) -> None:
    sign = 1 if direction == "higher" else -1
    results = {}
    for name in ("tpe", "random"):
        means = []
        for seed in range(3):
            search = new_search(name, space(**SECTION), seed, direction)
            for first in range(0, 96, 8):
                batch = list(search.ask(8))
                ends = [make_end(first + n, sign * score(trial)) for n, trial in enumerate(batch)]
                search.tell(ends)
            means.append(sum(score(trial) for trial in batch) / len(batch))
        results[name] = sum(means) / len(means)
    assert results["tpe"] > results["random"] + 0.5


def test_results_are_reported_with_optuna_states(
    space: Callable[..., Space], make_end: MakeTrialEnd
) -> None:
    search = TpeSearch(space(**SECTION), 0, "higher")
    search.ask(5)
    search.tell(
        [
            make_end(0, 0.5), make_end(1, 0.25, "eliminated", epochs=3), make_end(2, math.nan),
            make_end(3, 0.5, "failed"), make_end(4, 0.125, "stopped", epochs=2),
        ]
    )  # fmt: skip
    states = optuna.trial.TrialState
    trials = search._study.trials
    assert [trial.state for trial in trials] == [
        states.COMPLETE, states.PRUNED, states.FAIL, states.FAIL, states.PRUNED,
    ]  # fmt: skip
    assert trials[0].value == 0.5
    assert trials[1].intermediate_values == {3: 0.25}
    assert trials[4].intermediate_values == {2: 0.125}


SCRIPT_WITHOUT_PACKAGES = """
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


def test_heavy_packages_are_not_imported() -> None:
    heavy = ["scipy", "sklearn", "pandas", "torch", "jax", "tensorflow", "keras", "matplotlib"]
    code = SCRIPT_WITHOUT_PACKAGES.format(names=heavy, heavy=[*heavy, "sqlalchemy", "alembic"])
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (completed.stdout.strip(), completed.stderr) == ("[]", "")


def test_missing_optuna_error_has_the_install_command(
    space: Callable[..., Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError) as raised:
        new_search("tpe", space(**SECTION), 0, "higher")
    (problem,) = raised.value.problems
    assert problem.key == "sweep.search"
    assert problem.fix.startswith("pip install 'optuna")
    assert new_search("sobol", space(**SECTION), 0, "higher").ask(2)


def test_sweep_package_imports_no_heavy_package() -> None:
    code = (
        "import sys, trainer.sweep.study, trainer.sweep.leaderboard\n"
        "print([m for m in ('tensorflow', 'keras', 'optuna', 'scipy', 'polars') if m in sys.modules])"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert completed.stdout.strip() == "[]"
