"""The learner of a generator and a discriminator that are updated in alternation.

A step updates the discriminator `discriminator_steps` times, each on other real rows and other samples,
then the generator once. All random numbers are pure functions of the seed and the number of the step, so
that a resumed run draws the same ones. Losses, with scores s of the discriminator:

    non_saturating   D: -log σ(s_real) - log(1 - σ(s_fake))    G: -log σ(s_fake)
    least_squares    D: ½ (s_real - 1)² + ½ s_fake²            G: ½ (s_fake - 1)²
    wasserstein      D: s_fake - s_real + λ (‖∇s‖ - 1)²        G: -s_fake
    hinge            D: max(0, 1 - s_real) + max(0, 1 + s_fake)  G: -s_fake
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, assert_never

import keras
import tensorflow as tf

from trainer.config.generation import AdversarialLoss
from trainer.engine.learner import Batch, Learner
from trainer.inputs import CONDITION, LATENT
from trainer.models.generation_summary import DISCRIMINATOR, GENERATOR, GenerationShape
from trainer.models.seeds import derived_seed

TRAINED_OUTPUTS = ("generator_loss", "discriminator_loss", "real", "fake")
"""What training returns for each row: the losses of its step, and whether the discriminator was right
about it and about a sample.
"""
TEMPERATURE = 0.2
"""Of the Gumbel softmax of categories (Jang et al., 2017): close to one-hot."""
_MIN_NORM = 1e-12


@dataclass(frozen=True, slots=True)
class AdversarialSettings:
    """How the networks are trained.

    Attributes:
        shape: The samples, the latent numbers and the classes.
        blocks: First column and number of columns of each one-hot part of a row.
        loss: The loss.
        gradient_penalty: Factor of the gradient penalty; 0 for none.
        discriminator_steps: Updates of the discriminator for each update of the generator.
        label_smoothing: The label of real rows is 1 minus this.
        noise: Standard deviation of the noise on what the discriminator sees; 0 for none.
        noise_steps: Updates of the generator over which it falls to 0; 0 if it is constant.
        seed: The seed of all random numbers.
    """

    shape: GenerationShape
    blocks: tuple[tuple[int, int], ...]
    loss: AdversarialLoss
    gradient_penalty: float
    discriminator_steps: int
    label_smoothing: float
    noise: float
    noise_steps: int
    seed: int


class AdversarialLearner(Learner):
    """A generator and a discriminator; the outputs of evaluation are generated values."""

    def __init__(
        self,
        networks: Mapping[str, keras.Model],
        optimizers: Mapping[str, keras.optimizers.Optimizer],
        settings: AdversarialSettings,
    ) -> None:
        """Initialize the learner.

        Args:
            networks: The built networks `generator` and `discriminator`; their weights change in place.
            optimizers: The optimizer of each.
            settings: How they are trained.
        """
        width = prod(settings.shape.sample.shape)
        super().__init__(networks, optimizers, width, len(TRAINED_OUTPUTS))
        self.settings = settings
        self.generator, self.discriminator = self.networks[GENERATOR], self.networks[DISCRIMINATOR]
        self.loss_mean = keras.metrics.Mean(name="loss")

    # Steps --------------------------------------------------------------------------------------

    def train_step(self, batch: Batch) -> tuple[Any, Any]:
        """Update both networks; see `Learner.train_step`.

        Args:
            batch: `discriminator_steps` times as many rows and one-hot classes as an update takes.
        """
        settings = self.settings
        x, y = batch[0], batch[1]
        rows = int(y.shape[0]) // settings.discriminator_steps
        step = self.optimizers[GENERATOR].iterations
        outputs = []
        for number in range(settings.discriminator_steps):
            part = slice(number * rows, (number + 1) * rows)
            real, condition = self._values(x[part]), y[part]
            outputs.append(self._update_discriminator(real, condition, step, number))
        generator_loss = self._update_generator(y[-rows:], step)
        losses = tf.stack([loss for loss, _, _ in outputs])
        self.loss_mean.update_state(_sum(generator_loss, tf.reduce_mean(losses)))
        rows_outputs = [
            tf.stack(
                [
                    tf.fill([rows], generator_loss),
                    tf.fill([rows], loss),
                    tf.cast(right, tf.float32),
                    tf.cast(noticed, tf.float32),
                ],
                axis=1,
            )
            for loss, right, noticed in outputs
        ]
        return tf.concat(rows_outputs, axis=0), self.loss_mean.result()

    def start_evaluation(self) -> None:
        """Do nothing: samples have no loss."""

    def test_step(self, batch: Batch) -> tuple[Any, Any]:
        return self.predict_step(batch[0]), tf.zeros(())

    def predict_step(self, x: Any) -> Any:
        """Return the generated values, (rows, values), for latent numbers and, if any, classes."""
        inputs = [x[LATENT], x[CONDITION]] if isinstance(x, dict) else x
        samples = self.generator(inputs, training=False)
        return tf.reshape(samples, (-1, self.outputs))

    # Updates ------------------------------------------------------------------------------------

    def _update_discriminator(
        self, real: Any, condition: Any, step: Any, number: int
    ) -> tuple[Any, Any, Any]:
        """Return the loss, and for which real rows and samples the discriminator was right."""
        rows, role = int(real.shape[0]), f"discriminator {number}"
        fake = tf.stop_gradient(self._generate(rows, condition, step, role))
        seen_real = self._with_noise(real, step, f"{role} real")
        seen_fake = self._with_noise(fake, step, f"{role} fake")
        variables = self.discriminator.trainable_variables
        with tf.GradientTape() as tape:
            scores = self._scores(seen_real, condition), self._scores(seen_fake, condition)
            terms = [self._discriminator_loss(*scores), *self.discriminator.losses]
            if self.settings.gradient_penalty:
                terms.append(self._gradient_penalty(seen_real, seen_fake, condition, step, role))
            loss = _sum(*terms)
        optimizer = self.optimizers[DISCRIMINATOR]
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss, *self._right(*scores)

    def _update_generator(self, condition: Any, step: Any) -> Any:
        variables = self.generator.trainable_variables
        with tf.GradientTape() as tape:
            fake = self._generate(int(condition.shape[0]), condition, step, GENERATOR)
            seen = self._with_noise(fake, step, f"{GENERATOR} fake")
            loss = _sum(self._generator_loss(self._scores(seen, condition)), *self.generator.losses)
        self.optimizers[GENERATOR].apply(tape.gradient(loss, variables), variables)
        return loss

    def _generate(self, rows: int, condition: Any, step: Any, role: str) -> Any:
        """Return samples as the discriminator gets them."""
        latent = self._normal((rows, self.settings.shape.latent), step, f"{role} latent")
        values = self.generator(self._with_condition(latent, condition), training=True)
        blocks = self.settings.blocks
        if not blocks:
            return values
        uniform = self._uniform(values.shape, step, f"{role} categories")
        gumbel = -tf.math.log(-tf.math.log(uniform))
        parts, end = [], 0
        for start, size in blocks:
            if start > end:
                parts.append(values[:, end:start])
            end = start + size
            logits = values[:, start:end] + gumbel[:, start:end]
            parts.append(tf.nn.softmax(logits / TEMPERATURE))
        if end < values.shape[1]:
            parts.append(values[:, end:])
        return tf.concat(parts, axis=1)

    def _scores(self, values: Any, condition: Any) -> Any:
        return self.discriminator(self._with_condition(values, condition), training=True)

    def _with_condition(self, values: Any, condition: Any) -> Any:
        return [values, condition] if self.settings.shape.classes else values

    def _values(self, x: Any) -> Any:
        """Return rows as they are, images from -1 to 1."""
        return tf.cast(x, tf.float32) / 127.5 - 1.0 if self.settings.shape.is_image else x

    # Losses -------------------------------------------------------------------------------------

    def _discriminator_loss(self, real: Any, fake: Any) -> Any:
        label = 1.0 - self.settings.label_smoothing
        match self.settings.loss:
            case "non_saturating":
                # Cross-entropy with `label`; softplus(-s) = -log σ(s).
                right = label * tf.nn.softplus(-real) + (1.0 - label) * tf.nn.softplus(real)
                return _sum(tf.reduce_mean(right), tf.reduce_mean(tf.nn.softplus(fake)))
            case "least_squares":
                distance = tf.reduce_mean(tf.square(real - label))
                return 0.5 * _sum(distance, tf.reduce_mean(tf.square(fake)))
            case "wasserstein":
                return tf.reduce_mean(fake) - tf.reduce_mean(real)
            case "hinge":
                margins = tf.nn.relu(1.0 - real), tf.nn.relu(1.0 + fake)
                return _sum(tf.reduce_mean(margins[0]), tf.reduce_mean(margins[1]))
            case _:
                assert_never(self.settings.loss)

    def _generator_loss(self, fake: Any) -> Any:
        match self.settings.loss:
            case "non_saturating":
                return tf.reduce_mean(tf.nn.softplus(-fake))
            case "least_squares":
                return 0.5 * tf.reduce_mean(tf.square(fake - 1.0))
            case "wasserstein" | "hinge":
                return -tf.reduce_mean(fake)
            case _:
                assert_never(self.settings.loss)

    def _gradient_penalty(self, real: Any, fake: Any, condition: Any, step: Any, role: str) -> Any:
        """Return λ (‖∇s‖ - 1)² at random points between real rows and samples."""
        shape = (real.shape[0], *([1] * (len(real.shape) - 1)))
        share = self._uniform(shape, step, f"{role} penalty")
        points = real + share * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(points)
            scores = self._scores(points, condition)
        gradient = tf.reshape(tape.gradient(scores, points), (real.shape[0], -1))
        norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=1) + _MIN_NORM)
        return self.settings.gradient_penalty * tf.reduce_mean(tf.square(norm - 1.0))

    def _right(self, real: Any, fake: Any) -> tuple[Any, Any]:
        """Return for which real rows and samples the discriminator was right, (rows,) each.

        The scores of the Wasserstein loss have no threshold: each row is compared with a sample.
        """
        real, fake = real[:, 0], fake[:, 0]
        if self.settings.loss == "wasserstein":
            return real > fake, real > fake
        threshold = 0.5 if self.settings.loss == "least_squares" else 0.0
        return real > threshold, fake < threshold

    # Random numbers -----------------------------------------------------------------------------

    def _with_noise(self, values: Any, step: Any, role: str) -> Any:
        noise, steps = self.settings.noise, self.settings.noise_steps
        if not noise:
            return values
        stddev = tf.constant(noise)
        if steps:
            left = 1.0 - tf.cast(step, tf.float32) / steps
            stddev *= tf.maximum(left, 0.0)
        return values + stddev * self._normal(values.shape, step, f"{role} noise")

    def _normal(self, shape: Sequence[int], step: Any, role: str) -> Any:
        return tf.random.stateless_normal(shape, seed=self._seed(step, role), alg="philox")

    def _uniform(self, shape: Sequence[int], step: Any, role: str) -> Any:
        """Return uniform numbers between, but without, 0 and 1."""
        seed = self._seed(step, role)
        return tf.random.stateless_uniform(shape, seed, 1e-6, 1.0 - 1e-6, alg="philox")

    def _seed(self, step: Any, role: str) -> Any:
        """Return the seed of the random numbers of a role in a step."""
        base = derived_seed(self.settings.seed, role, "random numbers")
        return tf.stack([tf.constant(base, tf.int64), tf.cast(step, tf.int64)])


def _sum(*terms: Any) -> Any:
    """Return the sum of numbers, always in the same order.

    TensorFlow joins chains of additions to one, in an order that depends on the names of operations,
    which have a per-process counter.
    """
    return terms[0] if len(terms) == 1 else tf.reduce_sum(tf.stack(terms))
