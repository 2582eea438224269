from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.layers.kinds import LAYER_KINDS
from trainer.config.load import load_config
from trainer.config.nodes import Location, Source, to_node, to_python
from trainer.config.overrides import Override, apply_overrides, parse_override, suggest_override
from trainer.config.schema import Config
from trainer.errors import ConfigError, Problem

Write = Callable[..., Path]
BASE = """\
data: {source: x.csv, target: y, columns: {a.b: {kind: numeric}}}
model:
  layers:
    - dense: {units: 64, activation: relu}
    - dense: 64
    - flatten
    - dropout: 0.1
optimizer: adam
fit: {early_stopping: null}
"""


def settings(write: Write, *overrides: str, text: str = BASE) -> dict[str, Any]:
    return load_config(write(text), overrides).config.model_dump(exclude_unset=True)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=7", "seed", 7),
        ("optimizer.learning_rate=3e-4", "optimizer", {"name": "adam", "learning_rate": 3e-4}),
        ("optimizer=sgd", "optimizer", {"name": "sgd"}),
        ("optimizer={name: sgd, momentum: .9}", "optimizer", {"name": "sgd", "momentum": 0.9}),
        ("optimizer.schedule=cosine", "optimizer.schedule", {"cosine": {}}),
        ("optimizer.schedule.cosine.final=0.1", "optimizer.schedule", {"cosine": {"final": 0.1}}),
        ("model.layers.0.dense.units=128", "model.layers.0.dense", {"units": 128, "activation": "relu"}),
        ("model.layers.1.dense.units=128", "model.layers.1.dense", {"units": 128}),
        ("model.layers.1.dense=128", "model.layers.1.dense", {"units": 128}),
        ("model.layers.1.dense.activation=tanh", "model.layers.1.dense",
         {"units": 64, "activation": "tanh"}),
        ("model.layers.0={dropout: 0.5}", "model.layers.0", {"dropout": {"rate": 0.5}}),
        ("model.layers.2=dense: 3", "model.layers.2", {"dense": {"units": 3}}),
        ("model.layers.3.dropout.rate=0.3", "model.layers.3", {"dropout": {"rate": 0.3}}),
        ("model.layers.4={dense: {units: 3}}", "model.layers.4", {"dense": {"units": 3}}),
        ("model.layers.4=flatten", "model.layers.4", {"flatten": {}}),
        ("model.layers=[]", "model.layers", []),
        ("fit.early_stopping.patience=3", "fit.early_stopping", {"patience": 3}),
        ("fit.early_stopping=3", "fit.early_stopping", {"patience": 3}),
        ("fit.class_weight.yes=3", "fit.class_weight", {"yes": 3.0}),
        ("metrics.0=auc", "metrics", ["auc"]),
        ("data.csv.separator=;", "data.csv.separator", ";"),
        ("data.csv.separator=|", "data.csv.separator", "|"),
        ("data.csv.quote='", "data.csv.quote", "'"),
        ("data.csv.null_values.9=x", "data.csv.null_values.9", "x"),
        ("data.csv.null_values.0=x", "data.csv.null_values.1", "NA"),
        ('data.columns."c.d".kind=numeric', "data.columns", {"a.b": {"kind": "numeric"},
                                                             "c.d": {"kind": "numeric"}}),
        ('data.columns."x[0]".kind=numeric', "data.columns", {"a.b": {"kind": "numeric"},
                                                              "x[0]": {"kind": "numeric"}}),
        ("data.columns.a.b.kind=categorical", "data.columns", {"a.b": {"kind": "categorical"}}),
        ("data.columns.'a b'={kind: boolean}", "data.columns", {"a.b": {"kind": "numeric"},
                                                                "a b": {"kind": "boolean"}}),
        ("data.positive=no", "data.positive", "no"),
        ("data.positive=", "data.positive", None),
        ("model.layers.0.dense.kernel_initializer.random_normal.stddev=0.1",
         "model.layers.0.dense.kernel_initializer", {"random_normal": {"stddev": 0.1}}),
    ],
)  # fmt: skip
def test_override(write: Write, override: str, path: str, value: object) -> None:
    result: Any = settings(write, override)
    for step in path.split("."):
        result = result[int(step)] if isinstance(result, list) else result[step]
    assert result == value


def test_named_sources_replace_a_single_source(write: Write) -> None:
    result = settings(write, "data.source={train: /a.csv}", "data.source.test=[/b.csv]")
    assert result["data"]["source"] == {"train": "/a.csv", "test": ["/b.csv"]}


