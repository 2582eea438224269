from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.date_formats import DateFormatDetector
from trainer.data.values import to_microseconds

FORMATS = (
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m.%d.%Y", "%d-%m-%Y", "%d/%m/%y", "%m/%d/%y",
    "%d-%b-%Y", "%d %B %Y", "%B %d, %Y", "%Y/%m/%d", "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M:%S %p",
    "%d/%m/%Y %H:%M:%S",
)  # fmt: skip
DATES = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1))


def detect(values, configured=None):
    detector = DateFormatDetector(configured=configured)
    for value in values:
        detector.add(pl.Series("t", [value]))
    return detector.detect()


def read(values, date_format):
    stamps = to_microseconds(pl.Series("t", values), date_format)
    return stamps.cast(pl.Datetime("us")).to_list()


@given(st.sampled_from(FORMATS), st.lists(DATES, max_size=10))
def test_day_above_12_determines_the_format(date_format, moments):
    moments = [*moments, datetime(2018, 6, 13, 18, 30)]
    if "%H" not in date_format and "%I" not in date_format:
        moments = [datetime.combine(moment.date(), datetime.min.time()) for moment in moments]
    seconds = 0 if "%S" not in date_format else None
    moments = [
        moment.replace(microsecond=0, second=moment.second if seconds is None else 0)
        for moment in moments
    ]
    texts = [moment.strftime(date_format) for moment in moments]
    result = detect(texts)
    assert len(result.formats) == 1, result
    assert read(texts, result.formats[0]) == moments


@given(st.lists(st.dates(date(1990, 1, 1), date(2060, 1, 1)), min_size=1, max_size=10))
def test_days_up_to_12_are_ambiguous(days):
    texts = [f"{1 + day.day % 12}/{day.month}/{day.year}" for day in days]
    assert detect(texts).formats == ("%d/%m/%Y", "%m/%d/%Y")
    assert detect(texts, "%m/%d/%Y").formats == ("%m/%d/%Y",)


@pytest.mark.parametrize(
    ("values", "formats"),
    [
        (["13-Jun-2018", "1-may-2018"], ("%d-%B-%Y",)),
        (["2018/06/13", "2018/1/3"], ("%Y/%m/%d",)),
        (["18-06-13", "19-01-31"], ("%d-%m-%y", "%y-%m-%d")),
        (["13/06/2018", "06/13/2018"], ()),
        (["13/06/2018", "13/06/18"], ()),
        (["13/06/2018", "31/02/2018"], ()),
        (["10.0.0.1", "1.2.3"], ()),
        (["1.2.3", "4.5.6"], ()),
        (["2024-01-31"], ("%Y-%m-%d",)),
        (["12.06.2018T10:00:01.25"], ("%d.%m.%YT%H:%M:%S%.f", "%m.%d.%YT%H:%M:%S%.f")),
    ],
)
def test_formats(values, formats):
    assert detect(values).formats == formats


def test_eight_digits_need_many_dates():
    days = [date(2018, 1, 1) + timedelta(days=9 * step) for step in range(20)]
    assert detect([f"{day:%Y%m%d}" for day in days]).formats == ("%Y%m%d",)
    assert detect(["20180613", "20180714"]).formats == ()
    assert detect([str(20180101 + step) for step in range(31)]).formats == ()
    assert detect([str(20180101 + step) for step in range(60)]).formats == ()
    assert detect([str(19000000 + 7919 * step) for step in range(20)]).formats == ()


def test_unmatched_values_are_listed():
    result = detect(["13/06/2018", "14/06/2018", "soon"])
    assert (result.best_format, result.matched, result.unmatched) == ("%d/%m/%Y", 2, ("soon",))


def test_two_digit_years():
    assert read(["13/06/18", "13/06/2018"], "%d/%m/%Y") == [None, datetime(2018, 6, 13)]
