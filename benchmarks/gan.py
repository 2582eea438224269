"""A step of a generator and a discriminator: ours, and loops that people write with Keras.

    python -m benchmarks.gan [--steps 100] [--repeats 3] [--threads 2] [--data mnist.csv.gz]

Generator 64-256-512-784 with batch normalization, discriminator 784-512-256-1, batches of 100, Adam: the
same layers, losses and batches for all. Each variant runs in turn, `repeats` times, in one process; the
medians of a step, without compilation, are printed as JSON. `train_on_batch` is the alternation of
tutorials: the discriminator on real and on generated rows, then the generator through the frozen
discriminator.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

LATENT, BATCH, PIXELS = 64, 100, 784
Step = Callable[[int], None]
"""Runs this many steps."""


def networks() -> tuple[keras.Model, keras.Model]:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    generator = keras.Sequential(
        [
            keras.Input((LATENT,)),
            layers.Dense(256, "leaky_relu"),
            layers.BatchNormalization(),
            layers.Dense(512, "leaky_relu"),
            layers.BatchNormalization(),
            layers.Dense(PIXELS, "tanh"),
        ]
    )
    discriminator = keras.Sequential(
        [
            keras.Input((PIXELS,)),
            layers.Dense(512, "leaky_relu"),
            layers.Dense(256, "leaky_relu"),
            layers.Dense(1),
        ]
    )
    return generator, discriminator


def adam() -> keras.optimizers.Adam:
    return keras.optimizers.Adam(2e-4, beta_1=0.5)


def ours(x: np.ndarray, compiled: bool) -> Step:
    """The learner and the epoch program of trainer."""
    from functools import partial

    from trainer.engine.adversarial import AdversarialLearner, AdversarialSettings
    from trainer.engine.batches import Program, train_in_batches
    from trainer.inputs import InputSpec
    from trainer.models.generation_summary import GenerationShape

    generator, discriminator = networks()
    shape = GenerationShape(LATENT, 0, InputSpec("features", (PIXELS,), "float32"))
    settings = AdversarialSettings(
        shape=shape, blocks=(), loss="non_saturating", gradient_penalty=0.0, discriminator_steps=1,
        label_smoothing=0.0, noise=0.0, noise_steps=0, seed=1,
    )  # fmt: skip
    learner = AdversarialLearner(
        {"generator": generator, "discriminator": discriminator},
        {"generator": adam(), "discriminator": adam()},
        settings,
    )
    program = Program(partial(train_in_batches, learner, BATCH), compiled=compiled)
    values, classes = tf.constant(x), tf.zeros((len(x), 0))
    rng = np.random.default_rng(1)

    def run(steps: int) -> None:
        learner.start_epoch()
        order = rng.integers(len(x), size=steps * BATCH).astype(np.int32)
        program(tf.constant(order), values, classes, None)

    return run


def train_on_batch(x: np.ndarray) -> Step:
    generator, discriminator = networks()
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    discriminator.compile(adam(), loss)
    latent = keras.Input((LATENT,))
    combined = keras.Model(latent, discriminator(generator(latent)))
    combined.compile(adam(), loss)
    ones, zeros = np.ones((BATCH, 1), np.float32), np.zeros((BATCH, 1), np.float32)
    rng = np.random.default_rng(1)

    def run(steps: int) -> None:
        for _ in range(steps):
            real = x[rng.integers(len(x), size=BATCH)]
            fake = generator(rng.normal(size=(BATCH, LATENT)).astype(np.float32), training=False)
            discriminator.trainable = True
            discriminator.train_on_batch(real, ones)
            discriminator.train_on_batch(fake, zeros)
            discriminator.trainable = False
            combined.train_on_batch(rng.normal(size=(BATCH, LATENT)).astype(np.float32), ones)

    return run


def gradient_tape(x: np.ndarray, compiled: bool) -> Step:
    generator, discriminator = networks()
    first, second = adam(), adam()
    first.build(discriminator.trainable_variables)
    second.build(generator.trainable_variables)
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function(jit_compile=compiled)
    def step(real: Any) -> None:
        with tf.GradientTape() as tape:
            fake = generator(tf.random.normal((BATCH, LATENT)), training=True)
            scores = discriminator(real, training=True), discriminator(fake, training=True)
            loss = entropy(tf.ones_like(scores[0]), scores[0])
            loss += entropy(tf.zeros_like(scores[1]), scores[1])
        variables = discriminator.trainable_variables
        first.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        with tf.GradientTape() as tape:
            fake = generator(tf.random.normal((BATCH, LATENT)), training=True)
            scores = discriminator(fake, training=True)
            loss = entropy(tf.ones_like(scores), scores)
        variables = generator.trainable_variables
        second.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    data = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x)).batch(BATCH, True).repeat()
    batches = iter(data.prefetch(2))

    def run(steps: int) -> None:
        for _ in range(steps):
            step(next(batches))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", help="A table of 784 pixels; random ones without it.")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    x = np.random.default_rng(1).uniform(-1, 1, (5000, PIXELS)).astype(np.float32)
    if options.data:
        import polars as pl

        x = pl.read_csv(options.data).to_numpy()[:, :PIXELS].astype(np.float32) / 127.5 - 1
    variants: dict[str, Step] = {
        "trainer, XLA": ours(x, True),
        "trainer, plain graph": ours(x, False),
        "GradientTape in tf.function": gradient_tape(x, False),
        "GradientTape, jit_compile": gradient_tape(x, True),
        "train_on_batch": train_on_batch(x),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for run in variants.values():
        run(options.steps)
    for _ in range(options.repeats):
        for name, run in variants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run(options.steps)
            seconds = time.perf_counter() - wall, time.process_time() - cpu
            times[name].append((1e3 * seconds[0] / options.steps, 1e3 * seconds[1] / options.steps))
    variants_ms = {
        name: {
            "step": statistics.median(wall for wall, _ in measured),
            "step_cpu": statistics.median(cpu for _, cpu in measured),
        }
        for name, measured in times.items()
    }
    counts = {name: getattr(options, name) for name in ("steps", "repeats", "threads")}
    print(json.dumps({**counts, "variants": variants_ms}))


if __name__ == "__main__":
    main()
