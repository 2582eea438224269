"""Encoders in Keras compute what they compute in NumPy, and in transformers where that is installed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.models.pretrained.encoder_folders import (
    KINDS,
    encoder_config,
    random_ids,
    reference,
    write_encoder,
)
from trainer.config.encoders import Lora
from trainer.config.pretrained import Pretrained
from trainer.models.pretrained.encoder_folder import describe_encoder, describe_saved_encoder
from trainer.models.pretrained.encoder_network import (
    EncoderContext,
    build_encoder,
    has_adapters,
    layer_depths,
    merged_weights,
)

LENGTH = 10


def encoder_of(
    folder: Path, length: int = LENGTH, context: EncoderContext | None = None, **settings: Any
) -> keras.Model:
    base = describe_encoder(Pretrained(file=str(folder), **settings), length)
    return build_encoder(base, length, context or EncoderContext(), weights=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_output_is_that_of_numpy(kind: str, tmp_path: Path) -> None:
    config, arrays = encoder_config(kind), write_encoder(tmp_path, kind)
    ids = random_ids(config)
    expected = reference(config, arrays, ids)
    is_token = ids != config.get("pad_token_id", 0)
    means = [row[mask].mean(axis=0) for row, mask in zip(expected, is_token, strict=True)]
    np.testing.assert_allclose(encoder_of(tmp_path)(ids), means, rtol=1e-5, atol=1e-5)
    first = encoder_of(tmp_path, pool="cls")(ids)
    np.testing.assert_allclose(first, expected[:, 0], rtol=1e-5, atol=1e-5)


def test_half_precision_and_other_activations(tmp_path: Path) -> None:
    from tests.models.pretrained.encoder_folders import write_arrays

    config = encoder_config("bert")
    arrays = {name: array.astype(np.float16) for name, array in write_encoder(tmp_path).items()}
    write_arrays(tmp_path / "model.safetensors", arrays)
    whole = {name: array.astype(np.float32) for name, array in arrays.items()}
    ids = random_ids(config)
    expected = reference(config, whole, ids)[:, 0]
    np.testing.assert_allclose(encoder_of(tmp_path, pool="cls")(ids), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_change_the_output(kind: str, tmp_path: Path) -> None:
    write_encoder(tmp_path, kind)
    ids = random_ids(encoder_config(kind), length=7)
    pad = encoder_config(kind).get("pad_token_id", 0)
    longer = np.pad(ids, ((0, 0), (0, 8)), constant_values=pad)
    for pool in ("average", "cls"):
        short, long = (
            encoder_of(tmp_path, part.shape[1], pool=pool)(part) for part in (ids, longer)
        )
        np.testing.assert_allclose(short, long, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_network_is_of_plain_keras(kind: str, tmp_path: Path) -> None:
    write_encoder(tmp_path / "folder", kind)
    ids = random_ids(encoder_config(kind))
    network = encoder_of(tmp_path / "folder", frozen=False)
    outer = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), network])
    outer.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        # Keras writes the address of objects that layers share.
        assert b"shared_object_id" not in archive.read("config.json")
    expected = outer(ids)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(ids), expected)
    base = describe_saved_encoder(Pretrained(file="gone"), tmp_path / "model.keras")
    assert base.channels == 8
    inner = build_encoder(base, LENGTH, EncoderContext(), weights=False)
    inner.set_weights(network.get_weights())
    np.testing.assert_array_equal(inner(ids), network(ids))


def trained_layers(network: keras.Model) -> set[str]:
    return {layer.name for layer in network.layers if layer.trainable_weights}


def test_which_weights_change(tmp_path: Path) -> None:
    write_encoder(tmp_path)
    assert trained_layers(encoder_of(tmp_path)) == set()
    depths = layer_depths(encoder_of(tmp_path))
    assert set(depths.values()) == {0, 1, 2}
    assert trained_layers(encoder_of(tmp_path, frozen=False)) == set(depths)
    upper = encoder_of(tmp_path, frozen=1)
    assert trained_layers(upper) == {name for name, depth in depths.items() if depth == 2}
    for settings in ({"frozen": False}, {"frozen": 1}, {"frozen": "2 epochs"}, {}):
        base = describe_encoder(Pretrained(file=str(tmp_path), **settings), LENGTH)
        network = encoder_of(tmp_path, **settings)
        assert base.parameters == network.count_params()
        if not base.settings.is_frozen:
            assert base.trained == sum(np.prod(w.shape) for w in network.trainable_weights)


def test_dropout_of_the_config(tmp_path: Path) -> None:
    write_encoder(tmp_path, hidden_dropout_prob=0.3)

    def rates(context: EncoderContext | None = None, **settings: Any) -> set[float]:
        network = encoder_of(tmp_path, context=context, **settings)
        return {layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)}

    assert rates() == set()
    assert rates(frozen=False) == {0.3}
    assert rates(frozen=False, dropout=0.2) == {0.2}
    assert rates(frozen=False, dropout=0.0) == set()
    assert rates(EncoderContext(compiled=True), lora=Lora()) == {0.3}


class TestAdapters:
    SETTINGS = {"lora": Lora(rank=2, alpha=6.0), "dropout": 0.0}

    @pytest.fixture
    def network(self, tmp_path: Path) -> keras.Model:
        write_encoder(tmp_path)
        return encoder_of(tmp_path, context=EncoderContext(5, adapters=True), **self.SETTINGS)

    def test_only_adapters_change(self, network: keras.Model, tmp_path: Path) -> None:
        base = describe_encoder(Pretrained(file=str(tmp_path), **self.SETTINGS), LENGTH)
        names = {weight.name for weight in network.trainable_weights}
        assert names == {"lora_kernel_a", "lora_kernel_b"}
        assert base.trained == sum(np.prod(w.shape) for w in network.trainable_weights)
        assert base.parameters == network.count_params()
        plain = encoder_of(tmp_path)
        assert has_adapters(network)
        assert not has_adapters(plain)
        # Before training, adapters change nothing.
        ids = random_ids(encoder_config("bert"))
        np.testing.assert_array_equal(network(ids), plain(ids))

    def test_they_depend_on_the_seed(self, network: keras.Model, tmp_path: Path) -> None:
        first, again, other = (
            encoder_of(tmp_path, context=EncoderContext(seed, adapters=True), **self.SETTINGS)
            for seed in (5, 5, 6)
        )
        values = [part.trainable_weights[0].numpy() for part in (network, first, again, other)]
        np.testing.assert_array_equal(values[0], values[1])
        np.testing.assert_array_equal(values[1], values[2])
        assert not np.array_equal(values[2], values[3])

    def test_merged_weights_give_the_same_output(
        self, network: keras.Model, tmp_path: Path
    ) -> None:
        random = np.random.default_rng(0)
        for weight in network.trainable_weights:
            weight.assign(random.normal(size=weight.shape))
        outer = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), network])
        plain = encoder_of(tmp_path)
        before = plain.get_weights()
        plain.set_weights(merged_weights(outer, outer.get_weights()))
        changed = sum(
            not np.array_equal(old, new)
            for old, new in zip(before, plain.get_weights(), strict=True)
        )
        assert changed == 2 * 2
        ids = random_ids(encoder_config("bert"))
        np.testing.assert_allclose(plain(ids), network(ids), atol=1e-5)

    def test_the_scale_is_alpha_by_rank(self, network: keras.Model) -> None:
        attention = network.get_layer("layer_0_attention")
        dense = attention.query_dense
        dense.lora_kernel_b.assign(np.ones(dense.lora_kernel_b.shape))
        before = dense.weights[0].numpy()
        change = dense.kernel - before
        expected = 3.0 * dense.lora_kernel_a.numpy() @ np.ones(dense.lora_kernel_b.shape)
        np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_output_is_that_of_transformers(kind: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not in the extra dev")
    transformers = pytest.importorskip("transformers", reason="transformers is not in dev")
    write_encoder(tmp_path, kind)
    model = transformers.AutoModel.from_pretrained(tmp_path).eval()
    ids = random_ids(encoder_config(kind), count=100)
    mask = ids != encoder_config(kind).get("pad_token_id", 0)
    with torch.no_grad():
        output = model(torch.tensor(ids), attention_mask=torch.tensor(mask)).last_hidden_state
    first = encoder_of(tmp_path, pool="cls")(ids)
    np.testing.assert_allclose(first, output[:, 0].numpy(), atol=1e-5)
