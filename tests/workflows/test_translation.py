"""A translation from the file to texts: training, metrics, report, resuming, predictions, refusals."""

import io
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import polars as pl
import pytest

import trainer
from tests.workflows.conftest import evaluate_run, open_on_cpu, predict_table, resume_fit, run_fit
from trainer.config.load import load_config
from trainer.data.prepare import prepare
from trainer.errors import ConfigError, DataError, RunError
from trainer.prediction.files import predict_file
from trainer.report.page.writing import run_comparison_page
from trainer.runs.directory import RunDirectory
from trainer.runs.findings import read_findings
from trainer.workflows.audit import audit_data
from trainer.workflows.compilation import should_compile
from trainer.workflows.compression import CompressOptions, compress_config
from trainer.workflows.explanations.explain import explain
from trainer.workflows.export import export_run
from trainer.workflows.plan import make_plan

NUMBERS = {
    "one": "un", "two": "deux", "three": "trois", "four": "quatre", "five": "cinq", "six": "six",
    "seven": "sept", "eight": "huit", "nine": "neuf", "ten": "dix",
}  # fmt: skip
THINGS = {"cat": "chat", "dog": "chien", "été bird": "oiseau d'été", "book": "livre"}
CONFIG = """\
name: numbers
seed: 2
data:
  source: pairs.tsv
  target: fr
  task: translate
  tokens: {length: 24, max_tokens: 400}
model:
  encoder_decoder: {layers: 1, heads: 2, width: 32, feed_forward: 64, dropout: 0.1}
loss: {label_smoothing: 0.05}
optimizer: {name: adam, learning_rate: 5e-3, schedule: {inverse_square_root: 20 steps}}
fit: {epochs: 3, batch_size: 16, checkpoint: {every: 1 epoch}}
evaluate: {decoding: 2, resamples: 100}
runtime: {jit_compile: false}
"""


def write_pairs(folder, repeats=2, forms=("{} {}", "{} {}")):
    rows = [
        (forms[0].format(number, thing), forms[1].format(translated, other))
        for number, translated in NUMBERS.items()
        for thing, other in THINGS.items()
    ] * repeats
    frame = pl.DataFrame(rows, ["en", "fr"], orient="row")
    frame.write_csv(folder / "pairs.tsv", separator="\t")
    path = folder / "config.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers")
    write_pairs(folder)
    return folder


@pytest.fixture(scope="module")
def done(folder):
    pytest.importorskip("sacrebleu")
    return run_fit(folder / "config.yaml", folder / "runs", "fit.early_stopping.monitor=val_bleu")


def test_no_source_is_in_two_splits(folder):
    dataset = prepare(load_config(folder / "config.yaml").config)
    frame = dataset.source.read_columns(["en"]).frame
    splits = frame.with_columns(split=pl.Series(dataset.assignment)).group_by("en").n_unique()
    assert splits["split"].to_list() == [1] * splits.height
    assert all(dataset.rows(split) for split in ("train", "validation", "test"))


@pytest.mark.parametrize(("epochs", "compiled"), [(3, False), (100_000, True)])
def test_only_long_trainings_are_compiled(folder, epochs, compiled):
    settings = [f"fit.epochs={epochs}", "runtime.jit_compile=auto"]
    assert should_compile(make_plan(load_config(folder / "config.yaml", settings))) == compiled


def test_targets_are_written_again_from_their_ids(folder):
    dataset = prepare(load_config(folder / "config.yaml").config)
    samples, text = dataset.samples("train"), dataset.preprocessing.target.text
    ids = samples.y.astype(int)
    assert set(ids[:, 0]) == {text.start_id}
    assert text.decode(ids[:, 1:]) == samples.texts.to_list()
    assert "oiseau d'été" in " ".join(samples.texts)


def test_a_shared_vocabulary_has_the_tokens_of_both_columns(folder):
    config = load_config(folder / "config.yaml", ["data.shared_vocabulary=true"])
    plan = make_plan(config)
    preprocessing = plan.dataset.preprocessing
    assert preprocessing.tokens.pieces == preprocessing.target.text.column.pieces
    vocabulary = preprocessing.tokens.pieces.definition["model"]["vocab"]
    assert {"Ġcat", "Ġchat"} & set(vocabulary) or {"chat", "cat"} & set(vocabulary)
    assert plan.network.translation.shares_tokens
    tables = [layer.name for layer in plan.layers if layer.parameters]
    single = make_plan(load_config(folder / "config.yaml"))
    assert len(tables) == len([layer for layer in single.layers if layer.parameters])
    assert plan.parameters < single.parameters


