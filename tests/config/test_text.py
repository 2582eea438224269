from pathlib import Path

import pytest

from trainer.config.column_conflicts import column_conflicts
from trainer.config.nodes import Source, to_python
from trainer.config.schema import Config
from trainer.config.text import text_conflicts
from trainer.config.yaml_reader import parse_yaml


def problems(text):
    root = parse_yaml(f"data: {{source: x.csv, target: y, {text}}}", Source("c.yaml", Path())).root
    data = Config.model_validate(to_python(root)).data
    conflicts = [*column_conflicts(data), *text_conflicts(data)]
    return [(item.problem.key, item.problem.expected) for item in conflicts]


@pytest.mark.parametrize(
    "text",
    [
        "columns: {a: {kind: text}}",
        "columns: {a: {kind: text, min_count: 3, max_terms: 10}}",
        "columns: {a: {kind: text, analyzer: both, word_ngrams: [2, 2]}}",
        "text: {analyzer: words, word_ngrams: [1, 3]}",
    ],
)
def test_settings_that_fit(text):
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        (
            "text: {word_ngrams: [3, 1]}", "data.text.word_ngrams", "the minimum before the maximum",
        ),
        (
            "columns: {a: {kind: text, character_ngrams: [2, 1]}}",
            "data.columns.a.character_ngrams",
            "the minimum before the maximum",
        ),
        (
            "text: {analyzer: words, character_ngrams: [1, 2]}",
            "data.text.character_ngrams",
            "character_ngrams only with analyzer: auto, both or characters",
        ),
        (
            "text: {analyzer: words}, columns: {a: {kind: text, character_ngrams: [1, 2]}}",
            "data.columns.a.character_ngrams",
            "character_ngrams only with analyzer: auto, both or characters",
        ),
        ("columns: {a: {kind: text, scale: robust}}",
         "data.columns.a.scale", "settings of a text column"),
        ("columns: {a: {kind: text, encode: onehot}}",
         "data.columns.a.encode", "settings of a text column"),
        ("columns: {a: {max_terms: 5}}", "data.columns.a.max_terms", "max_terms only with kind: text"),
        (
            "columns: {a: {kind: numeric, lowercase: true}}",
            "data.columns.a.lowercase",
            "settings of a numeric column",
        ),
    ],
)  # fmt: skip
def test_settings_that_conflict(text, key, expected):
    assert problems(text) == [(key, expected)]
