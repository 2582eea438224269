from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from trainer.config.data import Data
from trainer.data.row_timestamps import row_timestamps
from trainer.errors import DataError

DAY_OFFSETS = (9, 1, 5, 3, 7, 2, 8, 4, 6, 0)
DAYS = [date(2024, 1, 10) + timedelta(days=day) for day in DAY_OFFSETS]


def times(values, **columns):
    data = Data(source="x.csv", target="y", columns={"t": columns} if columns else {})
    return row_timestamps(pl.Series("t", values), data, lambda row: f"x.csv:{row + 2}")


@pytest.mark.parametrize(
    "values",
    [
        list(DAY_OFFSETS),
        [str(day) for day in DAY_OFFSETS],
        DAYS,
        [str(day) for day in DAYS],
        [day.strftime("%d/%m/%Y") for day in DAYS],
        [day.strftime("%m.%d.%Y 18:30") for day in DAYS],
        [day.strftime("%d-%b-%Y") for day in DAYS],
        [day.strftime("%Y%m%d") for day in DAYS],
    ],
)
def test_timestamps_are_in_order(values):
    assert np.argsort(np.argsort(times(values))).tolist() == list(DAY_OFFSETS)


def test_explicit_format_is_used():
    values = ["03/04/2024", "02/05/2024"]
    assert np.argsort(times(values, format="%d/%m/%Y")).tolist() == [0, 1]
    assert np.argsort(times(values, format="%m/%d/%Y")).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("values", "columns", "message"),
    [
        (["2024-01-01", "soon", "1"], {}, r"x.csv:3.*numbers or ISO 8601 dates in 't'.*'soon'"),
        (["5", "6", "soon"], {}, r"x.csv:4.*numbers or ISO 8601"),
        (["13/06/2018", "01/07/2018", "31/02/2018"], {}, r"x.csv:4.*'%d/%m/%Y'.*'31/02/2018'"),
        (["31.12.2023", "12/31/2023"], {"format": "%d.%m.%Y"}, r"x.csv:3.*%d.%m.%Y.*'12/31/2023'"),
        (
            ["03/04/2018", "05/06/2018"],
            {},
            r"'03/04/2018'.*data.columns.t.format: '%d/%m/%Y' \(day first\) or '%m/%d/%Y'",
        ),
    ],
)
def test_invalid_time_raises(values, columns, message):
    with pytest.raises(DataError, match=message):
        times(values, **columns)