@pytest.mark.slow
def test_a_run_writes_metrics_translations_and_a_report(done):
    run = RunDirectory(done.run)
    assert set(done.metrics) == {"train", "validation", "test"}
    assert set(done.metrics["test"]) == {"loss", "bleu", "chrf", "exact_match", "token_accuracy"}
    assert set(done.metrics["train"]) == {"loss", "token_accuracy"}
    epochs = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert all("val_bleu" in epoch and "bleu" not in epoch for epoch in epochs)
    frame = pl.read_parquet(io.BytesIO(run.read_predictions("test.parquet")))
    assert frame.columns == ["row", "source", "actual", "predicted", "log_probability"]
    findings = read_findings(run)
    result = findings.splits["test"]
    assert result.metrics["bleu"].value == pytest.approx(done.metrics["test"]["bleu"])
    assert result.metrics["bleu"].low <= result.metrics["bleu"].value <= 100
    assert set(result.vs_copy) == set(result.vs_nearest) == set(result.metrics)
    assert "copy of the source" in findings.sentence
    assert "nrefs:1" in findings.notes[0]
    assert not (run.predictions / "train.parquet").exists()
    shown = json.loads((run.explanation / "translations.json").read_text())
    for item in (*shown["best"], *shown["worst"]):
        assert len(item["attention"]) == len(item["tokens"])
        np.testing.assert_allclose([sum(row) for row in item["attention"]], 1, atol=0.01)
    page = run.report.read_text()
    for text in ("Worst translations", "Metrics by length", "nearest training text", "nrefs:1"):
        assert text in page


@pytest.mark.slow
def test_predictions_are_those_of_the_evaluation(done, folder, tmp_path):
    run = RunDirectory(done.run)
    expected = pl.read_parquet(io.BytesIO(run.read_predictions("test.parquet")))
    frame = predict_table(done.run, folder / "pairs.tsv").frame
    assert frame.columns == ["row", "predicted_fr", "log_probability", "unseen"]
    assert (
        frame["predicted_fr"].gather(expected["row"]).to_list() == expected["predicted"].to_list()
    )
    texts = pl.read_csv(folder / "pairs.tsv", separator="\t")["en"]
    (tmp_path / "new.en").write_text("\n".join(texts), encoding="utf-8")
    lines = predict_file(
        open_on_cpu(done.run), tmp_path / "new.en", keep=(), read_options=["data.format=lines"]
    )
    assert lines.frame.equals(frame)
    evaluated = {result.split: result.metrics for result in evaluate_run(done.run, "test").results}
    assert evaluated["test"] == pytest.approx(done.metrics["test"], rel=1e-5)
    other = evaluate_run(done.run, data=folder / "pairs.tsv").results[0]
    assert other.rows == 80
    alone = trainer.load(done.run).predict({"en": ["two dog", "", None, "日本"]})
    assert alone.height == 4


@pytest.mark.slow
def test_plain_keras_loads_the_network(done):
    saved = keras.models.load_model(done.run / "checkpoints" / "best" / "model.keras")
    assert sorted(tensor.name for tensor in saved.inputs) == ["target_tokens", "tokens"]


@pytest.mark.slow
def test_a_resumed_run_has_the_same_bytes(done, folder):
    settings = ("fit.early_stopping.monitor=val_bleu", "evaluate.report=false", "fit.epochs=1")
    first = run_fit(folder / "config.yaml", folder / "runs", *settings)
    resumed = resume_fit(first.run, "fit.epochs=3")
    assert resumed.weights_sha256 == done.weights_sha256
    for name in ("best", "last"):
        content = [
            (run / "checkpoints" / name / "model.keras").read_bytes()
            for run in (done.run, resumed.run)
        ]
        assert content[0] == content[1]
    assert resumed.metrics == done.metrics


@pytest.mark.slow
def test_pairs_are_memorized(tmp_path):
    # Without four words, a text has no BLEU.
    path = write_pairs(tmp_path, 1, ("we have {} {} here", "nous avons {} {} ici"))
    done = run_fit(
        path,
        tmp_path / "runs",
        "data.split={test: 0, validation: 0}",
        "fit.epochs=200",
        "fit.batch_size=10",
        "model.encoder_decoder.dropout=0",
        "evaluate.report=false",
    )
    metrics = evaluate_run(done.run, data=tmp_path / "pairs.tsv").results[0].metrics
    assert metrics["bleu"] == pytest.approx(100)
    assert metrics["exact_match"] == 1


