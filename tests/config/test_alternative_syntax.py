"""Layers and optimizers in the syntax of other tools: the error shows the valid syntax."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.nodes import Location, Source, to_node, to_python
from trainer.config.schema import Config
from trainer.config.validation import validation_issues
from trainer.config.yaml_reader import parse_yaml

BASE = "data: {source: x.csv, target: y}\n"


def problems(text: str) -> list[tuple[str, str]]:
    """Return key and fix of each problem."""
    root = parse_yaml(BASE + text, Source("c.yaml", Path())).root
    assert root is not None
    return [(issue.problem.key, issue.problem.fix) for issue in validation_issues(root)]


def is_valid(text: str) -> bool:
    root = parse_yaml(BASE + text, Source("c.yaml", Path())).root
    assert root is not None
    Config.model_validate(to_python(root))
    return not validation_issues(root)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("relu", "{activation: relu}"),
        ("ReLU", "{activation: relu}"),
        ("ReLU()", "{activation: relu}"),
        ("leaky relu", "{activation: leaky_relu}"),
        ("Activation('tanh')", "{activation: tanh}"),
        ("activation=relu", "{activation: relu}"),
        ("64", "{dense: 64}"),
        ("dense 64", "{dense: 64}"),
        ("dense=64", "{dense: 64}"),
        ("dense(64)", "{dense: 64}"),
        ("dense 64 relu", "{dense: {units: 64, activation: relu}}"),
        ("dropout 0.2", "{dropout: 0.2}"),
        ("Dense(64)", "{dense: 64}"),
        ("\"Dense(64, activation='relu')\"", "{dense: {units: 64, activation: relu}}"),
        ('"Dense(units=64, activation=relu, bias=False)"',
         "{dense: {units: 64, activation: relu, use_bias: false}}"),
        ("keras.layers.Dropout(0.2)", "{dropout: 0.2}"),
        ("tf.keras.layers.Dropout(rate=0.2)", "{dropout: 0.2}"),
        ("Flatten()", "flatten"),
        ("nn.BatchNormalization()", "batch_normalization"),
        ("BatchNormalization(momentum=0.9)", "{batch_normalization: 0.9}"),
        ("Reshape((2, 3))", "{reshape: [2, 3]}"),
        ("{type: dense, units: 64}", "{dense: 64}"),
        ("{type: Dense, units: 64, activation: relu}", "{dense: {units: 64, activation: relu}}"),
        ("{name: dense, units: 64}", "{dense: 64}"),
        ("{kind: dropout, p: 0.2}", "{dropout: 0.2}"),
        ("{class_name: Dense, config: {units: 64}}", "{dense: 64}"),
        ("{units: 64, activation: relu}", "{dense: {units: 64, activation: relu}}"),
        ("{rate: 0.5}", "{dropout: 0.5}"),
        ("{dense: 64, activation: relu}", "{dense: {units: 64, activation: relu}}"),
        ("{dense: {units: 64}, activation: relu}", "{dense: {units: 64, activation: relu}}"),
    ],
)  # fmt: skip
def test_layer_in_another_syntax_is_rewritten(item: str, expected: str) -> None:
    item = f'"{item}"' if "(" in item and item[0] not in "\"'" else item
    for text in (
        "model: {{layers: [dense: 3, {}]}}",
        "model:\n  layers:\n    - dense: 3\n    - {}\n",
    ):
        assert [fix for _, fix in problems(text.format(item))] == [f"write {expected}"]
        assert is_valid(text.format(expected))


@pytest.mark.parametrize(
    ("item", "fix"),
    [
        ("denes", "did you mean 'dense'?"),
        ("batchnorm", "did you mean 'batch_normalization'?"),
        ("dense", "write {dense: …}"),
        ("dropout", "write {dropout: …}"),
        ("Dense(64, 3, 5)", ""),
        ("Dense(units)", ""),
        ("Dense(64, color='red')", ""),
        ("Dense(**settings)", ""),
        ("{type: dense, units: 64, color: red}", ""),
    ],
)
def test_ambiguous_layer_is_not_rewritten(item: str, fix: str) -> None:
    item = f'"{item}"' if "(" in item else item
    (fixes,) = problems(f"model: {{layers: [{item}]}}")
    assert fixes[1] == fix or (not fix and not fixes[1].startswith("write"))


def test_call_split_at_commas_is_one_problem() -> None:
    text = (
        "model: {layers: [Dense(64, activation='relu'), Dropout(0.2), Dense(32, activation=tanh)]}"
    )
    assert problems(text) == [
        ("model.layers.0", "write {dense: {units: 64, activation: relu}}"),
        ("model.layers.2", "write {dropout: 0.2}"),
        ("model.layers.3", "write {dense: {units: 32, activation: tanh}}"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {layers: [dense: [64, relu]]}", "{units: 64, activation: relu}"),
        ("model: {layers: [dense: 64 relu]}", "{units: 64, activation: relu}"),
        ("model: {layers: dense 64}", "[{dense: 64}]"),
        ("model: {layers: 64}", "[{dense: 64}]"),
        ("model: {layers: relu}", "[{activation: relu}]"),
        ("optimizer: Adam(learning_rate=0.001)", "{name: adam, learning_rate: 0.001}"),
        ("optimizer: Adam(lr=0.001)", "{name: adam, learning_rate: 0.001}"),
        ("optimizer: SGD(0.1)", "{name: sgd, learning_rate: 0.1}"),
        ("optimizer: keras.optimizers.RMSprop()", "rmsprop"),
    ],
)
def test_section_or_optimizer_in_another_syntax_is_rewritten(text: str, expected: str) -> None:
    (fixes,) = problems(text)
    assert fixes[1] == f"write {expected}"


def test_list_of_layers_belongs_below_layers() -> None:
    assert problems("model: [dense: 64]") == [("model", "put it below `layers:`")]


@given(st.text("DenseopRLU()64,= .'", max_size=20) | st.text(max_size=40))
def test_proposed_syntax_is_valid(text: str) -> None:
    def fixes(layer: object) -> list[str]:
        tree = {"data": {"source": "x", "target": "y"}, "model": {"layers": [layer]}}
        root = to_node(tree, Location(Source("c.yaml", Path())), explicit=True)
        return [issue.problem.fix for issue in validation_issues(root)]

    for fix in fixes(text):
        if fix.startswith("write ") and "…" not in fix:
            parsed = parse_yaml(f"layer: {fix.removeprefix('write ')}", Source("f.yaml", Path()))
            assert parsed.root is not None
            layer = to_python(parsed.root)["layer"]  # type: ignore[index, call-overload]
            assert fixes(layer) == []