def test_items_of_default_lists_can_be_set(write: Write) -> None:
    text = "data: {source: x.csv, target: y}\n"
    result = settings(write, "model.layers.0.dense.units=3", "~model.layers.1", text=text)
    assert result["model"]["layers"] == [{"dense": {"units": 3, "activation": "relu"}}]


def test_remove(write: Write) -> None:
    result = settings(write, "~data.columns.a.b", "~model.layers.1", "~optimizer")
    assert result["data"]["columns"] == {}
    assert [next(iter(layer)) for layer in result["model"]["layers"]] == [
        "dense",
        "flatten",
        "dropout",
    ]
    assert "optimizer" not in result


def test_later_overrides_win(write: Write) -> None:
    assert settings(write, "seed=1", "seed=2")["seed"] == 2
    assert settings(write, "fit.epochs=1", "~fit.epochs")["fit"] == {"early_stopping": None}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "optimizer.lerning_rate=3",
            ": expected a setting of optimizer, found 'lerning_rate'; did you "
            "mean 'learning_rate'?",
        ),
        (
            "--optimizer.learning_rate=3e-4",
            ": expected key.path=value, or ~key.path to remove, found an "
            "option; write optimizer.learning_rate=3e-4",
        ),
        (
            "--lr=3",
            ": expected key.path=value, or ~key.path to remove, found an option; write "
            "optimizer.learning_rate=3",
        ),
        (
            "+seed=3",
            ": expected key.path=value, or ~key.path to remove, found a '+'; write seed=3: new "
            "keys need no '+'",
        ),
        (
            "seed",
            ": expected key.path=value, or ~key.path to remove, found no '='; write seed=VALUE",
        ),
        (
            "epochs",
            ": expected key.path=value, or ~key.path to remove, found no '='; write "
            "fit.epochs=VALUE",
        ),
        (
            "seed: 3",
            ": expected key.path=value, or ~key.path to remove, found no '='; write seed=3",
        ),
        (
            "???",
            ": expected key.path=value, or ~key.path to remove, found no '='; write, for example, "
            "optimizer.learning_rate=3e-4",
        ),
        (
            "=3",
            ": expected a key such as optimizer.learning_rate before the '=', found no key; write, "
            "for example, optimizer.learning_rate=3e-4",
        ),
        (
            "a..b=3",
            ": expected a key such as optimizer.learning_rate before the '=', found 'a..b'; "
            'quote names that contain dots: data.columns."a.b".kind=numeric',
        ),
        (
            "~seed=3",
            ": expected key.path=value, or ~key.path to remove, found both '~' and '='; write "
            "~seed, or seed=3",
        ),
        (
            "model.layers[0].dense=3",
            ": expected an index after a dot, found an index in brackets; write "
            "model.layers.0.dense=3",
        ),
        (
            'data.columns."x[0]".levels[1]=3',
            ": expected an index after a dot, found an index in brackets; write "
            'data.columns."x[0]".levels.1=3',
        ),
        (
            "model.layers.9.dense=3",
            " model.layers.9: expected an index from 0 to 3 in model.layers, found '9'; did you mean "
            "model.layers.1.dense? model.layers has 0: dense, 1: dense, 2: flatten, 3: dropout. To "
            "append, write 'model.layers.4={dense: 3}'",
        ),
        (
            "model.layers.4.dense.units=3",
            " model.layers.4: expected an index from 0 to 3 in model.layers, found '4'; did you mean "
            "model.layers.1.dense.units? model.layers has 0: dense, 1: dense, 2: flatten, 3: dropout. "
            "To append, write 'model.layers.4={dense: {units: 3}}'",
        ),
        (
            "model.layers.x=3",
            ": expected an index from 0 to 4 in model.layers, found 'x'; model.layers has 0: dense, "
            "1: dense, 2: flatten, 3: dropout",
        ),
        (
            "model.layers.dropout.rate=0.3",
            " model.layers.dropout: expected an index from 0 to 3 in model.layers, found 'dropout'; "
            "did you mean model.layers.3.dropout.rate? model.layers has 0: dense, 1: dense, 2: flatten, "
            "3: dropout",
        ),
        (
            "model.layers.-1.dropout.rate=0.3",
            " model.layers.-1: expected an index from 0 to 3 in model.layers, found '-1'; did you mean "
            "model.layers.3.dropout.rate? model.layers has 0: dense, 1: dense, 2: flatten, 3: dropout",
        ),
        (
            "~model.layers.9",
            ": expected an index from 0 to 3 in model.layers, found '9'; model.layers has 0: dense, "
            "1: dense, 2: flatten, 3: dropout",
        ),
        (
            "model.layers.3.dense.units=8",
            " model.layers.3.dense: expected a setting of model.layers.3 (dropout), found "
            "'dense'; did you mean model.layers.1.dense.units? model.layers has 0: dense, 1: dense, "
            "2: flatten, 3: dropout. To replace model.layers.3, write "
            "'model.layers.3={dense: {units: 8}}'",
        ),
        (
            "model.layers.0.dropout=0.5",
            ": expected a setting of model.layers.0 (dense), found 'dropout'; did you mean "
            "model.layers.3.dropout? model.layers has 0: dense, 1: dense, 2: flatten, 3: dropout. To "
            "replace model.layers.0, write 'model.layers.0={dropout: 0.5}'",
        ),
        (
            "model.layers.2.reshape=[2, 2]",
            ": expected a setting of model.layers.2 (flatten), found 'reshape'; model.layers "
            "has 0: dense, 1: dense, 2: flatten, 3: dropout. To replace "
            "model.layers.2, write 'model.layers.2={reshape: [2, 2]}'",
        ),
        (
            "model.layers.1.units=3",
            ": expected a setting of model.layers.1 (dense), found 'units'; did you mean "
            "model.layers.1.dense.units? model.layers has 0: dense, 1: dense, 2: flatten, 3: dropout",
        ),
        (
            "model.layers.3.p=0.3",
            ": expected a setting of model.layers.3 (dropout), found 'p'; did you mean "
            "model.layers.3.dropout.rate? model.layers has 0: dense, 1: dense, 2: flatten, 3: dropout",
        ),
        (
            "model.layers.0.dens.units=3",
            " model.layers.0.dens: expected a setting of model.layers.0 (dense), found 'dens'; "
            "did you mean model.layers.0.dense.units? model.layers has 0: dense, 1: dense, 2: flatten, "
            "3: dropout",
        ),
        (
            "data.source.test=/b.csv",
            ": expected a setting of data.source ('x.csv'), found 'test'; to replace "
            "data.source, write 'data.source={test: /b.csv}'",
        ),
        (
            "~optimiser",
            ": expected a key that is set, found 'optimiser', which is not set; did you mean "
            "'optimizer'?",
        ),
        (
            "~fit.epochs",
            ": expected a key that is set, found 'fit.epochs', which is not set; keys that are set: "
            "early_stopping",
        ),
        (
            "fit.epochs=[1",
            ": expected ',' or ']', found the end of the file; close the bracket opened at "
            "1:1 with ']'",
        ),
        (
            "seed.x=3",
            " seed: expected an integer of at least 0 and below 2^63, found a mapping with x",
        ),
        (
            "data.target.x=3",
            ": expected a mapping at data.target, found 'y'; set data.target itself",
        ),
        ("extends=x.yaml", ": expected a setting, found 'extends'; it is read from the file only"),
        (
            "model.layers.0={dens: 3}",
            f" model.layers.0.dens: expected one of {', '.join(kind.kind for kind in LAYER_KINDS)}, "
            "found 'dens'; did you mean 'dense'?",
        ),
        (
            "fit.epochs=!!int 3",
            ": expected a value without a tag, found the tag !!int; remove the tag; "
            "quote text that looks like a number",
        ),
    ],
)
def test_invalid_override(write: Write, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(BASE), [override])
    (problem,) = caught.value.problems
    assert str(problem) == f"override '{override}'{message}"


