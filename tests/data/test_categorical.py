from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from trainer.config.data import Categorical
from trainer.data.accumulators import BooleanAccumulator, LevelAccumulator
from trainer.data.categorical import (
    boolean_values,
    fit_boolean,
    fit_categorical,
    level_codes,
    ordinal_values,
)


def fit(values, **settings):
    series = pl.Series("c", values, dtype=pl.String)
    return fit_series(series, **settings)


def fit_series(series, **settings):
    counted = LevelAccumulator(series.name)
    counted.add(series)
    levels, missing = counted.levels(), counted.missing
    return fit_categorical(series.name, levels, missing, Categorical(**settings))


def fit_words(series, **settings):
    counted = BooleanAccumulator()
    counted.add(series)
    counts = counted.yes, counted.no, counted.missing
    return fit_boolean(series.name, *counts, Categorical(**settings))


def codes(column, values):
    encoded, unseen = level_codes(column, pl.Series("c", values, dtype=pl.String))
    return encoded.tolist(), unseen.tolist()


def test_one_hot_agrees_with_sklearn():
    values = ["b", "a", "c", "a"]
    column = fit(values)
    encoded, _ = level_codes(column, pl.Series("c", values))
    oracle = OneHotEncoder(sparse_output=False).fit_transform(np.array(values)[:, None])
    np.testing.assert_array_equal(np.eye(3)[encoded], oracle)
    assert column.features == ("c=a", "c=b", "c=c")
    assert column.counts == (2, 1, 1)


def test_ordinal_agrees_with_sklearn():
    values = ["b", "a", "c", "a"]
    column = fit(values, encode="ordinal")
    encoded, _ = level_codes(column, pl.Series("c", values))
    oracle = OrdinalEncoder().fit_transform(np.array(values)[:, None])[:, 0] / 2
    np.testing.assert_allclose(ordinal_values(column, encoded), oracle)
    assert ordinal_values(column, np.array([-1])).tolist() == [-0.5]


def test_levels_are_in_natural_order():
    assert fit(["10", "9", "1.0", "1"]).levels == ("1", "9", "10")
    assert fit(["x10", "x9", "X1"]).levels == ("X1", "x9", "x10")


def test_rare_levels_are_merged_and_unseen_ones_flagged():
    column = fit(["a"] * 5 + ["b"] * 3 + ["c", "d"], min_count=2)
    assert column.features == ("c=a", "c=b", "c=(rare)")
    assert (column.rare, column.merged) == (2, ("c", "d"))
    assert codes(column, ["d", "a", "new"]) == ([2, 0, -1], [False, False, True])
    to_rare = column.model_copy(update={"unknown": "rare"})
    assert codes(to_rare, ["d", "new", None]) == ([2, 2, -1], [False, True, True])


def test_only_the_most_frequent_levels_are_kept():
    column = fit(["a"] * 3 + ["b"] * 2 + ["c"] * 2 + ["d"] * 4, max_levels=3)
    assert column.levels == ("a", "b", "d")
    assert column.merged == ("c",)


@pytest.mark.parametrize(
    ("impute", "expected"),
    [("separate_level", [2, 0]), ("most_frequent", [0, 0]), ("constant", [2, 0]), ("drop", [0, 0])],
)
def test_missing_values(impute, expected):
    column = fit(["a", "a", "b", None], impute=impute, constant="gone")
    assert codes(column, [None, "a"])[0] == expected
    assert column.missing == 1
    assert ("c=(missing)" in column.features) == (impute == "separate_level")
    assert ("c=gone" in column.features) == (impute == "constant")


def test_missing_value_not_in_training_is_unseen():
    assert codes(fit(["a", "b"]), [None]) == ([-1], [True])


def test_constant_column_is_dropped():
    assert fit(["a", "a"]) is None
    assert fit(["a", None]).features == ("c=a", "c=(missing)")


def test_embedding_has_an_id_for_unseen_values():
    column = fit(["a", "b", "c", None], encode="embedding")
    assert column.embedding == (5, round(1.6 * 4**0.56))
    assert column.features == ("c",)
    assert fit(["a", "b"], encode="embedding", dimension=7).embedding == (3, 7)


def test_booleans():
    series = pl.Series("e", ["yes", "No", None, "TRUE"])
    column = fit_words(series)
    assert column.features == ("e", "e=(missing)")
    values, missing, invalid = boolean_values(column, pl.Series("e", ["no", None, "maybe", "1"]))
    assert values.tolist() == [False, False, False, True]
    assert missing.tolist() == [False, True, True, False]
    assert invalid.tolist() == [False, False, True, False]
    frequent = fit_words(series, impute="most_frequent")
    assert frequent.fill is True
    assert frequent.features == ("e",)
    assert fit_words(pl.Series("e", [True, True])) is None


def test_column_named_count():
    series = pl.Series("count", ["b", "a", "b"])
    column = fit_series(series)
    assert column.levels == ("a", "b")
    assert column.counts == (1, 2)
