"""Numbers and dates in the format as text, from a table to what the network gets, in both engines."""

from __future__ import annotations

import re
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from trainer.data.new_data import prediction_batches
from trainer.data.prepare import prepare
from trainer.data.preprocessing import Preprocessing
from trainer.data.raw_rows import raw_row
from trainer.data.streaming import prepare_streaming
from trainer.errors import DataError

ROWS = 60
DAYS = [date(2021, 1, 1) + timedelta(days=11 * row) for row in range(ROWS)]
AMOUNTS = [17 * row**2 + 5 for row in range(ROWS)]


@pytest.fixture(params=[prepare, prepare_streaming], ids=["resident", "streaming"])
def fitted(request, tmp_path, make_config):
    """Fit a table of text, after checking that the two engines agree."""

    def run(table, /, **data):
        target = data.pop("target", "y")
        # Tables in a stream are read when they are needed: each has a file of its own.
        path = tmp_path / f"t{len(list(tmp_path.iterdir()))}.csv"
        plain = {"z": np.arange(ROWS) % 7, "y": np.where(np.arange(ROWS) % 3, "no", "yes")}
        pl.DataFrame({**plain, **table}).write_csv(path)
        return request.param(make_config(str(path), target, data))

    return run


def column(dataset, name="x"):
    return {each.name: each for each in dataset.preprocessing.columns}[name]


def about(dataset, name="x"):
    return [each for each in dataset.warnings if f"'{name}'" in each]


def settings_in(warning):
    """The settings that a warning names for a column: {"decimal": "comma"}, …"""
    found = re.findall(r"data\.columns\.x\.(\w+): ('[^']+'|\w+)", warning)
    return [{key: value.strip("'")} for key, value in found]


@pytest.mark.parametrize(
    ("values", "numbers", "example"),
    [
        ([f"{one:,}" for one in AMOUNTS], AMOUNTS, "'1,093' is 1093, with ',' as the thousands"),
        ([f"${one:,}.50" for one in AMOUNTS], [one + 0.5 for one in AMOUNTS], "'$5.50' is 5.5; set"),
        ([f"{one % 90}%" for one in AMOUNTS], [one % 90 for one in AMOUNTS], "'5%' is 5"),
        ([f"{one} kg" for one in AMOUNTS], AMOUNTS, "'5 kg' is 5"),
        ([f"{one},5" for one in AMOUNTS], [one + 0.5 for one in AMOUNTS], "'5,5' is 5.5"),
        ([f"({one:,})" if one > 99 else str(one) for one in AMOUNTS],
         [-one if one > 99 else one for one in AMOUNTS], "'(1,093)' is -1093"),
    ],
)  # fmt: skip
def test_numbers_as_text_are_numbers(fitted, values, numbers, example):
    got, plain = fitted({"x": values}), fitted({"x": numbers})
    (note,) = about(got)
    assert example in note
    written = column(got).number_format
    assert column(plain).number_format is None
    assert column(got).model_copy(update={"number_format": None}) == column(plain)
    for split in ("train", "validation", "test"):
        assert np.array_equal(got.samples(split).x, plain.samples(split).x)
    content = got.preprocessing.to_json()
    assert content["columns"][1]["number_format"] == written.model_dump()
    assert "number_format" not in plain.preprocessing.to_json()["columns"][1]
    assert Preprocessing.from_json(content) == got.preprocessing


@pytest.mark.parametrize(
    "values",
    [
        [f"{one:,}" for one in AMOUNTS],
        [f"{one}%" for one in AMOUNTS],
        [f"{day:%d/%m/%Y}" for day in DAYS],
        [f"{day:%m/%d/%Y}" for day in DAYS],
        [f"{row % 12 + 1:02d}/{row % 9 + 1:02d}/2020" for row in range(ROWS)],
        ["n.v.", *[f"{one:,}" for one in AMOUNTS[1:]]],
        ["5", *[f"{one}%" for one in AMOUNTS[1:]]],
        ["soon", *[f"{day:%d/%m/%Y}" for day in DAYS[1:]]],
        [str(one) if row % 3 else f"r{one}" for row, one in enumerate(AMOUNTS)],
    ],
)
def test_every_setting_that_a_note_names_is_accepted_and_ends_it(fitted, values):
    (note,) = about(fitted({"x": values}))
    settings = settings_in(note)
    assert settings
    for each in settings:
        got = fitted({"x": values}, columns={"x": each})
        assert [one for one in about(got) if "levels" not in one and "distinct" not in one] == []
        kind = {"decimal": "numeric", "format": "datetime"}.get(next(iter(each)), "categorical")
        assert column(got).kind == kind


