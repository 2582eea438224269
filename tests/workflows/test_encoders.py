"""`model.pretrained` with a column of tokens: an encoder of texts, from its folder to predictions."""

import json
import random
import shutil

import keras
import numpy as np
import polars as pl
import pytest

import trainer
from tests.kill.comparison import differences
from tests.models.pretrained.encoder_folders import WORDS, write_arrays, write_encoder
from tests.workflows.conftest import evaluate_run, resume_fit, run_fit, run_members
from trainer.config.load import load_config
from trainer.engine import base_features, batches
from trainer.engine.batches import run_to_end
from trainer.errors import ConfigError, RunError
from trainer.inputs import FEATURES, TOKENS
from trainer.models.pretrained.encoder_network import layer_depths
from trainer.runs.directory import RunDirectory
from trainer.workflows.building import build_training
from trainer.workflows.plan import make_plan

CONFIG = """\
name: sentences
data:
  source: t.csv
  target: label
  positive: y
  tokens: {length: 12}
  columns: {review: {kind: tokens}}
model:
  pretrained: bert
  layers: [{dense: {units: 6, activation: relu}}]
optimizer: {name: adam, learning_rate: 0.01}
fit: {epochs: 3, batch_size: 18}
evaluate: {report: false}
"""
TUNED = "model.pretrained={file: bert, frozen: false}"
LORA = "model.pretrained={file: bert, lora: {rank: 2, alpha: 4}}"


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    generator = random.Random(0)
    rows = []
    for row in range(120):
        words = generator.choices(WORDS[:8], k=generator.randint(0, 9))
        words += [generator.choice(("great", "lovely") if row % 2 else ("awful", "dull"))]
        generator.shuffle(words)
        rows.append((" ".join(words), row % 7, "ny"[row % 2]))
    frame = pl.DataFrame(rows, ["review", "number", "label"], orient="row")
    frame.write_csv(tmp_path / "t.csv")
    write_encoder(tmp_path / "bert")
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return path


def test_a_frozen_encoder_is_applied_once(config, monkeypatch):
    plan = make_plan(load_config(config))
    assert plan.parameters == (8 + 1) * 6 + 6 + 6 + 1
    train = plan.samples("train")
    assert train.inputs.keys() == {FEATURES}
    assert train.inputs[FEATURES].shape == (plan.dataset.rows("train"), 8 + 1)
    assert plan.samples("train") is train
    saved = build_training(plan, allow_custom=False).saved
    ids = plan.dataset.samples("train").inputs[TOKENS]
    vectors = saved.get_layer("pretrained")(ids)
    np.testing.assert_allclose(train.inputs[FEATURES][:, :8], vectors, atol=1e-6)
    # Other splits of the same texts use the same entry of the cache.
    monkeypatch.setattr(base_features, "_text_batches", None)
    again = make_plan(load_config(config, ["seed=5", "model.layers=[]"]))
    assert again.samples("train").inputs[FEATURES].shape[1] == 9
    for change in ("data.tokens.length=11", "model.pretrained={file: bert, pool: cls}"):
        with pytest.raises(TypeError):
            make_plan(load_config(config, [change])).samples("train")


def test_features_do_not_depend_on_the_other_texts(config):
    features = make_plan(load_config(config)).samples("train").inputs[FEATURES]
    plan = make_plan(load_config(config, ["data.split.validation=0.4"]))
    fewer = plan.samples("train")
    rows = list(make_plan(load_config(config)).samples("train").rows)
    shared = [(rows.index(row), place) for place, row in enumerate(fewer.rows) if row in rows]
    assert len(shared) > 10
    for first, second in shared:
        np.testing.assert_array_equal(features[first, :8], fewer.inputs[FEATURES][second, :8])


