from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.config.load import load_config
from trainer.config.optimizers import Sgd
from trainer.config.schema import Config
from trainer.config.sweep_loading import load_sweep, sweep_overrides, sweep_text, trial_config
from trainer.errors import ConfigError

Write = Callable[..., Path]
BASE = """\
data: {source: x.csv, target: y}
model: {layers: [dense: 64, dropout: 0.1]}
optimizer: {name: adam, beta_2: 0.9}
fit: {epochs: 5}
"""


@pytest.mark.parametrize(
    ("argument", "override"),
    [
        ("fit.epochs=3,5", "sweep.space.\"fit.epochs\"=[3, 5]"),
        ("seed=1, 2", "sweep.space.seed=[1, 2]"),
        ("optimizer.name=adam,sgd", 'sweep.space."optimizer.name"=[adam, sgd]'),
        ("optimizer={name: sgd},adam", "sweep.space.optimizer=[{name: sgd}, adam]"),
        ("metrics=[accuracy,auc],[f1]", "sweep.space.metrics=[[accuracy,auc], [f1]]"),
        ("lr=log(1e-4, 1e-1)", "sweep.space.lr=log(1e-4, 1e-1)"),
        ("lr=uniform(0,1)", "sweep.space.lr=uniform(0,1)"),
        ("lr=int(1,9,log)", "sweep.space.lr=int(1,9,log)"),
        ("lr=lgo(1,9)", "sweep.space.lr=lgo(1,9)"),
        ('data.columns."a.b".scale=none,robust',
         'sweep.space."data.columns.\\"a.b\\".scale"=[none, robust]'),
        ('name="a","b"', 'sweep.space.name=["a", "b"]'),
    ],
)  # fmt: skip
def test_argument_with_values_is_searched(argument: str, override: str) -> None:
    assert sweep_overrides([argument]) == [override]


@pytest.mark.parametrize(
    "argument",
    [
        "fit.epochs=3", "metrics=[accuracy,auc]", "optimizer={name: sgd, momentum: 0.9}",
        'data.positive="a,b"', "data.positive='log(1,2)'", "data.csv.separator=,", "fit.epochs=3,",
        "~fit.epochs", "--fit.epochs=3,4", "+a=1,2", "fit.epochs", "=1,2", "data.csv.quote='",
        "sweep.trials=3,4", "sweep.space.seed=[1, 2]", "model.layers.0=dense: 3", "a=",
        "fit.warm_start=runs/a,", "model.layers.0.custom=package.module:function",
    ],
)  # fmt: skip
def test_other_arguments_are_overrides(argument: str) -> None:
    assert sweep_overrides([argument]) == [argument]


def test_arguments_override_the_search_space(write: Write) -> None:
    path = write(BASE + "sweep: {space: {seed: [1, 2], fit.epochs: [3]}, trials: 7}\n")
    loaded = load_sweep(
        path, ["fit.epochs=5,6", "optimizer.learning_rate=log(0.1, 1)", "metrics=[auc]"]
    )
    assert loaded.config.sweep is not None
    assert loaded.config.sweep.model_dump(exclude_unset=True) == {
        "space": {
            "seed": [1, 2], "fit.epochs": [5, 6], "optimizer.learning_rate": "log(0.1, 1)",
        },
        "trials": 7,
    }  # fmt: skip
    assert loaded.config.metrics == ["auc"]


