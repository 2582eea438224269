"""The learner of an encoder and decoder: teacher forcing in training, texts in evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from trainer.config.translation import Decoding, EncoderDecoder
from trainer.engine.learner import Batch, Learner
from trainer.inputs import TOKENS
from trainer.models.translation.decoding import Decoder, decode
from trainer.models.translation.network import TARGET_TOKENS
from trainer.models.translation.shape import TranslationShape
from trainer.tasks.translation import STATISTICS


class TranslationLearner(Learner):
    """One network that predicts each token of a target from the source and the tokens before it.

    The loss is the mean over the tokens of all targets, with that of their end, without padding. Outputs
    are those of `trainer.tasks.translation`: numbers of the target, then the ids of a text if there is a
    way of decoding.

    Attributes:
        network: The network.
    """

    def __init__(
        self,
        network: keras.Model,
        settings: EncoderDecoder,
        shape: TranslationShape,
        optimizer: keras.optimizers.Optimizer | None = None,
        *,
        label_smoothing: float = 0.0,
        decoding: Decoding | None = None,
        shorter: Mapping[int, keras.Model] | None = None,
    ) -> None:
        """Initialize the learner.

        Args:
            network: A built network; its weights change in place.
            settings: The section `model.encoder_decoder`.
            shape: The tokens of source and target.
            optimizer: Built here; None for evaluation only.
            label_smoothing: How far targets are moved toward the uniform distribution.
            decoding: How texts are chosen in evaluation; None for no texts.
            shorter: Number of tokens of the longer text → the network of the same layers for such
                batches.
        """
        outputs = STATISTICS + (0 if decoding is None else shape.target_length)
        optimizers = {} if optimizer is None else {"network": optimizer}
        super().__init__({"network": network}, optimizers, outputs, STATISTICS)
        self.network, self._shape = network, shape
        self._smoothing, self._decoding = label_smoothing, decoding
        self._shorter = {} if shorter is None else shorter
        self._decoder = None
        if decoding is not None:
            self._decoder = Decoder(network, settings, shape)
            cached = 2 * settings.layers * shape.target_length * settings.width
            self.row_values = decoding.beam * (shape.target_ids + cached)
        self.loss_mean = keras.metrics.Mean(name="loss")
        # Separate, as validation can be stopped and the epoch continued from the mean so far.
        self._evaluation_mean = keras.metrics.Mean(name="evaluation_loss")

    def train_step(self, batch: Batch) -> tuple[Any, Any]:
        tokens, y = batch
        ids = tf.cast(y, tf.int32)
        optimizer = self.optimizers["network"]
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            logits = self._logits(tokens, ids, training=True)
            losses, statistics = self._scored(logits, ids[:, 1:])
            known = tf.reduce_sum(statistics[:, 2])
            loss = tf.reduce_sum(losses) / tf.maximum(known, 1.0)
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, variables), variables)
        self.loss_mean.update_state(loss, sample_weight=known)
        return statistics, self.loss_mean.result()

    def start_evaluation(self) -> None:
        self._evaluation_mean.reset_state()

    def test_step(self, batch: Batch) -> tuple[Any, Any]:
        tokens, y = batch
        ids = tf.cast(y, tf.int32)
        logits = self._logits(tokens, ids, training=False)
        losses, statistics = self._scored(logits, ids[:, 1:])
        known = tf.reduce_sum(statistics[:, 2])
        loss = tf.reduce_sum(losses) / tf.maximum(known, 1.0)
        self._evaluation_mean.update_state(loss, sample_weight=known)
        return self._with_texts(tokens, statistics), self._evaluation_mean.result()

    def predict_step(self, x: Any) -> Any:
        return self._with_texts(x, tf.zeros((tf.shape(x)[0], STATISTICS)))

    def _logits(self, tokens: Any, ids: Any, *, training: bool) -> Any:
        inputs = {TOKENS: tokens, TARGET_TOKENS: ids[:, :-1]}
        length = max(int(tokens.shape[1]), int(ids.shape[1]) - 1)
        return self._shorter.get(length, self.network)(inputs, training=training)

    def _scored(self, logits: Any, target: Any) -> tuple[Any, Any]:
        """Return the sum of the losses of each row (n,), and its statistics (n, STATISTICS)."""
        known = tf.cast(tf.not_equal(target, self._shape.target_pad), tf.float32)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=logits)
        losses = entropy
        # The cross-entropy with targets (1 - s) · one-hot + s / ids, as by Keras.
        if self._smoothing:
            uniform = tf.reduce_logsumexp(logits, -1) - tf.reduce_mean(logits, -1)
            losses = (1 - self._smoothing) * entropy + self._smoothing * uniform
        correct = tf.equal(tf.argmax(logits, -1, output_type=tf.int32), target)
        columns = (tf.zeros_like(known), entropy, tf.ones_like(known), tf.cast(correct, tf.float32))
        statistics = [tf.reduce_sum(column * known, axis=1) for column in columns]
        return tf.reduce_sum(losses * known, axis=1), tf.stack(statistics, axis=1)

    def _with_texts(self, tokens: Any, statistics: Any) -> Any:
        """Return statistics, and the texts for sources, if there is a way of decoding."""
        if self._decoder is None or self._decoding is None:
            return statistics
        ids, logs = decode(self._decoder, self._decoding, tokens)
        return tf.concat([logs[:, None], statistics[:, 1:], tf.cast(ids, tf.float32)], axis=1)