@pytest.mark.slow
@pytest.mark.parametrize("override", ["seed=1", TUNED, LORA], ids=["frozen", "tuned", "lora"])
def test_a_run_resumes_exactly_and_predicts_without_the_folder(override, config, tmp_path):
    settings = ("fit.checkpoint.every=1 epoch", override)
    done = run_fit(config, tmp_path / "runs", *settings)
    part = run_fit(config, tmp_path / "runs", *settings, "fit.epochs=1")
    resumed = resume_fit(part.run, "fit.epochs=3")
    assert resumed.weights_sha256 == done.weights_sha256
    assert differences(done.run, part.run) == []
    write_encoder(tmp_path / "bert", seed=1)
    with pytest.raises(RunError, match=r"model\.safetensors.*SHA-256"):
        resume_fit(part.run, "fit.epochs=4")
    (record,) = RunDirectory(done.run).read_manifest().initial_weights
    assert record.path == str(tmp_path / "bert" / "model.safetensors")
    shutil.rmtree(tmp_path / "bert")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    frame = pl.DataFrame({"review": ["a great book", "awful, dull", "", None], "number": 3})
    predictor = trainer.load(done.run)
    predicted = predictor.predict(frame)["probability_y"].to_list()
    assert predicted[2] == pytest.approx(predicted[3])
    inputs = predictor.members[0].preprocessing.transform(frame).inputs
    saved = keras.models.load_model(done.run / "checkpoints" / "best" / "model.keras")
    np.testing.assert_allclose(saved.predict(dict(inputs), verbose=0)[:, 0], predicted, rtol=1e-4)
    loss = evaluate_run(done.run, "test").results[0].metrics["loss"]
    assert loss == pytest.approx(done.metrics["test"]["loss"], rel=1e-4)
    checkpoint = json.loads((done.run / "checkpoints/best/checkpoint.json").read_text())
    assert checkpoint["weights_sha256"] == done.weights_sha256


def weights_after_one_step(config, *overrides):
    """Return the weights of the encoder by layer, before and after a step of gradient descent."""
    settings = ("optimizer={name: sgd, learning_rate: 0.5}", "fit={steps: 1, batch_size: 100}")
    plan = make_plan(load_config(config, [*settings, *overrides]))
    built = build_training(plan, allow_custom=False)
    base = built.network.get_layer("pretrained")
    before = {layer.name: layer.get_weights() for layer in base.layers}
    run_to_end(built.group.executor.run_epoch(1, plan.total_steps))
    built.group.executor.sync_variables(1)
    return before, {layer.name: layer.get_weights() for layer in base.layers}, layer_depths(base)


@pytest.mark.slow
def test_texts_without_padding_are_the_same(config, tmp_path, monkeypatch):
    write_encoder(tmp_path / "bert", max_position_embeddings=48)
    frame = pl.read_csv(tmp_path / "t.csv")
    more = pl.Series([" a story" * (row % 4 * 8) for row in range(frame.height)])
    frame.with_columns(pl.col("review") + more).write_csv(tmp_path / "t.csv")
    plan = make_plan(
        load_config(
            config,
            [
                "data.tokens.length=48",
                "model.pretrained={file: bert, frozen: false, dropout: 0, learning_rate_factor: 1}",
                "optimizer={name: sgd, learning_rate: 0.1}",
                "fit.batch_size=4",
            ],
        )
    )
    built = build_training(plan, allow_custom=False)
    network, samples = built.network, plan.samples("train")
    before = network.get_weights()
    trained = run_to_end(built.group.executor.run_epoch(1, plan.total_steps))[0].train
    after = network.get_weights()
    assert set(built.executor._rows.batching.lengths) == {16, 32, 48}
    monkeypatch.setattr(batches, "_TEXT_BATCH", 4)
    evaluator = built.executor.evaluator
    assert {length for _, length in evaluator._parts(samples.inputs)} == {16, 32, 48}
    output = evaluator.evaluate(samples)
    expected = network.predict(dict(samples.inputs), verbose=0)
    np.testing.assert_allclose(output.predictions, expected, atol=1e-6)
    np.testing.assert_allclose(evaluator.predict(samples.inputs), expected, atol=1e-6)
    losses = keras.losses.binary_crossentropy(samples.y, expected)
    assert output.loss == pytest.approx(np.mean(losses), rel=1e-5)
    network.set_weights(before)
    network.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    inputs = {name: values[trained.rows] for name, values in samples.inputs.items()}
    network.fit(inputs, samples.y[trained.rows], batch_size=4, shuffle=False, verbose=0)
    for weight, start, expected in zip(after, before, network.get_weights(), strict=True):
        np.testing.assert_allclose(weight - start, expected - start, rtol=2e-3, atol=1e-5)


