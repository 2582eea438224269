"""Texts, tokens and images as inputs of an export, single and in ensembles of folds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest

import trainer
from tests.data.images import make_images
from tests.export.agreement import assert_onnx_agrees
from tests.export.untrained import write_run, write_table
from tests.models.pretrained.encoder_folders import write_encoder
from trainer.config.pseudonyms import KEY_VARIABLE
from trainer.errors import DataError
from trainer.export.bundle import load_bundle
from trainer.export.onnx_export import OnnxFormat
from trainer.export.rows import RowEncoder
from trainer.export.schema import Schema

FOLDS = (["data.split.fold=1/2"], ["data.split.fold=2/2"])


def write_texts(folder: Path) -> None:
    generator = random.Random(0)
    words = ["great", "book", "was", "very", "dull", "story", "cover", "ünder"]
    table: dict[str, list[Any]] = {"review": [], "title": [], "number": [], "label": []}
    for row in range(80):
        table["review"].append(" ".join(generator.choices(words, k=6)) if row % 9 else None)
        table["title"].append(" ".join(generator.choices(words, k=2)))
        table["number"].append(row % 7)
        table["label"].append("ny"[row % 2])
    write_table(folder / "t.csv", table)


def config(**columns: Any) -> dict[str, Any]:
    return {
        "data": {
            "source": "t.csv", "target": "label", "text": {"dimension": 3},
            "tokens": {"length": 5, "dimension": 4}, "columns": columns,
        },
        "model": {"layers": [{"dense": 3}]},
    }  # fmt: skip


ROWS = pl.DataFrame(
    {
        "review": ["a great, dull BOOK", None, "qqq zzz", "ünder cover story " * 9, ""],
        "title": ["very", "xyz", None, "book book", "12"],
        "number": ["1", None, "x", "3", "inf"],
    }
)


@pytest.mark.parametrize("folds", [(), pytest.param(FOLDS, marks=pytest.mark.slow)])
def test_texts(folds: Any, tmp_path: Path) -> None:
    write_texts(tmp_path)
    columns = config(review={"kind": "text"}, title={"kind": "text", "analyzer": "characters"})
    run = write_run(tmp_path, columns, members=folds)
    assert_onnx_agrees(run, ROWS, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("folds", [(), FOLDS])
@pytest.mark.parametrize(
    "layers",
    [
        [{"gru": {"units": 3, "bidirectional": True}}],
        [{"transformer": {"heads": 2, "positions": True}}, "global_average_pool"],
        [{"transformer": {"heads": 1, "units": 3}}, "global_max_pool"],
        [{"conv1d": 3}, {"lstm": 3}],
    ],
)
def test_tokens(folds: Any, layers: list[Any], tmp_path: Path) -> None:
    write_texts(tmp_path)
    settings = config(review={"kind": "tokens"}, title={"kind": "categorical"})
    settings["model"]["layers"] = layers
    run = write_run(tmp_path, settings, members=folds)
    assert_onnx_agrees(run, ROWS, tmp_path)


@pytest.mark.parametrize("folds", [(), pytest.param(FOLDS, marks=pytest.mark.slow)])
def test_tokens_that_are_parts_of_words(folds: Any, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    write_texts(tmp_path)
    settings = config(review={"kind": "tokens"}, title={"kind": "categorical"})
    settings["data"]["tokens"] |= {"tokenizer": "wordpiece", "max_tokens": 40}
    settings["model"]["layers"] = ["global_average_pool"]
    run = write_run(tmp_path, settings, members=folds)
    assert_onnx_agrees(run, ROWS, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["average", "cls"])
def test_pretrained_encoders(pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tokenizers")
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path)
    write_encoder(tmp_path / "bert")
    settings = config(review={"kind": "tokens"}, title={"kind": "categorical"})
    settings["data"]["tokens"] = {"length": 12}
    settings["model"]["pretrained"] = {"file": "bert", "pool": pool}
    run = write_run(tmp_path, settings)
    rows = ROWS.with_columns(review=pl.Series(["great the book", "dull", None, "", "was"]))
    assert_onnx_agrees(run, rows, tmp_path)


def test_pseudonyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "ab" * 32)
    write_texts(tmp_path)
    settings = config(title={"kind": "categorical"})
    settings["data"] |= {"pseudonymize": ["title"], "features": {"include": ["title", "number"]}}
    run = write_run(tmp_path, settings)
    assert_onnx_agrees(
        run, pl.concat([ROWS, ROWS.with_columns(title=pl.lit("very book"))]), tmp_path
    )
    export, bundle = OnnxFormat(), load_bundle(run)
    schema = export.schema(bundle)
    assert "book" not in schema.to_json() + str((tmp_path / "model.onnx").read_bytes())
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(DataError, match="a key, in"):
        RowEncoder(schema)
    monkeypatch.setenv(KEY_VARIABLE, "cd" * 32)
    with pytest.raises(DataError, match=rf"another key.*set {KEY_VARIABLE} to the key of the run"):
        RowEncoder(Schema.from_json(schema.to_json()))


def test_images_of_pixels(tmp_path: Path) -> None:
    make_images(tmp_path / "photos")
    settings = {
        "data": {"source": "photos", "image": {"size": 8, "scale": {"mean": [0.4], "std": [0.2]}}},
        "model": {"layers": [{"conv2d": 3}, {"max_pool2d": 2}, "flatten"]},
    }
    run = write_run(tmp_path, settings)
    export, bundle = OnnxFormat(), load_bundle(run)
    schema = export.schema(bundle)
    export.write(bundle, schema, tmp_path / "model.onnx")
    (image,) = schema.inputs
    assert (image.kind, image.dtype, image.shape) == ("image", "uint8", (8, 8, 3))
    paths = sorted((tmp_path / "photos").rglob("*.*"))
    rows = pl.DataFrame({image.column: [str(path) for path in paths]})
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    found = session.run(["probabilities"], export.encode(bundle, schema, rows, {}))[0]
    expected = trainer.load(run, device="cpu").predict(rows)
    np.testing.assert_allclose(found[:, 1], expected["probability_dog"].to_numpy(), atol=1e-5)


def test_columns_with_the_names_of_outputs(tmp_path: Path) -> None:
    names = ["label", "unseen", "probabilities", "/Concat_3", 'ein "Wort", ü']
    rng = np.random.default_rng(0)
    table = {name: rng.normal(size=60).round(3) for name in names[:4]}
    words = pl.Series(rng.integers(0, 3, 60)).cast(pl.String).replace(["0", "1"], ["a,b", "🙂\n"])
    frame = pl.DataFrame({**table, names[4]: words, "target": ["x", "y", "z"] * 20})
    frame.write_csv(tmp_path / "t.csv")
    layers = {"layers": [{"dense": 3}]}
    run = write_run(tmp_path, {"data": {"source": "t.csv", "target": "target"}, "model": layers})
    assert_onnx_agrees(run, frame.drop("target"), tmp_path)
    schema = OnnxFormat().schema(load_bundle(run))
    assert [field.name for field in schema.inputs] == names
    assert [field.name for field in schema.outputs] == [
        "label_of_model", "probabilities_of_model", "unseen_of_model",
    ]  # fmt: skip
