from pathlib import Path

import pytest

from trainer.config.load import load_config
from trainer.config.nodes import Source, to_python
from trainer.config.schema import Config
from trainer.config.tokens import token_conflicts
from trainer.config.yaml_reader import parse_yaml


def problems(text):
    root = parse_yaml(
        f"data: {{source: x.csv, target: y, tokens: {text}}}", Source("c.yaml", Path())
    ).root
    data = Config.model_validate(to_python(root)).data
    return [(item.problem.key, item.problem.found) for item in token_conflicts(data)]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{tokenizer: wordpiece, special_tokens: true, min_count: 3}",
        "{vocabulary: vocab.txt, tokenizer: wordpiece, special_tokens: false}",
        "{tokenizer: words, special_tokens: false, pad: end, normalize: nfkc}",
    ],
)
def test_settings_that_fit(text):
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("{special_tokens: true}", "special_tokens", "tokenizer: auto"),
        ("{special_tokens: true, tokenizer: words}", "special_tokens", "tokenizer: words"),
        ("{vocabulary: v, tokenizer: characters}", "tokenizer", "tokenizer: characters"),
        ("{vocabulary: v, min_count: 3}", "min_count", "both"),
        ("{vocabulary: v, max_tokens: 3}", "max_tokens", "both"),
    ],
)
def test_settings_that_conflict(text, key, found):
    assert problems(text) == [(f"data.tokens.{key}", found)]


def test_the_vocabulary_is_relative_to_the_config(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("data: {source: t.csv, target: y, tokens: {vocabulary: bert/vocab.txt}}\n")
    config = load_config(path).config
    assert config.data.tokens.vocabulary == str(tmp_path / "bert" / "vocab.txt")
