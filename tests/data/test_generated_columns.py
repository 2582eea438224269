"""The encoding of generated columns and its inverse."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from trainer.data.generated_columns import (
    GeneratedCategory,
    GeneratedNumber,
    GeneratedRows,
    normal_scores,
)
from trainer.data.generated_samples import draw_samples, png_bytes, sampled_rows


def number(values, decimals=2, missing=0, dtype="float", step=0):
    ordered = tuple(sorted(float(value) for value in values))
    return GeneratedNumber(
        name="x", dtype=dtype, decimals=decimals, step=step, values=ordered, missing=missing
    )


def category(levels=("a", "b", "c"), missing=0, dtype="text"):
    counts = tuple(range(1, len(levels) + 1))
    return GeneratedCategory(name="c", dtype=dtype, levels=levels, counts=counts, missing=missing)


def rows_of(*columns):
    return GeneratedRows(
        rows=10, columns=columns, images=None, target=None, classes=(), class_counts=(),
        condition=False,
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_normal_scores_are_quantiles(count):
    expected = norm.ppf((np.arange(count) + 0.5) / count)
    np.testing.assert_allclose(normal_scores(count), expected, atol=1e-9)


@given(
    st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=200).filter(
        lambda values: len(set(values)) > 1
    )
)
@settings(max_examples=50, deadline=None)
def test_training_numbers_come_back(values):
    column = number(values, decimals=0)
    series = pl.Series("x", values, dtype=pl.Float64)
    for training in (True, False):
        encoded = column.encode(series, training).astype(np.float64)
        decoded = column.decode(encoded, np.zeros((len(values), 0), np.int64))
        # Equal values that are spread are decoded at a quantile of their own.
        assert (decoded - series).abs().max() <= 1e-3 * (max(values) - min(values)) + 0.5


def test_scores_of_training_rows_are_normal_even_with_many_equal_values():
    values = [0.0] * 60 + list(range(1, 41))
    encoded = number(values).encode(pl.Series("x", values), True)[:, 0]
    np.testing.assert_allclose(np.sort(encoded), normal_scores(100), atol=1e-6)
    assert len(np.unique(number(values).encode(pl.Series("x", values), False))) == 41


def test_numbers_stay_in_the_range_of_the_training_rows():
    column = number([1.25, 2.5, 3.75])
    decoded = column.decode(np.array([[-9.0], [0.0], [9.0]]), np.zeros((3, 0), np.int64))
    assert decoded.to_list() == [1.25, 2.5, 3.75]


def test_missing_numbers_and_types():
    column = number([1, 2, 3], decimals=0, missing=4, dtype="integer")
    encoded = column.encode(pl.Series("x", [1, None, 3]), False)
    assert encoded[:, 1:].tolist() == [[1, 0], [0, 1], [1, 0]]
    decoded = column.decode(encoded.astype(np.float64), np.array([[0], [1], [0]]))
    assert decoded.to_list() == [1, None, 3]
    assert decoded.dtype == pl.Int64


def test_dates_are_numbers():
    days = pl.Series("x", [date(2024, 1, 1), date(2024, 1, 3)])
    stamps = days.cast(pl.Datetime("us")).cast(pl.Int64).to_list()
    column = number(stamps, decimals=0, dtype="date", step=86_400_000_000)
    encoded = column.encode(days, False).astype(np.float64)
    assert column.decode(encoded, np.zeros((2, 0), np.int64)).to_list() == days.to_list()


def test_categories_are_one_hot_and_keep_their_type():
    column = category(("1", "2"), missing=1, dtype="integer")
    series = pl.Series("c", [2, 1, None, 7])
    assert column.codes(series).tolist() == [1, 0, 2, -1]
    assert column.encode(series, False).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert column.decode(np.zeros((3, 3)), np.array([[1], [0], [2]])).to_list() == [2, 1, None]
    yes = category(("false", "true"), dtype="boolean")
    assert yes.decode(np.zeros((2, 2)), np.array([[1], [0]])).to_list() == [True, False]


def test_levels_are_drawn_with_their_probabilities():
    rows = rows_of(number([1, 2, 3]), category())
    assert rows.blocks == ((1, 3),)
    draw = draw_samples(rows, 2, 20_000, seed=4)
    logits = np.log([0.6, 0.3, 0.1])
    values = np.tile(np.array([0.0, *logits], np.float32), (20_000, 1))
    shares = sampled_rows(rows, values, draw)["c"].value_counts(normalize=True).sort("c")
    np.testing.assert_allclose(shares["proportion"], [0.6, 0.3, 0.1], atol=0.015)


def test_a_smaller_draw_is_the_beginning_of_a_larger_one():
    rows = GeneratedRows(
        rows=10, columns=(category(),), images=None, target="t", classes=("x", "y"),
        class_counts=(3, 7), condition=True,
    )  # fmt: skip
    few, many = (draw_samples(rows, 3, count, seed=9) for count in (5, 50))
    np.testing.assert_array_equal(few.latent, many.latent[:5])
    np.testing.assert_array_equal(few.classes, many.classes[:5])
    np.testing.assert_array_equal(few.uniform, many.uniform[:5])
    assert set(draw_samples(rows, 3, 20, 9, only=1).classes) == {1}
    assert (draw_samples(rows, 3, 20, 10).latent != many.latent[:20]).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_png_files_hold_their_pixels(channels):
    pillow = pytest.importorskip("PIL.Image")
    from io import BytesIO

    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    read = np.asarray(pillow.open(BytesIO(png_bytes(pixels)))).reshape(5, 7, channels)
    np.testing.assert_array_equal(read, pixels)
