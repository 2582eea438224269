"""Formatted numbers and dates in text columns, in memory and streamed."""

from __future__ import annotations

import re
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from tests.data.streamed import prepare_streaming
from trainer.data.new_data import prediction_batches
from trainer.data.prepare import prepare
from trainer.data.preprocessing import Preprocessing
from trainer.data.raw_rows import raw_row
from trainer.errors import DataError

ROWS = 60
DAYS = [date(2021, 1, 1) + timedelta(days=11 * row) for row in range(ROWS)]
AMOUNTS = [17 * row**2 + 5 for row in range(ROWS)]


@pytest.fixture(params=[prepare, prepare_streaming], ids=["resident", "streaming"])
def fitted(request, tmp_path, make_config):
    """Prepare a text table, after checking that the streamed result is equal."""

    def run(table, /, **data):
        target = data.pop("target", "y")
        # Streamed tables are read when needed, so that each needs a separate file.
        path = tmp_path / f"t{len(list(tmp_path.iterdir()))}.csv"
        plain = {"z": np.arange(ROWS) % 7, "y": np.where(np.arange(ROWS) % 3, "no", "yes")}
        pl.DataFrame({**plain, **table}).write_csv(path)
        return request.param(make_config(str(path), target, data))

    return run


def column(dataset, name="x"):
    return {column.name: column for column in dataset.preprocessing.columns}[name]


def about(dataset, name="x"):
    return [line for line in dataset.warnings if f"'{name}'" in line]


def settings_in(warning):
    """Return the column settings in a warning: {"decimal": "comma"}, …"""
    settings = re.findall(r"data\.columns\.x\.(\w+): ('[^']+'|\w+)", warning)
    return [{key: value.strip("'")} for key, value in settings]


@pytest.mark.parametrize(
    ("values", "numbers", "example"),
    [
        ([f"{n:,}" for n in AMOUNTS], AMOUNTS, "'1,093' is 1093, with ',' as"),
        (
            [f"${n:,}.50" for n in AMOUNTS],
            [n + 0.5 for n in AMOUNTS],
            "'$5.50' is 5.5; set",
        ),
        ([f"{n % 90}%" for n in AMOUNTS], [n % 90 for n in AMOUNTS], "'5%' is 5"),
        ([f"{n} kg" for n in AMOUNTS], AMOUNTS, "'5 kg' is 5"),
        ([f"{n},5" for n in AMOUNTS], [n + 0.5 for n in AMOUNTS], "'5,5' is 5.5"),
        ([f"({n:,})" if n > 99 else str(n) for n in AMOUNTS],
         [-n if n > 99 else n for n in AMOUNTS], "'(1,093)' is -1093"),
    ],
)  # fmt: skip
def test_formatted_numbers_are_numeric(fitted, values, numbers, example):
    dataset, plain = fitted({"x": values}), fitted({"x": numbers})
    (note,) = about(dataset)
    assert example in note
    written = column(dataset).number_format
    assert column(plain).number_format is None
    assert column(dataset).model_copy(update={"number_format": None}) == column(plain)
    for split in ("train", "validation", "test"):
        assert np.array_equal(
            dataset.samples(split).inputs["features"], plain.samples(split).inputs["features"]
        )
    content = dataset.preprocessing.to_json()
    assert content["columns"][1]["number_format"] == written.model_dump()
    assert "number_format" not in plain.preprocessing.to_json()["columns"][1]
    assert Preprocessing.from_json(content) == dataset.preprocessing


@pytest.mark.parametrize(
    "values",
    [
        [f"{n:,}" for n in AMOUNTS],
        [f"{n}%" for n in AMOUNTS],
        [f"{day:%d/%m/%Y}" for day in DAYS],
        [f"{day:%m/%d/%Y}" for day in DAYS],
        [f"{row % 12 + 1:02d}/{row % 9 + 1:02d}/2020" for row in range(ROWS)],
        ["n.v.", *[f"{n:,}" for n in AMOUNTS[1:]]],
        ["5", *[f"{n}%" for n in AMOUNTS[1:]]],
        ["soon", *[f"{day:%d/%m/%Y}" for day in DAYS[1:]]],
        [str(n) if row % 3 else f"r{n}" for row, n in enumerate(AMOUNTS)],
    ],
)
def test_settings_in_notes_are_valid_and_remove_the_note(fitted, values):
    (note,) = about(fitted({"x": values}))
    settings = settings_in(note)
    assert settings
    for setting in settings:
        dataset = fitted({"x": values}, columns={"x": setting})
        notes = [note for note in about(dataset) if "levels" not in note and "distinct" not in note]
        assert notes == []
        kind = {"decimal": "numeric", "format": "datetime"}.get(next(iter(setting)), "categorical")
        assert column(dataset).kind == kind


