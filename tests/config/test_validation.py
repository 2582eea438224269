from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer.config.metrics import METRICS
from trainer.config.nodes import KeyPath, Location, Node, Source, to_node
from trainer.config.schema import Config
from trainer.config.validation import validation_issues
from trainer.config.yaml_reader import parse_yaml

SOURCE = Source("c.yaml", Path())
PYDANTIC = re.compile(
    r"[Ii]nput should|Field required|Extra inputs|validation error|should (be|have|match)|"
    r"valid (string|integer|number|dictionary|list|boolean)|union_tag|using discriminator|"
    r"function-|constrained-|Section|literal\[|NoneType"
)
BASE = "data: {source: x.csv, target: y}\n"


def is_valid(value: Any) -> bool:
    try:
        Config.model_validate(value)
    except ValidationError:
        return False
    return True


def node(value: Any) -> Node:
    return to_node(value, Location(SOURCE), explicit=True)


def lines(text: str) -> list[str]:
    root = parse_yaml(text, SOURCE).root
    assert root is not None
    return [str(issue.problem) for issue in validation_issues(root)]


def test_a_shorthand_can_be_a_list() -> None:
    assert lines(BASE + "model: {layers: [{max_pool2d: [2, 1]}]}") == []


def test_every_setting_rejects_bad_values_with_a_message(
    broken_settings: list[tuple[KeyPath, dict[str, Any]]],
) -> None:
    refused: set[str] = set()
    for path, value in broken_settings:
        issues = validation_issues(node(value))
        assert bool(issues) != is_valid(value), (path, value)
        for issue in issues:
            text = str(issue.problem)
            assert not PYDANTIC.search(text), text
            assert issue.problem.expected
            assert issue.problem.found
            shared = min(len(issue.path), len(path))
            assert issue.path[:shared] == path[:shared] or len(issues) > 1, (path, text)
        if issues:
            refused.add(".".join(str(step) for step in path if not isinstance(step, int)))
    assert len(broken_settings) > 3000
    assert {"data.split.test", "fit.early_stopping.patience", "optimizer.momentum"} <= refused


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_valid_settings_have_no_issues(data: st.DataObject, valid_settings: Any) -> None:
    value = data.draw(valid_settings)
    assert is_valid(value)
    assert validation_issues(node(value)) == []


JUNK = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(),
        st.sampled_from(["adam", "auto", "dense", "flatten", "cosine", "5 epochs", "loss", ""]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "dense", "units", "cosine", "over", "constant", "x"]),
            inner, max_size=3,
        ),
    ),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(section=st.sampled_from(list(Config.model_fields)), junk=JUNK, in_layers=st.booleans())
