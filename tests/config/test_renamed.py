"""Names of earlier versions: the error gives the new name, wherever the old one is used."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.config import renamed as table
from trainer.config.load import load_config
from trainer.errors import ConfigError

Write = Callable[..., Path]
BASE = "data: {source: x.csv, target: y}\n"

SETTINGS = [
    ("data.categorical.fold_case", "true", "ignore_case"),
    ("data.columns.c.fold_case", "true", "ignore_case"),
    ("optimizer.accumulate", "2", "gradient_accumulation_steps"),
    ("fit.on_nonfinite.limit", "2", "max_rollbacks"),
    ("evaluate.level", "0.9", "confidence_level"),
    ("evaluate.coverage", "0.8", "prediction_interval"),
    ("evaluate.threshold.aim", "cost", "criterion"),
    ("evaluate.threshold.false_positive", "2", "false_positive_cost"),
    ("evaluate.threshold.false_negative", "2", "false_negative_cost"),
    ("evaluate.threshold.precision", "0.8", "min_precision"),
    ("runtime.compile", "true", "jit_compile"),
]
VALUES = [
    ("data.categorical.impute", "own_level", "separate_level"),
    ("data.categorical.unknown", "own_level", "separate_level"),
    ("data.columns.c.impute", "own_level", "separate_level"),
    ("data.columns.c.unknown", "own_level", "separate_level"),
    ("fit.on_nonfinite", "rewind", "rollback"),
    ("fit.on_nonfinite.action", "rewind", "rollback"),
]
REST_OF_THRESHOLD = {
    "false_positive": "criterion: cost, ",
    "false_negative": "criterion: cost, ",
    "precision": "criterion: precision, ",
}


def problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    folder = f"{path.parent}/"
    return [str(problem).replace(folder, "") for problem in caught.value.problems]


def renamed(key: str, new: str) -> str:
    """Return the message about an old setting, without its location."""
    *section, old = key.split(".")
    return f"{key}: expected '{new}', found '{old}'; rename it to {'.'.join([*section, new])}"


def line(key: str, value: str) -> str:
    """Return a setting in flow style: `evaluate: {level: 0.9}`."""
    *section, name = key.split(".")
    text = f"{REST_OF_THRESHOLD.get(name, '')}{name}: {value}"
    for step in reversed(section[1:]):
        text = f"{step}: {{{text}}}"
    return f"{section[0]}: {{{text}}}"


def config_with(key: str, value: str) -> tuple[str, int]:
    """Return a config with a setting, and the column of its key on the second line."""
    if key.startswith("data."):
        text = f"{line(key, value)[:-1]}, source: x.csv, target: y}}"
        return f"seed: 1\n{text}\n", text.index(f"{key.rsplit('.', maxsplit=1)[-1]}: ") + 1
    text = line(key, value)
    return f"{BASE}{text}\n", text.index(f"{key.rsplit('.', maxsplit=1)[-1]}: {value}") + 1


@pytest.mark.parametrize(("key", "value", "new"), SETTINGS)
def test_old_setting_in_a_file(write: Write, key: str, value: str, new: str) -> None:
    text, column = config_with(key, value)
    assert problems(write(text)) == [f"config.yaml:2:{column} {renamed(key, new)}"]
    # The fix works.
    better = text.replace(f"{key.rsplit('.', maxsplit=1)[-1]}: {value}", f"{new}: {value}")
    if "on_nonfinite" not in key:  # max_rollbacks also needs the action
        load_config(write(better))


@pytest.mark.parametrize(("key", "value", "new"), SETTINGS)
def test_old_setting_in_an_override(write: Write, key: str, value: str, new: str) -> None:
    rest = REST_OF_THRESHOLD.get(key.rsplit(".", maxsplit=1)[-1], "").strip(", ").replace(": ", "=")
    overrides = [f"evaluate.threshold.{rest}"] if rest else []
    message = renamed(key, new).removeprefix(f"{key}: ")
    expected = f"override '{key}={value}': {message}"
    assert problems(write(BASE), *overrides, f"{key}={value}") == [expected]


@pytest.mark.parametrize(("key", "value", "new"), SETTINGS)
def test_old_setting_in_a_base_config(write: Write, key: str, value: str, new: str) -> None:
    text, column = config_with(key, value)
    write(text, "base.yaml")
    expected = f"base.yaml:2:{column} {renamed(key, new)}"
    assert problems(write("extends: base.yaml\n")) == [expected]


@pytest.mark.parametrize(("key", "value", "new"), SETTINGS)
def test_old_setting_in_a_sweep(write: Write, key: str, value: str, new: str) -> None:
    text = f"{BASE}evaluate: {{threshold: cost}}\nsweep:\n  space: {{{key}: [{value}, {value}]}}\n"
    results = problems(write(text))
    message = renamed(key, new).removeprefix(f"{key}: ")
    assert len(results) == 1
    assert re.fullmatch(rf'config.yaml:4:\d+ sweep.space."{re.escape(key)}".0: (.*)', results[0])
    assert results[0].endswith(message)


@pytest.mark.parametrize(("key", "value", "new"), VALUES)
def test_old_value(write: Write, key: str, value: str, new: str) -> None:
    message = f"expected '{new}', found '{value}'; use {new} instead"
    text, column = config_with(key, value)
    column = text.splitlines()[1].index(value) + 1
    location = f"config.yaml:2:{column}"
    assert problems(write(text)) == [f"{location} {key}: {message}"]
    assert problems(write(BASE), f"{key}={value}") == [f"override '{key}={value}': {message}"]
    write(text, "base.yaml")
    results = problems(write("extends: base.yaml\n"))
    assert results == [f"base.yaml:2:{column} {key}: {message}"]
    load_config(write(text.replace(value, new)))
    results = problems(write(f"{BASE}sweep:\n  space: {{{key}: [{value}, {new}]}}\n"))
    assert [text.partition(": ")[2] for text in results] == [message]


def test_condition_of_a_sweep_on_an_old_setting(write: Write) -> None:
    sweep = "sweep:\n  space: {seed: [1, 2]}\n  when: {seed: evaluate.level == 0.9}\n"
    (results,) = problems(write(BASE + sweep))
    assert results.endswith(renamed("evaluate.level", "confidence_level").partition(": ")[2])


def test_every_old_name_is_tested() -> None:

    def patterns(cases: list[tuple[str, str, str]]) -> set[Any]:
        return {
            tuple(
                "*" if before == "columns" else step
                for before, step in zip(steps[:1] + steps, steps, strict=False)
            )
            for steps in (case[0].split(".") for case in cases)
        }

    assert patterns(SETTINGS) == set(table._SETTINGS)
    assert patterns(VALUES) == set(table._VALUES)


def test_removed_setting(write: Write) -> None:
    assert problems(write(BASE + "evaluate: {scatter: true}\n")) == [
        "config.yaml:2:12 evaluate.scatter: expected a setting of evaluate, found 'scatter'; "
        "remove it: report.html plots predictions against two numeric features; "
        "`trainer report RUN --png FOLDER` writes only the plot"
    ]
