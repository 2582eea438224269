"""Streamed datasets equal those in memory."""

import datetime
import gzip

import numpy as np
import polars as pl
import pytest

from tests.data.streamed import prepare_streaming
from tests.marks import slow_except
from trainer.config.schema import Config
from trainer.data import compression, csv_records, sketches, streams
from trainer.data.prepare import prepare
from trainer.data.recorded_splits import split_frame
from trainer.errors import DataError, StorageError

ROWS = 3000


def frame(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    number = rng.normal(5, 3, rows)
    number[::97] *= 40
    whole = rng.integers(-50, 1000, rows)
    missing = rng.random(rows) < 0.1
    words = np.array(["red", "green", "blue", "a, b", "10", "9"])[rng.integers(0, 6, rows)]
    days = datetime.date(2020, 1, 1)
    return pl.DataFrame(
        {
            "number": number,
            "gappy": pl.Series(
                [
                    None if is_missing else value
                    for is_missing, value in zip(missing, number[::-1], strict=True)
                ]
            ),
            "whole": whole,
            "word": words,
            "rare": np.where(rng.random(rows) < 0.004, "odd", words),
            "answer": pl.Series(
                [
                    None if is_missing else bool(one)
                    for is_missing, one in zip(missing[::-1], whole % 3 == 0, strict=True)
                ]
            ),
            "day": pl.Series([days + datetime.timedelta(int(abs(one))) for one in whole]),
            "same": np.full(rows, 3),
            "nothing": pl.Series([None] * rows, dtype=pl.Float64),
            "weight": rng.uniform(0.5, 2, rows),
            "y": np.where(number + rng.normal(size=rows) > 5, "yes", "no"),
        }
    )


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Split small files into many batches and blocks."""
    monkeypatch.setattr(streams, "BATCH_ROWS", 512)
    monkeypatch.setattr(csv_records, "_BLOCK", 1 << 15)
    monkeypatch.setattr(csv_records, "_CHUNK", 1 << 14)
    monkeypatch.setattr(compression, "CHUNK_BYTES", 1 << 13)


def config(source, **data):
    runtime = {"engine": "streaming"}
    return Config.model_validate(
        {"seed": 3, "data": {"source": source, "target": "y"} | data, "runtime": runtime}
    )


def write(table, folder, kind, parts=1):
    size = -(-table.height // parts)
    names = []
    for part in range(parts):
        path = folder / f"part{part}.{kind}"
        piece = table.slice(part * size, size)
        match kind:
            case "parquet":
                piece.write_parquet(path, row_group_size=500)
            case "csv":
                piece.write_csv(path)
            case "csv.gz":
                path.write_bytes(gzip.compress(piece.write_csv().encode()))
            case "ndjson":
                piece.write_ndjson(path)
            case "arrow":
                piece.write_ipc(path)
        names.append(str(path))
    return names


def assert_close(actual, expected):
    """Assert equality up to the rounding of means and standard deviations."""
    if isinstance(actual, dict):
        assert actual.keys() == expected.keys()
        for key in actual:
            assert_close(actual[key], expected[key])
    elif isinstance(actual, list):
        assert len(actual) == len(expected)
        for left, right in zip(actual, expected, strict=True):
            assert_close(left, right)
    elif isinstance(actual, float):
        assert actual == pytest.approx(expected, rel=1e-12, abs=1e-12)
    else:
        assert actual == expected


def both(settings):
    resident, streamed = prepare(settings), prepare_streaming(settings)
    assert_close(streamed.preprocessing.to_json(), resident.preprocessing.to_json())
    assert np.array_equal(streamed.assignment, resident.assignment)
    assert streamed.dropped == resident.dropped
    assert streamed.warnings == resident.warnings
    assert streamed.notes == resident.notes
    assert streamed.hints == resident.hints
    assert streamed.table.files == resident.table.files
    assert split_frame(streamed).equals(split_frame(resident))
    for split in ("train", "validation", "test"):
        assert streamed.rows(split) == resident.rows(split)
        assert streamed.classes(split) == resident.classes(split)
        actual, expected = streamed.samples(split), resident.samples(split)
        assert (actual is None) == (expected is None)
        if actual is None:
            continue
        assert list(actual.inputs) == list(expected.inputs)
        for name, values in expected.inputs.items():
            assert actual.inputs[name].dtype == values.dtype
            np.testing.assert_allclose(actual.inputs[name], values, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(actual.y, expected.y, rtol=1e-6, atol=1e-6)
        assert np.array_equal(actual.rows, expected.rows)
        assert np.array_equal(actual.unseen, expected.unseen)
        assert sorted(actual.warnings) == sorted(expected.warnings)
        assert (actual.weight is None) == (expected.weight is None)
        if actual.weight is not None:
            assert np.array_equal(actual.weight, expected.weight)
    return streamed


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "ndjson", "arrow"])
def test_every_format(kind, tmp_path):
    both(config(write(frame(), tmp_path, kind, parts=3), weight="weight"))


SETTINGS = {
    "minmax": {"numeric": {"scale": "minmax", "impute": "mean", "indicator": True}},
    "robust": {"numeric": {"scale": "robust", "impute": "most_frequent"}},
    "quantile": {"numeric": {"scale": "quantile", "smooth_clip": 3.0}},
    "bins": {"numeric": {"piecewise_bins": 5, "indicator": True},
             "clean": {"outliers": {"method": "iqr", "factor": 0.5}}},
    "calendar": {"datetime": {"parts": ["weekday", "month", "hour", "day"]}},
    "day of the year": {"datetime": {"parts": ["elapsed", "yearday"]},
                        "numeric": {"piecewise_bins": 6, "indicator": True}},
    "target means": {"categorical": {"target_mean": True, "min_count": 30},
                     "datetime": {"parts": ["date", "week"]}},
    "target means of numbers": {"target": ["number", "whole"], "task": "regression",
                                "categorical": {"target_mean": True}},
    "target means of classes": {"target": "word", "categorical": {"target_mean": True},
                                "columns": {"whole": {"kind": "categorical"}}},
    "clipped": {"clean": {"outliers": {"method": "iqr", "factor": 1.5}}},
    "clipped by zscore": {"clean": {"outliers": {"method": "zscore", "factor": 2.0}}},
    "outliers dropped": {"clean": {"outliers": {"action": "drop"}}},
    "missing values dropped": {
        "numeric": {"impute": "drop"},
        "categorical": {"impute": "drop"},
        "clean": {"outliers": {"method": "iqr", "factor": 1.5}},
    },
    "rare levels": {"categorical": {"min_count": 30, "max_levels": 5, "unknown": "rare"}},
    "embeddings": {"categorical": {"encode": "embedding", "impute": "most_frequent"}},
    "by time": {"split": {"by": "time", "column": "day"}},
    "by group": {"split": {"by": "group", "column": "word"}, "features": {"exclude": ["rare"]}},
    "at random": {"split": {"by": "random", "test": 0.1, "validation": 0.0}},
    "a fold": {"split": {"fold": "2/5"}},
    "a fold of groups": {"split": {"by": "group", "column": "word", "fold": "2/3", "test": 0}},
    "a fold of values": {"split": {"by": "hash", "column": "number", "fold": "1/3", "seed": 9}},
    "a fold by time": {"split": {"by": "time", "column": "day", "fold": "2/4"}},
    "numbers": {"target": "number"},
    "several numbers": {"target": ["number", "whole"], "task": "regression"},
    "many classes": {"target": "word"},
    "explicit levels": {"columns": {"word": {
        "levels": ["red", "never seen", "green", "blue", "a, b", 10, 9], "encode": "ordinal"}}},
    "case folded": {"target": "word", "columns": {"word": {"ignore_case": True}},
                    "categorical": {"ignore_case": True, "encode": "ordinal"}},
    "explicit kinds": {
        "columns": {"whole": {"kind": "categorical", "max_levels": 20}, "word": {"encode": "ordinal"}}
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "kind"),
    slow_except(
        [
            *((settings, "parquet") for settings in list(SETTINGS)[::4]),
            *((settings, "csv") for settings in ("embeddings", "missing values dropped")),
        ],
        [(settings, kind) for settings in SETTINGS for kind in ("parquet", "csv")],
    ),
)
def test_every_setting(settings, kind, tmp_path):
    both(config(write(frame(), tmp_path, kind), **SETTINGS[settings]))


def test_column_whose_kind_changes_between_batches(tmp_path):
    table = frame().with_columns(
        late=pl.when(pl.int_range(ROWS) < 2000).then(pl.lit("1.5")).otherwise(pl.lit("many")),
        begins=pl.when(pl.int_range(ROWS) < 600).then(None).otherwise(pl.col("word")),
        dated=pl.when(pl.int_range(ROWS) < 900).then(pl.lit("2024-01-01")).otherwise(pl.lit("x")),
    )
    streamed = both(config(write(table, tmp_path, "csv")))
    kinds = {column.name: column.kind for column in streamed.preprocessing.columns}
    assert {kinds[name] for name in ("late", "begins", "dated")} == {"categorical"}


def test_named_splits(tmp_path):
    names = write(frame(), tmp_path, "csv", parts=3)
    both(config(dict(zip(("train", "validation", "test"), names, strict=True))))


def test_files_whose_types_differ(tmp_path):
    table = frame()
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    table[:1000].write_parquet(one)
    table[1000:].with_columns(pl.col("whole").cast(pl.Float64), pl.col("same").cast(pl.String))\
        .write_parquet(two)  # fmt: skip
    both(config([str(one), str(two)]))


def test_multiline_fields_and_other_encodings(tmp_path):
    table = frame(500).with_columns(word=pl.col("word") + '\n"quoted", é\n\nend')
    path = tmp_path / "wrapped.csv"
    text = table.write_csv()
    path.write_bytes(text.encode("utf-16"))
    both(config(str(path), csv={"encoding": "utf-16"}))
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    both(config(str(path)))


def spoiled(rows, column, value, table=None):
    table = frame() if table is None else table
    words = table[column].cast(pl.String).to_list()
    for row in rows:
        words[row] = value
    return table.with_columns(pl.Series(column, words))


@pytest.mark.parametrize(
    "data",
    [
        {"target": "z"},
        {"features": {"include": ["nothing"]}},
        {"columns": {"word": {"kind": "numeric"}}},
        {"columns": {"day": {"kind": "datetime", "format": "%d.%m.%Y"}, "x": {"kind": "numeric"}}},
        {"clean": {"outliers": {"columns": ["word"]}}},
        {"target": "same"},
        {"csv": {"separator": ";"}},
        {"weight": "whole"},
        {"split": {"by": "column", "column": "word"}},
    ],
    ids=str,
)
def test_error_messages_equal_for_invalid_values(data, tmp_path):
    table = spoiled(range(700, 760), "whole", "twelve")
    settings = config(write(table, tmp_path, "csv", parts=2), **data)
    with pytest.raises(DataError) as resident:
        prepare(settings)
    with pytest.raises(DataError) as streamed:
        prepare_streaming(settings)
    assert streamed.value.problems == resident.value.problems


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", ",1\n", 2500).replace(",1\n", "\n", 2499),
        lambda text: text + '"open',
        lambda text: text + "a\0b\n",
        lambda text: text.splitlines()[0],
        lambda text: "",
        lambda text: text + "inf,1,no\n-inf,2,yes\n" * 20,
    ],
    ids=["ragged", "open quote", "zero byte", "header only", "empty", "infinite"],
)
def test_error_messages_equal_for_malformed_files(change, tmp_path):
    path = tmp_path / "broken.csv"
    path.write_text(change(frame().select("number", "whole", "y").write_csv()))
    with pytest.raises(DataError) as resident:
        prepare(config(str(path)))
    with pytest.raises(DataError) as streamed:
        prepare_streaming(config(str(path)))
    assert streamed.value.problems == resident.value.problems


def test_quantiles_of_many_rows_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(sketches, "SAMPLE_ROWS", 500)
    settings = config(write(frame(), tmp_path, "parquet"), numeric={"scale": "quantile"})
    resident, streamed = prepare(settings), prepare_streaming(settings)
    for sampled, exact in zip(
        streamed.preprocessing.columns, resident.preprocessing.columns, strict=True
    ):
        if sampled.kind != "numeric":
            continue
        assert sampled.sampled == 500
        assert exact.sampled is None
        assert sampled.mean == pytest.approx(exact.mean, rel=1e-12)
        assert (sampled.minimum, sampled.maximum) == (exact.minimum, exact.maximum)
        # 500 of about 1,800: the median is within a few hundredths of the middle rank.
        assert abs(sampled.fill - exact.fill) < 0.2 * exact.std
    again = prepare_streaming(settings).preprocessing.to_json()
    assert again == streamed.preprocessing.to_json()
    monkeypatch.setattr(streams, "BATCH_ROWS", 100)
    assert_close(prepare_streaming(settings).preprocessing.to_json(), again)


def test_disk_space_is_checked_before_encoding(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.data.scratch_arrays._SPARE_BYTES", 1 << 60)
    with pytest.raises(StorageError, match="TMPDIR"):
        prepare_streaming(config(write(frame(), tmp_path, "csv")))


def test_no_files_are_left_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    dataset = prepare_streaming(config(write(frame(), tmp_path, "parquet")))
    train = dataset.samples("train")
    assert train.inputs["features"].sum() != 0
    assert list((tmp_path / "scratch").iterdir()) == []


def test_npz_and_arrow_streams_raise(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.arange(10.0), y=np.arange(10) % 2)
    frame().write_ipc_stream(tmp_path / "s.arrow")
    for name in ("x.npz", "s.arrow"):
        with pytest.raises(DataError, match="read in parts"):
            prepare_streaming(config(str(tmp_path / name)))