def test_issues_are_found_exactly_if_pydantic_fails(
    section: str, junk: Any, in_layers: bool
) -> None:
    value: dict[str, Any] = {"data": {"source": "x", "target": "y"}, section: junk}
    if in_layers:
        value["model"] = {"layers": [junk]}
    assert bool(validation_issues(node(value))) != is_valid(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {source: 3, target: y}", 'c.yaml:1:16 data.source: expected a path or a list of paths '
         'or a mapping with train, validation, test, found 3; put it in quotes: "3"'),
        ("data: {source: x, target: {a: 1}}", "c.yaml:1:27 data.target: expected a column name or a "
         "list of column names, found a mapping with a"),
        ("data: {source: x, target: 2020}", "c.yaml:1:27 data.target: expected a column name or a "
         'list of column names, found 2020; put it in quotes: "2020"'),
        ("data: {source: x}", "c.yaml:1:7 data.target: expected a column name or a list of column "
         "names, found nothing; add `target: …`"),
        (BASE + "fit: {epochs: 1_000}", "c.yaml:2:15 fit.epochs: expected an integer from 1 to "
         "10,000,000, found '1_000'; write 1000"),
        ("data: {source: x, target: y, split: {fold: 6/5}}", "c.yaml:1:44 data.split.fold: expected a "
         "fold k/n such as '2/5', k from 1 to n, n from 2 to 1,000, found '6/5'"),
        ("data: {source: x, target: y, split: {fold: 2}}", "c.yaml:1:44 data.split.fold: expected a "
         "fold k/n such as '2/5', k from 1 to n, n from 2 to 1,000, found 2"),
        (BASE + "fit: {epochs: 1e2}", "c.yaml:2:15 fit.epochs: expected an integer from 1 to "
         "10,000,000, found 1e2; write 100"),
        (BASE + "fit: {shuffle: no}", "c.yaml:2:16 fit.shuffle: expected true or false, found 'no'; "
         "write false"),
        (BASE + "fit: {shuffle: on}", "c.yaml:2:16 fit.shuffle: expected true or false, found 'on'; "
         "write true"),
        (BASE + "data2: 3", "c.yaml:2:1 data2: expected a top-level setting, found 'data2'; did "
         "you mean 'data'?"),
        (BASE + "epochs: 3", "c.yaml:2:1 epochs: expected a top-level setting, found 'epochs'; "
         "did you mean 'fit.epochs'?"),
        (BASE + "optimizer: {lr: 1}", "c.yaml:2:13 optimizer.lr: expected a setting of optimizer, "
         "found 'lr'; did you mean 'learning_rate'?"),
        (BASE + "optimizer: {name: adam, momentum: 0.9}", "c.yaml:2:25 optimizer.momentum: expected "
         "a setting of optimizer (adam), found 'momentum'; set optimizer.name to one of sgd, rmsprop, "
         "muon"),
        (BASE + "optimizer: {learning_rate: .inf}", "c.yaml:2:28 optimizer.learning_rate: expected a "
         "number above 0, found .inf"),
        (BASE + "optimizer: {learning_rate: .nan}", "c.yaml:2:28 optimizer.learning_rate: expected a "
         "number above 0, found .nan"),
        (BASE + "optimizer: {weight_decay: 10%}", "c.yaml:2:27 optimizer.weight_decay: expected a "
         "number of at least 0, found '10%'; write 0.1"),
        (BASE + "fit:", "c.yaml:2:5 fit: expected a mapping with epochs, steps, max_seconds, "
         "batch_size, batch_tokens, shuffle, class_weight, early_stopping, "
         "reduce_on_plateau, on_nonfinite, checkpoint, callbacks, warm_start, repeats, folds, "
         "found nothing; write its settings below it, indented, or remove the line"),
        (BASE + "metrics: auc", "c.yaml:2:10 metrics: expected 'auto' or a list of "
         f"{', '.join(METRICS)}, found 'auc'; write [auc]"),
        (BASE + "fit: {checkpoint: {every: 5}}", "c.yaml:2:27 fit.checkpoint.every: expected a duration "
         "such as '5 epochs', '200 steps', '30 seconds' or '2 minutes', found 5; write '5 epochs'"),
        (BASE + "model: {layers: [{dense: x}]}", "c.yaml:2:26 model.layers.0.dense: expected an "
         "integer from 1 to 1,000,000 (units) or a mapping, found 'x'"),
        (BASE + "model: {layers: [{flatten: x}]}", "c.yaml:2:28 model.layers.0.flatten: expected no "
         "settings, found 'x'; write only `flatten`: it has no settings"),
    ],
)  # fmt: skip
def test_message(text: str, message: str) -> None:
    assert lines(text) == [message]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fit: {batchsize: 3}", "batch_size"),
        ("fit: {num_epochs: 3}", "epochs"),
        ("fit: {Batch-Size: 3}", "batch_size"),
        ("fit: {EPOCHS: 3}", "epochs"),
        ("fit: {patience: 3}", "fit.early_stopping.patience"),
        ("learning_rate: 3", "optimizer.learning_rate"),
        ("lr: 3", "optimizer.learning_rate"),
        ("layers: []", "model.layers"),
        ("random_state: 3", "seed"),
        ("Optimizer: adam", "optimizer"),
        ("extend: x.yaml", "extends"),
        ("model: {layers: [{dense: {hidden: 3}}]}", "units"),
        ("model: {layers: [{dense: {neurons: 3}}]}", "units"),
        ("model: {layers: [{dens: 3}]}", "dense"),
        ("model: {layers: [{Dense: 3}]}", "dense"),
        ("model: {layers: [flaten]}", "flatten"),
        ("model: {layers: [batch-normalization]}", "batch_normalization"),
        ("model: {layers: [BatchNorm]}", "batch_normalization"),
        ("model: {layers: [{dense: {units: 3, activation: ReLU}}]}", "relu"),
        ("model: {layers: [{dense: {units: 3, kernel_initializer: he}}]}", "he_normal"),
        ("optimizer: admm", "adam"),
        ("optimizer: Adam", "adam"),
        ("optimizer: {name: Adam-W}", "adamw"),
        ("optimizer: {schedule: cosin}", "cosine"),
        ("optimizer: {schedule: {exponentail: {}}}", "exponential"),
        ("loss: mse", "mean_squared_error"),
        ("loss: bce", "binary_crossentropy"),
        ("metrics: [roc_auc]", "auc"),
        ("metrics: [Accuracy]", "accuracy"),
        ("runtime: {device: cuda}", "gpu"),
        ("runtime: {precision: fp16}", "mixed_float16"),
    ],
)
def test_did_you_mean(text: str, expected: str) -> None:
    messages = lines(BASE + text)
    assert len(messages) == 1
    assert f"did you mean '{expected}'?" in messages[0]


