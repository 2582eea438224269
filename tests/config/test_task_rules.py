"""The rules of tasks."""

from __future__ import annotations

from typing import get_args

import pytest

from trainer.config.generation import generates
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES, rules_of
from trainer.config.translation import translates
from trainer.task_names import TaskName


@pytest.mark.parametrize("task", get_args(TaskName))
def test_targets_are_of_one_kind(task: TaskName) -> None:
    rules = TASK_RULES[task]
    kinds = [rules.has_classes, rules.has_numbers, rules.has_text, rules.is_generated]
    assert sum(kinds) == 1
    data = Config.model_validate({"data": {"source": "x.csv", "target": "y", "task": task}}).data
    assert translates(data) == rules.has_text
    assert generates(data) == rules.is_generated


@pytest.mark.parametrize("task", [None, "auto", "clustering", ""])
def test_unknown_tasks_of_files_have_no_rules(task: str | None) -> None:
    assert rules_of(task) is None


def test_rules_of_a_recorded_task() -> None:
    assert rules_of("regression") is TASK_RULES["regression"]
