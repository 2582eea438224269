from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config.dump import dump_config
from trainer.config.nodes import Source, to_python
from trainer.config.schema import Config
from trainer.config.yaml_reader import parse_yaml
from trainer.config.yaml_writer import block_text, flow_text


def read(text: str) -> Any:
    document = parse_yaml(text, Source("c.yaml", Path()))
    assert document.problems == (), text
    assert document.root is not None
    return to_python(document.root)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_dump_round_trip(data: st.DataObject, valid_settings: Any) -> None:
    config = Config.model_validate(data.draw(valid_settings))
    text = dump_config(config)
    assert Config.model_validate(read(text)) == config
    assert dump_config(Config.model_validate(read(text))) == text


def test_dump_has_every_default() -> None:
    config = Config.model_validate({"data": {"source": "x.csv", "target": "y"}})
    text = dump_config(config)
    assert "  batch_size: 32\n" in text
    assert "    every: 30 seconds\n" in text
    assert "  epsilon: 1.0e-07\n" in text
    assert '  target: "y"\n' in text
    assert read(text) == config.model_dump()


def test_dump_has_only_set_column_settings() -> None:
    data = {"source": "x", "target": "y", "columns": {"a: b": {"kind": "numeric"}}}
    text = dump_config(Config.model_validate({"data": data}))
    assert '  columns:\n    "a: b":\n      kind: numeric\n' in text


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SCALARS = st.one_of(
    TEXT,
    st.sampled_from(["no", "1e3", "1_0", "null", "...", "---", "-", "=", "<<", "12:30", "5 epochs",
                     "2020-01-01", "./x", "../x", "~", ".5", ".inf", "0b1", "a #b", "a: b", "'", '"']),
    st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=10,
)


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_written_values_round_trip(value: dict[str, Any]) -> None:
    finite = "inf" not in repr(value)
    if not finite:
        return
    assert read("x: " + flow_text(value)) == {"x": value}
    if value:
        assert read(block_text(value)) == value


@given(st.dictionaries(st.sampled_from(["no", "1", "a", "x y"]), SCALARS, min_size=1, max_size=4))
def test_other_yaml_parsers_agree(value: dict[str, Any]) -> None:
    if "inf" not in repr(value):
        assert yaml.safe_load(block_text(value)) == value


def test_very_long_key_round_trip() -> None:
    value = {"x" * 3000: {"y" * 3000: 1}}
    assert read(block_text(value)) == value
