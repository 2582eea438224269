"""Values of pseudonymized columns are replaced as soon as they are read, in every format."""

from __future__ import annotations

import hashlib
import hmac
import io
import pickle
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.data import Data
from trainer.config.pseudonyms import KEY_VARIABLE
from trainer.data.new_data import prediction_batches
from trainer.data.opening import open_table
from trainer.data.prepare import prepare
from trainer.data.preprocessing import Preprocessing
from trainer.data.pseudonyms import Pseudonyms, pseudonym
from trainer.data.recorded_splits import load_recorded_dataset, split_frame
from trainer.errors import DataError

KEY = bytes(range(32))
OTHER = bytes(32)
PATIENTS = [f"patient {number % 20} ü" for number in range(60)]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY.hex())


def data_section(source: Path, **settings: Any) -> Data:
    return Data.model_validate({"source": str(source), "target": "y", **settings})


def frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "patient": PATIENTS,
            "size": [float(number) for number in range(60)],
            "y": ["no", "yes"] * 30,
        }
    )


def test_definition() -> None:
    expected = hmac.new(KEY, "Zoë".encode(), hashlib.sha256).hexdigest()[:24]
    assert pseudonym("Zoë", KEY) == f"p{expected}"


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])))))
def test_equal_values_have_equal_pseudonyms(values: list[str | None]) -> None:
    table = pl.DataFrame({"x": pl.Series(values, dtype=pl.String), "row": range(len(values))})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, KEY.hex())
        hidden = Pseudonyms(("x", "not there")).apply(table, "table")
    assert hidden["row"].equals(table["row"])
    assert hidden["x"].is_null().to_list() == table["x"].is_null().to_list()
    known = [value for value in hidden["x"].to_list() if value is not None]
    assert all(len(value) == 25 and value[0] == "p" for value in known)
    by_text = dict(zip(table["x"].to_list(), hidden["x"].to_list(), strict=True))
    assert [by_text[value] for value in values] == hidden["x"].to_list()


@pytest.mark.parametrize(
    "values",
    [
        [3, 3, None, 4],
        [3.0, 3.0, float("nan"), 4.0],
        ["3", " 3.0 ", "", "4"],
        [" 3", "+3", None, "4.0"],
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet", "ndjson", "arrow"])
@pytest.mark.parametrize("streamed", [False, True])
def test_formats_and_types(tmp_path: Path, values: list[Any], suffix: str, streamed: bool) -> None:
    path = tmp_path / f"x.{suffix}"
    table = pl.DataFrame({"x": values, "y": ["a", "b", "c", "d"]})
    write = {
        "csv": "write_csv",
        "parquet": "write_parquet",
        "ndjson": "write_ndjson",
        "arrow": "write_ipc",
    }
    getattr(table, write[suffix])(path)
    source = open_table(data_section(path, pseudonymize=["x"]), streamed=streamed)
    assert source.header.frame.schema["x"] == pl.String
    ((_, read),) = source.batches(["x", "y"])
    three, four = pseudonym("3", KEY), pseudonym("4", KEY)
    assert read["x"].to_list() == [three, three, None, four]
    assert source.read_columns(["x"]).frame["x"].to_list() == [three, three, None, four]


def test_files_with_different_types(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1, 2], "y": ["a", "b"]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"x": [2.0, 1.5], "y": ["a", "b"]}).write_parquet(tmp_path / "2.parquet")
    expected = [pseudonym(text, KEY) for text in ("1", "2", "2", "1.5")]
    for streamed in (False, True):
        data = data_section(tmp_path / "*.parquet", pseudonymize=["x"])
        assert (
            open_table(data, streamed=streamed).read_columns(["x"]).frame["x"].to_list() == expected
        )


def test_dates_and_booleans(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame(
        {"day": [date(2020, 1, 2), None], "yes": [True, None], "y": ["a", "b"]}
    ).write_parquet(path)
    data = data_section(path, pseudonymize=["day", "yes"])
    read = open_table(data, streamed=False).read_columns(["day", "yes"]).frame
    assert read.row(0)[:2] == (pseudonym("2020-01-02", KEY), pseudonym("true", KEY))
    assert read.row(1)[:2] == (None, None)


def test_nested_values(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"x": [[1], [2]], "y": ["a", "b"]}).write_parquet(path)
    with pytest.raises(DataError, match="single values in a pseudonymized column, 'x'"):
        open_table(data_section(path, pseudonymize=["x"]), streamed=False)


