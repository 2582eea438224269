"""`model.pretrained`: a frozen base in front of the layers, from the file to the predictions."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import polars as pl
import pytest
from PIL import Image

import trainer
from tests.data.images import make_images
from tests.kill.comparison import differences
from tests.models.pretrained import torch_writer
from tests.models.pretrained.networks import small_network
from tests.workflows.conftest import evaluate_run, resume_fit, run_fit, run_members
from trainer.config.load import load_config
from trainer.data.image_cache import clear_cache
from trainer.engine import base_features, frozen_base
from trainer.engine.batches import run_to_end
from trainer.engine.frozen_base import FrozenBaseExecutor
from trainer.engine.rows import epoch_order
from trainer.errors import ConfigError, RunError
from trainer.runs.directory import RunDirectory
from trainer.workflows import networks
from trainer.workflows.building import build_training
from trainer.workflows.packed.pack_schedule import RunSpec
from trainer.workflows.packed.work_items import ItemSettings, plan_work_items
from trainer.workflows.plan import TableCache, make_plan

CONFIG = """\
name: photos
data:
  source: photos
  image: {size: 12}
model:
  pretrained: net.keras
  layers: [{dense: {units: 6, activation: relu}}]
optimizer: {name: adam, learning_rate: 0.01}
fit: {epochs: 3, batch_size: 8}
evaluate: {report: false}
"""


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A folder with images, a network and a config."""
    folder = tmp_path_factory.mktemp("pretrained")
    make_images(folder / "photos", count=20, size=12)
    for path in (folder / "photos").rglob("*.*"):
        # Images of the size of the input are not resized.
        image = Image.open(path).crop((0, 0, 12, 12))
        path.unlink()
        image.save(path.with_suffix(".png"))
    small_network().save(folder / "net.keras")
    (folder / "c.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def config(template, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(template, tmp_path / "work")
    return tmp_path / "work" / "c.yaml"


@pytest.fixture(scope="session")
def run(template, tmp_path_factory):
    """A finished run, which tests only read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return run_fit(template / "c.yaml", tmp_path_factory.mktemp("runs"))


def pixels_of(plan, split):
    rows = plan.dataset.samples(split).rows
    paths = plan.dataset.table.frame["path"].gather(rows)
    return np.stack([np.asarray(Image.open(path)) for path in paths]).astype(np.float32)


@pytest.mark.slow
def test_weights_match_keras_with_the_base_in_the_loop(config):
    plan = make_plan(load_config(config))
    built = build_training(plan, allow_custom=False)
    network = keras.models.load_model(config.parent / "net.keras")
    base = keras.Model(network.inputs, network.get_layer("dropout").output)
    base.trainable = False
    start = keras.Input((12, 12, 3))
    hidden = keras.layers.Dense(6, activation="relu")(base(start, training=False))
    model = keras.Model(start, keras.layers.Dense(1, activation="sigmoid")(hidden))
    for weight, value in zip(model.trainable_weights, built.network.get_weights(), strict=True):
        weight.assign(value)
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", jit_compile=False)
    train = plan.encoded_samples("train")
    # Dropout of the base is not applied either.
    model.layers[1].get_layer("dropout").rate = 0.0
    pixels = pixels_of(plan, "train") / 255
    for epoch in (1, 2):
        run_to_end(built.group.executor.run_epoch(epoch, plan.total_steps))
        order = epoch_order(len(train), plan.config.seed, epoch, True)
        model.fit(pixels[order], train.y[order], batch_size=8, shuffle=False, verbose=0)
    built.group.executor.sync_variables(2)
    weights = model.trainable_weights
    for ours, theirs in zip(built.group.evaluation_weights(0), weights, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=2e-3, atol=2e-5)


@pytest.mark.slow
def test_the_run_is_complete(run, template, tmp_path):
    plan = make_plan(load_config(template / "c.yaml"))
    saved = keras.models.load_model(run.run / "checkpoints/best/model.keras")
    pixels = pixels_of(plan, "test")
    predicted = trainer.load(run.run).predict(
        plan.dataset.table.frame.select("path")[plan.dataset.samples("test").rows]
    )
    expected = saved.predict(pixels.astype(np.uint8), verbose=0)[:, 0]
    positive = plan.task.target.classes[1]
    np.testing.assert_allclose(predicted[f"probability_{positive}"], expected, rtol=1e-5)
    evaluated = evaluate_run(run.run, "test").results[0].metrics
    assert evaluated["loss"] == pytest.approx(run.metrics["test"]["loss"], rel=1e-5)
    network = keras.models.load_model(template / "net.keras")
    inner = saved.get_layer("pretrained")
    np.testing.assert_array_equal(
        inner.get_layer("conv").kernel.numpy(), network.get_layer("conv").kernel.numpy()
    )
    assert not inner.get_layer("norm").trainable
    checkpoint = json.loads((run.run / "checkpoints/best/checkpoint.json").read_text())
    assert run.weights_sha256 in json.dumps(checkpoint)
    (record,) = RunDirectory(run.run).read_manifest().initial_weights
    assert record.setting == "model.pretrained"
    assert record.path == str(template / "net.keras")


def test_features_are_computed_once(config, monkeypatch):
    plan = make_plan(load_config(config))
    first = plan.samples("train").inputs["features"]
    assert first.shape == (plan.dataset.rows("train"), 8)
    assert plan.samples("train") is plan.samples("train")
    monkeypatch.setattr(base_features, "_fill", None)
    again = make_plan(load_config(config, ["seed=0", "model.layers=[]"]))
    np.testing.assert_array_equal(again.samples("train").inputs["features"], first)
    for change in ("model.pretrained.layer=both", "data.image.scale={mean: [0.5], std: [0.5]}"):
        with pytest.raises(TypeError):
            make_plan(load_config(config, [change])).samples("train")


def test_features_do_not_depend_on_the_other_images(config):
    plan = make_plan(load_config(config))
    features = plan.samples("train").inputs["features"]
    rows = plan.dataset.samples("train").rows[::3]
    kept = set(plan.dataset.table.frame["path"].gather(rows))
    for path in (config.parent / "photos").rglob("*.png"):
        if str(path) not in kept:
            path.unlink()
    override = ["data.split={test: 0, validation: 0}"]
    fewer = make_plan(load_config(config, override))
    paths = list(fewer.dataset.table.frame["path"].gather(fewer.dataset.samples("train").rows))
    order = [paths.index(path) for path in plan.dataset.table.frame["path"].gather(rows)]
    np.testing.assert_array_equal(fewer.samples("train").inputs["features"][order], features[::3])


@pytest.mark.slow
def test_a_resumed_run_has_the_same_bytes(config, tmp_path, run):
    settings = ("fit.checkpoint.every=1 epoch",)
    whole = run_fit(config, tmp_path / "runs", *settings)
    part = run_fit(config, tmp_path / "runs", *settings, "fit.epochs=1")
    shutil.rmtree(tmp_path / "cache")
    resumed = resume_fit(part.run, "fit.epochs=3")
    assert resumed.weights_sha256 == whole.weights_sha256
    assert differences(whole.run, part.run) == []
    small_network(seed=1).save(config.parent / "net.keras")
    with pytest.raises(RunError, match=r"net\.keras.*SHA-256"):
        resume_fit(part.run, "fit.epochs=4")


@pytest.mark.slow
def test_folds_train_as_one_pack(config, tmp_path):
    folds = run_members(config, tmp_path / "runs", "fit.folds=5", "fit.epochs=4")
    assert [member.status for member in folds.members] == ["finished"] * 5
    (config.parent / "net.keras").unlink()
    paths = pl.DataFrame({"path": sorted(map(str, (config.parent / "photos").rglob("*.png")))})
    predicted = trainer.load(folds.run).predict(paths)
    assert predicted.height == len(paths)
    single = trainer.load(folds.members[2].run).predict(paths)
    saved = keras.models.load_model(folds.members[2].run / "checkpoints/best/model.keras")
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths["path"]])
    column = [name for name in single.columns if name.startswith("probability_")][-1]
    np.testing.assert_allclose(single[column], saved.predict(pixels, verbose=0)[:, 0], rtol=1e-4)


def test_folds_are_scheduled_as_one_pack(config, tmp_path):
    specs = [
        RunSpec(
            number, load_config(config, [f"data.split.fold={number}/5"]), tmp_path / str(number)
        )
        for number in range(1, 6)
    ]
    (tmp_path / "packs").mkdir()
    settings = ItemSettings(("trainer",), ("test",), allow_custom=False, threads=1)
    _, items, _ = plan_work_items(
        specs, tmp_path / "packs", TableCache(), settings, spec_of=lambda number: None
    )
    assert [len(item.specs) for item in items] == [5]


def write_table_of_images(config):
    """Write a table with the images, numbers and categories; return it and the override for it."""
    paths = sorted((config.parent / "photos").rglob("*.png"))
    frame = pl.DataFrame(
        {
            "file": [str(path.relative_to(config.parent)) for path in paths],
            "age": range(len(paths)),
            "town": ["ABC"[index % 3] for index in range(len(paths))],
            "price": [3.0 * ("cat" in str(path)) + index / 10 for index, path in enumerate(paths)],
        }
    )
    frame.write_csv(config.parent / "t.csv")
    columns = "columns: {file: {kind: image}, town: {encode: embedding}}, image: {size: 12}"
    data = f"data={{source: {config.parent}/t.csv, target: price, {columns}}}"
    return frame, data


@pytest.mark.slow
def test_a_table_with_images_numbers_and_categories(config, tmp_path):
    frame, data = write_table_of_images(config)
    run = run_fit(config, tmp_path / "runs", data, "evaluate.importance=true").run
    importance = json.loads((run / "explanation/importance.json").read_text())
    assert {column["column"] for column in importance["columns"]} == {"file", "age", "town"}
    rows = frame.with_columns(file=str(config.parent) + "/" + pl.col("file"))
    predicted = trainer.load(run).predict(rows)
    saved = keras.models.load_model(run / "checkpoints/best/model.keras")
    assert {tensor.name for tensor in saved.inputs} == {"features", "categories", "image"}
    assert predicted.height == len(frame)
    test = json.loads((run / "evaluation/test.json").read_text())["metrics"]["loss"]
    assert evaluate_run(run, "test").results[0].metrics["loss"] == pytest.approx(test, rel=1e-5)


@pytest.mark.slow
def test_warm_start_of_the_layers(run, config):
    override = [f"fit.warm_start={run.run}", "seed=4"]
    plan = make_plan(load_config(config, override))
    assert [str(match) for match in plan.warm_start.layers] == ["dense: copied", "head: copied"]
    network = build_training(plan, allow_custom=False).network
    saved = keras.models.load_model(run.run / "checkpoints/best/model.keras")
    np.testing.assert_array_equal(
        network.get_layer("dense").kernel.numpy(), saved.get_layer("dense").kernel.numpy()
    )


@pytest.mark.parametrize(
    ("overrides", "mentions"),
    [
        (["model.pretrained.file=none.keras"], "no such file"),
        (["data.image.size=16"], "set data.image.size: [12, 12]"),
        (["model.pretrained={layer: nothing, file: net.keras}"], "'nothing'"),
        (
            [
                "model.pretrained={file: w.pth, architecture: efficientnet_lite0}",
                "data.image.size=32",
            ],
            "none named '_conv_stem.weight'",
        ),
    ],
)
def test_settings_that_do_not_fit(config, overrides, mentions, monkeypatch):
    monkeypatch.chdir(config.parent)
    torch_writer.write_zip(Path("w.pth"), torch_writer.state_dict({"a": np.zeros(3, np.float32)}))
    with pytest.raises(ConfigError) as caught:
        make_plan(load_config(config, overrides))
    assert mentions in str(caught.value)


# Bases that are trained.


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
