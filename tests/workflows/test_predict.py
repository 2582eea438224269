"""Predictions are the model's own output, row by row, in the input's order."""

import sys
from datetime import time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.workflows.conftest import run_fit, write_table
from trainer.data import compression, csv_records, streams
from trainer.errors import DataError
from trainer.workflows import engines
from trainer.workflows.predict import predict
from trainer.workflows.trained_runs import load_network, open_trained


def ask(run, table, *keep):
    return predict(run, table, keep=keep, device="cpu", allow_custom=False)


def test_predictions_are_the_models_own_output(finished):
    table = finished.run.parents[2] / "small.csv"
    frame = ask(finished.run, table).frame
    opened = open_trained(finished.run)
    x = opened.preprocessing.transform(pl.read_csv(table, infer_schema=False)).x
    expected = load_network(opened, allow_custom=False)(x).numpy()[:, 0]
    assert frame.columns == ["row", "label", "probability_no", "probability_yes", "unseen"]
    np.testing.assert_allclose(frame["probability_yes"], expected, rtol=1e-5)
    np.testing.assert_allclose(frame["probability_no"] + frame["probability_yes"], 1, rtol=1e-6)
    assert frame["label"].to_list() == ["yes" if p >= 0.5 else "no" for p in expected]
    assert frame["row"].to_list() == list(range(120))
    assert not frame["unseen"].any()


def test_rows_do_not_depend_on_their_company(finished, tmp_path):
    table = finished.run.parents[2] / "small.csv"
    whole = ask(finished.run, table).frame
    rows = [7, 3, 100, 3]
    pl.read_csv(table, infer_schema=False)[rows].write_csv(tmp_path / "some.csv")
    part = ask(finished.run, tmp_path / "some.csv").frame
    np.testing.assert_allclose(part["probability_yes"], whole["probability_yes"][rows], rtol=1e-6)