@pytest.mark.parametrize(
    ("date_format", "order"),
    [
        ("%d/%m/%Y", "day first: '"),
        ("%m.%d.%Y", "month first: '"),
        ("%d-%b-%Y", "is read as dates: '"),
        ("%Y%m%d", "is read as dates: '"),
        ("%d.%m.%Y %H:%M", "day first: '"),
    ],
)
def test_unambiguous_dates(fitted, date_format, order):
    dataset = fitted({"x": [day.strftime(date_format) for day in DAYS]})
    plain = fitted({"x": [str(day) for day in DAYS]})
    (note,) = about(dataset)
    assert order in note
    assert about(plain) == []
    assert column(dataset).model_copy(update={"format": None}) == column(plain)
    assert column(plain).format is None
    for split in ("train", "validation", "test"):
        assert np.array_equal(
            dataset.samples(split).inputs["features"], plain.samples(split).inputs["features"]
        )


def test_ambiguous_dates_stay_text_with_a_note(fitted):
    values = [f"{row % 12 + 1:02d}/{row % 9 + 1:02d}/2020" for row in range(ROWS)]
    dataset = fitted({"x": values})
    (note,) = about(dataset)
    assert "data.columns.x.format: '%d/%m/%Y' (day first) or '%m/%d/%Y' (month first)" in note
    assert column(dataset).kind == "categorical"
    with pytest.raises(DataError, match=r"'%d/%m/%Y' .day first. or '%m/%d/%Y'"):
        fitted({"x": values}, columns={"x": {"kind": "datetime"}})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["n.v.", "x", *[f"{n:,}" for n in AMOUNTS[2:]]], "values are not numbers"),
        (["5", *[f"{n}%" for n in AMOUNTS[1:]]], "the unit '%' in some rows and no unit"),
        ([f"{'$€'[n % 2]}{n}" for n in AMOUNTS], "the units '$', '€'"),
        (["soon", *[f"{day:%d/%m/%Y}" for day in DAYS[1:]]], "not dates in the format '%d/%m/%Y'"),
    ],
)
def test_text_with_some_numbers_or_dates_stays_text(fitted, values, words):
    dataset = fitted({"x": values}, split={"test": 0, "validation": 0})
    (note,) = about(dataset)
    assert words in note
    assert column(dataset).kind == "categorical"


@pytest.mark.parametrize("unit", ["", " €", " kg"])
@pytest.mark.parametrize("mark", [" ", ".", "\u202f"])
def test_formatted_numbers_with_decimal_comma(fitted, unit, mark):
    values = [f"{n:,}".replace(",", mark) + f",5{unit}" for n in AMOUNTS]
    if unit != " kg":
        values[::2] = [value.removesuffix(unit) for value in values[::2]]
    dataset = fitted({"x": values}, csv={"decimal_comma": True})
    plain = fitted({"x": [n + 0.5 for n in AMOUNTS]})
    assert np.array_equal(
        dataset.samples("train").inputs["features"], plain.samples("train").inputs["features"]
    )


def test_plain_columns_have_no_notes(fitted):
    dataset = fitted({
        "x": [f"street {n}" for n in AMOUNTS],
        "a": ["1", "2", "3"] * 20,
        "b": ["1a", "2b", "3c"] * 20,
        "c": ["10+", "5-9", "0-4"] * 20,
        "d": [str(20180101 + row) for row in range(ROWS)],
        "e": ["2024-01-31T10:00"] * 59 + ["2024-02-01"],
    })  # fmt: skip
    kinds = {column.name: column.kind for column in dataset.preprocessing.columns}
    assert kinds["d"] == kinds["a"] == "numeric"
    assert kinds["b"] == kinds["c"] == kinds["x"] == "categorical"
    assert kinds["e"] == "datetime"
    assert [line for line in dataset.warnings if "is read" in line or "looks" in line] == []


