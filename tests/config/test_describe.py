from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from trainer.config.describe import json_schema, reference_markdown
from trainer.config.dump import dump_config
from trainer.config.losses import LOSSES
from trainer.config.matching import ROOT
from trainer.config.metrics import METRICS
from trainer.config.nodes import Source, to_python
from trainer.config.schema import Config
from trainer.config.specs import settings as all_settings
from trainer.config.yaml_reader import parse_yaml

VALIDATOR = Draft202012Validator(json_schema())
BASE = {"data": {"source": "x.csv", "target": "y"}}


def test_schema_is_valid_json_schema() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_schema_accepts_valid_configs(data: st.DataObject, valid_settings: Any) -> None:
    value = data.draw(valid_settings)
    VALIDATOR.validate(value)


@pytest.mark.parametrize(
    "text",
    [
        "optimizer: sgd", "optimizer: {learning_rate: 1e-3}", "optimizer: {name: sgd, momentum: 0.9}",
        "optimizer:", "optimizer: {schedule: cosine}", "optimizer: {schedule: {cosine: 5 epochs}}",
        "optimizer: {schedule: {cosine: }}", "optimizer: {ema: 0.99}", "loss: huber",
        "model: {layers: [dense: 64, flatten, {flatten: }, dropout: 0.1, reshape: [2, -1]]}",
        "model: {layers: [batch_normalization, {batch_normalization: 0.9}, {layer_normalization: }]}",
        "model: {layers: [{custom: 'a.b:c'}, {activation: relu}]}",
        "model: {layers: [dense: {units: 3, kernel_initializer: {orthogonal: 2}}]}",
        "fit: {early_stopping: 5, reduce_on_plateau: 3}", "fit: {class_weight: {yes: 1, 1: 2}}",
        "metrics: [auc]", "runtime: {threads: 4}", "extends: other.yaml",
    ],
)  # fmt: skip
def test_schema_accepts_shorthand(text: str) -> None:
    root = parse_yaml(text, Source("c.yaml", Path())).root
    assert root is not None
    value = to_python(root)
    assert isinstance(value, dict)
    VALIDATOR.validate({**BASE, **value})
    if "extends" not in value:
        Config.model_validate({**BASE, **value})


def test_file_that_extends_another_may_omit_required_settings() -> None:
    VALIDATOR.validate({"extends": "a.yaml", "data": {"target": "z"}})


@pytest.mark.parametrize(
    "value",
    [
        {}, {**BASE, "x": 1}, {**BASE, "optimizer": "admm"}, {**BASE, "optimizer": {"beta_3": 1}},
        {**BASE, "fit": {"epochs": 0}}, {**BASE, "model": {"layers": ["dens"]}},
        {**BASE, "model": {"layers": [{"dense": 3, "dropout": 1}]}},
        {"data": {"source": 3, "target": "y"}},
    ],
)  # fmt: skip
def test_schema_rejects_invalid_config(value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(value)


def test_schema_accepts_resolved_config() -> None:
    text = dump_config(Config.model_validate(BASE))
    root = parse_yaml(text, Source("c.yaml", Path())).root
    assert root is not None
    VALIDATOR.validate(to_python(root))


def test_every_property_has_a_description() -> None:
    schema = json_schema()
    for name, definition in {**schema["$defs"], "root": schema}.items():
        for key, item in definition.get("properties", {}).items():
            if key != "name" and item is not False:
                described = "description" in item or "$ref" in item
                assert described, f"{name}.{key}"


def test_schema_has_defaults() -> None:
    fit = json_schema()["$defs"]["Fit"]["properties"]
    assert fit["batch_size"]["default"] == 32
    assert "Rows per batch." in fit["batch_size"]["description"]


def test_reference_has_every_setting() -> None:
    text = reference_markdown()
    for path, model, name in all_settings(ROOT):
        if not (name in path[-1:] and len(model.model_fields) == 1):
            assert f"| `{name}` |" in text or name == "name", path
    for metric in METRICS:
        assert f"| `{metric}` |" in text
    for loss in LOSSES:
        assert f"| `{loss}` |" in text or loss == "auto"
    assert "| `test` | a number of at least 0 and below 1 | `0.2` | Fraction of test rows" in text


def test_every_setting_has_a_description() -> None:
    for line in reference_markdown().splitlines():
        if line.startswith("| `"):
            assert all(cell.strip() for cell in line.replace("\\|", "").strip("|").split("|")), line


def test_configs_of_the_repository_match_the_schema(repository: Callable[[], Path]) -> None:
    for path in sorted((repository() / "configs").glob("*.yaml")):
        root = parse_yaml(path.read_text("utf-8"), Source(str(path), path.parent)).root
        assert root is not None
        VALIDATOR.validate(to_python(root))


@pytest.fixture
def repository() -> Callable[[], Path]:
    return lambda: Path(__file__).parents[2]
