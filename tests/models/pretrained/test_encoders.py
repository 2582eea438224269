"""Encoders of texts: their `config.json`, the place of each array, and their folders. Without Keras."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.pretrained.encoder_folders import (
    KINDS,
    encoder_arrays,
    encoder_config,
    write_arrays,
    write_encoder,
)
from trainer.config.encoders import Lora
from trainer.config.pretrained import Pretrained
from trainer.errors import ConfigError
from trainer.models.pretrained.encoder_folder import describe_encoder
from trainer.models.pretrained.encoders import encoder_modules, parse_encoder, place_arrays
from trainer.models.pretrained.weights_error import WeightsError


def shapes_of(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in encoder_arrays(config).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_array_has_a_place(kind: str) -> None:
    config = encoder_config(kind)
    encoder, shapes = parse_encoder(config), shapes_of(config)
    names, ignored = place_arrays(encoder, shapes)
    assert sorted(names.values()) == sorted(shapes)
    assert ignored == {}
    used = [name for module in encoder_modules(encoder) for name in module.shapes]
    assert sorted(used) == sorted(shapes)
    # Each array is needed, with its shape, and none may be added.
    for name, shape in shapes.items():
        with pytest.raises(WeightsError, match="missing"):
            place_arrays(encoder, {other: size for other, size in shapes.items() if other != name})
        with pytest.raises(WeightsError, match="shape"):
            place_arrays(encoder, shapes | {name: (*shape, 1)})
    for name in ("encoder.layer.9.output.dense.weight", "extra", f"{kind}.extra"):
        with pytest.raises(WeightsError, match=f"1 more, such as '{name}'"):
            place_arrays(encoder, shapes | {name: (1,)})


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_other_files(kind: str) -> None:
    config = encoder_config(kind)
    encoder = parse_encoder(config)
    shapes = {f"{kind}.{name}": shape for name, shape in shapes_of(config).items()}
    heads = {"cls.predictions.bias": (9,), f"{kind}.pooler.dense.weight": (8, 8),
             f"{kind}.embeddings.position_ids": (1, 24), "classifier.bias": (2,)}  # fmt: skip
    names, ignored = place_arrays(encoder, shapes | heads)
    assert sorted(names.values()) == sorted(shapes)
    assert ignored.keys() == heads.keys()
    assert ignored["classifier.bias"] == "output layers of another task"
    # An array that is there twice, with and without a prefix, is not used by chance.
    name = "embeddings.LayerNorm.weight"
    with pytest.raises(WeightsError, match="more"):
        place_arrays(encoder, shapes | {name: shapes[f"{kind}.{name}"]})


def test_older_names_of_norms() -> None:
    config = encoder_config("bert")
    old = {"weight": "gamma", "bias": "beta"}
    shapes = {}
    for name, shape in shapes_of(config).items():
        start, _, last = name.rpartition(".")
        shapes[f"{start}.{old[last]}" if "LayerNorm" in name else name] = shape
    names, _ = place_arrays(parse_encoder(config), shapes)
    assert names["embeddings.LayerNorm.weight"] == "embeddings.LayerNorm.gamma"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"model_type": "gpt2"}, "model_type: gpt2"),
        ({"model_type": None}, "no model_type"),
        ({"model_type": ["bert"]}, "model_type"),
        ({"hidden_size": "8"}, "'8'"),
        ({"hidden_size": 10**12}, "1000000000000"),
        ({"hidden_size": True}, "True"),
        ({"num_hidden_layers": None}, "none"),
        ({"num_attention_heads": 3}, "8 and 3"),
        ({"layer_norm_eps": "small"}, "small"),
        ({"layer_norm_eps": -1}, "-1"),
        ({"hidden_act": "gelu_new"}, "gelu_new"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"is_decoder": True}, "is_decoder"),
        ({"pad_token_id": 99}, "ids"),
        ({"pad_token_id": -1}, "-1"),
    ],
)
def test_configs_that_are_refused(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(WeightsError, match=found) as raised:
        parse_encoder(encoder_config("bert", **changes))
    assert raised.value.expected


def test_positions_of_roberta_start_after_padding() -> None:
    encoder = parse_encoder(encoder_config("roberta"))
    assert (encoder.first_position, encoder.max_length, encoder.pad_id) == (2, 22, 1)


def test_the_description_of_a_folder(tmp_path: Path) -> None:
    arrays = write_encoder(tmp_path)
    base = describe_encoder(Pretrained(file=str(tmp_path)), 10)
    content = (tmp_path / "model.safetensors").read_bytes()
    assert base.sha256 == hashlib.sha256(content).hexdigest()
    assert (base.channels, base.parameters) == (8, sum(array.size for array in arrays.values()))
    upper = describe_encoder(Pretrained(file=str(tmp_path), frozen=1), 10)
    assert upper.trained == sum(array.size for name, array in arrays.items() if "layer.1" in name)
    lora = describe_encoder(Pretrained(file=str(tmp_path), lora=Lora(rank=3)), 10)
    assert lora.trained == 2 * 2 * (8 * 2 * 3 + 3 * 4)
    assert lora.parameters == (base.parameters or 0) + lora.trained


@pytest.mark.parametrize(
    ("settings", "length", "expected"),
    [({}, 25, "at most 24 tokens"), ({"frozen": 2}, 10, "fewer frozen layers than the 2")],
)
def test_settings_that_do_not_fit(
    settings: dict[str, Any], length: int, expected: str, tmp_path: Path
) -> None:
    write_encoder(tmp_path)
    with pytest.raises(ConfigError, match=expected):
        describe_encoder(Pretrained(file=str(tmp_path), **settings), length)


def _remove(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def _only_torch(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


DAMAGES: dict[str, tuple[Any, list[str]]] = {
    "no config": (_remove("config.json"), ["no config.json", "hf download"]),
    "no weights": (_remove("model.safetensors"), ["no model.safetensors", "hf download"]),
    "no vocabulary": (_remove("vocab.txt"), ["no tokenizer.json or vocab.txt"]),
    "weights of torch": (_only_torch, ["no model.safetensors", "save_pretrained"]),
    "text": (lambda folder: (folder / "config.json").write_text("{"), ["not JSON"]),
    "list": (lambda folder: (folder / "config.json").write_text("[]"), ["not a mapping"]),
    "deep": (lambda folder: (folder / "config.json").write_text("[" * 100_000), ["not JSON"]),
    "huge": (lambda folder: (folder / "config.json").write_bytes(bytes(1 << 21)), ["1 MB"]),
    "cut off": (
        lambda folder: (folder / "model.safetensors").write_bytes(
            (folder / "model.safetensors").read_bytes()[:-4]
        ),
        ["beyond the end"],
    ),
    "other": (
        lambda folder: write_arrays(folder / "model.safetensors", {"x": np.zeros(3, np.float32)}),
        ["missing, such as 'embeddings.word_embeddings.weight'"],
    ),
    "a file": (
        lambda folder: (folder.rename(folder.parent / "moved"), folder.write_text("")),
        ["a file"],
    ),
    "no folder": (lambda folder: folder.rename(folder.parent / "moved"), ["no such folder"]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_folders_that_cannot_be_used(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "my bert é"
    write_encoder(folder)
    change, mentions = DAMAGES[damage]
    change(folder)
    with pytest.raises(ConfigError) as raised:
        describe_encoder(Pretrained(file=str(folder)), 10)
    text = str(raised.value)
    assert "my bert é" in text
    for mention in mentions:
        assert mention in text


def test_the_reasons_for_unused_arrays(tmp_path: Path) -> None:
    arrays: dict[str, Any] = dict(write_encoder(tmp_path))
    arrays["pooler.dense.weight"] = np.zeros((8, 8), np.float32)
    arrays["pooler.dense.bias"] = np.zeros(8, np.float32)
    arrays["embeddings.position_ids"] = np.arange(24).reshape(1, 24)
    write_arrays(tmp_path / "model.safetensors", arrays)
    base = describe_encoder(Pretrained(file=str(tmp_path)), 10)
    assert base.ignored == (
        "2 of the layer for next-sentence prediction",
        "1 of position and segment ids",
    )