OTHER_KINDS = """\
data: {source: x.csv, target: y}
model: {layers: [{dense: {units: 3, kernel_initializer: he_normal, kernel_regularizer: {l2: 0.1}}}]}
optimizer: {name: sgd, schedule: {cosine: {final: 0.1}}}
fit: {class_weight: balanced}
"""


@pytest.mark.parametrize(
    ("override", "kind", "path"),
    [
        ("optimizer.schedule.exponential.factor=0.9", "cosine", "optimizer.schedule"),
        ("fit.class_weight.yes=3", "balanced", "fit.class_weight"),
        (
            "model.layers.0.dense.kernel_initializer.random_normal.stddev=0.1",
            "he_normal",
            "model.layers.0.dense.kernel_initializer",
        ),
    ],
)
def test_value_of_another_kind_is_not_replaced_implicitly(
    write: Write, override: str, kind: str, path: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(OTHER_KINDS), [override])
    (problem,) = caught.value.problems
    assert problem.expected == f"a setting of {path} ({kind})"
    # The fix works when pasted, except for required settings of the value.
    (argument,) = shlex.split(problem.fix.partition("write ")[2])
    if "exponential" in argument:
        argument = argument.replace("}}", ", every: 1 epoch}}")
    assert settings(write, argument, text=OTHER_KINDS)


