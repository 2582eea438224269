"""Translations in ONNX Runtime are those of Keras: the graph, the export of a run, and its refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
import tensorflow as tf

from tests.export.untrained import randomize, write_run
from tests.models.test_translation import SOURCE_LENGTH, TARGET_LENGTH, VARIANTS, build
from trainer.config.translation import Decoding
from trainer.errors import RunError, UsageError
from trainer.export.formats import FORMATS
from trainer.export.keras_files import read_layers
from trainer.export.onnx_decoding import add_decoding
from trainer.export.onnx_graph import Graph
from trainer.export.onnx_translation import TranslationGraph
from trainer.export.schema import read_metadata
from trainer.export.translations import compare_texts
from trainer.models.saving import save_network
from trainer.models.translation.decoding import Decoder, decode
from trainer.prediction.predictor import open_predictor
from trainer.workflows.export import ExportResult, export_run

CASES = [("pre", 3, 0.6), ("post", 2, 2.0), ("tied", 1, 0.6), ("untied", 5, 0.0)]
CONFIG: dict[str, Any] = {
    "name": "pairs",
    "data": {
        "source": "pairs.csv", "target": "fr", "task": "translate", "shared_vocabulary": True,
        "tokens": {"length": 16, "max_tokens": 300},
    },
    "model": {"encoder_decoder": {"layers": 1, "heads": 2, "width": 16, "feed_forward": 16}},
    "evaluate": {"decoding": {"beam": 2}},
}  # fmt: skip


def write_pairs_run(folder: Path, *overrides: str) -> Path:
    """Write a run that translates, with random weights."""
    rows = [
        (f"the {size} {thing} number {number}", f"{chose} {taille} numéro {number}")
        for size, taille in (("small", "petit"), ("large", "grand"), ("très odd", "bizarre"))
        for thing, chose in (("cat", "chat"), ("dog", "chien"), ("bird", "oiseau"))
        for number in range(12)
    ]
    pl.DataFrame(rows, ["en", "fr"], orient="row").write_csv(folder / "pairs.csv")
    return write_run(folder, CONFIG, *overrides)


@pytest.mark.parametrize(
    ("variant", "beam", "power"),
    [pytest.param(*case, marks=[] if case[0] == "pre" else pytest.mark.slow) for case in CASES],
)
def test_texts_are_those_of_keras(variant: str, beam: int, power: float, tmp_path: Path) -> None:
    assert set(VARIANTS) == {case[0] for case in CASES}
    network, settings, shape, _ = build(variant)
    randomize(network, 3)
    save_network(network, tmp_path / "model.keras")
    rng = np.random.default_rng(5)
    tokens = rng.integers(3, 11, (40, SOURCE_LENGTH)).astype(np.int64)
    for row in range(1, 40):
        tokens[row, rng.integers(1, SOURCE_LENGTH) :] = shape.source_pad
    decoding = Decoding(beam=beam, length_penalty=power)
    ids, logs = decode(Decoder(network, settings, shape), decoding, tf.constant(tokens, tf.int32))
    graph = Graph([])
    graph.input("tokens", "int64", [SOURCE_LENGTH])
    layers = read_layers(tmp_path / "model.keras")
    texts = add_decoding(TranslationGraph(graph, layers, settings, shape), decoding, "tokens")
    graph.output(texts.ids, "ids", "int64", [TARGET_LENGTH], "")
    graph.output(texts.log_probability, "logs", "float32", [], "")
    content = graph.model("test", "", "0", {}).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    # A part of the rows has shorter sources, whose padding is cut off.
    for rows in (slice(0, 40), slice(7, 8), slice(20, 23)):
        found = session.run(None, {"tokens": tokens[rows]})
        np.testing.assert_array_equal(found[0], ids.numpy()[rows])
        np.testing.assert_allclose(found[1], logs.numpy()[rows], atol=1e-4)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    run = write_pairs_run(tmp_path_factory.mktemp("pairs"))
    return export_run(run, "onnx", None, allow_custom=False)


@pytest.mark.slow
def test_an_export_agrees_with_predict_and_has_its_tokenizers(exported: ExportResult) -> None:
    assert exported.check.other_labels == 0
    assert exported.check.difference < 1e-5
    assert exported.check.column == "log_probability"
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    schema = read_metadata({item.key: item.value for item in model.metadata_props})
    assert schema.columns == ("predicted_fr", "log_probability", "unseen")
    assert [field.kind for field in schema.inputs] == ["tokens"]
    assert [output.role for output in schema.outputs] == ["text", "log_probability", "unseen"]
    assert len(schema.inputs[0].fitted["pieces"]["definition"]["model"]["vocab"]) > 20


@pytest.mark.slow
def test_code_in_the_card_translates_without_trainer_and_tensorflow(exported: ExportResult) -> None:
    texts = ["the small cat number 3", "the large", "", "x" * 400, "très odd 日本 <unk> [SEP]"]
    card = exported.card.read_text(encoding="utf-8")
    code = [line[4:] for line in card.splitlines() if line.startswith("    ") or not line]
    script = "\n".join(
        [
            *code[: code.index("print(translate(['a text']))")],
            "import sys",
            "assert not {'tensorflow', 'trainer', 'polars'} & set(sys.modules)",
            f"print(json.dumps(translate({texts!r})))",
        ]
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=exported.path.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    predictor = open_predictor(exported.run, device="cpu", allow_custom=False)
    expected = predictor.predict({"en": texts})["predicted_fr"].to_list()
    assert json.loads(done.stdout) == expected
    assert "tokenizer.json" in card


@pytest.mark.slow
def test_other_formats_name_onnx(exported: ExportResult) -> None:
    for name in FORMATS:
        if name != "onnx":
            with pytest.raises(UsageError, match="export it with --to onnx"):
                export_run(exported.run, name, None, allow_custom=False)


@pytest.mark.slow
def test_other_texts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_pairs_run(tmp_path, "evaluate.decoding=1")
    monkeypatch.setattr(TranslationGraph, "log_probabilities", lambda self, logits: logits)
    with pytest.raises(RunError, match="the translations of trainer predict"):
        export_run(run, "onnx", None, allow_custom=False)
    assert not list((run / "export").rglob("*.onnx"))


def test_differences_of_equal_texts_are_relative() -> None:
    expected = pl.DataFrame({"text": ["a", "b", "c"], "log": [-100.0, -0.5, -3.0]})
    found = pl.DataFrame({"text": ["a", "b", "d"], "log": [-100.1, -0.502, -9.0]})
    difference, column, others = compare_texts(expected, found)
    assert (column, others) == ("log", 1)
    assert difference == pytest.approx(0.002)