def test_columns_are_passed_through_and_unseen_values_flagged(finished, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("note,colour,size,id\na,red,1,x\nb,violet,1,y\nc,,,z\n", encoding="utf-8")
    predicted = ask(finished.run, new, "note", "id")
    assert predicted.frame["note"].to_list() == ["a", "b", "c"]
    assert predicted.frame["id"].to_list() == ["x", "y", "z"]
    assert predicted.frame["unseen"].to_list() == [False, True, False]
    assert any("colour" in warning for warning in predicted.warnings)
    assert np.isfinite(predicted.frame["probability_yes"].to_numpy()).all()


def test_all_columns_can_be_kept(finished, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("colour,size,label,row\nred,1,yes,5\n", encoding="utf-8")
    frame = ask(finished.run, new, "*").frame
    assert frame.columns[:5] == ["row", "colour", "size", "label_of_input", "row_of_input"]
    assert (frame["row"][0], frame["row_of_input"][0]) == (0, "5")


def test_no_kept_column_takes_the_place_of_another(finished, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("colour,size,row,row_of_input\nred,1,5,6\n", encoding="utf-8")
    frame = ask(finished.run, new, "*").frame
    kept = [column for column in frame.columns if column.startswith("row")]
    assert kept[0] == "row"
    assert sorted(map(str, frame.select(kept).row(0))) == ["0", "5", "6"]
    once = ask(finished.run, new, "size", "size").frame
    assert once.columns == ["row", "size", "label", "probability_no", "probability_yes", "unseen"]


def test_a_column_that_is_not_there_is_named(finished, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("colour,size\nred,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="did you mean 'size'"):
        ask(finished.run, new, "sise")
    new.write_text("color,size\nred,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="colour"):
        ask(finished.run, new)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_both_formats_hold_the_same(finished, tmp_path, name):
    table = finished.run.parents[2] / "small.csv"
    frame = ask(finished.run, table).frame
    assert ask(finished.run, table).write(tmp_path / name) == (120, frame.columns)
    read = pl.read_csv if name.endswith("csv") else pl.read_parquet
    back = read(tmp_path / name)
    assert back.columns == frame.columns
    np.testing.assert_allclose(back["probability_yes"], frame["probability_yes"], rtol=1e-6)


@pytest.fixture
def streamed(monkeypatch):
    """Makes every table larger than memory, and the parts small."""

    def begin():
        monkeypatch.setattr(engines, "available_memory", lambda: 10_000)
        # A whole number of the batches that rows are predicted in.
        monkeypatch.setattr(streams, "BATCH_ROWS", 4096)
        monkeypatch.setattr(csv_records, "_BLOCK", 1 << 14)
        monkeypatch.setattr(csv_records, "_CHUNK", 1 << 13)
        monkeypatch.setattr(compression, "CHUNK_BYTES", 1 << 13)

    return begin


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("out", ["out.csv", "out.parquet"])
def test_a_table_larger_than_memory_has_the_same_answers(finished, streamed, tmp_path, kind, out):
    write_table(tmp_path / "new.csv", rows=10_000, seed=5)
    table = pl.read_csv(tmp_path / "new.csv", infer_schema=False)
    odd = pl.when(pl.int_range(10_000) % 3000 == 2500).then(pl.lit("violet"))
    table = table.with_columns(odd.otherwise("colour").alias("colour"))
    new = tmp_path / f"new.{kind}"
    table.write_csv(new) if kind == "csv" else table.write_parquet(new)
    once = ask(finished.run, new, "*")
    whole = once.frame
    ask(finished.run, new, "*").write(tmp_path / f"whole-{out}")
    streamed()
    parts = ask(finished.run, new, "*")
    assert [part.height for part in parts.parts] == [4096, 4096, 1808]
    assert parts.warnings == once.warnings
    assert "3 rows have" in once.warnings[0]
    assert ask(finished.run, new, "*").frame.equals(whole)
    assert ask(finished.run, new, "*").write(tmp_path / out) == (10_000, whole.columns)
    if out == "out.csv":
        assert (tmp_path / out).read_bytes() == (tmp_path / f"whole-{out}").read_bytes()
    else:
        assert pl.read_parquet(tmp_path / out).equals(whole)


def test_spans_of_time_are_passed_through_as_they_are(finished, tmp_path):
    pl.DataFrame(
        {
            "size": [1.0, 2.0],
            "colour": ["red", "blue"],
            "span": [timedelta(minutes=90, microseconds=1), None],
            "clock": [time(18, 30), time(0, 0, 1)],
        }
    ).write_parquet(tmp_path / "new.parquet")
    predicted = ask(finished.run, tmp_path / "new.parquet", "span", "clock")
    predicted.write(tmp_path / "out.parquet")
    back = pl.read_parquet(tmp_path / "out.parquet")
    assert back["span"].to_list() == [timedelta(minutes=90, microseconds=1), None]
    assert back["clock"].to_list() == [time(18, 30), time(0, 0, 1)]
    ask(finished.run, tmp_path / "new.parquet", "span", "clock").write(tmp_path / "out.csv")
    cells = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert [row[1:3] for row in cells] == [
        ["span", "clock"],
        ["PT1H30M0.000001S", "18:30:00.000000000"],
        ["", "00:00:01.000000000"],
    ]


def test_numbers_are_in_the_targets_unit(small, tmp_path):
    write_table(tmp_path / "small.csv")
    table = pl.read_csv(tmp_path / "small.csv", infer_schema=False)
    table = table.with_columns(price=1000 + 10 * pl.col("size").cast(pl.Float64))
    table.write_csv(tmp_path / "small.csv")
    done = run_fit(
        small, tmp_path / "runs", "data.target=price", "fit.epochs=60", "model.layers=[]",
        "optimizer.learning_rate=0.05",
    )  # fmt: skip
    frame = ask(done.run, tmp_path / "small.csv").frame
    error = frame["predicted_price"].to_numpy() - table["price"].to_numpy()
    assert np.abs(error).mean() < 2
    splits = pl.read_parquet(done.run / "splits.parquet")["split"]
    in_test = (splits == "test").to_numpy()
    assert np.sqrt((error[in_test] ** 2).mean()) == pytest.approx(
        done.metrics["test"]["rmse"], rel=1e-4
    )


def test_several_classes_and_columns(small, tmp_path):
    colours = run_fit(small, tmp_path / "runs", "data.target=colour", "fit.epochs=1")
    frame = ask(colours.run, tmp_path / "small.csv").frame
    assert frame.columns == [
        "row", "label", "probability_blue", "probability_green", "probability_red", "unseen",
    ]  # fmt: skip
    shares = frame.select(pl.col("^probability_.*$")).to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    names = np.array(["blue", "green", "red"])[shares.argmax(axis=1)]
    assert frame["label"].to_list() == names.tolist()

    table = pl.read_csv(tmp_path / "small.csv", infer_schema=False)
    table = table.with_columns(member=pl.Series(["yes", "no"] * 60))
    table.write_csv(tmp_path / "small.csv")
    several = run_fit(small, tmp_path / "runs", "data.target=[label, member]", "fit.epochs=1")
    frame = ask(several.run, tmp_path / "small.csv").frame
    assert frame.columns == [
        "row", "label_label", "probability_label", "label_member", "probability_member", "unseen",
    ]  # fmt: skip


def test_a_layer_of_ones_own_is_found_from_everywhere(tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    write_table(own / "small.csv")
    (own / "own_twice.py").write_text(
        "import keras\n\ndef make():\n    return keras.layers.Rescaling(2.0)\n", encoding="utf-8"
    )
    (own / "config.yaml").write_text(
        "data: {source: small.csv, target: label, features: {exclude: [id]}}\n"
        "model: {layers: [{custom: 'own_twice:make'}]}\nfit: {epochs: 1}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    first = run_fit(Path("own/config.yaml"), tmp_path / "runs", allow_custom=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    table = own / "small.csv"
    del sys.modules["own_twice"]  # as in a new process
    asked = predict(first.run, table, keep=(), device="cpu", allow_custom=True)
    assert asked.frame.height == 120
    del sys.modules["own_twice"]
    again = run_fit(first.run / "config.yaml", tmp_path / "runs", allow_custom=True)
    assert again.weights_sha256 == first.weights_sha256
