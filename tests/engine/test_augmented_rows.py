"""Batches are changed before a training step only, each row by its position and the epoch."""

import numpy as np
import pytest
import tensorflow as tf

from tests.engine.networks import BATCH, ROWS, network, on_disk, samples
from trainer.engine import streaming
from trainer.engine.batches import run_to_end
from trainer.engine.executors import LearnerExecutor
from trainer.engine.learner import Learner
from trainer.engine.rows import Batching, ResidentRows
from trainer.engine.streaming import StreamedRows


class Echo(Learner):
    """A learner that outputs the first feature of each row, whatever its network."""

    def __init__(self):
        super().__init__({"network": network()}, {}, outputs=1, trained_outputs=1)

    epoch_variables = ()
    learning_rate = 0.0

    def start_epoch(self):
        pass

    start_evaluation = start_epoch

    def train_step(self, batch):
        return batch[0][:, :1], tf.constant(0.0)

    test_step = train_step

    def predict_step(self, x):
        return x[:, :1]


def changed(batch, keys):
    """Replace the first feature by position and epoch."""
    x, *others = batch
    code = tf.cast(1000 * keys[:, 1:] + keys[:, :1], tf.float32)
    return (tf.concat([code, x[:, 1:]], axis=1), *others)


@pytest.mark.parametrize("kind", [ResidentRows, StreamedRows])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_are_changed_by_position_and_epoch(kind, weighted, monkeypatch):
    monkeypatch.setattr(streaming, "SHARD_ROWS", 4)
    train = samples(weighted=weighted)
    batching = Batching(seed=1, batch_size=BATCH, shuffle=True, steps_per_execution=2)
    rows = kind(on_disk(train) if kind is StreamedRows else train, batching)
    executor = LearnerExecutor(Echo(), rows, train, compiled=False, augment=changed)
    for epoch in (1, 2):
        # Stops after the first call, and goes on as a resumed run does.
        running = executor.run_epoch(epoch, 10**9)
        next(running)
        running.close()
        result = run_to_end(executor.run_epoch(epoch, 10**9))[0]
        expected = 1000 * epoch + result.train.rows
        np.testing.assert_array_equal(result.train.predictions[:, 0], expected)
        np.testing.assert_array_equal(np.sort(result.train.rows), np.arange(ROWS))
        features = train.inputs["features"][:, :1]
        np.testing.assert_array_equal(result.validation.predictions, features)
    np.testing.assert_array_equal(executor.evaluator.predict(train.inputs), features)