@pytest.mark.parametrize(
    ("date_format", "told"),
    [
        ("%d/%m/%Y", "day first: '"),
        ("%m.%d.%Y", "month first: '"),
        ("%d-%b-%Y", "is read as dates: '"),
        ("%Y%m%d", "is read as dates: '"),
        ("%d.%m.%Y %H:%M", "day first: '"),
    ],
)
def test_dates_in_one_format_are_dates(fitted, date_format, told):
    got = fitted({"x": [day.strftime(date_format) for day in DAYS]})
    plain = fitted({"x": [str(day) for day in DAYS]})
    (note,) = about(got)
    assert told in note
    assert about(plain) == []
    assert column(got).model_copy(update={"format": None}) == column(plain)
    assert column(plain).format is None
    for split in ("train", "validation", "test"):
        assert np.array_equal(got.samples(split).x, plain.samples(split).x)


def test_dates_with_two_meanings_stay_text_and_are_named(fitted):
    values = [f"{row % 12 + 1:02d}/{row % 9 + 1:02d}/2020" for row in range(ROWS)]
    got = fitted({"x": values})
    (note,) = about(got)
    assert "data.columns.x.format: '%d/%m/%Y' (day first) or '%m/%d/%Y' (month first)" in note
    assert column(got).kind == "categorical"
    with pytest.raises(DataError, match=r"'%d/%m/%Y' .day first. or '%m/%d/%Y'"):
        fitted({"x": values}, columns={"x": {"kind": "datetime"}})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["n.v.", "x", *[f"{one:,}" for one in AMOUNTS[2:]]], "values are not numbers"),
        (["5", *[f"{one}%" for one in AMOUNTS[1:]]], "the unit '%' in some rows and no unit"),
        ([f"{'$€'[one % 2]}{one}" for one in AMOUNTS], "the units '$', '€'"),
        (["soon", *[f"{day:%d/%m/%Y}" for day in DAYS[1:]]], "not dates in the format '%d/%m/%Y'"),
    ],
)
def test_text_that_is_nearly_numbers_or_dates_stays_text(fitted, values, words):
    got = fitted({"x": values}, split={"test": 0, "validation": 0})
    (note,) = about(got)
    assert words in note
    assert column(got).kind == "categorical"


@pytest.mark.parametrize("unit", ["", " €", " kg"])
@pytest.mark.parametrize("mark", [" ", ".", "\u202f"])
def test_numbers_of_a_file_with_decimal_commas(fitted, unit, mark):
    values = [f"{one:,}".replace(",", mark) + f",5{unit}" for one in AMOUNTS]
    if unit != " kg":
        values[::2] = [value.removesuffix(unit) for value in values[::2]]
    got = fitted({"x": values}, csv={"decimal_comma": True})
    plain = fitted({"x": [one + 0.5 for one in AMOUNTS]})
    assert np.array_equal(got.samples("train").x, plain.samples("train").x)


def test_plain_columns_and_words_have_no_notes(fitted):
    got = fitted({
        "x": [f"street {one}" for one in AMOUNTS],
        "a": ["1", "2", "3"] * 20,
        "b": ["1a", "2b", "3c"] * 20,
        "c": ["10+", "5-9", "0-4"] * 20,
        "d": [str(20180101 + row) for row in range(ROWS)],
        "e": ["2024-01-31T10:00"] * 59 + ["2024-02-01"],
    })  # fmt: skip
    kinds = {each.name: each.kind for each in got.preprocessing.columns}
    assert kinds["d"] == kinds["a"] == "numeric"
    assert kinds["b"] == kinds["c"] == kinds["x"] == "categorical"
    assert kinds["e"] == "datetime"
    assert [each for each in got.warnings if "is read" in each or "looks" in each] == []


