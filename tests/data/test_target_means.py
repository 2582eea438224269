from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import TargetEncoder

from trainer.data.target_means import FOLDS, SMOOTHING, TargetSums, target_folds
from trainer.errors import DataError

ALL_TRAIN = {"split": {"test": 0.0, "validation": 0.0}}
TARGET_MEAN = {"categorical": {"target_mean": True}}


def cities(count=400, kinds=20, seed=0):
    """Return a table whose target depends on a category."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(size=kinds)
    city = rng.integers(0, kinds, count)
    return pl.DataFrame(
        {
            "city": [f"c{value:02d}" for value in city],
            "x": rng.normal(size=count),
            "y": np.where(effect[city] + rng.normal(size=count) > 0, "yes", "no"),
            "color": np.array(["red", "green", "blue"])[
                np.digitize(effect[city] + rng.normal(size=count), [-0.5, 0.5])
            ],
            "price": effect[city] + rng.normal(size=count),
        }
    )


def column_of(dataset, name="city"):
    return next(column for column in dataset.preprocessing.columns if column.name == name)


def inputs(dataset, frame, training_rows=None):
    names = list(dataset.preprocessing.feature_names)
    encoded = dataset.preprocessing.transform(frame, training_rows=training_rows)
    chosen = [names.index(name) for name in names if "target_mean" in name or ".log_count" in name]
    return encoded.inputs["features"][:, chosen]


@pytest.mark.parametrize(
    ("target", "kind"), [("y", "binary"), ("color", "multiclass"), ("price", "continuous")]
)
def test_means_agree_with_sklearn(prepare_frame, target, kind):
    frame = cities().select("city", "x", target)
    dataset = prepare_frame(frame, target=target, **ALL_TRAIN, **TARGET_MEAN)
    means = column_of(dataset).target_means
    y = dataset.samples("train").y
    labels = y[:, 0] if kind != "multiclass" else y.argmax(axis=1)
    x = frame["city"].to_numpy()[:, None]
    oracle = TargetEncoder(smooth=SMOOTHING, target_type=kind).fit(x, labels)
    actual = inputs(dataset, frame)
    expected = (oracle.transform(x) - np.array(means.prior)) / np.array(means.scale)
    np.testing.assert_allclose(actual[:, :-1], expected, atol=1e-5)
    logs = np.log1p(frame.select(pl.len().over("city")).to_series().to_numpy())
    np.testing.assert_allclose(actual[:, -1], (logs - logs.mean()) / logs.std(), atol=1e-5)


def test_training_rows_have_the_means_of_the_other_folds(prepare_frame):
    frame = cities()
    dataset = prepare_frame(frame.select("city", "x", "price"), target="price", **ALL_TRAIN,
                            **TARGET_MEAN)  # fmt: skip
    y, folds = dataset.samples("train").y[:, 0].astype(np.float64), target_folds(np.arange(400))
    assert np.bincount(folds).min() > 60
    city, prior = frame["city"].to_numpy(), y.mean()
    expected = np.empty(400)
    for row in range(400):
        others = y[(city == city[row]) & (folds != folds[row])]
        expected[row] = (others.sum() + 10 * prior) / (len(others) + 10) - prior
    names = dataset.preprocessing.feature_names
    actual = dataset.samples("train").inputs["features"][:, names.index("city.target_mean")]
    np.testing.assert_allclose(actual, expected / expected.std(), atol=1e-5)
    again = inputs(dataset, frame, training_rows=np.arange(400))
    np.testing.assert_array_equal(again[:, 0], actual)


def test_the_input_of_a_training_row_does_not_depend_on_its_target(prepare_frame):
    frame = cities().select("city", "x", "y")
    flipped = frame.with_columns(
        y=pl.when(pl.int_range(400) == 7).then(
            pl.when(pl.col("y") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes"))
        ).otherwise(pl.col("y"))
    )  # fmt: skip
    before, after = (
        column_of(prepare_frame(part, **ALL_TRAIN, **TARGET_MEAN, positive="yes")).target_means
        for part in (frame, flipped)
    )
    code, fold = sorted(set(frame["city"])).index(frame["city"][7]), target_folds(np.array([7]))[0]
    others = [index for index in range(FOLDS) if index != fold]
    for index in range(FOLDS):
        same = before.sums[0][index][code] == after.sums[0][index][code]
        assert same == (index in others)


def noise(rows, levels):
    rng = np.random.default_rng(5)
    return pl.DataFrame(
        {
            "id": [f"k{value}" for value in rng.integers(0, levels, rows)],
            "x": rng.normal(size=rows),
            "y": rng.choice(["a", "b"], rows),
        }
    )


def test_random_categories_do_not_let_a_model_beat_chance(prepare_frame):
    frame = noise(3_000, 600)
    dataset = prepare_frame(
        frame, split={"test": 0.4, "validation": 0.0}, **TARGET_MEAN,
        columns={"id": {"max_levels": 2}},
    )  # fmt: skip
    train, test = dataset.samples("train"), dataset.samples("test")
    place = dataset.preprocessing.feature_names.index("id.target_mean")
    columns = slice(place, place + 2)
    assert train.inputs["features"][:, place].std() == pytest.approx(1, abs=1e-5)

    def auc(x):
        model = HistGradientBoostingClassifier(max_depth=3, random_state=0).fit(x, train.y[:, 0])
        p = model.predict_proba(test.inputs["features"][:, columns])[:, 1]
        return roc_auc_score(test.y[:, 0], p), model

    score, _ = auc(train.inputs["features"][:, columns])
    assert abs(score - 0.5) < 0.05
    # A model that sees the means of all rows separates the training rows: the leak that folds prevent.
    leaking = inputs(dataset, frame[train.rows])
    assert roc_auc_score(train.y[:, 0], leaking[:, 0]) > 0.7
    out_of_fold = train.inputs["features"][:, place]
    assert roc_auc_score(train.y[:, 0], out_of_fold) < 0.53


def test_unseen_missing_and_merged_levels(prepare_frame):
    frame = pl.DataFrame(
        {
            "c": ["p"] * 10 + ["q"] * 6 + ["r"] * 3 + ["s"] * 3 + [None] * 4,
            "n": [*range(26)],
            "y": ["a"] * 8 + ["b"] * 8 + ["a"] * 3 + ["b"] * 3 + ["a"] * 4,
        }
    )
    dataset = prepare_frame(frame, **ALL_TRAIN, positive="a",
                            categorical={"target_mean": True, "min_count": 5})  # fmt: skip
    column = column_of(dataset, "c")
    assert column.features == (
        "c=p",
        "c=q",
        "c=(rare)",
        "c=(missing)",
        "c.target_mean",
        "c.log_count",
    )
    means = column.target_means
    prior = 15 / 26
    assert means.prior == pytest.approx((prior,))
    rows = pl.DataFrame({"c": ["p", "q", "r", "s", None, "new"], "n": [0] * 6})
    actual = inputs(dataset, rows)
    count = np.array([10, 6, 3, 3, 4, 0])
    total = np.array([8, 0, 3, 0, 4, 0])
    expected = ((total + 10 * prior) / (count + 10) - prior) / means.scale[0]
    np.testing.assert_allclose(actual[:, 0], expected, atol=1e-6)
    logs = (np.log1p(count) - means.rows_center) / means.rows_scale
    np.testing.assert_allclose(actual[:, 1], logs, atol=1e-6)
    assert actual[5, 0] == 0


def test_missing_values_have_the_level_that_is_imputed(prepare_frame):
    frame = {"c": [None, "p", "q", "p"] * 5, "n": [*range(20)], "y": ["a", "b"] * 10}
    dataset = prepare_frame(
        frame, **ALL_TRAIN, categorical={"target_mean": True, "impute": "most_frequent"}
    )
    missing, level = inputs(dataset, pl.DataFrame({"c": [None, "p"], "n": [0, 0]}))
    assert missing.tolist() == level.tolist()


@pytest.mark.parametrize("kept", [False, True])
def test_columns_of_rare_levels_have_no_means(prepare_frame, kept):
    # 48% or 52% of the rows share their level with two or more others.
    frequent = 13 if kept else 12
    names = [f"c{index // 4}" for index in range(4 * frequent)]
    names += [f"k{index // 2}" for index in range(100 - len(names))]
    frame = {"c": names, "n": [*range(100)], "y": ["a", "b"] * 50}
    dataset = prepare_frame(frame, **ALL_TRAIN, **TARGET_MEAN)
    assert (column_of(dataset, "c").target_means is not None) == kept
    notes = [note for note in dataset.notes if "mean target" in note]
    if kept:
        assert notes == []
    else:
        (note,) = notes
        assert note == (
            "'c' has no mean target by category, as 48% of the training rows share their category "
            "with two or more others; set data.columns.c.target_mean: false to confirm it"
        )
        assert not any("target_mean" in name for name in dataset.preprocessing.feature_names)


def test_names_of_several_targets(prepare_frame):
    frame = cities().with_columns(other=pl.col("price") * 3 + 7)
    numbers = prepare_frame(
        frame.select("city", "x", "price", "other"), target=["price", "other"], **ALL_TRAIN,
        **TARGET_MEAN,
    )  # fmt: skip
    names = ("city.target_mean=price", "city.target_mean=other", "city.log_count")
    assert column_of(numbers).features[-3:] == names
    classes = prepare_frame(frame.select("city", "x", "color"), target="color", **ALL_TRAIN,
                            **TARGET_MEAN)  # fmt: skip
    assert column_of(classes).features[-4:] == (
        "city.target_mean=blue", "city.target_mean=green", "city.target_mean=red", "city.log_count",
    )  # fmt: skip


@pytest.mark.parametrize("parts", [["date"], ["elapsed", "date", "week"]])
def test_dates(prepare_frame, parts):
    days = [f"2024-01-{1 + index // 4:02d}T0{index % 4}:30" for index in range(80)]
    y = ["a" if index // 4 % 2 else "b" for index in range(80)]
    frame = pl.DataFrame({"t": [*days, None], "n": range(81), "y": [*y, "a"]})
    dataset = prepare_frame(frame, **ALL_TRAIN, positive="a", columns={"t": {"parts": parts}})
    column = column_of(dataset, "t")
    assert column.features[-2:] == ("t.date.target_mean", "t.date.log_count")
    assert len(column.dates.days) == 20
    queries = ["2024-01-01T23:59", "2024-01-02", "2024-01-20", "2024-01-21", "2023-12-31", None]
    actual = inputs(dataset, pl.DataFrame({"t": queries, "n": [0] * 6}))
    prior = 41 / 81
    expected = np.array([10 * prior / 14, *[(4 + 10 * prior) / 14] * 2, *[prior] * 3]) - prior
    np.testing.assert_allclose(actual[:, 0] * column.dates.means.scale[0], expected, atol=1e-6)
    content = dataset.preprocessing.to_json()
    assert dataset.preprocessing.from_json(content) == dataset.preprocessing


def test_dates_that_no_rows_share(prepare_frame):
    frame = {"t": [f"2024-01-{day:02d}" for day in range(1, 31)], "n": [*range(30)],
             "y": ["a", "b"] * 15}  # fmt: skip
    columns = {"t": {"parts": ["date"]}}
    dataset = prepare_frame(frame, **ALL_TRAIN, columns=columns)
    assert dataset.preprocessing.feature_names == ("n",)
    assert any("'t' has no mean target by day, as 0% of" in note for note in dataset.notes)
    with pytest.raises(DataError, match="a feature that varies"):
        prepare_frame(frame, **ALL_TRAIN, columns=columns, features={"include": ["t"]})


def test_damaged_means(prepare_frame):
    dataset = prepare_frame(cities().select("city", "x", "y"), **ALL_TRAIN, **TARGET_MEAN)
    content = dataset.preprocessing.to_json()
    assert dataset.preprocessing.from_json(content) == dataset.preprocessing
    for name, found in (("rows", "5 × 20"), ("sums", "1 × 5 × 20"), ("scale", "1 numbers")):
        damaged = copy.deepcopy(content)
        damaged["columns"][0]["target_means"][name].pop()
        with pytest.raises(DataError, match=f"{found}.*columns.0.target_means.{name}"):
            dataset.preprocessing.from_json(damaged)


@given(
    keys=st.lists(st.integers(-3, 12), min_size=1, max_size=40),
    parts=st.lists(st.integers(1, 10), min_size=1, max_size=8),
)
def test_batches_add_up(keys, parts):
    keys = np.array(keys)
    rng = np.random.default_rng(len(keys))
    folds, y = rng.integers(0, FOLDS, len(keys)), rng.integers(0, 9, (len(keys), 2))
    y = y.astype(np.float32)
    whole, batched = TargetSums(2), TargetSums(2)
    whole.add(keys, folds, y)
    first = 0
    for size in [*parts, len(keys)]:
        rows = slice(first, first + size)
        batched.add(keys[rows], folds[rows], y[rows])
        first += size
    np.testing.assert_array_equal(batched.keys, np.unique(keys))
    for sums in (whole, batched):
        for place, key in enumerate(sums.keys):
            for fold in range(FOLDS):
                mask = (keys == key) & (folds == fold)
                assert sums.rows[fold, place] == mask.sum()
                assert sums.sums[:, fold, place].tolist() == y[mask].sum(axis=0).tolist()
