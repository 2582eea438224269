from __future__ import annotations

from datetime import date, datetime

import numpy as np
import polars as pl
import pytest

from trainer.config.data import Data
from trainer.data.accumulators import DatetimeAccumulator, NumericAccumulator
from trainer.data.column_settings import datetime_settings
from trainer.data.datetimes import (
    calendar_one_hot,
    calendar_values,
    cycle_position,
    cycle_waves,
    fit_datetime,
    year_days,
)
from trainer.data.hashing import row_keys
from trainer.data.sketches import BottomKSample
from trainer.data.values import to_microseconds


def settings(**datetimes):
    data = Data(source="x.csv", target="y", datetime=datetimes)  # type: ignore[arg-type]
    return datetime_settings(data, "t", data.datetime.format)


def fit(series, settings):
    dates = DatetimeAccumulator(
        NumericAccumulator(BottomKSample(None)), NumericAccumulator(BottomKSample(None))
    )
    rows = np.arange(len(series))
    dates.add(series, settings.format, rows, row_keys(0, rows))
    return fit_datetime(series.name, dates.summary(), settings)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-03-31", datetime(2024, 3, 31)),
        ("2024-03-31 18:30", datetime(2024, 3, 31, 18, 30)),
        ("2024-03-31T18:30:05", datetime(2024, 3, 31, 18, 30, 5)),
        ("2024-03-31T18:30:05.25Z", datetime(2024, 3, 31, 18, 30, 5, 250_000)),
        ("2024-03-31T18:30+02:00", datetime(2024, 3, 31, 16, 30)),
        ("2024-03-31T18:30:00-0530", datetime(2024, 4, 1, 0, 0)),
        ("1969-12-31T23:00", datetime(1969, 12, 31, 23)),
        ("2024-02-30", None),
        ("2024-03-31T25:00", None),
        ("31.03.2024", None),
        ("soon", None),
        (None, None),
    ],
)
def test_iso_dates(text, moment):
    found = to_microseconds(pl.Series("t", [text], dtype=pl.String), None)
    expected = to_microseconds(pl.Series("t", [moment], dtype=pl.Datetime("us")), None)
    assert found.to_list() == expected.to_list()


def test_types_and_formats_agree():
    days = [date(2024, 1, 31), date(2023, 2, 1)]
    expected = to_microseconds(pl.Series("t", days), None).to_list()
    texts = pl.Series("t", ["31.01.2024", "01.02.2023"])
    assert to_microseconds(texts, "%d.%m.%Y").to_list() == expected
    zoned = pl.Series("t", days).cast(pl.Datetime("ns", "UTC"))
    assert to_microseconds(zoned, None).to_list() == expected


def test_elapsed_counts_from_the_earliest_date():
    column = fit(pl.Series("t", ["2024-01-03", "2024-01-01", None]), settings())
    assert column.origin == "2024-01-01T00:00:00"
    assert column.elapsed.maximum == 2
    assert column.missing == 1


def test_constant_cycles_are_dropped():
    days = [f"2024-01-{day:02d}" for day in range(1, 20)]
    column = fit(pl.Series("t", days), settings())
    assert column.cycles == ("year", "week")
    mondays = pl.Series("t", ["2024-01-01", "2024-01-08"])
    assert fit(mondays, settings(parts=["week"])) is None
    assert fit(mondays, settings(parts=["elapsed"])).features == ("t.elapsed",)


def test_cycle_positions():
    stamps = np.array(
        ["2024-01-01T00:00", "2024-07-02T00:00", "2024-01-01T12:00", "2023-12-31T00:00"],
        dtype="datetime64[us]",
    ).astype(np.int64)
    np.testing.assert_allclose(cycle_position("year", stamps)[:2], [0, 0.5], atol=1e-3)
    np.testing.assert_allclose(cycle_position("day", stamps), [0, 0, 0.5, 0])
    np.testing.assert_allclose(cycle_position("week", stamps)[[0, 3]], [0, 6 / 7])


def test_missing_date_is_the_center_of_the_circle():
    sine, cosine = cycle_waves("day", pl.Series("t", [None, 0], dtype=pl.Int64))
    assert (sine[0], cosine[0]) == (0, 0)
    assert (sine[1], cosine[1]) == (0, 1)


