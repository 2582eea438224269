"""New rows are encoded like training rows with the same cells, in memory and streamed."""

from datetime import time, timedelta

import numpy as np
import polars as pl
import pytest

from trainer.data import compression, csv_records, streams
from trainer.data.new_data import evaluation_dataset, prediction_batches
from trainer.data.prepare import prepare
from trainer.errors import DataError

BOTH = pytest.mark.parametrize("streamed", [False, True], ids=["in memory", "streamed"])


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Split small files into many batches and blocks."""
    monkeypatch.setattr(streams, "BATCH_ROWS", 32)
    monkeypatch.setattr(csv_records, "_BLOCK", 1 << 10)
    monkeypatch.setattr(csv_records, "_CHUNK", 1 << 9)
    monkeypatch.setattr(compression, "CHUNK_BYTES", 1 << 9)


@pytest.fixture
def prepared(mixed_frame, tmp_path, make_config):
    """A dataset, and a function that returns its `data` section for another source."""
    mixed_frame.write_csv(tmp_path / "first.csv")
    config = make_config(str(tmp_path / "first.csv"), "y", {"features": {"exclude": ["part"]}})

    def section_for(path):
        return config.data.model_copy(update={"source": str(path)})

    return prepare(config), section_for


def write(frame, path):
    if path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path, row_group_size=50)
    return path


def predict(prepared, path, *keep, streamed):
    dataset, section_for = prepared
    return list(
        prediction_batches(section_for(path), dataset.preprocessing, keep, streamed=streamed)
    )


@BOTH
@pytest.mark.parametrize("name", ["other.csv", "other.parquet"])
def test_rows_are_encoded_as_in_training(prepared, mixed_frame, tmp_path, name, streamed):
    dataset, _ = prepared
    expected = dataset.preprocessing.transform(dataset.table.frame)
    path = write(mixed_frame, tmp_path / name)
    parts = predict(prepared, path, "a", "part", streamed=streamed)
    assert [part.first for part in parts] == ([0, 32, 64, 96] if streamed else [0])
    x = np.concatenate([part.encoded.inputs["features"] for part in parts])
    np.testing.assert_allclose(x, expected.inputs["features"], rtol=1e-6)
    kept = pl.concat([part.kept for part in parts])
    assert kept.columns == ["a", "part"]
    assert kept["part"].to_list() == mixed_frame["part"].to_list()


@BOTH
def test_types_of_passed_through_columns_are_kept(prepared, mixed_frame, tmp_path, streamed):
    rows = mixed_frame.height
    spans = mixed_frame.with_columns(
        span=pl.Series([timedelta(seconds=row, microseconds=7) for row in range(rows)]),
        clock=pl.Series([time(row % 24, 30, 1) for row in range(rows)]),
    )
    path = write(spans, tmp_path / "other.parquet")
    parts = predict(prepared, path, "*", streamed=streamed)
    kept = pl.concat([part.kept for part in parts])
    assert kept.select("span", "clock").equals(spans.select("span", "clock"))
    assert kept.columns == spans.columns


@BOTH
def test_missing_columns(prepared, tmp_path, streamed):
    path = tmp_path / "other.csv"
    path.write_text("a,b,c,d,f,ee\n1,2,red,x,2024-01-01,yes\n")
    with pytest.raises(DataError, match=r"'e', as in training.*did you mean 'ee'"):
        predict(prepared, path, streamed=streamed)
    path.write_text("a,b,c,d,f,e\n1,2,red,x,2024-01-01,yes\n")
    with pytest.raises(DataError, match=r"columns to keep.*'bb'.*did you mean 'b'"):
        predict(prepared, path, "bb", streamed=streamed)
    path.write_text("a,b,c,d,f,e\n")
    with pytest.raises(DataError, match="no rows"):
        predict(prepared, path, streamed=streamed)


def evaluate(prepared, path, *, streamed):
    dataset, section_for = prepared
    return evaluation_dataset(section_for(path), dataset.preprocessing, streamed=streamed)


@BOTH
@pytest.mark.parametrize("name", ["other.csv", "other.parquet"])
def test_rows_with_a_target_are_evaluated(prepared, mixed_frame, tmp_path, name, streamed):
    with_missing = mixed_frame.with_columns(
        pl.when(pl.int_range(mixed_frame.height) % 10 != 3).then("y").alias("y")
    )
    table = evaluate(prepared, write(with_missing, tmp_path / name), streamed=streamed)
    samples = table.samples("test")
    dataset, _ = prepared
    at = np.flatnonzero(np.arange(mixed_frame.height) % 10 != 3)
    assert np.array_equal(samples.rows, at)
    expected = dataset.preprocessing.transform(dataset.table.frame, at)
    np.testing.assert_allclose(samples.inputs["features"], expected.inputs["features"], rtol=1e-6)
    assert np.array_equal(samples.y, dataset.targets(at)[0])
    assert table.dropped == {"no target": 12}


@BOTH
def test_data_that_cannot_be_evaluated(prepared, mixed_frame, tmp_path, streamed):
    path = tmp_path / "other.csv"
    write(mixed_frame.drop("y"), path)
    with pytest.raises(DataError, match="'y', as in training"):
        evaluate(prepared, path, streamed=streamed)
    write(mixed_frame.with_columns(y=pl.lit(None, dtype=pl.String)), path)
    with pytest.raises(DataError, match="rows with a target"):
        evaluate(prepared, path, streamed=streamed)
    row = pl.int_range(mixed_frame.height)
    write(mixed_frame.with_columns(y=pl.when(row == 70).then(pl.lit("odd")).otherwise("y")), path)
    with pytest.raises(DataError, match=r"other\.csv:72.*'odd' in 'y'"):
        evaluate(prepared, path, streamed=streamed)


@BOTH
def test_unseen_values_and_misspelled_columns(prepare_frame, make_config, tmp_path, streamed):
    dataset = prepare_frame({"x": range(10), "c": ["p", "q"] * 5, "y": ["a", "b"] * 5})
    path = tmp_path / "new.csv"
    prepared = dataset, lambda path: make_config(str(path), "y").data
    path.write_text("more,y,c,x\n1,b,p,3\n2,,q,4\n3,a,new,oops\n")
    samples = evaluate(prepared, path, streamed=streamed).samples("test")
    assert samples.rows.tolist() == [0, 2]
    assert samples.y[0, 0] != samples.y[1, 0]
    assert samples.unseen.tolist() == [False, True]
    assert samples.warnings == (
        "1 row has a value that is not a number (read as missing) in 'x'",
        "1 row has a value not seen in training in 'c'",
    )
    path.write_text("C,xx,y\np,1,z\n")
    with pytest.raises(DataError) as caught:
        evaluate(prepared, path, streamed=streamed)
    assert [problem.fix for problem in caught.value.problems] == [
        "did you mean 'xx'?",
        "did you mean 'C'?",
    ]


@BOTH
def test_typed_lists_are_passed_through(prepared, mixed_frame, tmp_path, streamed):
    path = tmp_path / "other.parquet"
    tags = pl.Series("tags", [["p", "q"], [], None] * mixed_frame.height)[: mixed_frame.height]
    write(mixed_frame.with_columns(tags), path)
    kept = pl.concat(part.kept for part in predict(prepared, path, "tags", streamed=streamed))
    assert kept["tags"].to_list() == tags.to_list()
