"""The learner of a generator and a discriminator."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.marks import slow_except
from trainer.config.generation import Discriminator, Generator, Networks
from trainer.config.layers.dense import Dense
from trainer.config.layers.kinds import layer_entry
from trainer.config.layers.noise import Dropout
from trainer.engine.adversarial import AdversarialLearner, AdversarialSettings
from trainer.inputs import InputSpec
from trainer.models.adversarial_networks import build_discriminator, build_generator
from trainer.models.generation_summary import GenerationShape, summarize_networks

ROWS, WIDTH = 8, 5


def networks(**discriminator):
    return Networks(
        generator=Generator(layers=[layer_entry(Dense(units=6, activation="relu"))]),
        discriminator=Discriminator(
            layers=[
                layer_entry(Dense(units=7, activation="tanh")),
                layer_entry(Dropout(rate=0.2)),
            ],
            **discriminator,
        ),
    )


def make_learner(classes=0, blocks=((1, 3),), spectral=False, **changes):
    shape = GenerationShape(3, classes, InputSpec("features", (WIDTH,), "float32"))
    parts = networks(spectral_normalization=spectral)
    settings = {
        "loss": "non_saturating",
        "gradient_penalty": 0.0,
        "discriminator_steps": 1,
        "label_smoothing": 0.0,
        "noise": 0.0,
        "noise_steps": 0,
        "seed": 4,
    } | changes
    return AdversarialLearner(
        {
            "generator": build_generator(parts, shape, 4),
            "discriminator": build_discriminator(parts, shape, 4),
        },
        {
            "generator": keras.optimizers.Adam(1e-2),
            "discriminator": keras.optimizers.SGD(1e-2),
        },
        AdversarialSettings(shape=shape, blocks=blocks, **settings),
    )


def batch(rows=ROWS, classes=2):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    return tf.constant(x), tf.constant(np.eye(classes, dtype=np.float32)[np.arange(rows) % classes])


def run_steps(learner, count, compiled=False):
    program = tf.function(learner.train_step, jit_compile=compiled, autograph=False)
    learner.start_epoch()
    return [tuple(np.asarray(value) for value in program(batch(16))) for _ in range(count)]


class TestSteps:
    @pytest.mark.parametrize(
        ("loss", "compiled"),
        slow_except(
            [("wasserstein", False), ("hinge", False)],
            [
                ("non_saturating", True),
                ("least_squares", False),
                ("wasserstein", False),
                ("hinge", False),
            ],
        ),
    )
    def test_every_loss_trains_both_networks(self, loss, compiled):
        penalty = 10.0 if loss == "wasserstein" else 0.0
        learner = make_learner(
            loss=loss, gradient_penalty=penalty, discriminator_steps=2, noise=0.1, noise_steps=3,
            classes=2, spectral=loss == "hinge",
        )  # fmt: skip
        before = [weight.numpy() for weight in learner.weights]
        steps = run_steps(learner, 3, compiled)
        outputs, mean = steps[-1]
        assert outputs.shape == (16, 4)
        assert np.isfinite(mean)
        # The bias of the last layer cancels in some losses.
        trainable = {
            id(weight)
            for net in learner.networks.values()
            for weight in net.trainable_weights
            if len(weight.shape) > 1
        }
        changed = [
            not np.array_equal(weight.numpy(), old)
            for weight, old in zip(learner.weights, before, strict=True)
            if id(weight) in trainable
        ]
        assert all(changed)
        assert int(learner.optimizers["discriminator"].iterations) == 6
        assert int(learner.optimizers["generator"].iterations) == 3

    def test_a_restored_learner_continues_with_the_same_bytes(self):
        learner = make_learner(noise=0.1, discriminator_steps=2)
        run_steps(learner, 2)
        state = learner.state()
        expected = run_steps(learner, 2)
        other = make_learner(noise=0.1, discriminator_steps=2)
        other.restore(state)
        for first, second in zip(expected, run_steps(other, 2), strict=True):
            np.testing.assert_array_equal(first[0], second[0])
        for first, second in zip(learner.weights, other.weights, strict=True):
            np.testing.assert_array_equal(first.numpy(), second.numpy())

    def test_another_seed_gives_other_samples(self):
        first, second = (run_steps(make_learner(seed=seed), 1)[0][0] for seed in (4, 5))
        assert not np.array_equal(first, second)


class TestLosses:
    def test_non_saturating_is_the_cross_entropy(self):
        learner = make_learner(label_smoothing=0.1)
        real, fake = tf.constant([[0.3], [-2.0]]), tf.constant([[1.5], [0.1]])
        entropy = keras.losses.BinaryCrossentropy(from_logits=True)
        expected = entropy(tf.fill([2, 1], 0.9), real) + entropy(tf.zeros([2, 1]), fake)
        np.testing.assert_allclose(learner._discriminator_loss(real, fake), expected, rtol=1e-6)
        expected = entropy(tf.ones([2, 1]), fake)
        np.testing.assert_allclose(learner._generator_loss(fake), expected, rtol=1e-6)

    @pytest.mark.parametrize(
        ("loss", "expected"),
        [("least_squares", (0.5 * 0.25 + 0.5 * 4, 0.5)), ("wasserstein", (1.5, -2.0)),
         ("hinge", (0.5 + 3.0, -2.0))],
    )  # fmt: skip
    def test_other_losses(self, loss, expected):
        learner = make_learner(loss=loss)
        real, fake = tf.constant([[0.5]]), tf.constant([[2.0]])
        assert float(learner._discriminator_loss(real, fake)) == pytest.approx(expected[0])
        assert float(learner._generator_loss(fake)) == pytest.approx(expected[1])

    def test_the_gradient_penalty_is_the_distance_of_the_norm_from_1(self):
        learner = make_learner(loss="wasserstein", gradient_penalty=10.0)
        learner._scores = lambda values, condition: (
            values @ tf.constant([[3.0], [0], [0], [4.0], [0]])
        )
        x, y = batch()
        penalty = learner._gradient_penalty(x, x + 1.0, y, tf.constant(0), "role")
        assert float(penalty) == pytest.approx(10 * (5 - 1) ** 2, rel=1e-5)


def test_samples_have_probabilities_in_one_hot_parts():
    learner = make_learner()
    samples = np.asarray(learner._generate(50, None, tf.constant(3), "role"))
    np.testing.assert_allclose(samples[:, 1:4].sum(axis=1), 1.0, rtol=1e-5)
    assert (samples[:, 1:4].max(axis=1) > 0.9).mean() > 0.5


def test_noise_falls_to_0():
    learner = make_learner(noise=1.0, noise_steps=10)
    x, _ = batch()
    distances = [
        float(tf.reduce_mean(tf.abs(learner._with_noise(x, tf.constant(step), "role") - x)))
        for step in (0, 5, 10, 20)
    ]
    assert distances[0] > distances[1] > 0
    assert distances[2:] == [0.0, 0.0]


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("is_image", [False, True])
def test_networks_have_the_summarized_shapes_and_parameters(classes, is_image):
    from trainer.config.layers.convolution import Conv2D, Conv2DTranspose
    from trainer.config.layers.shaping import Flatten, Reshape

    if not is_image:
        shape = GenerationShape(3, classes, InputSpec("features", (WIDTH,), "float32"))
        parts = networks()
    else:
        shape = GenerationShape(3, classes, InputSpec("image", (8, 8, 3), "uint8"))
        parts = Networks(
            generator=Generator(
                layers=[
                    layer_entry(Dense(units=32)),
                    layer_entry(Reshape(shape=[4, 4, 2])),
                    layer_entry(
                        Conv2DTranspose(filters=4, kernel_size=3, strides=2, padding="same")
                    ),
                ]
            ),
            discriminator=Discriminator(
                layers=[layer_entry(Conv2D(filters=4, kernel_size=3)), layer_entry(Flatten())],
                spectral_normalization=True,
            ),
        )
    summaries = summarize_networks(parts, shape)
    generator = build_generator(parts, shape, 1)
    discriminator = build_discriminator(parts, shape, 1)
    assert generator.output_shape[1:] == shape.sample.shape
    assert discriminator.output_shape == (None, 1)
    counted = sum(layer.parameters for layer in summaries["generator"])
    assert counted == generator.count_params()
    trainable = sum(int(np.prod(weight.shape)) for weight in discriminator.trainable_weights)
    assert trainable == sum(layer.parameters for layer in summaries["discriminator"])