def test_calendar_values_agree_with_polars():
    moments = pl.datetime_range(
        datetime(1965, 2, 27), datetime(1975, 3, 2), "37h5m", eager=True, time_unit="us"
    )
    stamps = moments.cast(pl.Int64).to_numpy()
    expected = {
        "weekday": moments.dt.weekday() - 1,
        "month": moments.dt.month() - 1,
        "hour": moments.dt.hour(),
    }
    for part, values in expected.items():
        assert calendar_values(part, stamps).tolist() == values.to_list()


def test_calendar_parts_are_one_hot_over_the_values_in_training():
    days = pl.Series("t", ["2024-03-04T09:30", "2024-01-03T09:00", None, "2024-03-06T09:59"])
    column = fit(days, settings(parts=["weekday", "month", "hour"]))
    assert column.features == (
        "t.weekday=Monday", "t.weekday=Wednesday", "t.month=January", "t.month=March",
    )  # fmt: skip
    assert [item.part for item in column.calendar] == ["weekday", "month"]
    stamps = to_microseconds(
        pl.Series("t", ["2024-03-04", "2023-01-04T23:59", "2024-02-07", None]), None
    )
    weekday, month = (calendar_one_hot(item, stamps).astype(int) for item in column.calendar)
    assert weekday.tolist() == [[1, 0], [0, 1], [0, 1], [0, 0]]
    assert month.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]
    assert fit(days, settings(parts=["hour"])) is None
    assert "calendar" not in fit(days, settings()).model_dump()


def test_encoded_calendar_parts_follow_the_cycles(prepare_frame):
    frame = {"t": ["2024-01-01", "2024-05-02", "2024-05-08", None] * 5, "y": ["a", "b"] * 10}
    dataset = prepare_frame(
        frame,
        split={"test": 0.0, "validation": 0.0},
        columns={"t": {"parts": ["month", "year", "elapsed", "weekday"]}},
    )
    assert dataset.preprocessing.feature_names == (
        "t.elapsed", "t.year.sin", "t.year.cos", "t.month=January", "t.month=May",
        "t.weekday=Monday", "t.weekday=Wednesday", "t.weekday=Thursday",
    )  # fmt: skip
    x = dataset.samples("train").inputs["features"]
    assert x[:4, 3:].tolist() == [
        [1, 0, 1, 0, 0], [0, 1, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0],
    ]  # fmt: skip
    content = dataset.preprocessing.to_json()
    assert dataset.preprocessing.from_json(content) == dataset.preprocessing


def test_a_calendar_date_has_the_same_day_of_the_year_in_every_year():
    moments = ["2023-01-01", "2023-02-28", "2024-02-29", "2023-03-01", "1964-07-04T23:59",
               "2024-07-04", "1999-12-31", None]  # fmt: skip
    days = year_days(to_microseconds(pl.Series("t", moments), None))
    assert days[:-1].tolist() == [0, 58, 59, 60, 185, 185, 365]
    assert np.isnan(days[-1])


def test_day_of_the_year_is_a_numeric_column(prepare_frame):
    frame = {"t": ["2023-07-04", "2024-07-04", "2024-01-05", None, "2023-12-31"] * 4,
             "y": ["a", "b"] * 10}  # fmt: skip
    numeric = {"indicator": True, "scale": "none"}
    settings = {"split": {"test": 0.0, "validation": 0.0}, "numeric": numeric}
    columns = {"t": {"parts": ["elapsed", "yearday", "week"], "piecewise_bins": 4}}
    preprocessing = prepare_frame(frame, **settings, columns=columns).preprocessing
    (column,) = preprocessing.columns
    assert column.yearday.piecewise.edges == (4, 185, 365)
    assert column.features[-5:] == (
        "t.yearday", "t.yearday=4…185", "t.yearday=185…365", "t.week.sin", "t.week.cos",
    )  # fmt: skip
    x = preprocessing.transform(pl.DataFrame(frame)).inputs["features"]
    place = column.features.index("t.yearday")
    # The median is imputed; one indicator is enough for both numbers.
    assert x[:5, place].tolist() == [185, 185, 4, 185, 365]
    assert [name for name in column.features if "(missing)" in name] == ["t.elapsed=(missing)"]
    assert preprocessing.from_json(preprocessing.to_json()) == preprocessing
    linear = preprocessing.with_linear_scaling().columns[0].features
    assert linear == ("t.elapsed", "t.elapsed=(missing)", "t.yearday", "t.week.sin", "t.week.cos")
    alone = {"t": {"parts": ["yearday"]}}
    only = prepare_frame(frame, **settings, columns=alone).preprocessing.feature_names
    assert only == ("t.yearday", "t.yearday=(missing)")