@pytest.mark.slow
def test_learning_rates_of_layers(config):
    settings = "file: bert, frozen: false, dropout: 0"
    before, plain, depths = weights_after_one_step(
        config, f"model.pretrained={{{settings}, learning_rate_factor: 1}}"
    )
    _, scaled, _ = weights_after_one_step(
        config, f"model.pretrained={{{settings}, learning_rate_factor: 0.5, layer_decay: 0.8}}"
    )
    for name, depth in depths.items():
        factor = 0.5 * 0.8 ** (2 - depth)
        for start, whole, part in zip(before[name], plain[name], scaled[name], strict=True):
            np.testing.assert_allclose(part - start, factor * (whole - start), atol=2e-6)
    change = plain["layer_1_hidden"][0] - before["layer_1_hidden"][0]
    assert np.abs(change).max() > 1e-4


@pytest.mark.slow
def test_the_layers_that_are_frozen(config):
    before, after, depths = weights_after_one_step(
        config, "model.pretrained={file: bert, frozen: 1, learning_rate_factor: 1}"
    )
    for name, depth in depths.items():
        is_same = all(map(np.array_equal, before[name], after[name]))
        assert is_same == (depth < 2), name
    before, after, _ = weights_after_one_step(config, LORA)
    assert all(map(np.array_equal, before["words"], after["words"]))
    attention = zip(before["layer_0_attention"], after["layer_0_attention"], strict=True)
    # Gradient descent changes b, as a has no gradient while b is 0.
    assert sum(not np.array_equal(old, new) for old, new in attention) == 2


@pytest.mark.slow
def test_folds_on_a_frozen_encoder_are_trained_as_one_pack(config, tmp_path):
    folds = run_members(config, tmp_path / "runs", "fit.folds=3")
    assert [member.status for member in folds.members] == ["finished"] * 3
    shutil.rmtree(tmp_path / "bert")
    assert trainer.load(folds.run).predict(pl.read_csv("t.csv")).height == 120


@pytest.mark.slow
def test_warm_start_of_adapters(config, tmp_path):
    first = run_fit(config, tmp_path / "runs", TUNED)
    second = run_fit(
        config, tmp_path / "runs", LORA, "optimizer.learning_rate=1e-9",
        f"fit.warm_start={first.run}",
    )  # fmt: skip
    loss = second.metrics["test"]["loss"]
    assert loss == pytest.approx(first.metrics["test"]["loss"], rel=1e-3)


def problem_of(config, *overrides):
    with pytest.raises(ConfigError) as raised:
        make_plan(load_config(config, overrides))
    return str(raised.value)


def test_a_vocabulary_of_another_encoder(config, tmp_path):
    other = tmp_path / "other"
    write_encoder(other)
    with (other / "vocab.txt").open("a") as file:
        file.write("more\n")
    text = problem_of(config, "data.tokens.vocabulary=other/vocab.txt")
    assert "at most 31 ids" in text
    assert "remove data.tokens.vocabulary" in text


def test_the_folder_is_reported_before_the_table_is_read(config, tmp_path):
    (tmp_path / "t.csv").unlink()
    text = problem_of(config, "model.pretrained=bert-base-chinese")
    assert "config.json, model.safetensors" in text
    assert "hf download OWNER/bert-base-chinese" in text
    assert "t.csv" not in text


def test_arrays_that_are_not_needed_are_noted(config, tmp_path):
    arrays = dict(write_encoder(tmp_path / "bert"))
    arrays["pooler.dense.weight"] = np.zeros((8, 8), np.float32)
    write_arrays(tmp_path / "bert" / "model.safetensors", arrays)
    plan = make_plan(load_config(config))
    assert any("not needed: 1 of the layer for next-sentence" in note for note in plan.notes)
