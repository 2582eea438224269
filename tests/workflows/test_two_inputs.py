"""Networks with features and categories, and with categories alone, from the table to predictions."""

from itertools import product

import keras
import numpy as np
import polars as pl
import pytest

import trainer
from tests.marks import slow_except
from tests.workflows.conftest import run_fit
from trainer.config.load import load_config
from trainer.engine.batches import run_to_end
from trainer.engine.rows import epoch_order
from trainer.prediction.trained_runs import load_network, open_trained
from trainer.workflows.building import build_training
from trainer.workflows.plan import make_plan

EMBEDDED = ("data.categorical.encode=embedding", "model.layers=[{dense: 6}]", "optimizer=adam")
EPOCHS = 2


def functional_model(plan):
    """Return the same network written by hand, with one embedded column."""
    ((levels, dimension),) = plan.dataset.preprocessing.embeddings
    shapes = {spec.name: spec.shape for spec in plan.dataset.preprocessing.inputs}
    features = keras.Input(shapes["features"], name="features")
    categories = keras.Input(shapes["categories"], dtype="int32", name="categories")
    vector = keras.layers.Flatten()(keras.layers.Embedding(levels, dimension)(categories))
    x = keras.layers.Concatenate()([features, vector])
    for layer in plan.config.model.layers:
        x = keras.layers.Dense(layer.settings.units, activation=layer.settings.activation)(x)
    outputs = keras.layers.Dense(1, activation="sigmoid")(x)
    return keras.Model({"features": features, "categories": categories}, outputs)


def test_weights_match_a_functional_model(small):
    plan = make_plan(load_config(small, [*EMBEDDED, f"fit.epochs={EPOCHS}"]))
    built = build_training(plan, allow_custom=False)
    model = functional_model(plan)
    model.set_weights(built.network.get_weights())
    rate = plan.config.optimizer.learning_rate
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", jit_compile=False)
    train = plan.dataset.samples("train")
    assert train.inputs["categories"].dtype == np.int32
    for epoch in range(1, EPOCHS + 1):
        run_to_end(built.group.executor.run_epoch(epoch, plan.total_steps))
        order = epoch_order(len(train), plan.config.seed, epoch, True)
        inputs = {name: values[order] for name, values in train.inputs.items()}
        size = plan.config.fit.batch_size
        model.fit(inputs, train.y[order], batch_size=size, shuffle=False, verbose=0)
    built.group.executor.sync_variables(EPOCHS)
    for ours, theirs in zip(built.group.evaluation_weights(0), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("columns", "engine"),
    slow_except(
        [("size, color", "streaming"), ("color", "resident")],
        [*product(["size, color", "color"], ["resident", "streaming"])],
    ),
)
def test_predictions_of_a_run(small, tmp_path, engine, columns):
    settings = (f"runtime.engine={engine}", f"data.features.include=[{columns}]", "fit.epochs=2")
    run = run_fit(small, tmp_path / "runs", *EMBEDDED, *settings).run
    frame = pl.DataFrame({"size": ["0.5", "-1"], "color": ["red", "never seen"]})
    opened = open_trained(run)
    inputs = opened.preprocessing.transform(frame).inputs
    assert list(inputs) == (["features"] if "size" in columns else []) + ["categories"]
    assert inputs["categories"][1, 0] == 0
    predicted = trainer.load(run).predict(frame)
    assert predicted["unseen"].to_list() == [False, True]
    network = load_network(opened, allow_custom=False)
    expected = network(inputs if len(inputs) > 1 else inputs["categories"]).numpy()[:, 0]
    np.testing.assert_allclose(predicted["probability_yes"], expected, rtol=1e-5)
    saved = keras.models.load_model(run / "checkpoints" / "best" / "model.keras")
    assert isinstance(saved, keras.Sequential) == (len(inputs) == 1)