def test_a_stated_kind_reads_the_format_without_a_note(fitted):
    values = [f"${one}" for one in AMOUNTS]
    got = fitted({"x": values}, columns={"x": {"kind": "numeric"}})
    assert about(got) == []
    assert column(got).number_format.unit == "$"
    with pytest.raises(DataError, match=r"a number \(like 1,234.5 with \$\) in 'x'.*'free'"):
        fitted({"x": ["free", *values[1:]]}, columns={"x": {"kind": "numeric"}}, split={"test": 0})


def test_a_format_of_all_dates_leaves_iso_dates_alone(fitted):
    columns = {"x": [f"{day:%d.%m.%Y}" for day in DAYS], "w": [str(day) for day in DAYS]}
    got = fitted(columns, datetime={"format": "%d.%m.%Y"})
    assert column(got).format == "%d.%m.%Y"
    assert column(got, "w").format is None
    assert about(got) == []


def test_other_rows_are_read_as_the_training_rows(fitted, make_config, tmp_path):
    got = fitted({"x": [f"{one}%" for one in AMOUNTS], "w": [f"{day:%d/%m/%Y}" for day in DAYS]})
    path = tmp_path / "new.csv"
    path.write_text("x,w,z\n5%,05/06/2021,1\n5,2021-06-05,1\n22%,06/05/2021,1\n")
    data = make_config(str(path), "y").data
    for streamed in (False, True):
        (asked,) = prediction_batches(data, got.preprocessing, [], streamed=streamed)
        assert asked.encoded.unseen.tolist() == [False, True, False]
        assert asked.encoded.encoding_warnings == {
            ("x", "a value that is not a number (read as missing)"): 1,
            ("w", "a value that is not a date (read as missing)"): 1,
        }
    row = pl.read_csv(path, infer_schema=False)[:1]
    assert raw_row(got.preprocessing, row) == {"z": 1, "x": 5, "w": "2021-06-05"}
    typed = pl.DataFrame({"x": [5.0], "w": [date(2021, 6, 5)], "z": [1]})
    frame = pl.DataFrame({"x": ["5%"], "w": ["05/06/2021"], "z": [1]})
    one, other = (got.preprocessing.transform(each).x for each in (typed, frame))
    assert np.array_equal(one, other)


def test_numbers_that_are_clipped_and_dropped(fitted):
    settings = {"clean": {"outliers": {"method": "iqr", "factor": 0.5, "action": "clip"}}}
    values = [f"{one:,}" if row % 9 else None for row, one in enumerate(AMOUNTS)]
    plain = [one if row % 9 else None for row, one in enumerate(AMOUNTS)]
    for action in ("clip", "drop"):
        settings["clean"]["outliers"]["action"] = action
        got, same = (fitted({"x": each}, **settings, numeric={"impute": "drop"})
                     for each in (values, plain))  # fmt: skip
        assert column(got).model_copy(update={"number_format": None}) == column(same)
        assert got.dropped == same.dropped


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([f"${120_000 + one:,}" for one in AMOUNTS], [120_000 + one for one in AMOUNTS]),
        ([f"{one}%" for one in AMOUNTS], AMOUNTS),
        ([f"{one:,}".replace(",", " ") + " €" for one in AMOUNTS], AMOUNTS),
    ],
)
@pytest.mark.parametrize("task", ["auto", "regression"])
def test_a_target_of_numbers_as_text(fitted, values, numbers, task):
    got = fitted({"x": AMOUNTS, "price": values}, target="price", task=task)
    plain = fitted({"x": AMOUNTS, "price": numbers}, target="price", task=task)
    assert got.preprocessing.target.task == "regression"
    assert got.preprocessing.target.offset == plain.preprocessing.target.offset
    assert np.array_equal(got.samples("test").y, plain.samples("test").y)
    (note,) = about(got, "price")
    assert "is read as numbers" in note
    assert "number_formats" not in plain.preprocessing.to_json()["target"]
    assert Preprocessing.from_json(got.preprocessing.to_json()) == got.preprocessing
    decimal = {"columns": {"price": {"decimal": "point"}}}
    sure = fitted({"x": AMOUNTS, "price": values}, target="price", task=task, **decimal)
    assert about(sure, "price") == []