def test_explicit_kind_needs_no_note(fitted):
    values = [f"${n}" for n in AMOUNTS]
    dataset = fitted({"x": values}, columns={"x": {"kind": "numeric"}})
    assert about(dataset) == []
    assert column(dataset).number_format.unit == "$"
    with pytest.raises(DataError, match=r"a number \(like 1,234.5 with \$\) in 'x'.*'free'"):
        fitted({"x": ["free", *values[1:]]}, columns={"x": {"kind": "numeric"}}, split={"test": 0})


def test_datetime_format_does_not_affect_iso_dates(fitted):
    columns = {"x": [f"{day:%d.%m.%Y}" for day in DAYS], "w": [str(day) for day in DAYS]}
    dataset = fitted(columns, datetime={"format": "%d.%m.%Y"})
    assert column(dataset).format == "%d.%m.%Y"
    assert column(dataset, "w").format is None
    assert about(dataset) == []


def test_new_rows_are_parsed_like_training_rows(fitted, make_config, tmp_path):
    dataset = fitted({"x": [f"{n}%" for n in AMOUNTS], "w": [f"{day:%d/%m/%Y}" for day in DAYS]})
    path = tmp_path / "new.csv"
    path.write_text("x,w,z\n5%,05/06/2021,1\n5,2021-06-05,1\n22%,06/05/2021,1\n")
    data = make_config(str(path), "y").data
    for streamed in (False, True):
        (batch,) = prediction_batches(data, dataset.preprocessing, [], streamed=streamed)
        assert batch.encoded.unseen.tolist() == [False, True, False]
        assert batch.encoded.encoding_warnings == {
            ("x", "a value that is not a number (read as missing)"): 1,
            ("w", "a value that is not a date (read as missing)"): 1,
        }
    row = pl.read_csv(path, infer_schema=False)[:1]
    assert raw_row(dataset.preprocessing, row) == {"z": 1, "x": 5, "w": "2021-06-05"}
    typed = pl.DataFrame({"x": [5.0], "w": [date(2021, 6, 5)], "z": [1]})
    frame = pl.DataFrame({"x": ["5%"], "w": ["05/06/2021"], "z": [1]})
    assert np.array_equal(
        dataset.preprocessing.transform(typed).inputs["features"],
        dataset.preprocessing.transform(frame).inputs["features"],
    )


def test_clipped_and_dropped_outliers(fitted):
    settings = {"clean": {"outliers": {"method": "iqr", "factor": 0.5, "action": "clip"}}}
    values = [f"{n:,}" if row % 9 else None for row, n in enumerate(AMOUNTS)]
    plain = [n if row % 9 else None for row, n in enumerate(AMOUNTS)]
    for action in ("clip", "drop"):
        settings["clean"]["outliers"]["action"] = action
        dataset, same = (fitted({"x": cells}, **settings, numeric={"impute": "drop"})
                     for cells in (values, plain))  # fmt: skip
        assert column(dataset).model_copy(update={"number_format": None}) == column(same)
        assert dataset.dropped == same.dropped


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (
            [f"${120_000 + n:,}" for n in AMOUNTS],
            [120_000 + n for n in AMOUNTS],
        ),
        ([f"{n}%" for n in AMOUNTS], AMOUNTS),
        ([f"{n:,}".replace(",", " ") + " €" for n in AMOUNTS], AMOUNTS),
    ],
)
@pytest.mark.parametrize("task", ["auto", "regression"])
def test_target_of_formatted_numbers(fitted, values, numbers, task):
    dataset = fitted({"x": AMOUNTS, "price": values}, target="price", task=task)
    plain = fitted({"x": AMOUNTS, "price": numbers}, target="price", task=task)
    assert dataset.preprocessing.target.task == "regression"
    assert dataset.preprocessing.target.offset == plain.preprocessing.target.offset
    assert np.array_equal(dataset.samples("test").y, plain.samples("test").y)
    (note,) = about(dataset, "price")
    assert "is read as numbers" in note
    assert "number_formats" not in plain.preprocessing.to_json()["target"]
    assert Preprocessing.from_json(dataset.preprocessing.to_json()) == dataset.preprocessing
    decimal = {"columns": {"price": {"decimal": "point"}}}
    sure = fitted({"x": AMOUNTS, "price": values}, target="price", task=task, **decimal)
    assert about(sure, "price") == []