def test_null_and_auto_are_replaced_by_a_path(write: Write) -> None:
    text = (
        "data: {source: x.csv, target: y}\nmetrics: auto\noptimizer: {schedule: null, name: sgd}\n"
    )
    result = settings(write, "metrics.0=auc", "optimizer.schedule.cosine.final=0.1", text=text)
    assert result["metrics"] == ["auc"]
    assert result["optimizer"]["schedule"] == {"cosine": {"final": 0.1}}


@pytest.mark.parametrize(
    ("override", "argument"),
    [
        ("model.layers.3.dense.units=8", "'model.layers.3={dense: {units: 8}}'"),
        ("model.layers.4.dense.units=8", "'model.layers.4={dense: {units: 8}}'"),
        ("model.layers.3.dense.units=8", "model.layers.1.dense.units=8"),
        ("model.layers.1.units=8", "model.layers.1.dense.units=8"),
    ],
)
def test_fix_for_a_layer_works(write: Write, override: str, argument: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(BASE), [override])
    key = argument.removesuffix("=8")
    assert key in caught.value.problems[0].fix
    assert settings(write, *shlex.split(argument))


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--optimizer.learning_rate=3e-4", None, "optimizer.learning_rate=3e-4"),
        ("--optimizer.learning_rate", "3e-4", "optimizer.learning_rate=3e-4"),
        ("--optimizer.learning-rate", "1", "optimizer.learning_rate=1"),
        ("--learning-rate", "1", "optimizer.learning_rate=1"),
        ("--epochs", None, "fit.epochs=VALUE"),
        ("--batch-size=64", None, "fit.batch_size=64"),
        ("--seed", "3", "seed=3"),
        ("--device", "gpu", "runtime.device=gpu"),
        ("--target", "y", "data.target=y"),
        ("--qqqq", None, None),
    ],
)
def test_override_for_an_option(option: str, value: str | None, expected: str | None) -> None:
    assert suggest_override(option, value) == expected


WORDS = st.text("abcd", min_size=1, max_size=2)
TREES = st.recursive(
    st.integers(0, 9),
    lambda inner: st.dictionaries(WORDS, inner, min_size=1, max_size=3),
    max_leaves=8,
)


@given(
    tree=st.dictionaries(WORDS, TREES, max_size=3),
    path=st.lists(WORDS, min_size=1, max_size=3),
    value=st.integers(),
)
def test_override_changes_only_its_setting(
    tree: dict[str, Any], path: list[str], value: int
) -> None:
    before = dict(_leaves(tree))
    override = parse_override(f"{'.'.join(path)}={value}", Path())
    assert isinstance(override, Override)
    root = to_node(tree, Location(Source("x", Path())), explicit=True)
    after, problems = apply_overrides(root, [override])
    if problems:
        assert to_python(after) == tree
        assert any(tuple(path[:depth]) in before for depth in range(1, len(path)))
        return
    result = dict(_leaves(to_python(after)))
    assert result.pop(tuple(path)) == value
    kept = {key: item for key, item in before.items() if key[: len(path)] != tuple(path)}
    assert {key: item for key, item in result.items() if item != {}} == kept


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, dict) and tree:
        return [leaf for key, item in tree.items() for leaf in _leaves(item, (*path, key))]
    return [(path, tree)] if path else []


@given(st.text(max_size=30))
def test_any_override_is_parsed_or_reported(text: str) -> None:
    result = parse_override(text, Path())
    if isinstance(result, Problem):
        assert result.where == f"override '{text}'"
        assert result.fix


def test_every_setting_with_a_default_can_be_overridden_by_it(write: Write) -> None:
    path = write("data: {source: x.csv, target: y}\n")
    default = load_config(path).config
    sections = [
        name
        for name in Config.model_fields
        if name not in ("data", "name", "seed", "metrics", "sweep", "networks")
    ]
    for section in sections:
        for key, value in default.model_dump()[section].items():
            if not isinstance(value, dict | list) and value is not None:
                override = (
                    f"{section}.{key}={str(value).lower() if isinstance(value, bool) else value}"
                )
                assert load_config(path, [override]).config == default
