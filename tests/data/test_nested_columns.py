from __future__ import annotations

import io
import json
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from tests.data.streamed import prepare_streaming
from trainer.audit.loading import read_audited_table
from trainer.data.new_data import prediction_batches
from trainer.data.prepare import prepare
from trainer.data.table_writer import csv_bytes
from trainer.errors import DataError

ROWS = 40
EXCLUDED = ["list", "object", "bytes", "money", "array", "null", "deep"]


def odd_frame(sign: str = "a") -> pl.DataFrame:
    """Columns of every unsupported type, and two supported ones."""
    numbers = range(ROWS)
    return pl.DataFrame(
        {
            "x": [at / 7 for at in numbers],
            "list": [[sign] * (at % 3) for at in numbers],
            "object": [{sign: at, "t": {"u": [at]}} for at in numbers],
            "bytes": [bytes([at]) for at in numbers],
            "money": [Decimal(at) for at in numbers],
            "array": pl.Series(np.zeros((ROWS, 2, 2))),
            "null": pl.Series([None] * ROWS, dtype=pl.Null),
            "deep": [[[sign], []] for _ in numbers],
            "y": ["yes" if at % 2 else "no" for at in numbers],
        }
    )


def write(frame: pl.DataFrame, path) -> str:
    match path.suffix:
        case ".parquet":
            frame.write_parquet(path)
        case ".arrow":
            frame.write_ipc(path)
        case ".ndjson":
            rows = frame.drop("bytes", "money").to_dicts()
            text = [
                json.dumps({**row, "array": [1], "bytes": [2], "money": {}}, default=str)
                for row in rows
            ]
            path.write_text("\n".join(text))
    return str(path)


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.ndjson"])
@pytest.mark.parametrize("read", [prepare, prepare_streaming])
@pytest.mark.parametrize(
    "features", [{"exclude": EXCLUDED}, {"include": ["x"]}, {"exclude": ["[!x]*"]}]
)
def test_unused_columns_can_be_nested(tmp_path, make_config, name, read, features):
    source = write(odd_frame(), tmp_path / name)
    dataset = read(make_config(source, "y", {"features": features}))
    assert dataset.preprocessing.feature_names == ("x",)
    assert dataset.rows("train") == 24


@pytest.mark.parametrize("name", ["{}.parquet", "{}.ndjson"])
@pytest.mark.parametrize("read", [prepare, prepare_streaming])
def test_unused_nested_columns_can_differ_between_files(tmp_path, make_config, name, read):
    first, second = odd_frame(), odd_frame("b").with_columns(list=pl.lit("plain"))
    sources = [
        write(first, tmp_path / name.format("one")),
        write(second, tmp_path / name.format("two")),
    ]
    dataset = read(make_config(sources, "y", {"features": {"include": ["x"]}}))
    assert dataset.rows("train") == 48
    with pytest.raises(DataError, match="single values in 'list'"):
        read(make_config(sources, "y", {"features": {"exclude": EXCLUDED[1:]}}))


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.ndjson"])
@pytest.mark.parametrize("read", [prepare, prepare_streaming])
def test_nested_feature_raises_and_the_fix_works(tmp_path, make_config, name, read):
    source = write(
        odd_frame().select("x", "object", "bytes", "money", "array", "null", "y"), tmp_path / name
    )
    with pytest.raises(DataError) as caught:
        read(make_config(source, "y", {"features": {"exclude": ["bytes", "array", "money"]}}))
    (problem,) = caught.value.problems
    assert problem.where == source + (":1" if name.endswith("ndjson") else "")
    assert problem.fix.startswith("set data.features.exclude: [object]")
    exclude = ["bytes", "array", "money", "object"]
    assert read(make_config(source, "y", {"features": {"exclude": exclude}})).rows("train")


@pytest.mark.parametrize("key", ["target", "weight", "split"])
@pytest.mark.parametrize("name", ["x.parquet", "x.ndjson"])
@pytest.mark.parametrize("read", [prepare, prepare_streaming])
def test_nested_target_or_weight_raises(tmp_path, make_config, name, read, key):
    source = write(odd_frame(), tmp_path / name)
    data = {"features": {"include": ["x"]}}
    target = "object" if key == "target" else "y"
    if key == "weight":
        data["weight"] = "object"
    if key == "split":
        data["split"] = {"by": "group", "column": "object"}
    # A list can contain the labels of a multilabel target; an object cannot.
    with pytest.raises(DataError, match=r"(single values|lists of labels).* 'object'"):
        read(make_config(source, target, data))


def test_nested_columns_are_passed_through(tmp_path, make_config):
    source = write(odd_frame(), tmp_path / "x.ndjson")
    config = make_config(source, "y", {"features": {"include": ["x"]}})
    encoder = prepare(config).preprocessing
    for streamed in (False, True):
        (part,) = prediction_batches(config.data, encoder, ["object", "y"], streamed=streamed)
        assert json.loads(part.kept["object"][3]) == {"a": 3, "t": {"u": [3]}}


def test_nested_columns_are_written_as_json():
    written = csv_bytes(odd_frame(), header=True)
    row = pl.read_csv(io.BytesIO(written)).row(2, named=True)
    assert json.loads(row["list"]) == ["a", "a"]
    assert json.loads(row["object"]) == {"a": 2, "t": {"u": [2]}}
    assert json.loads(row["array"]) == [[0, 0], [0, 0]]
    assert json.loads(row["deep"]) == [["a"], []]
    assert json.loads(row["bytes"]) == "02"


@pytest.mark.parametrize("name", ["x.parquet", "x.ndjson"])
def test_rows_with_nested_columns_are_split_by_hash_and_audited(tmp_path, make_config, name):
    source = write(odd_frame(), tmp_path / name)
    config = make_config(source, "y", {"features": {"include": ["x"]}, "split": {"by": "hash"}})
    assert prepare(config).rows("train")
    _, audited = read_audited_table(config)
    assert audited.features == ("x",)


@pytest.mark.parametrize("streamed", [False, True])
def test_nested_features_in_new_data_raise(tmp_path, make_config, streamed):
    config = make_config(
        write(odd_frame(), tmp_path / "x.parquet"), "y", {"features": {"include": ["x"]}}
    )
    encoder = prepare(config).preprocessing
    second = odd_frame().with_columns(x=pl.col("list"))
    data = make_config(write(second, tmp_path / "y.ndjson"), "y").data
    with pytest.raises(DataError, match=r"single values in 'x'.*as in training"):
        list(prediction_batches(data, encoder, [], streamed=streamed))
