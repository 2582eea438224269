"""Networks with several inputs of different shapes and dtypes, which are called with a dict."""

import keras
import numpy as np
import pytest

from tests.engine.networks import BATCH, executor_for, on_disk, supervised, train_epoch
from tests.marks import slow_except
from trainer.data.samples import Samples
from trainer.engine.batches import Evaluator
from trainer.engine.rows import ResidentRows, epoch_order
from trainer.engine.streaming import StreamedRows

ROWS, EPOCHS = 70, 2


def samples():
    rng = np.random.default_rng(0)
    inputs = {
        "features": rng.normal(size=(ROWS, 3)).astype(np.float32),
        "categories": rng.integers(0, 5, (ROWS, 2)).astype(np.int32),
        "image": rng.integers(0, 256, (ROWS, 4, 4, 3)).astype(np.uint8),
    }
    y = (inputs["features"][:, :1] + inputs["categories"][:, :1] > 2).astype(np.float32)
    return Samples(inputs, y, None, np.arange(ROWS), np.zeros(ROWS, bool))


def network():
    keras.utils.set_random_seed(3)
    features = keras.Input((3,), name="features")
    categories = keras.Input((2,), dtype="int32", name="categories")
    image = keras.Input((4, 4, 3), dtype="uint8", name="image")
    vectors = keras.layers.Flatten()(keras.layers.Embedding(5, 2)(categories))
    pixels = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    hidden = keras.layers.Concatenate()([features, vectors, pixels])
    outputs = keras.layers.Dense(1, activation="sigmoid")(hidden)
    inputs = {"features": features, "categories": categories, "image": image}
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("kind", slow_except([StreamedRows], [ResidentRows, StreamedRows]))
def test_weights_match_keras(kind):
    train = on_disk(samples()) if kind is StreamedRows else samples()
    model, other = network(), network()
    loss = keras.losses.BinaryCrossentropy()
    learner = supervised(model, keras.optimizers.Adam(0.01), loss)
    executor = executor_for(learner, train, kind=kind)
    other.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    for epoch in range(1, EPOCHS + 1):
        order = train_epoch(executor, epoch).rows
        if kind is ResidentRows:
            np.testing.assert_array_equal(order, epoch_order(ROWS, 1, epoch, True))
        inputs = {name: array[order] for name, array in train.inputs.items()}
        other.fit(inputs, train.y[order], batch_size=BATCH, shuffle=False, verbose=0)
    for weight, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(
        executor.evaluator.predict(train.inputs), other.predict(dict(train.inputs), verbose=0),
        rtol=1e-4,
    )  # fmt: skip


def test_ids_that_float32_cannot_represent_are_exact():
    largest = 2**24 + 1
    features = keras.Input((1,), name="features")
    categories = keras.Input((1,), dtype="int32", name="categories")
    is_largest = keras.ops.cast(keras.ops.equal(categories, largest), "float32")
    model = keras.Model({"features": features, "categories": categories}, is_largest + 0 * features)
    inputs = {
        "features": np.zeros((2, 1), np.float32),
        "categories": np.array([[largest - 1], [largest]], np.int32),
    }
    predictions = Evaluator(supervised(model, None)).predict(inputs)
    np.testing.assert_array_equal(predictions, [[0], [1]])


def test_evaluation_steps_are_small_if_a_layer_has_large_outputs():
    layers = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(2048, 3, padding="same"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(1),
    ]
    image = keras.Sequential([keras.Input((32, 32, 3), dtype="uint8"), *layers])
    evaluator = Evaluator(supervised(image, keras.optimizers.SGD()))
    assert evaluator._batch == 32
    pixels = np.random.default_rng(0).integers(0, 256, (35, 32, 32, 3)).astype(np.uint8)
    expected = image.predict(pixels, verbose=0)
    assert evaluator.predict({"image": pixels}) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert Evaluator(supervised(network(), keras.optimizers.SGD()))._batch == 4096