def test_target_classes_that_look_like_numbers(fitted):
    values = [f"{10 * (row % 3)}%" for row in range(ROWS)]
    dataset = fitted({"x": AMOUNTS, "rate": values}, target="rate")
    assert dataset.preprocessing.target.classes == ("0%", "10%", "20%")
    prices = [f"${row % 30}" for row in range(ROWS)]
    dataset = fitted({"x": AMOUNTS, "p": prices}, target="p", task="multiclass",
                 split={"test": 0, "validation": 0})  # fmt: skip
    assert len(dataset.preprocessing.target.classes) == 30
    assert about(dataset, "p") == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["on request", *[f"${n:,}" for n in AMOUNTS[1:]]],
            "'on request' among 59 numbers",
        ),
        (["5", *[f"{n}%" for n in AMOUNTS[1:]]], "the unit '%' in some rows and no unit"),
        ([f"{'$€'[n % 2]}{n}" for n in AMOUNTS], "the units '\\$', '€'"),
        ([f"{day:%d/%m/%Y}" for day in DAYS], "dates in 'price'"),
        ([f"{day}" for day in DAYS], "dates in 'price'"),
    ],
)
def test_almost_numeric_target_raises(fitted, values, message):
    with pytest.raises(DataError, match=message) as caught:
        fitted({"x": AMOUNTS, "price": values}, target="price")
    assert "data.task: multiclass" not in str(caught.value)
    twice = [value for value in values[: ROWS // 2] for _ in range(2)]
    with pytest.raises(DataError, match=r"set data\.task: multiclass"):
        fitted({"x": AMOUNTS, "price": twice}, target="price", split={"test": 0, "validation": 0})
    dataset = fitted({"x": AMOUNTS, "price": twice}, target="price", task="multiclass")
    assert len(dataset.preprocessing.target.classes) == ROWS // 2


def test_invalid_test_target_raises(fitted):
    values = [f"${n:,}" for n in AMOUNTS]
    values[40] = "free"
    part = ["test" if row == 40 else "train" for row in range(ROWS)]
    with pytest.raises(DataError, match=r"t0.csv:42.*a finite number in 'price'.*'free'"):
        fitted({"x": AMOUNTS, "price": values, "part": part}, target="price",
               split={"by": "column", "column": "part"})  # fmt: skip


@pytest.mark.parametrize("date_format", ["%d/%m/%Y", "%Y-%m-%d", "%m/%d/%Y"])
def test_time_split_detects_the_format(fitted, date_format):
    values = [day.strftime(date_format) for day in DAYS]
    dataset = fitted({"x": values}, split={"by": "time", "column": "x", "test": 0.2})
    assert np.flatnonzero(dataset.assignment == 2).tolist() == list(range(48, 60))
    notes = about(dataset)
    assert [("is read as dates" in note) for note in notes] == [True, False][-len(notes) :]
    assert "is not a feature" in notes[-1]
    assert [column.name for column in dataset.preprocessing.columns] == ["z"]
    settings = {"columns": {"x": {"format": date_format}}, "features": {"exclude": ["x"]}}
    sure = fitted({"x": values}, split={"by": "time", "column": "x", "test": 0.2}, **settings)
    assert about(sure) == []
    assert np.array_equal(sure.assignment, dataset.assignment)


def test_note_about_time_split_mentions_cycles(fitted):
    values = [str(day) for day in DAYS]
    split = {"by": "time", "column": "x", "test": 0.2}
    (note,) = about(fitted({"x": values}, split=split))
    assert "data.features.include: ['*'] and data.columns.x.parts: [year, week, day]" in note
    settings = {
        "features": {"include": ["*"]},
        "columns": {"x": {"parts": ["year", "week", "day"]}},
    }
    dataset = fitted({"x": values}, split=split, **settings)
    assert about(dataset) == []
    assert column(dataset).features == ("x.year.sin", "x.year.cos", "x.week.sin", "x.week.cos")
    number = fitted({"x": list(range(ROWS))}, split=split)
    assert "data.features.include: ['*'] to use it anyway" in about(number)[0]
