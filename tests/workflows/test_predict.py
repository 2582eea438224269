"""Predictions are the outputs of the model, row by row, in the order of the input."""

import sys
from datetime import time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.marks import slow_except
from tests.workflows.conftest import predict_table, run_fit, write_table
from trainer.data import compression, csv_records, streams
from trainer.engine import selection
from trainer.errors import DataError
from trainer.inputs import keras_inputs
from trainer.prediction.files import predict_file
from trainer.prediction.predictor import open_predictor
from trainer.prediction.trained_runs import load_network, open_trained


def test_predictions_are_the_outputs_of_the_model(encoded):
    table = encoded.run.parents[2] / "small.csv"
    frame = predict_table(encoded.run, table).frame
    opened = open_trained(encoded.run)
    inputs = opened.preprocessing.transform(pl.read_csv(table, infer_schema=False)).inputs
    expected = load_network(opened, allow_custom=False)(keras_inputs(inputs)).numpy()[:, 0]
    assert frame.columns == ["row", "label", "probability_no", "probability_yes", "unseen"]
    np.testing.assert_allclose(frame["probability_yes"], expected, rtol=1e-5)
    np.testing.assert_allclose(frame["probability_no"] + frame["probability_yes"], 1, rtol=1e-6)
    assert frame["label"].to_list() == ["yes" if p >= 0.5 else "no" for p in expected]
    assert frame["row"].to_list() == list(range(120))
    assert not frame["unseen"].any()


def test_predictions_do_not_depend_on_the_other_rows(finished, tmp_path):
    table = finished.run.parents[2] / "small.csv"
    whole = predict_table(finished.run, table).frame
    rows = [7, 3, 100, 3]
    pl.read_csv(table, infer_schema=False)[rows].write_csv(tmp_path / "some.csv")
    part = predict_table(finished.run, tmp_path / "some.csv").frame
    np.testing.assert_allclose(part["probability_yes"], whole["probability_yes"][rows], rtol=1e-6)


