"""Errors in a `sweep` section, with their location and the same messages as for overrides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.config.load import load_config
from trainer.config.validation import MAX_PROBLEMS
from trainer.errors import ConfigError

Write = Callable[..., Path]
BASE = """\
data: {source: x.csv, target: y, task: binary}
model: {layers: [dense: {units: 64, activation: relu}, dropout: 0.1]}
optimizer: {name: adam, learning_rate: 1e-3}
metrics: [accuracy, auc]
fit: {epochs: 20}
sweep:
"""


def sweep_problems(write: Write, text: str, base: str = BASE) -> list[str]:
    """Return the problems of a sweep section, with locations without the folder."""
    path = write(base + "".join(f"  {line}\n" for line in text.splitlines()))
    try:
        load_config(path)
    except ConfigError as error:
        return [str(problem).replace(f"{path}:", "") for problem in error.problems]
    return []


GOOD = [
    "space: {model.layers.1: [{dense: {units: 8}}, {dense: 16}]}",
    "space: {model.layers.2: [{dense: {units: 1}}]}",
    "space: {optimizer.learning_rate: [1e-3, 1e-2]}",
    "space: {optimizer.learning_rate: 'log(1e-4, 1e-1)', model.layers.1.dropout.rate: [0, 0.5]}",
    "space:\n  optimizer.learning_rate: log(1e-4, 1e-1)\n  fit.batch_size: int(16, 256, log)",
    "space: {model.layers.0.dense.units: 'int(1, 9)', model.layers: [[dense: 1], [dense: 2]]}",
    "space: {optimizer: [sgd, {name: adamw, weight_decay: 0.1}], optimizer.learning_rate: [1, 2]}",
    "space: {optimizer.name: [adam, sgd], optimizer.momentum: [0.5]}\n"
    "when: {optimizer.momentum: optimizer.name == sgd}",
    "space: {optimizer.momentum: [0.5], optimizer.name: [adam, sgd]}\n"
    "when: {optimizer.momentum: optimizer.name != adam}",
    "space: {optimizer.name: [sgd], optimizer.nesterov: [true], optimizer.momentum: [0.5, 0.9]}",
    "pairs: [{optimizer.name: [adam, sgd], optimizer.learning_rate: [1e-3, 1e-1]}]",
    "pairs: [{optimizer.name: [sgd, sgd], optimizer.momentum: [0.5, 0.9]}]",
    "space: {optimizer.learning_rate: [1e-3]}\nwhen: {optimizer.learning_rate: fit.batch_size == 32}",
    "space: {seed: [1, 2]}\nobjective: val_auc\nhalving: 3 epochs\nkeep: best:5\nsearch: tpe",
    "space: {seed: [1, 2]}\nobjective: val_loss\nhalving: {first: 1 epoch, factor: 4}\ntrials: 1",
    "space: {data.numeric.scale: [standard, robust], data.columns.\"a b\".scale: [none, minmax]}",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_valid_sweep(write: Write, text: str) -> None:
    assert sweep_problems(write, text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "space: {}",
            "7:10 sweep.space: expected at least one setting to search, found none; write, for "
            "example, `space: {optimizer.learning_rate: [1e-3, 1e-2]}`",
        ),
        (
            "space: {optimizer.lr: [1, 2]}",
            '7:26 sweep.space."optimizer.lr".0: expected a setting of optimizer, found \'lr\'; did '
            "you mean 'learning_rate'?",
        ),
        (
            "space: {model.layers.9.dense.units: [1, 2]}",
            '7:40 sweep.space."model.layers.9.dense.units".0: expected an index from 0 to 1 in '
            "model.layers, found '9'; did you mean model.layers.0.dense.units? model.layers "
            "has 0: dense, 1: dropout. To append, write model.layers.2: [{dense: {units: 1}}]",
        ),
        (
            "space: {model.layers.1.dense.units: [8, 16]}",
            '7:40 sweep.space."model.layers.1.dense.units".0: expected a setting of model.layers.1 '
            "(dropout), found 'dense'; did you mean model.layers.0.dense.units? model.layers "
            "has 0: dense, 1: dropout. To replace model.layers.1, write "
            "model.layers.1: [{dense: {units: 8}}]",
        ),
        (
            "space: {model.layers.0.dropout.rate: 'uniform(0, 0.5)'}",
            '7:40 sweep.space."model.layers.0.dropout.rate": expected a setting of model.layers.0 '
            "(dense), found 'dropout'; did you mean model.layers.1.dropout.rate? model.layers "
            "has 0: dense, 1: dropout. To replace model.layers.0, write "
            "model.layers.0: [{dropout: {rate: 0.0}}]",
        ),
        (
            "pairs: [{model.layers.1.dense.units: [8, 16], seed: [1, 2]}]",
            '7:41 sweep.pairs.0."model.layers.1.dense.units".0: expected a setting of '
            "model.layers.1 (dropout), found 'dense'; did you mean "
            "model.layers.0.dense.units? model.layers has 0: dense, 1: dropout. To replace "
            "model.layers.1, write model.layers.1: [{dense: {units: 8}}]",
        ),
        (
            "space: {optimizer.learning_rate: [1e-3, -1, abc]}",
            '7:43 sweep.space."optimizer.learning_rate".1: expected a number above 0, found -1',
        ),
        (
            "space: {optimizer.learning_rate: [-1, 1e-3]}",
            '7:37 sweep.space."optimizer.learning_rate".0: expected a number above 0, found -1',
        ),
        (
            "space: {model.layers.1.dropout.rate: 'uniform(0, 1.5)'}",
            '7:40 sweep.space."model.layers.1.dropout.rate": expected a number of at least 0 and '
            "below 1, found 1.5",
        ),
        (
            "space: {fit.batch_size: 'uniform(16, 64)'}",
            '7:27 sweep.space."fit.batch_size": expected an integer from 1 to 10,000,000, '
            "found 'uniform(16, 64)'; write int(16, 64)",
        ),
        (
            "space: {seed: 'log(9, 1)'}",
            "7:17 sweep.space.seed: expected a range with the lower bound first, found 'log(9, 1)'; "
            "write log(1, 9)",
        ),
        (
            "space: {seed: [1], fit.epochs: log(1}",
            '7:34 sweep.space."fit.epochs": expected a range such as log(1e-4, 1e-1), found '
            "'log(1'; quote ranges inside braces: \"log(1e-4, 1e-1)\"",
        ),
        (
            "space: {data.source: [a, b]}",
            '7:24 sweep.space."data.source": expected a setting that can differ between trials, '
            "found 'data.source'; remove it: trials are compared on the same rows",
        ),
        (
            "space: {data: [{source: a}]}",
            "7:17 sweep.space.data: expected a setting that can differ between trials, found "
            "'data', which contains data.source; remove it: trials are compared on the "
            "same rows",
        ),
        (
            "space: {name: [a, b]}",
            "7:17 sweep.space.name: expected a setting that can differ between trials, found "
            "'name'; remove it: all trials belong to one experiment",
        ),
        (
            "space: {sweep.trials: [1, 2]}",
            '7:25 sweep.space."sweep.trials": expected a setting that can differ between trials, '
            "found 'sweep.trials'; remove it: the section configures the search",
        ),
        (
            "space: {'': [1]}",
            '7:15 sweep.space."": expected a setting such as optimizer.learning_rate, found an '
            "empty name; name a setting, or remove it",
        ),
        (
            "space: {seed: [1, 2]}\npairs: [{seed: [1, 2], fit.epochs: [1, 2]}]",
            "8:18 sweep.pairs.0.seed: expected unique settings, found 'seed' twice; keep one of "
            "the two",
        ),
        (
            'space: {optimizer.learning_rate: [1], optimizer."learning_rate": [1]}',
            '7:68 sweep.space."optimizer.\\"learning_rate\\"": expected unique settings, found '
            "'optimizer.\"learning_rate\"' twice; keep one of the two",
        ),
        (
            "pairs: [{seed: [1, 2], fit.epochs: [1]}]",
            "7:11 sweep.pairs.0: expected lists of equal length, found 2 values for seed, "
            "1 value for fit.epochs; give every list the same length: the Nth values of all lists are "
            "used together",
        ),
        (
            "space: {seed: [1]}\npairs: [{}]",
            "8:11 sweep.pairs.0: expected settings that change together, found none; "
            "remove the group",
        ),
        (
            "pairs: [{seed: [1, 2], fit.epochs: [1, 0]}]",
            '7:42 sweep.pairs.0."fit.epochs".1: expected an integer from 1 to 10,000,000, '
            "found 0",
        ),
        (
            "space: {optimizer.momentum: [0.5], optimizer.name: [adam, sgd]}",
            '7:32 sweep.space."optimizer.momentum".0: expected a setting of optimizer '
            "(adam), found 'momentum'; set a condition for optimizer.momentum: "
            "`when: {optimizer.momentum: optimizer.name == …}`",
        ),
        (
            "space: {optimizer.momentum: [0.5], optimizer.name: [sgd, adam]}",
            '7:60 sweep.space."optimizer.name".1: expected a setting of optimizer '
            "(adam), found 'momentum' at optimizer.momentum when optimizer.name is 'adam'; set a "
            "condition for optimizer.momentum: `when: {optimizer.momentum: optimizer.name == …}`",
        ),
        (
            "space: {optimizer.momentum: [0.5]}",
            '7:32 sweep.space."optimizer.momentum".0: expected a setting of optimizer '
            "(adam), found 'momentum'; set optimizer.name to one of sgd, rmsprop, muon",
        ),
        (
            "space: {model.layers: [[custom: 'a:b']]}",
            '7:26 sweep.space."model.layers".0: expected a value without custom '
            "layers, found 'custom'; define it in model.layers, and search another setting",
        ),
        (
            "space: {seed: [1, 2]}\nwhen: {fit.epochs: seed == 1}",
            '8:22 sweep.when."fit.epochs": expected a setting that is searched, found '
            "'fit.epochs'; searched settings: seed",
        ),
        (
            "space: {seed: [1, 2]}\nwhen: {seed: optimizer.nam == sgd}",
            "8:16 sweep.when.seed: expected a setting of optimizer, found 'nam'; did you mean "
            "'name'?",
        ),
        (
            "space: {seed: [1, 2]}\nwhen: {seed: optimizer.name == sdg}",
            "8:16 sweep.when.seed: expected one of sgd, rmsprop, adam, adamw, adamax, nadam, lamb, "
            "schedule_free_adamw, adadelta, adagrad, adafactor, ftrl, lion, muon, found 'sdg'; did "
            "you mean 'sgd'?",
        ),
        (
            "space: {seed: [1, 2], optimizer.name: [adam, sgd]}\nwhen: {seed: optimizer.name == lion}",
            "8:16 sweep.when.seed: expected a value of optimizer.name: adam, sgd, found 'lion'; "
            "change it, or remove the condition",
        ),
        (
            "space: {seed: [1, 2], fit.epochs: 'int(1, 3)'}\nwhen: {seed: fit.epochs == 3}",
            "8:16 sweep.when.seed: expected a condition on a setting with a list of values, found "
            "'fit.epochs', a range; list its values",
        ),
        (
            "space: {seed: [1, 2]}\nwhen: {seed: seed == 1}",
            "8:16 sweep.when.seed: expected a condition on a setting that does not depend on this "
            "one, found 'seed'; remove the condition",
        ),
        (
            "space: {seed: [1, 2]}\nwhen: {seed: fit.epochs = 1}",
            "8:16 sweep.when.seed: expected a condition such as 'optimizer.name == sgd' or "
            "'optimizer.name != sgd', found 'fit.epochs = 1'; write fit.epochs == 1",
        ),
        (
            "space: {seed: 'int(1, 5)'}\nsearch: grid",
            "8:11 sweep.search: expected only lists with search: grid, found a range for seed; use "
            "lists, or set search: sobol",
        ),
        (
            f"space: {{seed: {list(range(400))}, fit.epochs: {[1] * 300}}}",
            "7:10 sweep.space: expected a grid of at most 100,000 points, found 120,000; remove "
            "values, or set sweep.search: sobol and sweep.trials",
        ),
        (
            "space:\n" + "".join(f"  data.columns.c{n}.min_count: int(1, 9)\n" for n in range(33))
            + "search: sobol",
            "41:11 sweep.search: expected at most 32 settings with sobol, found 33; set search: "
            "random",
        ),
        (
            "space: {seed: [1]}\nobjective: val_acuracy",
            "8:14 sweep.objective: expected a computed metric, found 'val_acuracy'; did "
            "you mean 'val_accuracy'?",
        ),
        (
            "space: {seed: [1]}\nobjective: val_f1",
            "8:14 sweep.objective: expected a computed metric, found 'val_f1'; add f1 to "
            "metrics",
        ),
        (
            "space: {seed: [1]}\nobjective: auc",
            "8:14 sweep.objective: expected a validation metric, "
            "found 'auc'; write val_auc",
        ),
        (
            "space: {seed: [1]}\nhalving: 20 epochs",
            "8:12 sweep.halving.first: expected less than the length of training, 20 epochs, found "
            "'20 epochs'; shorten it, or increase fit.epochs",
        ),
    ],
)  # fmt: skip
def test_invalid_sweep(write: Write, text: str, message: str) -> None:
    assert message in sweep_problems(write, text)
    assert len(sweep_problems(write, text)) <= 2


def test_every_value_is_checked_with_its_condition(write: Write) -> None:
    text = "space: {optimizer.name: [adam, sgd], optimizer.momentum: [0.5, 1.9], seed: [1, -1]}\n"
    problems = sweep_problems(write, text + "when: {optimizer.momentum: optimizer.name == sgd, seed: "
                 "optimizer.momentum == 0.5}")  # fmt: skip
    assert [line.split(": expected")[0].split(" ")[1] for line in problems] == [
        'sweep.space."optimizer.momentum".1', "sweep.space.seed.1",
    ]  # fmt: skip


def test_invalid_key_does_not_hide_other_problems(write: Write) -> None:
    problems = sweep_problems(
        write, "space: {model.layers.9.dense.units: [1], fit.batch_size: [0]}"
    )
    assert [line.split(": expected")[0].split(" ")[1] for line in problems] == [
        'sweep.space."model.layers.9.dense.units".0', 'sweep.space."fit.batch_size".0',
    ]  # fmt: skip


def test_messages_are_those_of_overrides(write: Write) -> None:
    path = write(BASE.replace("sweep:\n", ""), "base.yaml")
    for override in (
        "optimizer.learning_rate=-1",
        "model.layers.0.dense.units=x",
        "fit.bach_size=3",
    ):
        key, _, value = override.partition("=")
        with pytest.raises(ConfigError) as caught:
            load_config(path, [override])
        (alone,) = caught.value.problems
        (searched,) = sweep_problems(write, f"space: {{{key}: [{value}]}}")
        assert searched.split(": expected")[1] == str(alone).split(": expected")[1]


def test_training_metric_is_allowed_without_validation_rows(write: Write) -> None:
    base = BASE.replace("task: binary", "task: binary, split: {validation: 0}")
    assert sweep_problems(write, "space: {seed: [1]}\nobjective: loss", base) == []
    (problems,) = sweep_problems(write, "space: {seed: [1]}\nobjective: val_loss", base)
    assert problems.endswith("set data.split.validation above 0, or sweep.objective: loss")


def test_all_problems_of_a_sweep_are_reported_at_once(write: Write) -> None:
    text = "space: {seed: 'log(3, 1)', name: [a]}\nobjective: val_x\nhalving: 99 epochs\nkeep: some"
    assert [line.split(": expected")[0].split(" ")[1] for line in sweep_problems(write, text)] == [
        "sweep.keep", "sweep.space.name", "sweep.space.seed", "sweep.halving.first", "sweep.objective",
    ]  # fmt: skip


def test_problem_of_the_base_config_is_reported_once(write: Write) -> None:
    base = BASE.replace("fit: {epochs: 20}", "fit: {epochs: 20, steps: 3}")
    problems = sweep_problems(write, "space: {seed: [1, 2, 3]}", base)
    assert [line.split(": expected")[0] for line in problems] == ["5:26 fit.steps"]


def test_at_most_100_values_are_reported(write: Write) -> None:
    problems = sweep_problems(write, f"space: {{optimizer.learning_rate: {list(range(-1000, 0))}}}")
    assert len(problems) == MAX_PROBLEMS


def test_invalid_trial_is_reported(write: Write) -> None:
    base = BASE.replace("name: adam", "name: sgd")
    (problems,) = sweep_problems(
        write, "space: {optimizer.name: [adam], optimizer.momentum: [0.5]}", base
    )
    assert "in a trial with optimizer.name adam, optimizer.momentum 0.5" in problems