@pytest.mark.parametrize("streamed", [False, True])
def test_nothing_of_a_dataset_has_the_values(
    tmp_path: Path, make_config: Callable, streamed: bool
) -> None:
    path = tmp_path / "x.csv"
    frame().write_csv(path)
    settings = {"pseudonymize": ["patient"], "split": {"by": "group", "column": "patient"},
                "features": {"include": ["patient", "size"]}}  # fmt: skip
    dataset = prepare(make_config(str(path), "y", settings), streamed=streamed)
    content = pickle.dumps(dataset) + str(dataset.preprocessing.to_json()).encode()
    assert b"patient 1" not in content
    assert KEY not in content
    assert KEY.hex().encode() not in content
    assert pseudonym("patient 1 ü", KEY).encode() in content
    # A group is in one split, as with the values.
    pairs = pl.DataFrame({"patient": PATIENTS, "split": dataset.assignment}).unique()
    assert pairs.height == 20


def test_key_is_not_needed_without_pseudonymized_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_config: Callable
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    path = tmp_path / "x.csv"
    frame().write_csv(path)
    dataset = prepare(make_config(str(path), "y"))
    assert "pseudonym_key" not in dataset.preprocessing.to_json()


@pytest.fixture
def fitted(
    tmp_path: Path, make_config: Callable
) -> tuple[Data, Preprocessing, bytes, dict[str, str]]:
    path = tmp_path / "x.csv"
    frame().write_csv(path)
    all_rows_train = {"test": 0, "validation": 0}
    settings = {"pseudonymize": ["patient"], "split": all_rows_train}
    config = make_config(str(path), "y", settings)
    dataset = prepare(config)
    splits = io.BytesIO()
    split_frame(dataset).write_parquet(splits)
    fingerprints = {file.path: file.sha256 for file in dataset.table.files}
    preprocessing = Preprocessing.from_json(dataset.preprocessing.to_json())
    return config.data, preprocessing, splits.getvalue(), fingerprints


def test_new_rows_have_the_same_pseudonyms(fitted: Any) -> None:
    data, preprocessing, splits, fingerprints = fitted
    dataset = load_recorded_dataset(data, preprocessing, splits, fingerprints, streamed=False)
    assert set(dataset.table.frame["patient"]) == {pseudonym(name, KEY) for name in PATIENTS}
    for streamed in (False, True):
        (batch,) = prediction_batches(data, preprocessing, ["*"], streamed=streamed)
        assert not batch.encoded.unseen.any()
        assert batch.kept["patient"].to_list() == [pseudonym(name, KEY) for name in PATIENTS]


@pytest.mark.parametrize("value", [OTHER.hex(), "", "abc"])
def test_wrong_key(fitted: Any, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    data, preprocessing, splits, fingerprints = fitted
    monkeypatch.setenv(KEY_VARIABLE, value)
    match = f"key.*set {KEY_VARIABLE} to the key of the run"
    with pytest.raises(DataError, match=match) as caught:
        load_recorded_dataset(data, preprocessing, splits, fingerprints, streamed=False)
    assert value not in str(caught.value) or value in ("", "abc")
    with pytest.raises(DataError, match=match):
        list(prediction_batches(data, preprocessing, [], streamed=False))


def test_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.csv"
    frame().write_csv(path)
    key_file = tmp_path / "key"
    key_file.write_text(KEY.hex())
    key_file.chmod(0o644)
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(
        DataError, match=r"a key, in data\.pseudonym_key or the environment variable"
    ):
        open_table(data_section(path, pseudonymize=["patient"]), streamed=False)
    data = data_section(path, pseudonymize=["patient"], pseudonym_key=str(key_file))
    table = open_table(data, streamed=False).header
    assert table.frame["patient"][0] == pseudonym(PATIENTS[0], KEY)
    assert any("chmod 600" in warning for warning in table.warnings)
    Pseudonyms.from_settings(data).check_key(Pseudonyms(("x",), str(key_file)).fingerprint())
    monkeypatch.setenv(KEY_VARIABLE, OTHER.hex())
    with pytest.raises(DataError, match="another key"):
        Pseudonyms.from_settings(data).check_key("0" * 32)
    assert open_table(data, streamed=False).header.frame["patient"][0] == pseudonym(
        PATIENTS[0], OTHER
    )


def test_missing_column(tmp_path: Path, make_config: Callable) -> None:
    path = tmp_path / "x.csv"
    frame().write_csv(path)
    with pytest.raises(DataError, match="did you mean 'patient'") as caught:
        prepare(make_config(str(path), "y", {"pseudonymize": ["size", "pateint"]}))
    (problem,) = caught.value.problems
    assert problem.key == "data.pseudonymize.1"


def test_warnings_do_not_quote_values(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('x;y\n"1234.5";a\n"2345.5";b\n"3456.5";a\n"7.5";b\n"8.5";a\n"9.25";b\n')
    csv = {"separator": ";", "decimal_comma": True}
    plain = open_table(data_section(path, csv=csv), streamed=False).header
    assert any("1234.5" in warning for warning in plain.warnings)
    hidden = open_table(data_section(path, csv=csv, pseudonymize=["x"]), streamed=False).header
    assert hidden.warnings == ()
