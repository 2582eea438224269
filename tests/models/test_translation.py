"""The network of a translation and its decoding, compared with plain NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.translation_reference import Reference
from trainer.config.model import Model
from trainer.config.schema import Config
from trainer.config.translation import Decoding, EncoderDecoder
from trainer.inputs import TOKENS, InputSpec
from trainer.models.network import Variant, build_network
from trainer.models.saving import save_network
from trainer.models.summary import NetworkShape, summarize_layers
from trainer.models.translation.decoding import Decoder, attention_to_source, decode
from trainer.models.translation.network import TARGET_TOKENS, build_shorter_translation
from trainer.models.translation.shape import TranslationShape

SOURCE_LENGTH, TARGET_LENGTH = 7, 6
VARIANTS = {
    "pre": {},
    "post": {"normalization": "post", "positions": "learned", "layers": 1},
    "tied": {"tied": "all", "heads": 1},
    "untied": {"tied": "none", "feed_forward": 5},
}


def make_shape(variant):
    shared = VARIANTS[variant].get("tied") == "all"
    return TranslationShape(
        source_ids=13 if shared else 11, source_pad=0, target_ids=13, target_pad=0,
        target_length=TARGET_LENGTH, start=1, end=2, shares_tokens=shared,
    )  # fmt: skip


def make_settings(variant):
    return EncoderDecoder(**{"layers": 2, "heads": 2, "width": 8, **VARIANTS[variant]})


def make_config(settings):
    return Config(
        data={"source": "x.csv", "target": "y", "task": "translate"},
        model=Model(encoder_decoder=settings),
    )


def make_network_shape(shape):
    inputs = (InputSpec(TOKENS, (SOURCE_LENGTH,), "int32"),)
    return NetworkShape(inputs, (), "softmax", 13, translation=shape)


def build(variant, compiled=False, shared=None):
    settings, shape = make_settings(variant), make_shape(variant)
    config, network_shape = make_config(settings), make_network_shape(shape)
    network = build_network(
        config,
        network_shape,
        (),
        allow_custom=False,
        base=None,
        variant=Variant(compiled=compiled),
        shared=shared,
    )
    return network, settings, shape, summarize_layers(config.model, network_shape)


QUICK = ("pre",)


@pytest.fixture(
    scope="module",
    params=[pytest.param(v, marks=() if v in QUICK else pytest.mark.slow) for v in VARIANTS],
)
def built(request):
    """A network whose weights are random, so that biases and normalizations matter."""
    network, settings, shape, layers = build(request.param)
    rng = np.random.default_rng(1)
    for layer in network.layers:
        if layer.trainable:
            layer.set_weights([w + 0.3 * rng.normal(size=w.shape) for w in layer.get_weights()])
    return network, settings, shape, layers


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(2)
    tokens = rng.integers(3, 11, (5, SOURCE_LENGTH)).astype(np.int32)
    for row, length in enumerate((7, 4, 1, 6, 2)):
        tokens[row, length:] = 0
    return tokens, rng.integers(1, 13, (5, TARGET_LENGTH)).astype(np.int32)


def test_the_network_computes_the_logits_of_the_reference(built, texts):
    network, settings, shape, _ = built
    tokens, target = texts
    logits = network({TOKENS: tokens, TARGET_TOKENS: target}).numpy()
    reference = Reference(network, settings, shape)
    expected = [reference.logits(*row) for row in zip(tokens, target, strict=True)]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_parameters_are_those_of_the_summary(built):
    network, _, _, layers = built
    assert network.count_params() == sum(layer.parameters for layer in layers)
    trainable = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    assert trainable == sum(layer.trainable for layer in layers)


def test_steps_with_a_cache_compute_the_logits_of_the_network(built, texts):
    network, settings, shape, _ = built
    tokens, target = texts
    expected = network({TOKENS: tokens, TARGET_TOKENS: target}).numpy()
    decoder = Decoder(network, settings, shape)
    source, cache = decoder.encode(tf.constant(tokens)), decoder.empty_cache(len(tokens))
    for position in range(TARGET_LENGTH):
        logits, cache, weights = decoder.step(
            source, cache, tf.constant(target[:, position]), tf.constant(position)
        )
        np.testing.assert_allclose(logits, expected[:, position], atol=1e-5)
        np.testing.assert_allclose(weights.numpy().sum(axis=1), 1.0, rtol=1e-5)
        assert np.all(weights.numpy()[tokens == 0] == 0)


@pytest.mark.parametrize(
    ("built", "beam", "power"),
    [
        ("pre", 3, 0.6),
        pytest.param("pre", 1, 0.6, marks=pytest.mark.slow),
        pytest.param("post", 2, 2.0, marks=pytest.mark.slow),
        pytest.param("untied", 3, 0.0, marks=pytest.mark.slow),
    ],
    indirect=["built"],
)
def test_texts_are_those_of_the_reference(built, texts, beam, power):
    network, settings, shape, _ = built
    tokens, _ = texts
    reference, decoder = Reference(network, settings, shape), Decoder(network, settings, shape)
    ids, logs = decode(decoder, Decoding(beam=beam, length_penalty=power), tf.constant(tokens))
    for row, (found, log) in enumerate(zip(ids.numpy(), logs.numpy(), strict=True)):
        expected = (
            reference.greedy(tokens[row])
            if beam == 1
            else reference.beams(tokens[row], beam, power)
        )
        text = [*expected[0], *[0] * (TARGET_LENGTH - len(expected[0]))]
        assert found.tolist() == text
        assert log == pytest.approx(expected[1], abs=1e-4)


@pytest.mark.parametrize("built", ["pre"], indirect=True)
def test_a_network_for_shorter_texts_computes_the_same_logits(built, texts):
    network, settings, shape, _ = built
    config, network_shape = make_config(settings), make_network_shape(shape)
    shorter = build_shorter_translation(config, network, network_shape, 4, compiled=False)
    assert set(map(id, shorter.weights)) == set(map(id, network.weights))
    rows = (texts[0] != 0).sum(axis=1) <= 4
    assert rows.sum() == 3
    expected = network({TOKENS: texts[0][rows], TARGET_TOKENS: texts[1][rows]}).numpy()[:, :4]
    found = shorter({TOKENS: texts[0][rows, :4], TARGET_TOKENS: texts[1][rows, :4]})
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("built", ["post"], indirect=True)
def test_attention_of_texts_adds_up_to_1(built, texts):
    network, settings, shape, _ = built
    decoder = Decoder(network, settings, shape)
    weights = attention_to_source(decoder, tf.constant(texts[0]), tf.constant(texts[1])).numpy()
    assert weights.shape == (5, TARGET_LENGTH, SOURCE_LENGTH)
    np.testing.assert_allclose(weights.sum(axis=2), 1.0, rtol=1e-5)


@pytest.mark.slow
def test_a_compiled_network_is_saved_with_the_layers_of_keras(texts, tmp_path):
    compiled, *_ = build("tied", compiled=True)
    saved, *_ = build("tied", shared=compiled)
    assert [weight.path for weight in saved.weights] == [weight.path for weight in compiled.weights]
    save_network(saved, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    inputs = {TOKENS: texts[0], TARGET_TOKENS: texts[1]}
    np.testing.assert_array_equal(loaded(inputs).numpy(), compiled(inputs).numpy())
    dropped = compiled(inputs, training=True).numpy()
    assert not np.allclose(dropped, compiled(inputs).numpy())
