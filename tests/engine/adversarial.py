"""A GAN as a learner: two networks, each with its own optimizer, updated alternately."""

import keras
import tensorflow as tf

from tests.engine.networks import WIDTH
from trainer.engine.learner import Learner

LATENT, SEED = 3, 11


def build_networks():
    keras.utils.set_random_seed(3)
    generator = keras.Sequential(
        [
            keras.Input((LATENT,)),
            keras.layers.Dense(6, activation="relu", name="dense"),
            keras.layers.BatchNormalization(name="batch_normalization"),
            keras.layers.Dense(WIDTH, name="head"),
        ],
        name="generator",
    )
    discriminator = keras.Sequential(
        [
            keras.Input((WIDTH,)),
            keras.layers.Dense(8, activation="relu", name="dense"),
            keras.layers.Dropout(0.2, seed=5, name="dropout"),
            keras.layers.Dense(1, activation="sigmoid", name="head"),
        ],
        name="discriminator",
    )
    return {"generator": generator, "discriminator": discriminator}


def build_optimizers():
    return {
        "generator": keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9, name="adam"),
        "discriminator": keras.optimizers.SGD(0.05, momentum=0.9, name="sgd"),
    }


def noise(rows, step):
    """Return the noise of a step, a pure function of the seed and the step."""
    seed = tf.stack([tf.constant(SEED, tf.int64), tf.cast(step, tf.int64)])
    return tf.random.stateless_normal((rows, LATENT), seed=seed, alg="philox")


def update(networks, optimizers, x):
    """Update both networks on real rows; return the scores of the rows and the sum of both losses."""
    generator, discriminator = networks["generator"], networks["discriminator"]
    loss = keras.losses.BinaryCrossentropy()
    latent = noise(x.shape[0], optimizers["generator"].iterations)
    ones, zeros = tf.ones((x.shape[0], 1)), tf.zeros((x.shape[0], 1))
    with tf.GradientTape() as tape:
        real = discriminator(x, training=True)
        fake = discriminator(generator(latent, training=True), training=True)
        first = loss(ones, real) + loss(zeros, fake)
    variables = discriminator.trainable_variables
    optimizers["discriminator"].apply(tape.gradient(first, variables), variables)
    with tf.GradientTape() as tape:
        second = loss(ones, discriminator(generator(latent, training=True), training=True))
    variables = generator.trainable_variables
    optimizers["generator"].apply(tape.gradient(second, variables), variables)
    return real, first + second


class AdversarialLearner(Learner):
    """A generator, and a discriminator whose scores of the rows are the outputs."""

    def __init__(self):
        super().__init__(build_networks(), build_optimizers(), outputs=1, trained_outputs=1)
        self._mean, self._evaluation_mean = keras.metrics.Mean(), keras.metrics.Mean()

    @property
    def epoch_variables(self):
        return self._mean.variables

    def start_epoch(self):
        self._mean.reset_state()

    def train_step(self, batch):
        scores, loss = update(self.networks, self.optimizers, batch[0])
        self._mean.update_state(loss, sample_weight=tf.cast(batch[0].shape[0], tf.float32))
        return scores, self._mean.result()

    def start_evaluation(self):
        self._evaluation_mean.reset_state()

    def test_step(self, batch):
        scores = self.predict_step(batch[0])
        fake = self.networks["generator"](noise(batch[0].shape[0], 0), training=False)
        values = scores - self.networks["discriminator"](fake, training=False)
        self._evaluation_mean.update_state(values)
        return scores, self._evaluation_mean.result()

    def predict_step(self, x):
        return self.networks["discriminator"](x, training=False)
