"""Networks with images, from the files to the weights."""

import keras
import numpy as np
import polars as pl
import pytest
import tensorflow as tf
from PIL import Image

import trainer
from tests.data.images import make_images
from tests.workflows.conftest import resume_fit, run_fit, run_members
from trainer.config.load import load_config
from trainer.engine.batches import run_to_end
from trainer.engine.rows import epoch_order, row_keys
from trainer.models.augment import build_augmentation
from trainer.workflows.building import build_training
from trainer.workflows.plan import make_plan

pytestmark = pytest.mark.slow
EPOCHS = 2
CONFIG = """\
name: photos
data:
  source: SOURCE
  image: {size: 12, scale: {mean: [0.4, 0.3, 0.2], std: [0.2]}}
model:
  layers:
    - conv2d: {filters: 4, kernel_size: 3, activation: relu}
    - batch_normalization
    - max_pool2d: 2
    - flatten
    - dense: 6
optimizer: {name: adam, learning_rate: 0.01}
fit: {epochs: 2, batch_size: 8}
evaluate: {report: false}
"""


@pytest.fixture
def config(tmp_path):
    # Images of the size of the input are not resized.
    make_images(tmp_path / "photos", count=20, size=12)
    for path in (tmp_path / "photos").rglob("*.*"):
        image = Image.open(path).crop((0, 0, 12, 12))
        path.unlink()
        image.save(path.with_suffix(".png"))
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG.replace("SOURCE", "photos"))
    return path


def test_weights_match_keras_on_the_files(config):
    plan = make_plan(load_config(config))
    built = build_training(plan, allow_custom=False)
    layers = [
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(2),
        keras.layers.Flatten(),
        keras.layers.Dense(6, activation=plan.config.model.layers[-1].settings.activation),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
    model = keras.Sequential([keras.Input((12, 12, 3)), *layers])
    model.set_weights(built.network.get_weights())
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", jit_compile=False)
    train = plan.dataset.samples("train")
    paths = plan.dataset.table.frame["path"].gather(train.rows)
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths]).astype(np.float32)
    pixels = (pixels / 255 - [0.4, 0.3, 0.2]) / 0.2
    for epoch in range(1, EPOCHS + 1):
        run_to_end(built.group.executor.run_epoch(epoch, plan.total_steps))
        order = epoch_order(len(train), plan.config.seed, epoch, True)
        model.fit(pixels[order], train.y[order], batch_size=8, shuffle=False, verbose=0)
    built.group.executor.sync_variables(EPOCHS)
    for ours, theirs in zip(built.group.evaluation_weights(0), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)


def test_streamed_and_resumed_runs_have_the_same_weights(config, tmp_path):
    # On a CPU, networks with convolutions are not compiled: neither are these in all engines.
    settings = ("runtime.jit_compile=false", "fit.checkpoint.every=1 epoch")
    whole = run_fit(config, tmp_path / "runs", *settings)
    streamed = run_fit(config, tmp_path / "runs", *settings, "runtime.engine=streaming")
    assert whole.weights_sha256 == streamed.weights_sha256
    first = run_fit(config, tmp_path / "runs", *settings, "fit.epochs=1")
    assert resume_fit(first.run, "fit.epochs=2").weights_sha256 == whole.weights_sha256


AUGMENT = (
    "data.image={resize: 12, crop: 10, random_crop: true, scale: standardize}",
    "model.augment=[flip, {rotate: 20}, {zoom: 0.2}, saturation, cutout, cutmix, {mixup: 0.5}]",
)


def test_weights_match_keras_on_the_changed_batches(config):
    settings = (*AUGMENT, "fit.class_weight={cat: 3, dog: 0.5}")
    plan = make_plan(load_config(config, settings))
    built = build_training(plan, allow_custom=False)
    model = keras.models.clone_model(built.network)
    model.set_weights(built.network.get_weights())
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", jit_compile=False)
    train = plan.task.apply_class_weights(
        plan.encoded_samples("train"), plan.config.fit.class_weight
    )
    augment = build_augmentation(plan.config, (10, 10))
    images = train.with_whole_images().inputs["image"][np.arange(len(train))]
    assert images.shape[1:] == (12, 12, 3)
    for epoch in range(1, EPOCHS + 1):
        run_to_end(built.group.executor.run_epoch(epoch, plan.total_steps))
        order = epoch_order(len(train), plan.config.seed, epoch, True)
        for start in range(0, len(order), 8):
            rows = order[start : start + 8]
            batch = (images[rows], train.y[rows], train.weight[rows])
            changed = augment(tuple(map(tf.constant, batch)), row_keys(rows, epoch))
            assert changed[0].shape[1:] == (10, 10, 3)
            assert not set(np.unique(changed[1])) <= {0, 1}
            model.train_on_batch(*changed)
    for ours, theirs in zip(built.network.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)