def test_misspelled_required_key_is_one_problem() -> None:
    (message,) = lines("data: {source: x, target_column: y}")
    assert "did you mean 'target'?" in message


def test_two_keys_in_one_layer() -> None:
    (message,) = lines(BASE + "model:\n  layers:\n    - dense: 64\n      activation: relu\n")
    assert message.startswith("c.yaml:4:7 model.layers.0: expected one key, one of dense, ")
    assert message.endswith("keys: dense, activation; write {dense: {units: 64, activation: relu}}")
    (message,) = lines(BASE + "model:\n  layers:\n    - dense:\n      units: 64\n")
    assert message.endswith("found 2 keys: dense, units; indent units below dense")


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("model: {layers: [64]}", "write {dense: 64}"),
        ("model: {layers: [0.1]}", "write {dropout: 0.1}"),
        ("optimizer: {adam: {lr: 1}}", "write `name: adam` with its settings at the same level"),
        ("fit: {early_stopping: true}", "write {} for its defaults"),
        ("fit: {early_stopping: false}", "write null"),
        ("fit: {checkpoint: {monitor: val-loss}}", "write val_loss"),
        ("name: my run", "write my-run"),
        ("optimizer: {schedule: {cosine: 5}}", "write '5 epochs'"),
    ],
)
def test_fix(text: str, fix: str) -> None:
    (message,) = lines(BASE + text)
    assert message.endswith(f"; {fix}")


def test_name_instead_of_a_section() -> None:
    (message,) = lines("data: {source: x, target: y, columns: {zip: categorical}}")
    assert message.endswith("; write {kind: categorical}")
    (message,) = lines("data: {source: x, target: y, clean: {outliers: iqr}}")
    assert message.endswith("; write {method: iqr}")


def test_name_that_needs_a_value() -> None:
    text = BASE + "model: {layers: [{dense: {units: 3, kernel_initializer: constant}}]}"
    (message,) = lines(text)
    assert message.endswith("found 'constant'; write {constant: …}")


def test_problems_are_in_the_order_of_the_file() -> None:
    text = "seed: x\ndata: {source: 1, target: [a, 2]}\nfit: {epoch: 1, batch_size: 0}\n"
    assert [line.split()[1] for line in lines(text)] == [
        "seed:", "data.source:", "data.target.1:", "fit.epoch:", "fit.batch_size:",
    ]  # fmt: skip


def test_column_name_with_dots_is_quoted() -> None:
    (message,) = lines("data: {source: x, target: y, columns: {a.b c: {kind: number}}}")
    assert 'data.columns."a.b c".kind: expected one of numeric,' in message
