"""`model.pretrained` for a column of tokens: conflicts, and the vocabulary of the encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.pretrained.encoder_folders import write_encoder
from trainer.config.load import load_config
from trainer.errors import ConfigError

TOKENS = "columns: {a: {kind: tokens}}"


def write(folder: Path, base: str, data: str = TOKENS, rest: str = "") -> Path:
    path = folder / "c.yaml"
    path.write_text(
        f"data: {{source: x.csv, target: y, {data}}}\nmodel: {{pretrained: {base}}}\n{rest}"
    )
    return path


@pytest.mark.parametrize(
    "base",
    [
        "bert",
        "{file: bert, frozen: false, layer_decay: 0.9, dropout: 0.2, pool: cls}",
        "{file: bert, frozen: 3}",
        "{file: bert, frozen: 2 epochs, learning_rate_factor: 1}",
        "{file: bert, lora: {}}",
        "{file: bert, lora: {rank: 4, alpha: 8}, dropout: 0}",
        "all_minilm_l6_v2",
    ],
)
def test_settings_that_fit(base: str, tmp_path: Path) -> None:
    load_config(write(tmp_path, base))


@pytest.mark.parametrize(
    ("base", "data", "key", "expected"),
    [
        ("{pool: cls}", TOKENS, "model.pretrained", "a file or an architecture"),
        ("efficientnet_lite0", TOKENS, "model.pretrained", "an encoder of texts: a folder"),
        (
            "{architecture: all_minilm_l6_v2, file: bert}", TOKENS,
            "model.pretrained.file", "either a folder or the name",
        ),
        ("{file: bert, layer: x}", TOKENS, "model.pretrained.layer", "no layer of an encoder"),
        ("{file: bert, pool: max}", TOKENS, "model.pretrained.pool", "average or cls"),
        ("{file: bert, dropout: 0.1}", TOKENS, "model.pretrained.dropout", "no dropout"),
        ("{file: bert, layer_decay: 0.9}", TOKENS, "model.pretrained.layer_decay", "frozen"),
        (
            "{file: bert, lora: {}, frozen: false}", TOKENS,
            "model.pretrained.frozen", "no frozen with lora",
        ),
        (
            "{file: bert, lora: {}, layer_decay: 0.9}", TOKENS,
            "model.pretrained.layer_decay", "no layer_decay with lora",
        ),
        (
            "{file: bert, lora: {}, learning_rate_factor: 1}", TOKENS,
            "model.pretrained.learning_rate_factor", "no learning_rate_factor with lora",
        ),
        ("bert", f"{TOKENS}, tokens: {{pad: start}}", "data.tokens.pad", "end with an encoder"),
        (
            "bert", f"{TOKENS}, tokens: {{special_tokens: false}}",
            "data.tokens.special_tokens", "true with an encoder",
        ),
        (
            "bert", f"{TOKENS}, tokens: {{dimension: 8}}",
            "data.tokens.dimension", "no dimension with an encoder",
        ),
        ("bert", "columns: {a: {kind: text}}", "model.pretrained", "a folder of images, or"),
        ("bert", "columns: {}", "model.pretrained", "a folder of images, or"),
        (
            "{file: net.keras, pool: cls}", "columns: {a: {kind: image}}",
            "model.pretrained.pool", "average or max",
        ),
        (
            "{file: net.keras, lora: {}}", "columns: {a: {kind: image}}",
            "model.pretrained.lora", "lora only for the encoder",
        ),
        (
            "all_minilm_l6_v2", "columns: {a: {kind: image}}",
            "model.pretrained", "a network for images",
        ),
    ],
)  # fmt: skip
def test_conflicts(base: str, data: str, key: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write(tmp_path, base, data))
    text = str(raised.value)
    assert expected in text
    assert key in text
    assert "c.yaml:" in text


def test_columns_of_text_become_tokens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set data\.columns\.a\.kind: tokens"):
        load_config(write(tmp_path, "bert", "columns: {a: {kind: text}}"))


def test_misspelt_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rank"):
        load_config(write(tmp_path, "{file: bert, lora: {ranks: 4}}"))
    with pytest.raises(ConfigError, match="lora"):
        load_config(write(tmp_path, "{file: bert, lora: {rank: 0}}"))


def test_the_vocabulary_is_that_of_the_encoder(tmp_path: Path) -> None:
    write_encoder(tmp_path / "my bert")
    folder = str(tmp_path / "my bert")
    config = load_config(write(tmp_path, "my bert")).config
    assert config.data.tokens.vocabulary == folder
    assert config.model.pretrained is not None
    assert config.model.pretrained.file == folder
    own = f"{TOKENS}, tokens: {{vocabulary: other.txt}}"
    config = load_config(write(tmp_path, "my bert", own)).config
    assert config.data.tokens.vocabulary == str(tmp_path / "other.txt")
    # A missing folder is reported with the encoder, not with the vocabulary.
    assert load_config(write(tmp_path, "gone")).config.data.tokens.vocabulary is None
