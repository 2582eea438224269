"""`model.pretrained` with a base that is trained, from the first epoch or from a later one."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

import trainer
from tests.workflows.conftest import resume_fit, run_fit
from tests.workflows.pretrained.conftest import pixels_of, write_table_of_images
from trainer.config.load import load_config
from trainer.data.image_cache import clear_cache
from trainer.engine import base_features, frozen_base
from trainer.engine.batches import run_to_end
from trainer.engine.frozen_base import FrozenBaseExecutor
from trainer.engine.rows import epoch_order
from trainer.errors import ConfigError
from trainer.workflows import networks
from trainer.workflows.building import build_training
from trainer.workflows.plan import make_plan


def fine_tuned(config, *overrides):
    plan = make_plan(load_config(config, ["optimizer=sgd", "optimizer.momentum=0.9", *overrides]))
    return plan, build_training(plan, allow_custom=False)


def trained_like_keras(plan, built, epochs, update):
    """Train ours, and a copy of the network with `update(model, pixels, y, epoch)`; compare."""
    model = keras.models.clone_model(built.network)
    model.set_weights(built.network.get_weights())
    train = plan.encoded_samples("train")
    pixels = pixels_of(plan, "train").astype(np.uint8)
    for epoch in range(1, epochs + 1):
        run_to_end(built.group.executor.run_epoch(epoch, plan.total_steps))
        order = epoch_order(len(train), plan.config.seed, epoch, True)
        update(model, pixels[order], train.y[order], epoch)
    built.group.executor.sync_variables(epochs)
    for ours, theirs in zip(built.group.evaluation_weights(0), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-5)


@pytest.fixture
def without_dropout(config):
    """The dropout of the base is random; plain Keras draws other numbers."""
    network = keras.models.load_model(config.parent / "net.keras")
    network.get_layer("dropout").rate = 0.0
    network.save(config.parent / "net.keras")
    return config


@pytest.mark.slow
def test_a_base_with_another_learning_rate_matches_two_optimizers(without_dropout):
    plan, built = fine_tuned(
        without_dropout, "model.pretrained.frozen=1", "model.pretrained.learning_rate_factor=0.2"
    )
    base = built.network.get_layer("pretrained")
    assert [layer.name for layer in base.layers if layer.trainable_weights] == ["depthwise"]
    rates = {True: keras.optimizers.SGD(0.002, 0.9), False: keras.optimizers.SGD(0.01, 0.9)}

    def update(model, pixels, y, epoch):
        import tensorflow as tf

        inner = {id(weight) for weight in model.get_layer("pretrained").trainable_weights}
        for start in range(0, len(y), 8):
            with tf.GradientTape() as tape:
                loss = keras.losses.BinaryCrossentropy()(
                    y[start : start + 8], model(pixels[start : start + 8], training=True)
                )
            gradients = tape.gradient(loss, model.trainable_weights)
            pairs = list(zip(gradients, model.trainable_weights, strict=True))
            for is_base, optimizer in rates.items():
                optimizer.apply_gradients(
                    [(g, weight) for g, weight in pairs if (id(weight) in inner) == is_base]
                )

    trained_like_keras(plan, built, 2, update)


@pytest.mark.slow
def test_a_base_that_is_frozen_until_an_epoch(without_dropout):
    file = without_dropout.with_name("net.keras")
    plan, built = fine_tuned(
        without_dropout,
        "optimizer.momentum=0",
        f"model.pretrained={{file: {file}, frozen: 1 epoch, learning_rate_factor: 1.0}}",
    )
    before = built.network.get_layer("pretrained").get_weights()

    def update(model, pixels, y, epoch):
        base = model.get_layer("pretrained")
        for name in ("conv", "depthwise"):
            base.get_layer(name).trainable = epoch > 1
        model.compile(keras.optimizers.SGD(0.01), "binary_crossentropy", jit_compile=False)
        model.fit(pixels, y, batch_size=8, shuffle=False, verbose=0)
        unchanged = all(map(np.array_equal, before, base.get_weights()))
        assert unchanged == (epoch == 1)

    trained_like_keras(plan, built, 2, update)


@pytest.mark.slow
def test_a_trained_base_resumes_exactly_and_predicts(config, tmp_path):
    settings = ("model.pretrained.frozen=2 epochs", "fit.checkpoint.every=1 epoch")
    whole = run_fit(config, tmp_path / "runs", *settings)
    part = run_fit(config, tmp_path / "runs", *settings, "fit.epochs=2")
    resumed = resume_fit(part.run, "fit.epochs=3")
    assert resumed.weights_sha256 == whole.weights_sha256
    (config.parent / "net.keras").unlink()
    saved = keras.models.load_model(whole.run / "checkpoints/best/model.keras")
    paths = sorted(map(str, (config.parent / "photos").rglob("*.png")))
    predicted = trainer.load(whole.run).predict({"path": paths})
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    column = [name for name in predicted.columns if name.startswith("probability_")][-1]
    np.testing.assert_allclose(
        predicted[column], saved.predict(pixels, verbose=0)[:, 0], rtol=1e-4, atol=1e-6
    )


# Epochs in which a base does not change.


FROZEN = ("model.pretrained={file: net.keras, frozen: 2 epochs}", "optimizer.learning_rate=0.05")


def built_with(config, *overrides, **options):
    plan = make_plan(load_config(config, [*FROZEN, *overrides]))
    return plan, build_training(plan, allow_custom=False, **options)


@pytest.mark.slow
def test_the_first_epochs_equal_those_with_the_base_in_the_loop(config, monkeypatch):
    monkeypatch.chdir(config.parent)
    filled = []
    fill = base_features._fill
    monkeypatch.setattr(
        base_features, "_fill", lambda *arguments: (filled.append(arguments), fill(*arguments))
    )
    plan, built = built_with(config)
    assert isinstance(built.executor, FrozenBaseExecutor)
    monkeypatch.setattr(networks, "_has_constant_output", lambda plan, base: False)
    _, in_loop = built_with(config)
    assert not isinstance(in_loop.executor, FrozenBaseExecutor)
    for epoch in (1, 2, 3):
        ours, theirs = (
            run_to_end(each.executor.run_epoch(epoch, plan.total_steps))[0]
            for each in (built, in_loop)
        )
        assert ours.train.loss == pytest.approx(theirs.train.loss, rel=1e-4)
        assert ours.validation.loss == pytest.approx(theirs.validation.loss, rel=1e-4)
        for weight, expected in zip(ours.weights(), theirs.weights(), strict=True):
            np.testing.assert_allclose(weight, expected, rtol=1e-3, atol=1e-5)
    # Once for all images.
    assert len(filled) == 1


@pytest.mark.slow
def test_an_unfinished_epoch_on_cached_output_resumes_exactly(config, monkeypatch):
    monkeypatch.chdir(config.parent)
    monkeypatch.setattr(frozen_base, "steps_per_execution", lambda *sizes: 1)
    plan, whole = built_with(config)
    _, part = built_with(config)
    for epoch in (1, 2, 3):
        run_to_end(whole.executor.run_epoch(epoch, plan.total_steps))
    run_to_end(part.executor.run_epoch(1, plan.total_steps))
    running = part.executor.run_epoch(2, plan.total_steps)
    next(running)
    running.close()
    assert part.executor.partial_steps == 1
    state, steps = part.executor.states(), part.executor.partial_steps
    # The output of the base is computed again, from the weights in the checkpoint.
    clear_cache()
    _, resumed = built_with(config, execution=part.execution)
    resumed.executor.restore(state, steps)
    assert resumed.executor.partial_steps == 1
    for epoch in (2, 3):
        run_to_end(resumed.executor.run_epoch(epoch, plan.total_steps))
    expected = whole.executor.states()[0]
    for name, value in resumed.executor.states()[0].items():
        np.testing.assert_array_equal(value, expected[name])


def test_cached_output_is_that_of_the_current_weights(config, monkeypatch):
    monkeypatch.chdir(config.parent)
    plan, built = built_with(config)
    train = plan.encoded_samples("train")
    pixels = pixels_of(plan, "train") / 255
    base = built.network.get_layer("pretrained")
    for factor in (1.0, 2.0):
        kernel = base.get_layer("conv").kernel
        kernel.assign(factor * kernel)
        values = base_features.with_output_of(built.network, train, plan.network).inputs["image"]
        np.testing.assert_allclose(values, base(pixels, training=False), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "override",
    [
        "model.augment=[flip]",
        "optimizer.ema={momentum: 0.9, overwrite_every: 2 steps}",
        "model.pretrained.frozen=2 steps",
    ],
)
def test_output_that_changes_is_not_cached(config, monkeypatch, override):
    monkeypatch.chdir(config.parent)
    _, built = built_with(config, override)
    assert not isinstance(built.executor, FrozenBaseExecutor)


@pytest.mark.slow
def test_the_first_epochs_of_a_table_with_images(config, tmp_path, monkeypatch):
    _, data = write_table_of_images(config)
    settings = (data, "model.pretrained.frozen=2 epochs", "optimizer.ema={momentum: 0.9}")
    cached = run_fit(config, tmp_path / "runs", *settings)
    monkeypatch.setattr(networks, "_has_constant_output", lambda plan, base: False)
    in_loop = run_fit(config, tmp_path / "runs", *settings)
    for split, metrics in cached.metrics.items():
        assert metrics["loss"] == pytest.approx(in_loop.metrics[split]["loss"], rel=1e-3)


def test_more_frozen_layers_than_there_are(config):
    plan = make_plan(load_config(config, ["model.pretrained.frozen=3"]))
    with pytest.raises(ConfigError, match="3, of 3 layers"):
        build_training(plan, allow_custom=False)


@pytest.mark.slow
def test_the_report_shows_where_the_base_looked(config, tmp_path):
    run = run_fit(config, tmp_path / "runs", "evaluate.report=true").run
    assert (run / "report.html").exists()
    maps = json.loads((run / "explanation/heat_maps.json").read_text())
    assert maps
