"""Networks with columns of text, from the file to predictions."""

import random

import keras
import numpy as np
import polars as pl
import pytest

import trainer
from tests.workflows.conftest import resume_fit, run_fit, run_members
from trainer.config.load import load_config
from trainer.inputs import FEATURES, TERMS
from trainer.models.layers import TERM_TABLE
from trainer.runs.directory import RunDirectory
from trainer.runs.findings import read_findings
from trainer.workflows.building import build_training
from trainer.workflows.plan import make_plan

CONFIG = """\
name: texts
data:
  source: t.csv
  target: label
  positive: y
  text: {dimension: 6}
  columns: {review: {kind: text}, title: {kind: text, analyzer: characters}}
model: {layers: [{dense: {units: 8, activation: relu}}, {dropout: 0.1}]}
optimizer: {name: adam, learning_rate: 0.02}
fit: {epochs: 3, batch_size: 16}
evaluate: {report: false}
"""
GOOD, BAD = ("great", "lovely", "perfect"), ("awful", "broken", "dull")


@pytest.fixture
def config(tmp_path):
    generator = random.Random(0)
    filler = ["the", "book", "was", "very", "and", "story", "cover", "read"]
    rows = []
    for row in range(160):
        words = GOOD if row % 2 else BAD
        text = generator.choices(filler, k=6) + generator.choices(words, k=2)
        generator.shuffle(text)
        rows.append((" ".join(text), generator.choice(filler), row % 7, "ny"[row % 2]))
    frame = pl.DataFrame(rows, ["review", "title", "number", "label"], orient="row")
    frame.write_csv(tmp_path / "t.csv")
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return path


def test_the_network_adds_the_vectors_of_terms(config):
    plan = make_plan(load_config(config))
    network = build_training(plan, allow_custom=False).network
    block = network.get_layer("embeddings")
    inputs = {name: values[:5] for name, values in plan.dataset.samples("train").inputs.items()}
    table = block.get_layer(TERM_TABLE).embeddings.numpy()
    ids, weights = inputs[TERMS][..., 0].astype(int), inputs[TERMS][..., 1]
    texts = np.einsum("nt,ntd->nd", weights, table[ids])
    expected = np.concatenate([inputs[FEATURES], texts], axis=1)
    np.testing.assert_allclose(block(inputs).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert network.count_params() == sum(layer.parameters for layer in plan.layers)


@pytest.mark.slow
def test_a_run_predicts_new_texts(config, tmp_path):
    run = run_fit(config, tmp_path / "runs", "fit.epochs=15").run
    predictor = trainer.load(run)
    texts = ["perfect story, lovely cover", "a dull book, awful", None, "zzz qqq"]
    frame = pl.DataFrame({"review": texts, "title": None, "number": 3})
    predicted = predictor.predict(frame)
    positive = predicted["probability_y"].to_list()
    assert positive[0] > 0.8 > 0.2 > positive[1]
    # Without known words, only the other columns are left.
    assert positive[2] == pytest.approx(positive[3])
    assert predicted["unseen"].to_list() == [False, False, False, True]
    saved = keras.models.load_model(run / "checkpoints" / "best" / "model.keras")
    inputs = predictor.members[0].preprocessing.transform(frame).inputs
    np.testing.assert_allclose(saved.predict(dict(inputs), verbose=0)[:, 0], positive, atol=1e-5)


@pytest.mark.slow
def test_streamed_resumed_and_packed_runs_have_the_same_weights(config, tmp_path):
    settings = ("fit.checkpoint.every=1 epoch",)
    whole = run_fit(config, tmp_path / "runs", *settings)
    streamed = run_fit(config, tmp_path / "runs", *settings, "runtime.engine=streaming")
    assert whole.weights_sha256 == streamed.weights_sha256
    first = run_fit(config, tmp_path / "runs", *settings, "fit.epochs=1")
    assert resume_fit(first.run, "fit.epochs=3").weights_sha256 == whole.weights_sha256
    pack = run_members(config, tmp_path / "runs", *settings, "fit.repeats=2")
    packed = pack.run / "members" / "0002"
    single = run_fit(packed / "config.yaml", tmp_path / "runs").run
    member, alone = (
        keras.models.load_model(run / "checkpoints" / "best" / "model.keras")
        for run in (packed, single)
    )
    for ours, theirs in zip(member.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_folds_of_texts_have_a_report(config, tmp_path):
    run = run_members(
        config, tmp_path / "runs", "fit.folds=3", "fit.epochs=8", "evaluate.report=true"
    ).run
    assert read_findings(RunDirectory(run)).splits["test"].linear is not None
    assert "TF-IDF" in (run / "report.html").read_text()


@pytest.mark.slow
def test_parts_of_words_are_trained_and_resumed(config, tmp_path):
    pytest.importorskip("tokenizers")
    settings = (
        "data.columns.review={kind: tokens}",
        "data.tokens={tokenizer: wordpiece, length: 12, dimension: 8, special_tokens: true}",
        "model.layers=[{conv1d: {filters: 8, padding: same, activation: relu}}, global_max_pool]",
        "fit.checkpoint.every=1 epoch", "fit.epochs=8",
    )  # fmt: skip
    whole = run_fit(config, tmp_path / "runs", *settings)
    streamed = run_fit(config, tmp_path / "runs", *settings, "runtime.engine=streaming")
    assert whole.weights_sha256 == streamed.weights_sha256
    first = run_fit(config, tmp_path / "runs", *settings, "fit.epochs=1")
    assert resume_fit(first.run, "fit.epochs=8").weights_sha256 == whole.weights_sha256
    frame = pl.DataFrame({"review": ["a great book", "a dull book"], "title": "the", "number": 3})
    positive = trainer.load(whole.run).predict(frame)["probability_y"]
    assert positive[0] > 0.6 > 0.4 > positive[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "layers",
    [
        "[{gru: {units: 6, bidirectional: true}}]",
        "[{transformer: {heads: 2, positions: true}}, global_average_pool]",
    ],
)
def test_sequences_of_tokens_are_trained_and_resumed(config, tmp_path, layers):
    settings = (
        "data.columns.review={kind: tokens}", "data.tokens={length: 10, dimension: 8}",
        f"model.layers={layers}", "fit.checkpoint.every=1 epoch", "fit.epochs=8",
    )  # fmt: skip
    whole = run_fit(config, tmp_path / "runs", *settings)
    first = run_fit(config, tmp_path / "runs", *settings, "fit.epochs=1")
    assert resume_fit(first.run, "fit.epochs=8").weights_sha256 == whole.weights_sha256
    frame = pl.DataFrame({"review": ["a great book", "a dull book"], "title": "the", "number": 3})
    positive = trainer.load(whole.run).predict(frame)["probability_y"]
    assert positive[0] > 0.6 > 0.4 > positive[1]
