"""Additions to settings of a resumed run, differences of two configs, and allowed changes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.dump import resolved_settings
from trainer.config.load import load_config
from trainer.config.setting_changes import (
    changed_settings,
    keeps_training_state,
    resolve_additions,
)
from trainer.errors import ConfigError

SETTINGS = {
    "fit": {
        "epochs": 10,
        "steps": None,
        "max_seconds": 2.5,
        "early_stopping": {"patience": 3},
        "reduce_on_plateau": None,
    }
}

keys = st.text("abcdef", min_size=1, max_size=3)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
settings = st.dictionaries(
    keys,
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=10,
    ),
    max_size=4,
)


@given(more=st.integers(min_value=0, max_value=10**7), previous=st.integers(1, 10**7))
def test_plus_adds_to_the_previous_value(more: int, previous: int) -> None:
    settings = {"fit": {**SETTINGS["fit"], "epochs": previous}}
    assert resolve_additions([f"fit.epochs=+{more}"], settings) == [f"fit.epochs={previous + more}"]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("fit.early_stopping.patience=+4", "fit.early_stopping.patience=7"),
        ("fit.max_seconds=+60", "fit.max_seconds=62.5"),
        ("fit.max_seconds=+.5", "fit.max_seconds=3"),
        ("fit.max_seconds=+1e2", "fit.max_seconds=102.5"),
        ("fit.epochs=+2e1", "fit.epochs=30"),
        ("fit.epochs=+0", "fit.epochs=10"),
    ],
)
def test_plus_adds_any_number(text: str, result: str) -> None:
    assert resolve_additions([text], SETTINGS) == [result]


def test_other_overrides_are_unchanged() -> None:
    others = ["fit.epochs=30", "~fit.max_seconds", "name=a+b", "data.source=x=+.csv", "fit.epochs"]
    assert resolve_additions(others, SETTINGS) == others


def test_plus_adds_to_the_default_epochs() -> None:
    unset = {"fit": {"epochs": None, "steps": None}}
    assert resolve_additions(["fit.epochs=+5"], unset) == ["fit.epochs=105"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fit.batch_size=+8", "expected '+' with fit.epochs, fit.steps"),
        ("optimizer.learning_rate=+0.1", "write optimizer.learning_rate=0.1"),
        ("model.layers.0.dense.units=+8", "write model.layers.0.dense.units=8"),
        ("fit.epoch=+8", "did you mean 'fit.epochs'?"),
        ("epochs=+8", "did you mean 'fit.epochs'?"),
        ("fit.steps=+8", "write fit.steps=8 without the '+'"),
        ("fit.reduce_on_plateau.patience=+8", "expected '+' with fit.epochs"),
        ("fit.epochs=+many", "expected a number after the '+', found 'many'"),
        ("fit.epochs=+", "expected a number after the '+', found ''"),
        ("fit.max_seconds=+.inf", "expected a number after the '+', found '.inf'"),
        ("fit.max_seconds=+inf", "expected a number after the '+', found 'inf'"),
        ("fit.epochs=+-3", "expected a number after the '+', found '-3'"),
    ],
)
def test_plus_with_other_settings_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_additions([text], SETTINGS)
    assert f"override '{text}'" in str(refused.value)
    assert message in str(refused.value)


def test_plus_needs_early_stopping_for_patience() -> None:
    with pytest.raises(ConfigError, match=r"a run with fit\.early_stopping\.patience"):
        resolve_additions(
            ["fit.early_stopping.patience=+4"], {"fit": {"epochs": 3, "early_stopping": None}}
        )


@given(settings, settings)
def test_differences_are_symmetric(first: dict[str, Any], other: dict[str, Any]) -> None:
    assert changed_settings(first, copy.deepcopy(first)) == {}
    assert set(changed_settings(first, other)) == set(changed_settings(other, first))
    if not changed_settings(first, other):
        assert _without_nulls(first) == _without_nulls(other)


@given(settings, st.data())
def test_single_change_is_reported_with_its_key(first: dict[str, Any], data: st.DataObject) -> None:
    changed = copy.deepcopy(first)
    path: list[str] = []
    parent: Any = changed
    while True:
        step = data.draw(st.sampled_from(_steps(parent))) if _steps(parent) else None
        if step is None:
            return
        path.append(str(step))
        if _steps(parent[step]):
            parent = parent[step]
            continue
        parent[step] = "something else entirely"
        break
    (key,) = changed_settings(first, changed)
    assert key == ".".join(path)
    assert changed_settings(first, changed)[key].endswith(" → something else entirely")


def test_difference_shows_old_and_new_value() -> None:
    old = {"fit": {"epochs": 3, "max_seconds": None}, "layers": [{"units": 4}, {"rate": 0.5}]}
    new = {"fit": {"epochs": 5, "max_seconds": 2.0}, "layers": [{"units": 4}, {"rate": 0.25}]}
    assert changed_settings(old, new) == {
        "fit.epochs": "3 → 5",
        "fit.max_seconds": "not set → 2.0",
        "layers.1.rate": "0.5 → 0.25",
    }
    assert list(changed_settings({"layers": [1]}, {"layers": [1, 2]})) == ["layers"]


@pytest.mark.parametrize(
    "key",
    [
        "fit.epochs",
        "fit.steps",
        "fit.max_seconds",
        "fit.early_stopping.patience",
        "fit.checkpoint.every",
        "fit.checkpoint.keep",
        "evaluate.threshold",
        "name",
        "track.tensorboard",
        "track.mlflow.uri",
    ],
)
def test_settings_that_keep_the_training_state(key: str) -> None:
    assert keeps_training_state(key)


@pytest.mark.parametrize(
    "key",
    [
        "seed",
        "data.source",
        "fit",
        "fit.batch_size",
        "fit.early_stopping",
        "fit.early_stopping.monitor",
        "fit.checkpoint.monitor",
        "fit.epochs_more",
        "optimizer.learning_rate",
        "optimizer.name",
        "model.layers.0.dense.units",
        "runtime.threads",
    ],
)
def test_settings_that_change_training(key: str) -> None:
    assert not keeps_training_state(key)


def test_settings_that_may_change_exist_in_the_schema(tmp_path: Path) -> None:
    """A key renamed in the schema would otherwise be refused or accepted unnoticed."""
    config = tmp_path / "config.yaml"
    config.write_text("data: {source: table.csv, target: y}")
    loaded = load_config(config, ["fit.early_stopping={patience: 3}"])
    resolved = resolved_settings(loaded.config)
    other = {"epochs": 7, "steps": 7, "max_seconds": 7.0}
    for name, value in other.items():
        changed = copy.deepcopy(resolved)
        changed["fit"][name] = value
        assert [
            key for key in changed_settings(resolved, changed) if keeps_training_state(key)
        ] == [f"fit.{name}"]
    assert {"every", "keep"} <= set(resolved["fit"]["checkpoint"])
    assert "patience" in resolved["fit"]["early_stopping"]
    assert {"evaluate", "name"} <= set(resolved)


def _steps(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return sorted(value)
    return list(range(len(value))) if isinstance(value, list) else []


def _without_nulls(value: Any) -> Any:
    """Remove settings that are null."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
