from __future__ import annotations

from typing import Any

import pytest

from trainer.config.conditions import SweepCondition, active_settings, parse_condition
from trainer.errors import Problem


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("optimizer.name == sgd", SweepCondition("optimizer.name", True, "sgd")),
        ("optimizer.name!=sgd", SweepCondition("optimizer.name", False, "sgd")),
        ("a == 'x y'", SweepCondition("a", True, "x y")),
        ("a == 1e-3", SweepCondition("a", True, 1e-3)),
        ("a == true", SweepCondition("a", True, True)),
        ("a == null", SweepCondition("a", True, None)),
        ("a == [1, 2]", SweepCondition("a", True, [1, 2])),
    ],
)
def test_parse_condition(text: str, condition: SweepCondition) -> None:
    assert parse_condition(text) == condition


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("optimizer.name = sgd", "write optimizer.name == sgd"),
        ("optimizer.name: sgd", "write optimizer.name == sgd"),
        ("optimizer.name", ""),
        ("a ==", ""),
        ("== b", ""),
        ("a..b == 1", ""),
        ("a == [1", "put the value in quotes"),
    ],
)
def test_invalid_condition(text: str, fix: str) -> None:
    problem = parse_condition(text)
    assert isinstance(problem, Problem)
    assert problem.fix == fix


@pytest.mark.parametrize(
    ("expected", "value", "same"),
    [("a", "a", True), ("a", "b", False), (1, 1.0, True), (1, True, False), (True, True, True),
     (0, False, False), (None, None, True), (None, 0, False), ([1], [1], True)],
)  # fmt: skip
def test_true_does_not_equal_1(expected: Any, value: Any, same: bool) -> None:
    assert SweepCondition("k", True, expected).holds(value) is same
    assert SweepCondition("k", False, expected).holds(value) is not same


def test_chained_conditions_use_the_base_config() -> None:
    conditions = {
        "b": SweepCondition("a", True, 1),
        "c": SweepCondition("b", True, 2),
        "d": SweepCondition("z", False, 0),
    }
    chosen = {"c": 3, "b": 2, "a": 1, "d": 4}
    assert active_settings(chosen, conditions, {"a": 0, "b": 0, "z": 0}) == {"a": 1, "b": 2, "c": 3}
    assert active_settings({**chosen, "a": 9}, conditions, {"a": 0, "b": 0, "z": 5}) == {
        "a": 9, "d": 4,
    }  # fmt: skip
    # b is not active, so its value in the base config is used, which is 2
    assert "c" in active_settings({**chosen, "a": 9}, conditions, {"a": 0, "b": 2, "z": 0})


def test_section_is_set_before_its_parts() -> None:
    chosen = {"optimizer.schedule.cosine.final": 0.1, "optimizer.name": "sgd", "optimizer": {}}
    assert list(active_settings(chosen, {}, {})) == [
        "optimizer", "optimizer.name", "optimizer.schedule.cosine.final",
    ]  # fmt: skip