@pytest.mark.slow
def test_other_commands_refuse_a_translation(done, folder):
    predictor = trainer.load(done.run)
    with pytest.raises(RunError, match="one that translates"):
        explain(predictor, split=None, repeats=1, columns=(), shap_rows=None)
    with pytest.raises(RunError, match="one of task: translate"):
        compress_config(done.run, CompressOptions(0.5, None, None, None))
    with pytest.raises(ConfigError, match="classes or numbers"):
        audit_data(load_config(folder / "config.yaml"))


@pytest.mark.slow
def test_an_export_of_a_trained_run_agrees_with_predict(done, tmp_path):
    check = export_run(done.run, "onnx", tmp_path / "x.onnx", allow_custom=False).check
    assert check.other_labels == 0
    assert check.rows > 200


@pytest.mark.slow
def test_batches_of_tokens_train_on_all_rows(tmp_path):
    path = write_pairs(tmp_path)
    names = list(NUMBERS)
    texts = [[names[(row * k) % 10] for k in range(1 + row % 9)] for row in range(60)]
    rows = [(" ".join(text), " ".join(NUMBERS[name] for name in text)) for text in texts]
    pl.DataFrame(rows, ["en", "fr"], orient="row").write_csv(tmp_path / "pairs.tsv", separator="\t")
    settings = ("fit.batch_tokens=160", "~fit.batch_size", "evaluate.report=false", "fit.epochs=1")
    plan = make_plan(load_config(path, settings))
    assert plan.steps_per_epoch == plan.token_batches.steps == plan.total_steps
    assert len(set(plan.token_batches.lengths)) > 1
    done = run_fit(path, tmp_path / "runs", *settings)
    (epoch,) = [
        json.loads(line) for line in RunDirectory(done.run).metrics.read_text().splitlines()
    ]
    assert epoch["step"] == plan.total_steps
    frame = pl.read_parquet(io.BytesIO(RunDirectory(done.run).read_predictions("test.parquet")))
    assert frame.height == plan.dataset.rows("test")


@pytest.mark.slow
def test_runs_are_compared(done, folder, tmp_path):
    other = shutil.copytree(done.run, tmp_path / "other")
    assert run_comparison_page([done.run, other], read_now()).sections


def read_now():
    from datetime import UTC, datetime

    return datetime.now(UTC)


def test_a_check_does_not_import_tensorflow(folder):
    code = (
        "import sys; from pathlib import Path;"
        "from trainer.config.load import load_config; from trainer.workflows.plan import make_plan;"
        f"make_plan(load_config(Path({str(folder / 'config.yaml')!r})));"
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_empty_sources_have_a_place(folder, tmp_path):
    (tmp_path / "pairs.tsv").write_text("en\tfr\nbook\tlivre\nNone\taucun\ncat\tchat\n")
    shutil.copy(folder / "config.yaml", tmp_path)
    with pytest.raises(DataError, match=r"pairs.tsv:3: .*null_values"):
        make_plan(load_config(tmp_path / "config.yaml"))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["data.features={include: [fr]}", "data.target=en"], None),
        (["data.target=german"], "german"),
        (["data.tokens={tokenizer: wordpiece, min_count: 1000}"], "a feature that varies"),
    ],
)
def test_data_that_cannot_be_translated(folder, settings, text):
    config = load_config(folder / "config.yaml", settings)
    if text is None:
        assert make_plan(config).task.prediction_names == ("predicted_en",)
        return
    with pytest.raises(DataError, match=text):
        make_plan(config)


def test_one_source_column_is_needed(folder, tmp_path):
    frame = pl.read_csv(folder / "pairs.tsv", separator="\t").with_columns(note=pl.lit("x"))
    frame.write_csv(tmp_path / "pairs.tsv", separator="\t")
    shutil.copy(folder / "config.yaml", tmp_path)
    with pytest.raises(DataError, match="one feature column, the source"):
        make_plan(load_config(tmp_path / "config.yaml"))
    make_plan(load_config(tmp_path / "config.yaml", ["data.features={include: [en]}"]))
