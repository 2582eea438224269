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
from tests.kill.comparison import differences
from tests.models.pretrained import torch_writer
from tests.models.pretrained.networks import small_network
from tests.workflows.conftest import evaluate_run, resume_fit, run_fit, run_members
from tests.workflows.pretrained.conftest import pixels_of, write_table_of_images
from trainer.config.load import load_config
from trainer.engine import base_features
from trainer.engine.batches import run_to_end
from trainer.engine.rows import epoch_order
from trainer.errors import ConfigError, RunError
from trainer.runs.directory import RunDirectory
from trainer.workflows.building import build_training
from trainer.workflows.packed.pack_schedule import RunSpec
from trainer.workflows.packed.work_items import ItemSettings, plan_work_items
from trainer.workflows.plan import TableCache, make_plan


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