def test_columns_are_kept_and_unseen_values_flagged(finished, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("note,color,size,id\na,red,1,x\nb,violet,1,y\nc,,,z\n", encoding="utf-8")
    predicted = predict_table(finished.run, new, "note", "id")
    assert predicted.frame["note"].to_list() == ["a", "b", "c"]
    assert predicted.frame["id"].to_list() == ["x", "y", "z"]
    assert predicted.frame["unseen"].to_list() == [False, True, False]
    assert any("color" in warning for warning in predicted.warnings)
    assert np.isfinite(predicted.frame["probability_yes"].to_numpy()).all()


def test_all_columns_can_be_kept(finished, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("color,size,label,row\nred,1,yes,5\n", encoding="utf-8")
    frame = predict_table(finished.run, new, "*").frame
    assert frame.columns[:5] == ["row", "color", "size", "label_of_input", "row_of_input"]
    assert (frame["row"][0], frame["row_of_input"][0]) == (0, "5")


def test_kept_columns_get_unique_names(finished, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("color,size,row,row_of_input\nred,1,5,6\n", encoding="utf-8")
    frame = predict_table(finished.run, new, "*").frame
    kept = [column for column in frame.columns if column.startswith("row")]
    assert kept[0] == "row"
    assert sorted(map(str, frame.select(kept).row(0))) == ["0", "5", "6"]
    once = predict_table(finished.run, new, "size", "size").frame
    assert once.columns == ["row", "size", "label", "probability_no", "probability_yes", "unseen"]


def test_missing_column_is_named(finished, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("color,size\nred,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="did you mean 'size'"):
        predict_table(finished.run, new, "sise")
    new.write_text("colour,size\nred,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="color"):
        predict_table(finished.run, new)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_both_output_formats_have_the_same_content(finished, tmp_path, name):
    table = finished.run.parents[2] / "small.csv"
    frame = predict_table(finished.run, table).frame
    assert predict_table(finished.run, table).write(tmp_path / name) == (120, frame.columns)
    read = pl.read_csv if name.endswith("csv") else pl.read_parquet
    back = read(tmp_path / name)
    assert back.columns == frame.columns
    np.testing.assert_allclose(back["probability_yes"], frame["probability_yes"], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "out"),
    slow_except([("parquet", "out.csv")], [("csv", "out.parquet"), ("parquet", "out.csv")]),
)
def test_table_larger_than_memory_has_the_same_predictions(
    finished, tmp_path, monkeypatch, kind, out
):
    write_table(tmp_path / "new.csv", rows=10_000, seed=5)
    table = pl.read_csv(tmp_path / "new.csv", infer_schema=False)
    unseen = pl.when(pl.int_range(10_000) % 3000 == 2500).then(pl.lit("violet"))
    table = table.with_columns(unseen.otherwise("color").alias("color"))
    new = tmp_path / f"new.{kind}"
    table.write_csv(new) if kind == "csv" else table.write_parquet(new)
    in_memory = predict_table(finished.run, new, "*")
    whole = in_memory.frame
    predict_table(finished.run, new, "*").write(tmp_path / f"whole-{out}")
    monkeypatch.setattr(selection, "available_memory", lambda: 10_000)
    # A multiple of the batch size of predictions.
    monkeypatch.setattr(streams, "BATCH_ROWS", 4096)
    monkeypatch.setattr(csv_records, "_BLOCK", 1 << 14)
    monkeypatch.setattr(csv_records, "_CHUNK", 1 << 13)
    monkeypatch.setattr(compression, "CHUNK_BYTES", 1 << 13)
    streamed = predict_table(finished.run, new, "*")
    assert [part.height for part in streamed.parts] == [4096, 4096, 1808]
    assert streamed.warnings == in_memory.warnings
    assert "3 rows have" in in_memory.warnings[0]
    assert predict_table(finished.run, new, "*").frame.equals(whole)
    assert predict_table(finished.run, new, "*").write(tmp_path / out) == (10_000, whole.columns)
    if out == "out.csv":
        assert (tmp_path / out).read_bytes() == (tmp_path / f"whole-{out}").read_bytes()
    else:
        assert pl.read_parquet(tmp_path / out).equals(whole)


def test_durations_and_times_are_kept_unchanged(finished, tmp_path):
    pl.DataFrame(
        {
            "size": [1.0, 2.0],
            "color": ["red", "blue"],
            "span": [timedelta(minutes=90, microseconds=1), None],
            "clock": [time(18, 30), time(0, 0, 1)],
        }
    ).write_parquet(tmp_path / "new.parquet")
    predicted = predict_table(finished.run, tmp_path / "new.parquet", "span", "clock")
    predicted.write(tmp_path / "out.parquet")
    back = pl.read_parquet(tmp_path / "out.parquet")
    assert back["span"].to_list() == [timedelta(minutes=90, microseconds=1), None]
    assert back["clock"].to_list() == [time(18, 30), time(0, 0, 1)]
    predict_table(finished.run, tmp_path / "new.parquet", "span", "clock").write(
        tmp_path / "out.csv"
    )
    cells = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert [row[1:3] for row in cells] == [
        ["span", "clock"],
        ["PT1H30M0.000001S", "18:30:00.000000000"],
        ["", "00:00:01.000000000"],
    ]


def test_regression_predictions_have_the_unit_of_the_target(small, tmp_path):
    table = pl.read_csv(tmp_path / "small.csv", infer_schema=False)
    table = table.with_columns(price=1000 + 10 * pl.col("size").cast(pl.Float64))
    table.write_csv(tmp_path / "small.csv")
    done = run_fit(
        small, tmp_path / "runs", "data.target=price", "fit.epochs=60", "model.layers=[]",
        "optimizer.learning_rate=0.05",
    )  # fmt: skip
    frame = predict_table(done.run, tmp_path / "small.csv").frame
    error = frame["predicted_price"].to_numpy() - table["price"].to_numpy()
    assert np.abs(error).mean() < 2
    splits = pl.read_parquet(done.run / "splits.parquet")["split"]
    in_test = (splits == "test").to_numpy()
    assert np.sqrt((error[in_test] ** 2).mean()) == pytest.approx(
        done.metrics["test"]["rmse"], rel=1e-4
    )


@pytest.mark.slow
def test_multiclass_and_multilabel_columns(small, tmp_path):
    multiclass = run_fit(small, tmp_path / "runs", "data.target=color", "fit.epochs=1")
    frame = predict_table(multiclass.run, tmp_path / "small.csv").frame
    assert frame.columns == [
        "row", "label", "probability_blue", "probability_green", "probability_red", "unseen",
    ]  # fmt: skip
    p = frame.select(pl.col("^probability_.*$")).to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    labels = np.array(["blue", "green", "red"])[p.argmax(axis=1)]
    assert frame["label"].to_list() == labels.tolist()

    table = pl.read_csv(tmp_path / "small.csv", infer_schema=False)
    table = table.with_columns(member=pl.Series(["yes", "no"] * 60))
    table.write_csv(tmp_path / "small.csv")
    multilabel = run_fit(small, tmp_path / "runs", "data.target=[label, member]", "fit.epochs=1")
    frame = predict_table(multilabel.run, tmp_path / "small.csv").frame
    assert frame.columns == [
        "row", "label_label", "probability_label", "label_member", "probability_member", "unseen",
    ]  # fmt: skip


@pytest.mark.slow
def test_custom_layer_is_found_from_any_working_directory(tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    write_table(project / "small.csv")
    (project / "custom_scale.py").write_text(
        "import keras\n\ndef make():\n    return keras.layers.Rescaling(2.0)\n", encoding="utf-8"
    )
    (project / "config.yaml").write_text(
        "data: {source: small.csv, target: label, features: {exclude: [id]}}\n"
        "model: {layers: [{custom: 'custom_scale:make'}]}\nfit: {epochs: 1}\n"
        "evaluate: {report: false}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    first = run_fit(Path("project/config.yaml"), tmp_path / "runs", allow_custom=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    del sys.modules["custom_scale"]  # as in a new process
    table = project / "small.csv"
    predicted = predict_file(
        open_predictor(first.run, device="cpu", allow_custom=True), table, keep=()
    )
    assert predicted.frame.height == 120
    del sys.modules["custom_scale"]
    again = run_fit(first.run / "config.yaml", tmp_path / "runs", allow_custom=True)
    assert again.weights_sha256 == first.weights_sha256
