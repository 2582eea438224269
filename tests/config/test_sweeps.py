from __future__ import annotations

from typing import Any

import pytest

from trainer.config.conditions import SweepCondition
from trainer.config.domains import Choices, Dimension, Floats
from trainer.config.schema import Config
from trainer.config.sweeps import (
    Sweep,
    grid_points,
    kept_trials,
    parse_epochs,
    resolved_search,
    resolved_trials,
    sweep_conditions,
    sweep_dimensions,
)


def sweep(**settings: Any) -> Sweep:
    settings.setdefault("space", {"seed": [1, 2, 3], "fit.epochs": "4,5"})
    result = Config.model_validate(
        {"data": {"source": "x", "target": "y"}, "sweep": settings}
    ).sweep
    assert result is not None
    return result


def test_dimensions_are_in_the_order_of_the_config() -> None:
    section = sweep(
        space={"b": "log(1, 2)", "a": [1]},
        pairs=[{"d": [1, 2], "c": ["x", "y"]}, {"e": [7]}],
        when={"b": "a == 1"},
    )
    assert sweep_dimensions(section) == (
        Dimension(("b",), Floats(1.0, 2.0, True)),
        Dimension(("a",), Choices((1,))),
        Dimension(("d", "c"), Choices(((1, "x"), (2, "y")))),
        Dimension(("e",), Choices((7,))),
    )
    assert sweep_conditions(section) == {"b": SweepCondition("a", True, 1)}


@pytest.mark.parametrize(
    ("settings", "search", "trials"),
    [
        ({}, "grid", None),
        ({"trials": 6}, "grid", 6),
        ({"trials": 5}, "sobol", 5),
        ({"search": "grid", "trials": 5}, "grid", 5),
        ({"space": {"a": "uniform(0, 1)"}}, "sobol", 64),
        ({"space": {"a": "uniform(0, 1)"}, "max_seconds": 9.0}, "sobol", None),
        ({"space": {"a": "uniform(0, 1)"}, "max_seconds": 9.0, "trials": 3}, "sobol", 3),
        ({"search": "tpe"}, "tpe", 64),
        ({"space": {f"a{n}": "int(1, 2)" for n in range(32)}}, "sobol", 64),
        ({"space": {f"a{n}": "int(1, 2)" for n in range(33)}}, "random", 64),
    ],
)
def test_defaults_of_search(settings: dict[str, Any], search: str, trials: int | None) -> None:
    section = sweep(**settings)
    assert (resolved_search(section), resolved_trials(section)) == (search, trials)


def test_grid_points() -> None:
    assert grid_points(sweep()) == 6
    assert grid_points(sweep(pairs=[{"a": [1, 2], "b": [1, 2]}])) == 12
    assert grid_points(sweep(space={"a": "int(1, 3)", "b": [1]})) is None


def test_parse_epochs_and_kept_trials() -> None:
    assert parse_epochs("1 epoch") == 1
    assert parse_epochs("30 epochs") == 30
    assert kept_trials("all") is None
    assert kept_trials("best:5") == 5


def test_halving_shorthand() -> None:
    result = sweep(halving="2 epochs").halving
    assert result is not None
    assert (result.first, result.factor) == ("2 epochs", 3)
    assert sweep(halving={}).halving is not None
    assert sweep().halving is None