def test_changed_images_are_the_same_after_resuming_and_streamed(config, tmp_path):
    settings = (*AUGMENT, "fit.checkpoint.every=1 epoch")
    whole = run_fit(config, tmp_path / "runs", *settings)
    streamed = run_fit(config, tmp_path / "runs", *settings, "runtime.engine=streaming")
    assert whole.weights_sha256 == streamed.weights_sha256
    first = run_fit(config, tmp_path / "runs", *settings, "fit.epochs=1")
    assert resume_fit(first.run, "fit.epochs=2").weights_sha256 == whole.weights_sha256
    states = [(run / "checkpoints/last/state.npz").read_bytes() for run in (whole.run, first.run)]
    assert states[0] == states[1]


def test_evaluation_and_prediction_see_the_unchanged_centers(config, tmp_path):
    settings = (*AUGMENT, "optimizer.learning_rate=1e-30", "evaluate.report=true")
    changed = run_fit(config, tmp_path / "runs", *settings)
    assert "Random changes of training images" in (changed.run / "report.html").read_text()
    sheet = Image.open(changed.run / "explanation/augmented.jpg")
    assert sheet.size == (8 * 96 + 7 * 4, 6 * 96 + 5 * 4)
    paths = sorted(map(str, (tmp_path / "photos").rglob("*.png")))
    predicted = trainer.load(changed.run).predict(pl.DataFrame({"path": paths}))
    saved = keras.models.load_model(changed.run / "checkpoints/best/model.keras")
    centers = np.stack([np.asarray(Image.open(path))[1:11, 1:11] for path in paths])
    np.testing.assert_allclose(
        predicted["probability_dog"], saved.predict(centers, verbose=0)[:, 0], rtol=1e-4
    )
    frame = make_plan(load_config(config)).dataset.table.frame.select("path")
    for split in ("train", "validation", "test"):
        evaluated = pl.read_parquet(changed.run / "predictions" / f"{split}.parquet")
        again = trainer.load(changed.run).predict(frame[evaluated["row"].to_list()])
        np.testing.assert_allclose(
            evaluated["probability_dog"], again["probability_dog"], rtol=1e-5
        )


def test_the_report_of_several_networks_shows_changed_images(config, tmp_path):
    settings = ("model.augment=[flip]", "fit={epochs: 1, repeats: 2}", "evaluate.report=true")
    run = run_members(config, tmp_path / "runs", *settings).run
    assert (run / "explanation/augmented.jpg").is_file()
    assert "Random changes of training images" in (run / "report.html").read_text()


def test_a_table_with_images_and_numbers(config, tmp_path):
    paths = sorted((tmp_path / "photos").rglob("*.png"))
    frame = pl.DataFrame(
        {
            "file": [str(path.relative_to(tmp_path)) for path in paths],
            "age": range(len(paths)),
            "price": [3.0 * ("cat" in str(path)) + index / 10 for index, path in enumerate(paths)],
        }
    )
    frame.write_csv(tmp_path / "t.csv")
    columns = "target: price, columns: {file: {kind: image}}, image: {size: 12}"
    run = run_fit(config, tmp_path / "runs", f"data={{source: {tmp_path}/t.csv, {columns}}}").run
    predicted = trainer.load(run).predict(
        frame.with_columns(file=str(tmp_path) + "/" + pl.col("file"))
    )
    assert predicted.height == len(paths)
    assert not predicted["unseen"].any()
    saved = keras.models.load_model(run / "checkpoints" / "best" / "model.keras")
    assert {tensor.name: tuple(tensor.shape[1:]) for tensor in saved.inputs} == {
        "features": (1,),
        "image": (12, 12, 3),
    }