def load_errors(path: Path, *arguments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_sweep(path, arguments)
    return [str(problem).replace(str(path), "FILE") for problem in caught.value.problems]


def test_config_without_search_space(write: Write) -> None:
    (problem,) = load_errors(write(BASE), "seed=3")
    assert problem == (
        "FILE: expected settings to search, found no sweep section; write `sweep:` with a `space:`, or "
        "give values to try: optimizer.learning_rate=1e-3,1e-2"
    )


def test_problem_shows_the_argument_as_typed(write: Write) -> None:
    path = write(BASE)
    assert load_errors(path, "optimizer.learning_rate=1e-3,-1", "seed=log(2,1)") == [
        "override 'seed=log(2,1)': expected a range with the lower bound first, found 'log(2,1)'; "
        "write log(1, 2)"
    ]
    assert load_errors(path, "optimizer.learning_rate=1e-3,-1", "fit.epochs=0") == [
        "override 'fit.epochs=0': expected an integer from 1 to 10,000,000, found 0",
        "override 'optimizer.learning_rate=1e-3,-1': expected a number above 0, found -1",
    ]


def test_override_of_a_searched_setting(write: Write) -> None:
    text = "sweep: {space: {fit.epochs: [1, 2]}, pairs: [{seed: [1, 2], fit.batch_size: [3, 4]}]}\n"
    path = write(BASE + text)
    assert load_errors(path, "fit.epochs=3", "seed=3") == [
        "override 'fit.epochs=3': expected a setting that the sweep does not search, found a "
        'searched one; write ~sweep.space."fit.epochs" too, to stop searching it',
        "override 'seed=3': expected a setting that the sweep does not search, found a searched one; "
        "remove it from sweep.pairs",
    ]
    loaded = load_sweep(path, ["fit.epochs=3", '~sweep.space."fit.epochs"'])
    assert loaded.config.fit.epochs == 3


def test_trial_config(write: Write) -> None:
    path = write(BASE + "sweep: {space: {seed: [1, 2]}}\n")
    loaded = load_sweep(path)
    config = trial_config(
        loaded, {"model.layers.0.dense.units": 7, "model.layers.1.dropout.rate": 0}
    )
    assert config.sweep is None
    expected = ["model.layers.0.dense.units=7", "model.layers.1.dropout.rate=0", "~sweep"]
    assert config == load_config(path, expected).config
    assert load_config(path).config.sweep is not None


def test_searched_optimizer_has_its_defaults(write: Write) -> None:
    path = write(
        BASE.replace(", beta_2: 0.9", "") + "sweep: {space: {optimizer.name: [adam, sgd]}}\n"
    )
    first = load_sweep(path)
    again = load_sweep(write(sweep_text(first), "sweeps/a/sweep.yaml"))
    assert again.config == first.config
    for loaded in (first, again):
        optimizer = trial_config(loaded, {"optimizer.name": "sgd"}).optimizer
        assert isinstance(optimizer, Sgd)
        assert optimizer == load_config(path, ["optimizer=sgd"]).config.optimizer


def test_objective_determines_the_best_epoch(write: Write) -> None:
    loaded = load_sweep(write(BASE + "sweep: {space: {seed: [1]}, objective: val_auc}\n"))
    assert trial_config(loaded, {}).fit.checkpoint.monitor == "val_auc"


def test_all_trials_have_the_same_split(write: Write) -> None:
    loaded = load_sweep(write(BASE + "seed: 9\nsweep: {space: {seed: [1, 2]}}\n"))
    assert trial_config(loaded, {"seed": 1}).data.split.seed == 9
    assert trial_config(loaded, {"fit.epochs": 1}).data.split.seed is None


def test_trial_with_a_conflict(write: Write) -> None:
    path = write(BASE + "sweep: {space: {seed: [1, 2]}}\n")
    with pytest.raises(ConfigError) as caught:
        trial_config(load_sweep(path), {"optimizer.name": "sgd"})
    (problem,) = caught.value.problems
    assert problem.where == f"{path}, a trial with {{optimizer.name: sgd}}"
    assert problem.key == "optimizer.beta_2"


def test_trial_with_several_problems(write: Write) -> None:
    loaded = load_sweep(write(BASE + "sweep: {space: {seed: [1, 2]}}\n"))
    with pytest.raises(ConfigError) as caught:
        trial_config(loaded, {"model.layers.9.dense": 3, "fit.epochs": 0})
    assert [problem.key for problem in caught.value.problems] == ["model.layers.9", "fit.epochs"]


def test_section_is_set_before_its_parts(write: Callable[..., Path]) -> None:
    text = (
        "data: {source: x.csv, target: y}\nmodel: {layers: [flatten, {dropout: 0.1}]}\n"
        "sweep: {space: {model.layers.1.dense.units: [8, 16], model.layers.1: [{dense: 4}]}}\n"
    )
    loaded = load_sweep(write(text))
    for settings in (
        {"model.layers.1.dense.units": 8, "model.layers.1": {"dense": 4}},
        {"model.layers.1": {"dense": 4}, "model.layers.1.dense.units": 8},
    ):
        assert layers_of(trial_config(loaded, settings)) == [
            {"flatten": {}},
            {"dense": {"units": 8}},
        ]


def test_fix_for_an_argument(write: Callable[..., Path]) -> None:
    text = "data: {source: x.csv, target: y}\nmodel: {layers: [dense: 3, dropout: 0.1]}\n"
    path = write(text)
    for argument, expected in [
        ("model.layers.1.dense.units=8,16",
         "model.layers.1={dense: {units: 8}},{dense: {units: 16}}"),
        ("model.layers.2.dense=8,16", "model.layers.2={dense: 8},{dense: 16}"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            load_sweep(path, [argument])
        (problem,) = caught.value.problems
        assert problem.fix.endswith(f"write '{expected}'")
        assert load_sweep(path, [expected])
    with pytest.raises(ConfigError) as caught:
        load_sweep(path, ["model.layers.1.dense.units=int(8, 16)"])
    fix = caught.value.problems[0].fix
    assert fix.endswith("write model.layers.1: [{dense: {units: 8}}]")


def layers_of(config: Config) -> list[object]:
    return [layer.model_dump(exclude_unset=True) for layer in config.model.layers]