def test_a_target_of_classes_that_look_like_numbers(fitted):
    values = [f"{10 * (row % 3)}%" for row in range(ROWS)]
    got = fitted({"x": AMOUNTS, "rate": values}, target="rate")
    assert got.preprocessing.target.classes == ("0%", "10%", "20%")
    prices = [f"${row % 30}" for row in range(ROWS)]
    got = fitted({"x": AMOUNTS, "p": prices}, target="p", task="multiclass",
                 split={"test": 0, "validation": 0})  # fmt: skip
    assert len(got.preprocessing.target.classes) == 30
    assert about(got, "p") == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["on request", *[f"${one:,}" for one in AMOUNTS[1:]]], "'on request' among 59 numbers"),
        (["5", *[f"{one}%" for one in AMOUNTS[1:]]], "the unit '%' in some rows and no unit"),
        ([f"{'$€'[one % 2]}{one}" for one in AMOUNTS], "the units '\\$', '€'"),
        ([f"{day:%d/%m/%Y}" for day in DAYS], "dates in 'price'"),
        ([f"{day}" for day in DAYS], "dates in 'price'"),
    ],
)
def test_a_target_that_is_nearly_numbers_is_not_a_class_a_row(fitted, values, message):
    with pytest.raises(DataError, match=message) as caught:
        fitted({"x": AMOUNTS, "price": values}, target="price")
    assert "data.task: multiclass" not in str(caught.value)
    twice = [value for value in values[: ROWS // 2] for _ in range(2)]
    with pytest.raises(DataError, match=r"set data\.task: multiclass"):
        fitted({"x": AMOUNTS, "price": twice}, target="price", split={"test": 0, "validation": 0})
    got = fitted({"x": AMOUNTS, "price": twice}, target="price", task="multiclass")
    assert len(got.preprocessing.target.classes) == ROWS // 2


def test_a_test_row_that_is_no_number_is_named(fitted):
    values = [f"${one:,}" for one in AMOUNTS]
    values[40] = "free"
    part = ["test" if row == 40 else "train" for row in range(ROWS)]
    with pytest.raises(DataError, match=r"t0.csv:42.*a finite number in 'price'.*'free'"):
        fitted({"x": AMOUNTS, "price": values, "part": part}, target="price",
               split={"by": "column", "column": "part"})  # fmt: skip


@pytest.mark.parametrize("date_format", ["%d/%m/%Y", "%Y-%m-%d", "%m/%d/%Y"])
def test_a_split_by_time_reads_the_format(fitted, date_format):
    values = [day.strftime(date_format) for day in DAYS]
    got = fitted({"x": values}, split={"by": "time", "column": "x", "test": 0.2})
    assert np.flatnonzero(got.assignment == 2).tolist() == list(range(48, 60))
    notes = about(got)
    assert [("is read as dates" in note) for note in notes] == [True, False][-len(notes) :]
    assert "is not a feature" in notes[-1]
    assert [each.name for each in got.preprocessing.columns] == ["z"]
    settings = {"columns": {"x": {"format": date_format}}, "features": {"exclude": ["x"]}}
    sure = fitted({"x": values}, split={"by": "time", "column": "x", "test": 0.2}, **settings)
    assert about(sure) == []
    assert np.array_equal(sure.assignment, got.assignment)


def test_the_note_of_a_split_by_time_names_a_way_to_keep_the_cycles(fitted):
    values = [str(day) for day in DAYS]
    split = {"by": "time", "column": "x", "test": 0.2}
    (note,) = about(fitted({"x": values}, split=split))
    assert "data.features.include: ['*'] and data.columns.x.parts: [year, week, day]" in note
    settings = {
        "features": {"include": ["*"]},
        "columns": {"x": {"parts": ["year", "week", "day"]}},
    }
    got = fitted({"x": values}, split=split, **settings)
    assert about(got) == []
    assert column(got).features == ("x.year.sin", "x.year.cos", "x.week.sin", "x.week.cos")
    number = fitted({"x": list(range(ROWS))}, split=split)
    assert "data.features.include: ['*'] to use it anyway" in about(number)[0]
