"""Small networks, their samples, and executors that train them."""

from dataclasses import replace

import keras
import numpy as np

from trainer.data.samples import Samples
from trainer.data.scratch_arrays import ScratchArray
from trainer.engine.batches import run_to_end
from trainer.engine.executors import LearnerExecutor, MultiEpochExecutor
from trainer.engine.rows import Batching, ResidentRows
from trainer.engine.supervised import SupervisedLearner

ROWS, WIDTH, BATCH = 70, 5, 16


def samples(rows=ROWS, outputs=1, *, weighted=False, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    if outputs == 1:
        y = (x[:, :1] + 0.1 * rng.normal(size=(rows, 1)) > 0).astype(np.float32)
    else:
        y = np.eye(outputs, dtype=np.float32)[rng.integers(0, outputs, rows)]
    weight = rng.uniform(0.5, 2, rows).astype(np.float32) if weighted else None
    return Samples({"features": x}, y, weight, np.arange(rows), np.zeros(rows, bool))


def on_disk(samples):
    """Return the samples with inputs and targets that are memory-mapped from files."""

    def stored(array):
        scratch = ScratchArray(len(array), array.shape[1:], array.dtype.str)
        for start in range(0, len(array), 100):
            scratch.append(array[start : start + 100])
        return scratch.mapped()

    inputs = {name: stored(array) for name, array in samples.inputs.items()}
    return replace(samples, inputs=inputs, y=stored(samples.y))


def dense():
    return keras.layers.Dense(8, activation="relu")


def network(hidden=lambda: [dense()], outputs=1, activation="sigmoid"):
    # Layers draw the seeds of their initializers when they are created, so after this line.
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [keras.Input((WIDTH,)), *hidden(), keras.layers.Dense(outputs, activation=activation)]
    )


def supervised(model, optimizer, loss="binary_crossentropy", **options):
    return SupervisedLearner(model, keras.losses.get(loss), optimizer, **options)


def executor_for(
    learner, train, validation=None, *, kind=ResidentRows, compiled=False, epochs=1, **batching
):
    """Return an executor; `epochs` above 1 is the number of epochs per device call."""
    options = {"seed": 1, "batch_size": BATCH, "shuffle": True, "steps_per_execution": 1_000}
    rows = kind(train, Batching(**{**options, **batching}))
    if epochs == 1:
        return LearnerExecutor(learner, rows, validation, compiled=compiled)
    return MultiEpochExecutor(learner, rows, validation, compiled=compiled, epochs=epochs)


def train_epoch(executor, epoch, max_steps=10**9):
    """Train one epoch and return its output for the training rows."""
    return run_to_end(executor.run_epoch(epoch, max_steps))[0].train
