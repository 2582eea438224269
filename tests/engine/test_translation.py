"""The learner of a translation: its loss, its statistics and its texts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_translation import (
    SOURCE_LENGTH,
    TARGET_LENGTH,
    build,
    make_config,
    make_network_shape,
)
from trainer.config.translation import Decoding
from trainer.data.samples import Samples
from trainer.engine.batches import run_to_end
from trainer.engine.executors import LearnerExecutor
from trainer.engine.rows import Batching, TokenBatchRows
from trainer.engine.token_batches import divide
from trainer.engine.translation import TranslationLearner
from trainer.inputs import TOKENS
from trainer.models.translation.network import TARGET_TOKENS, build_shorter_translation
from trainer.tasks.translation import CORRECT, NEGATIVE_LOG_LIKELIHOOD, STATISTICS
from trainer.tasks.translation import TOKENS as TOKEN_COUNT


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    tokens = rng.integers(3, 11, (4, SOURCE_LENGTH)).astype(np.int32)
    ids = rng.integers(3, 13, (4, TARGET_LENGTH + 1))
    ids[:, 0] = 1
    for row, end in enumerate((2, 6, 1, 4)):
        ids[row, end], ids[row, end + 1 :] = 2, 0
    return tf.constant(tokens), tf.constant(ids, tf.float32)


@pytest.fixture(scope="module")
def built():
    return build("pre")


def make(built, smoothing=0.0, decoding=None, optimizer=None):
    network, settings, shape, _ = built
    return TranslationLearner(
        network, settings, shape, optimizer, label_smoothing=smoothing, decoding=decoding
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_cross_entropy_of_tokens(built, batch, smoothing):
    learner = make(built, smoothing)
    tokens, y = batch
    target = y.numpy().astype(int)[:, 1:]
    before = tf.cast(y, tf.int32)[:, :-1]
    logits = learner.network({TOKENS: tokens, TARGET_TOKENS: before})
    entropy = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction=None
    )(keras.ops.one_hot(target, 13), logits).numpy()
    learner.start_evaluation()
    outputs, loss = learner.test_step(batch)
    assert float(loss) == pytest.approx(entropy[target != 0].mean(), rel=1e-5)
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    per_token = plain(target, logits).numpy() * (target != 0)
    found = outputs.numpy()
    assert found.shape == (4, STATISTICS)
    np.testing.assert_allclose(found[:, NEGATIVE_LOG_LIKELIHOOD], per_token.sum(1), rtol=1e-5)
    np.testing.assert_array_equal(found[:, TOKEN_COUNT], (target != 0).sum(1))
    correct = (logits.numpy().argmax(-1) == target) & (target != 0)
    np.testing.assert_array_equal(found[:, CORRECT], correct.sum(1))


def test_the_mean_counts_tokens_rather_than_batches(built, batch):
    learner = make(built)
    learner.start_evaluation()
    whole = float(learner.test_step(batch)[1])
    learner.start_evaluation()
    for part in (slice(0, 3), slice(3, 4)):
        _, mean = learner.test_step(tuple(values[part] for values in batch))
    assert float(mean) == pytest.approx(whole, rel=1e-6)


@pytest.mark.slow
def test_a_step_is_that_of_keras(batch):
    learner = make(build("pre"), 0.1, optimizer=keras.optimizers.SGD(0.5))
    other = make(build("pre"), 0.1)
    assert all(
        np.array_equal(ours, theirs)
        for ours, theirs in zip(
            learner.network.get_weights(), other.network.get_weights(), strict=True
        )
    )
    tokens, y = batch
    ids = y.numpy().astype(int)
    target, known = ids[:, 1:], (ids[:, 1:] != 0).astype(np.float32)
    for network in (learner.network, other.network):
        for layer in network.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
    learner.start_epoch()
    learner.train_step(batch)
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.1, reduction="sum"
    )
    other.network.compile(keras.optimizers.SGD(float(0.5 / known.sum())), loss, jit_compile=False)
    other.network.train_on_batch(
        {TOKENS: tokens, TARGET_TOKENS: ids[:, :-1]}, keras.ops.one_hot(target, 13), known
    )
    for ours, theirs in zip(
        learner.network.get_weights(), other.network.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.slow
def test_texts_follow_the_statistics(built, batch):
    learner = make(built, decoding=Decoding(beam=2))
    learner.start_evaluation()
    evaluated = learner.test_step(batch)[0].numpy()
    predicted = learner.predict_step(batch[0]).numpy()
    assert evaluated.shape == (4, STATISTICS + TARGET_LENGTH)
    np.testing.assert_array_equal(evaluated[:, STATISTICS:], predicted[:, STATISTICS:])
    np.testing.assert_allclose(evaluated[:, 0], predicted[:, 0])
    assert (predicted[:, 0] < 0).all()


SHORT = 3


def token_executor():
    """Return an executor of batches of up to 30 tokens, of pairs with 3 or 7 tokens."""
    rng = np.random.default_rng(4)
    kept = np.repeat([SHORT, SOURCE_LENGTH], 20).astype(np.int32)
    tokens = rng.integers(3, 11, (40, SOURCE_LENGTH)).astype(np.int32)
    ids = rng.integers(3, 13, (40, TARGET_LENGTH + 1)).astype(np.float32)
    ids[:, 0], ids[:20, SHORT], tokens[:20, SHORT:], ids[:20, SHORT + 1 :] = 1, 2, 0, 0
    rows = Samples({TOKENS: tokens}, ids, None, np.arange(40), np.zeros(40, bool))
    network, settings, shape, _ = build("post")
    config, network_shape = make_config(settings), make_network_shape(shape)
    shorter = build_shorter_translation(config, network, network_shape, SHORT, compiled=False)
    optimizer = keras.optimizers.SGD(0.1)
    learner = TranslationLearner(network, settings, shape, optimizer, shorter={SHORT: shorter})
    batching = Batching(seed=1, batch_size=1, shuffle=True, steps_per_execution=9)
    batches = TokenBatchRows(rows, batching, divide(kept, 30))
    return LearnerExecutor(learner, batches, None, compiled=False), network, batches


@pytest.mark.slow
def test_an_epoch_of_token_batches_is_resumed_exactly():
    whole, expected, rows = token_executor()
    first, _ = (run_to_end(whole.run_epoch(epoch, 10**9))[0].train for epoch in (1, 2))
    assert sorted(first.rows.tolist()) == list(range(40))
    assert len(first.losses) == rows.steps_per_epoch == 7
    begun, *_ = token_executor()
    steps = begun.run_epoch(1, 10**9)
    for _ in range(3):
        next(steps)
    steps.close()
    resumed, network, _ = token_executor()
    resumed.restore(begun.states(), begun.partial_steps)
    assert begun.partial_steps == 3
    for epoch in (1, 2):
        run_to_end(resumed.run_epoch(epoch, 10**9))
    for ours, theirs in zip(network.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
